/* Changes become batches: versions of tables, row filters, key changes that must be applied alone. */
#include <assert.h>

#include "schemas/hash.h"
#include "sink/worker.h"

/* ---- topics ---- */

static uint64_t name_hash(const char *name) {
    uint64_t h = fnv_bytes(FNV_START, name, strlen(name));
    return h ^ (h >> 32);
}

static bool is_parked(const struct sink *s, const char *topic) {
    for (size_t i = 0; i < s->env->parked->n; i++)
        if (strcmp(s->env->parked->topics[i], topic) == 0)
            return true;
    return false;
}

struct sink_topic *worker_topic(struct sink *s, const char *name) {
    for (int i = 0; i < s->n_topics; i++)
        if (strcmp(s->topics[i]->name, name) == 0)
            return s->topics[i];
    struct sink_topic *t = xcalloc(1, sizeof *t);
    t->name = xstrdup(name);
    t->mine = name_hash(name) % (uint64_t)s->env->workers == (uint64_t)s->env->worker && !is_parked(s, name);
    t->fresh = true;
    batch_init(&t->batch, NULL);
    s->topics = xrealloc(s->topics, (size_t)(s->n_topics + 1) * sizeof(*s->topics));
    s->topics[s->n_topics++] = t;
    return t;
}

struct stream *topic_stream(struct sink_topic *t, int partition) {
    if (partition >= t->n_streams) {
        t->streams = xrealloc(t->streams, (size_t)(partition + 1) * sizeof *t->streams);
        for (int p = t->n_streams; p <= partition; p++)
            t->streams[p] = (struct stream){.topic = t, .partition = p, .id = -1};
        t->n_streams = partition + 1;
    }
    return &t->streams[partition];
}

/* ---- versions and batches ---- */

void worker_batch(const struct sink *s, struct sink_topic *t) {
    batch_reset(&t->batch, t->mapped->table);
    t->batch.filtered = t->mapped->n_where > 0 || s->seen_seq < s->until_seq;
}

static enum code flush_topic(struct sink *s, struct sink_topic *t, struct err *err) {
    if (t->batch.n == 0)
        return OK;
    enum code code = worker_settle(s, err);
    if (code == OK)
        code = s->env->target->apply(s->target, &t->batch, err);
    if (code != OK)
        return code;
    s->batch_used -= t->batch.arena.used;
    worker_batch(s, t);
    return OK;
}

/* A table that the source renamed comes by another topic from here on: the rows that came under its old name
 * are written before the replica's table follows. */
static enum code flush_old_name(struct sink *s, const struct sink_topic *t, const struct table *table,
                                struct err *err) {
    enum code code = OK;
    for (int i = 0; i < s->n_topics && code == OK && table->incarnation; i++) {
        struct sink_topic *other = s->topics[i];
        if (other != t && other->mapped && other->mapped->table &&
            other->mapped->table->incarnation == table->incarnation)
            code = flush_topic(s, other, err);
    }
    return code;
}

/* The topic speaks another version of its table from here on. */
static enum code switch_version(struct sink *s, struct sink_topic *t, const struct mapped *mapped,
                                struct err *err) {
    if (t->mapped && t->mapped->table && t->batch.n) {
        enum code code = flush_topic(s, t, err);
        if (code != OK)
            return code;
    }
    t->mapped = mapped;
    if (!mapped->table)
        return OK;
    enum code code = flush_old_name(s, t, mapped->table, err);
    if (code == OK)
        code = worker_settle(s, err);
    if (code == OK)
        code = s->env->target->prepare(s->target, mapped, t->fresh, s->progress.rebuild, err);
    if (code != OK)
        return code;
    t->fresh = false;
    worker_batch(s, t);
    if (!t->m_changes) {
        CLEANUP_FREE char *name = xasprintf("%s.%s", mapped->table->schema, mapped->table->name);
        const char *labels[] = {"sink", s->env->name, "table", name, NULL};
        t->m_changes = metric_get(METRIC_COUNTER, "millrace_sink_changes_total",
                                  "Changes taken from the journal for this table.", labels);
    }
    return OK;
}

static enum code add(struct sink *s, struct sink_topic *t, const struct change *change) {
    size_t before = t->batch.arena.used;
    bool added = batch_add(&t->batch, change);
    assert(added);
    (void)added;
    s->batch_used += t->batch.arena.used - before;
    return OK;
}

