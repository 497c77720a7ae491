#include "journal/ends.h"

#include <assert.h>

static void topic_free(const struct ends *e, struct ends_topic *t) {
    if (t->handle)
        e->handle_free(t->handle);
    free(t->name);
    free(t->ends);
    free(t->next);
    free(t->touched);
}

void ends_reset(struct ends *e) {
    for (int i = 0; i < e->n; i++)
        topic_free(e, &e->topics[i]);
    e->n = 0;
    e->n_touched = 0;
    e->partitions = 0;
    e->unforeseen = false;
}

void ends_free(struct ends *e) {
    ends_reset(e);
    free(e->topics);
    free(e->touched);
    free(e->out_topics);
    free(e->out_ends);
    *e = (struct ends){0};
}

int ends_find(const struct ends *e, const char *name) {
    for (int i = 0; i < e->n; i++)
        if (strcmp(e->topics[i].name, name) == 0)
            return i;
    return -1;
}

int ends_add(struct ends *e, const char *name, int partitions, bool compacted) {
    assert(partitions > 0);
    if (e->n == e->cap) {
        e->cap = e->cap ? e->cap * 2 : 16;
        e->topics = xrealloc(e->topics, (size_t)e->cap * sizeof *e->topics);
    }
    struct ends_topic *t = &e->topics[e->n];
    *t = (struct ends_topic){.name = xstrdup(name), .partitions = partitions, .compacted = compacted};
    t->ends = xcalloc((size_t)partitions, sizeof *t->ends);
    t->touched = xcalloc((size_t)partitions, sizeof *t->touched);
    t->next = xcalloc((size_t)partitions, sizeof *t->next);
    for (int p = 0; p < partitions; p++)
        t->ends[p] = t->next[p] = -1;
    e->partitions += partitions;
    return e->n++;
}

void ends_forget(struct ends *e, int topic) {
    assert(topic >= 0 && topic < e->n && e->n_touched == 0);
    topic_free(e, &e->topics[topic]);
    e->n--;
    memmove(&e->topics[topic], &e->topics[topic + 1], (size_t)(e->n - topic) * sizeof *e->topics);
}

void ends_sent(struct ends *e, int topic, int partition) {
    struct ends_topic *t = &e->topics[topic];
    assert(partition >= 0 && partition < t->partitions);
    if (t->internal)
        return;
    if (t->next[partition] >= 0)
        t->next[partition]++;
    else
        e->unforeseen = true;
    if (t->touched[partition])
        return;
    t->touched[partition] = true;
    if (e->n_touched == e->cap_touched) {
        e->cap_touched = e->cap_touched ? e->cap_touched * 2 : 64;
        e->touched = xrealloc(e->touched, e->cap_touched * sizeof *e->touched);
    }
    e->touched[e->n_touched].topic = topic;
    e->touched[e->n_touched++].partition = partition;
}

void ends_note(struct ends *e, int topic, int partition, int64_t offset) {
    struct ends_topic *t = &e->topics[topic];
    assert(partition >= 0 && partition < t->partitions);
    if (offset > t->ends[partition])
        t->ends[partition] = offset;
}

bool ends_as_foreseen(const struct ends *e) {
    for (size_t i = 0; i < e->n_touched; i++) {
        const struct ends_topic *t = &e->topics[e->touched[i].topic];
        if (t->next[e->touched[i].partition] != t->ends[e->touched[i].partition] + 1)
            return false;
    }
    return !e->unforeseen;
}

void ends_committed(struct ends *e, int markers) {
    for (size_t i = 0; i < e->n_touched; i++) {
        struct ends_topic *t = &e->topics[e->touched[i].topic];
        int p = e->touched[i].partition;
        t->next[p] = t->ends[p] + 1 + markers;
        t->touched[p] = false;
    }
    e->n_touched = 0;
    e->unforeseen = false;
}

enum code ends_apply(struct ends *e, const struct commit_record *r, struct err *err) {
    CLEANUP_FREE int *index = xcalloc((size_t)r->n_topics + 1, sizeof *index);
    for (int i = 0; i < r->n_topics; i++) {
        const struct commit_topic *t = &r->topics[i];
        index[i] = ends_find(e, t->name);
        if (index[i] < 0 && e->partitions + t->partitions > COMMIT_PARTITIONS_MAX) {
            return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                           "commit records name topics of more than %d partitions together",
                           COMMIT_PARTITIONS_MAX);
        } else if (index[i] < 0) {
            index[i] = ends_add(e, t->name, t->partitions, t->compacted);
        } else if (e->topics[index[i]].partitions != t->partitions) {
            return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                           "commit records disagree about the partitions of topic '%s': %d and %d", t->name,
                           e->topics[index[i]].partitions, t->partitions);
        }
        e->topics[index[i]].born = t->born;
    }
    for (int i = 0; i < r->n_ends; i++) {
        struct ends_topic *t = &e->topics[index[r->ends[i].topic]];
        if (r->ends[i].offset > t->ends[r->ends[i].partition])
            t->ends[r->ends[i].partition] = r->ends[i].offset;
    }
    return OK;
}

/* A topic is told when it has a partition to tell. */
static int fill_topic(const struct ends_topic *t, bool full, bool foreseen, int index,
                      struct partition_end *out) {
    int n = 0;
    for (int p = 0; p < t->partitions; p++) {
        int64_t end = foreseen && t->touched[p] ? t->next[p] - 1 : t->ends[p];
        if (t->touched[p] || (full && end >= 0))
            out[n++] = (struct partition_end){.topic = index, .partition = p, .offset = end};
    }
    return n;
}

static int by_topic(const void *a, const void *b) {
    const int *x = a, *y = b;
    return *x < *y ? -1 : *x > *y;
}

/* Indexes of the topics to look at, each once, in ascending order. */
static int *candidates(const struct ends *e, bool full, int *ret_n) {
    int n = full ? e->n : (int)e->n_touched;
    int *list = xcalloc((size_t)n + 1, sizeof *list);
    for (int i = 0; i < n; i++)
        list[i] = full ? i : e->touched[i].topic;
    if (!full) {
        int kept = 0;
        qsort(list, (size_t)n, sizeof *list, by_topic);
        for (int i = 0; i < n; i++)
            if (!kept || list[kept - 1] != list[i])
                list[kept++] = list[i];
        n = kept;
    }
    *ret_n = n;
    return list;
}

void ends_fill(struct ends *e, bool full, bool foreseen, struct commit_record *r) {
    int n;
    size_t room = 1;
    CLEANUP_FREE int *list = candidates(e, full, &n);
    for (int i = 0; i < n; i++)
        room += (size_t)e->topics[list[i]].partitions;
    e->out_topics = xrealloc(e->out_topics, ((size_t)n + 1) * sizeof *e->out_topics);
    e->out_ends = xrealloc(e->out_ends, room * sizeof *e->out_ends);
    r->topics = e->out_topics;
    r->ends = e->out_ends;
    r->n_topics = r->n_ends = 0;
    for (int i = 0; i < n; i++) {
        const struct ends_topic *t = &e->topics[list[i]];
        int told = t->internal ? 0 : fill_topic(t, full, foreseen, r->n_topics, e->out_ends + r->n_ends);
        if (!told)
            continue;
        e->out_topics[r->n_topics++] = (struct commit_topic){t->name, t->partitions, t->compacted, t->born};
        r->n_ends += told;
    }
}