/* A key change whose new row is not whole: the replica's own row is moved to the new key. */
static enum code apply_move(struct sink *s, struct sink_topic *t, const struct change *change,
                            struct err *err) {
    enum code code = worker_settle(s, err);
    if (code == OK)
        code = flush_topic(s, t, err);
    if (code != OK)
        return code;
    struct batch_row row = {
        .op = ROW_UPDATE, .was_there = true, .values = change->after, .before = change->other};
    struct batch one = {.table = t->mapped->table,
                        .rows = &row,
                        .n = 1,
                        .n_op = {[ROW_UPDATE] = 1},
                        .partial = true,
                        .filtered = t->batch.filtered};
    return s->env->target->apply(s->target, &one, err);
}

static enum code clear(struct sink *s, struct sink_topic *t, const struct change *change, struct err *err) {
    if (position_cmp(change->position, t->cleared) == 0)
        return OK;
    t->cleared = change->position;
    s->batch_used -= t->batch.arena.used; /* rows of the batch go with the table */
    worker_batch(s, t);
    enum code code = worker_settle(s, err);
    if (code != OK)
        return code;
    return s->env->target->clear(s->target, t->mapped->table, change->snapshot, change->restart_identity,
                                 err);
}

static enum code match(const struct mapped *mapped, const struct value *row, bool *ret, struct err *err) {
    *ret = false;
    return row ? mapped_match(mapped, row, ret, err) : OK;
}

/* What a row filter makes of a change: a row that enters is created, one that leaves is deleted. False:
 * nothing to do. */
static enum code filter(const struct mapped *mapped, struct change *change, bool *ret, struct err *err) {
    bool keyed = mapped->table->n_key > 0, is, was = keyed;
    *ret = true;
    enum code code = match(mapped, change->after, &is, err);
    if (code == OK && !keyed)
        code = match(mapped, change->before, &was, err);
    if (code != OK)
        return code;
    switch (change->op) {
    case OP_READ:
    case OP_CREATE:
        *ret = is;
        return OK;
    case OP_DELETE:
        *ret = was;
        return OK;
    case OP_UPDATE:
        *ret = is || was;
        if (is && (keyed ? row_full(change->after, mapped->table->n_columns) : !was))
            change->op = OP_CREATE;
        if (!is && was) {
            change->op = OP_DELETE;
            if (keyed)
                change->before = change->after;
        }
        return OK;
    case OP_TRUNCATE:
        return OK;
    }
    return OK;
}

static enum code take_row(struct sink *s, struct sink_topic *t, struct change *change, struct err *err) {
    if (change->moved_partial && change->op == OP_DELETE)
        return OK;
    if (change->moved_partial && t->mapped->n_where > 0) {
        bool stays;
        enum code code = match(t->mapped, change->after, &stays, err);
        if (code != OK)
            return code;
        if (!stays) { /* it leaves with its old key */
            change->op = OP_DELETE;
            change->before = change->other;
            change->moved_partial = false;
            return add(s, t, change);
        }
    }
    if (change->moved_partial)
        return apply_move(s, t, change, err);
    if (t->mapped->n_where > 0) {
        bool pass;
        enum code code = filter(t->mapped, change, &pass, err);
        if (code != OK || !pass)
            return code;
    }
    return add(s, t, change);
}

static void stamp(struct sink *s, const struct change *change) {
    s->commit_us = change->commit_us > s->commit_us || change->snapshot ? change->commit_us : s->commit_us;
    if (change->snapshot || (s->n_stamps && s->stamps[s->n_stamps - 1] == change->commit_us) ||
        s->n_stamps == STAMPS)
        return;
    s->stamps[s->n_stamps++] = change->commit_us;
}

enum code worker_take(struct sink *s, struct stream *stream, struct err *err) {
    struct sink_topic *t = stream->topic;
    struct encoded bytes = {stream->head.key, stream->head.value, stream->head.header,
                            stream->head.other_key};
    struct change change;
    if (stream->head_position.generation < s->generation)
        return OK; /* a newer snapshot replaces it: also what stopped us there */
    if (position_cmp(stream->head_position, stream->position) <= 0)
        return OK; /* applied before; or a tombstone after its delete */
    arena_reset(&s->scratch);
    enum code code = decoder_change(s->decoder, &bytes, &s->scratch, &change, err);
    if (code != OK)
        return code == AGAIN ? OK : code;
    stream->position = change.position;
    if (!t->mapped || t->mapped->source != change.table) {
        const struct mapped *mapped;
        code = mapping_find(s->mapping, change.table, &mapped, err);
        if (code == OK)
            code = switch_version(s, t, mapped, err);
        if (code != OK)
            return code;
    }
    if (!t->mapped->table)
        return OK;
    if (!s->dirty)
        s->first_us = clock_mono(s->env->clock);
    s->dirty = true;
    s->taken++;
    s->taken_bytes += bytes.value.len;
    metric_add(t->m_changes, 1);
    stamp(s, &change);
    return change.op == OP_TRUNCATE ? clear(s, t, &change, err) : take_row(s, t, &change, err);
}
