/* What the commit records know, and whether the topics are still as they say. Somebody may have edited the
 * file, or given back an older one; to go on would leave out rows without a word. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "journal/embedded/part.h"
#include "journal/embedded/writer.h"

/* ---- reading the commit records ---- */

struct back { /* reading them backwards, and forwards again */
    struct store *s;
    struct part part;
    struct part_chunk chunk;
    struct arena arena;
    struct recall recall;
    int64_t begin, full; /* offset to begin at; of the newest full record, -1 = none */
};

typedef enum code each_f(struct back *b, const struct chunk_record *at, const struct commit_record *record,
                         void *arg, struct err *err);

static enum code parse(struct back *b, const struct chunk_record *at, struct arena *arena,
                       struct commit_record *ret, struct err *err) {
    enum code code = commit_record_read(at->value, arena, ret, err);
    if (code == REJECT) {
        err_prefix(err, "journal file '%s': topic '%s', offset %" PRId64 ": ", b->s->journal->path,
                   b->s->journal->commits, at->offset);
        err->code = code = FATAL;
    }
    return code;
}

static enum code each_record(struct back *b, each_f *each, void *arg, struct err *err) {
    struct chunk_cursor cursor;
    struct chunk_record at;
    struct commit_record record;
    enum code code = part_chunk_open(&b->chunk, b->s, b->s->journal->commits, 0, &cursor, err);
    while (code == OK && (code = chunk_next(&cursor, &at)) == OK) {
        arena_reset(&b->arena);
        code = parse(b, &at, &b->arena, &record, err);
        if (code == OK)
            code = each(b, &at, &record, arg, err);
    }
    if (code == REJECT)
        return part_damaged(b->s, b->s->journal->commits, 0, b->chunk.head.first, err);
    return code == AGAIN ? OK : code;
}

static enum code note_full(struct back *b, const struct chunk_record *at, const struct commit_record *record,
                           void *arg, struct err *err) {
    (void)arg, (void)err;
    if (record->full || record->seq == 1)
        b->full = at->offset;
    return OK;
}

/* Backwards, to the newest full record. */
static enum code find_full(struct back *b, struct err *err) {
    enum part_read what;
    b->begin = b->part.next;
    while (b->full < 0) {
        enum code code = part_read_before(b->s, b->part.id, b->begin, &b->chunk, &what, err);
        if (code == OK && what == PART_CHUNK)
            code = each_record(b, note_full, NULL, err);
        if (code != OK || what != PART_CHUNK)
            return code;
        b->begin = b->chunk.head.first;
    }
    return OK;
}

struct newest {
    struct arena *arena;
    struct commit_record *record;
    struct buf *source;
};

static enum code learn(struct back *b, const struct chunk_record *at, const struct commit_record *record,
                       void *arg, struct err *err) {
    struct newest *newest = arg;
    enum code code = recall_record(&b->recall, record, err);
    if (code != OK || at->offset != b->part.next - 1)
        return code;
    newest->record = arena_alloc(newest->arena, sizeof *newest->record);
    buf_clear(newest->source);
    buf_put_slice(newest->source, at->key);
    return parse(b, at, newest->arena, newest->record, err);
}

/* Forwards, into the ends. */
static enum code read_on(struct back *b, struct newest *newest, struct err *err) {
    enum part_read what;
    for (int64_t at = b->begin;; at = b->chunk.head.last + 1) {
        enum code code = part_read_at(b->s, b->part.id, at, &b->part, &b->chunk, &what, err);
        if (code == OK && what == PART_CHUNK)
            code = each_record(b, learn, newest, err);
        if (code != OK || what != PART_CHUNK)
            return code;
    }
}

/* ---- what the file says ---- */

typedef enum code each_partition_f(struct store *s, const char *topic, int partitions, bool compacted,
                                   int partition, int64_t next, void *arg, struct err *err);

static enum code each_partition(struct store *s, each_partition_f *each, void *arg, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_TOPICS, &row, err, "");
    while (code == OK) {
        const char *topic = (const char *)sqlite3_column_text(row, 0);
        if (topic)
            code = each(s, topic, sqlite3_column_int(row, 1), sqlite3_column_int(row, 2) != 0,
                        sqlite3_column_int(row, 3), sqlite3_column_int64(row, 4), arg, err);
        if (code != OK) {
            store_end(row);
            return code;
        }
        code = store_next(s, row, err);
    }
    return code == AGAIN ? OK : code;
}

static enum code ask(struct store *s, const char *topic, int partitions, bool compacted, int partition,
                     int64_t next, void *arg, struct err *err) {
    struct ends *ends = arg;
    (void)err;
    if (!embedded_of_table(s->journal, topic))
        return OK;
    int i = ends_find(ends, topic);
    if (i < 0)
        i = ends_add(ends, topic, partitions, compacted);
    if (partition < ends->topics[i].partitions && next > 0)
        ends_note(ends, i, partition, next - 1);
    return OK;
}

enum code known_recall(struct store *s, struct ends *ends, struct arena *arena,
                       struct commit_record **ret_last, struct buf *ret_source, int64_t *ret_full,
                       struct err *err) {
    struct back b = {.s = s, .recall = {.ends = ends}, .full = -1};
    struct newest newest = {.arena = arena, .source = ret_source};
    *ret_last = NULL;
    *ret_full = -1;
    enum code code = part_find(s, s->journal->commits, 0, &b.part, err);
    if (code == AGAIN)
        return OK;
    if (code == OK)
        code = find_full(&b, err);
    if (code == OK)
        code = read_on(&b, &newest, err);
    if (code == OK && newest.record && !b.recall.whole) {
        log_info("journal", "commit records do not reach back to a full one: the ends are those of the file");
        code = each_partition(s, ask, ends, err);
    }
    *ret_last = newest.record;
    *ret_full = b.full;
    part_chunk_free(&b.chunk);
    arena_free(&b.arena);
    return code;
}

/* ---- checks ---- */

static bool written(const struct ends_topic *t) {
    for (int p = 0; p < t->partitions; p++)
        if (t->ends[p] >= 0)
            return true;
    return false;
}

/* What is wrong with a topic, as the end of a sentence. AGAIN: nothing. */
static enum code wrong(struct store *s, const struct ends_topic *t, char *ret, size_t size, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_TOPIC, &row, err, "s", t->name);
    if (code == AGAIN) {
        snprintf(ret, size, "is gone, and the pipeline has written to it");
        return OK;
    }
    if (code != OK)
        return code;
    int partitions = sqlite3_column_int(row, 1);
    store_end(row);
    if (partitions != t->partitions) {
        snprintf(ret, size,
                 "has %d partitions, expected %d as recorded in the pipeline: keys would move between "
                 "partitions and lose "
                 "their order",
                 partitions, t->partitions);
        return OK;
    }
    for (int p = 0; p < t->partitions; p++) {
        struct part part = {0};
        if (t->ends[p] < 0)
            continue;
        code = part_find(s, t->name, p, &part, err);
        if (code != OK && code != AGAIN)
            return code;
        if (part.next > t->ends[p])
            continue;
        snprintf(ret, size,
                 "ends at offset %" PRId64 " in partition %d, and the pipeline has written up to %" PRId64
                 ": it was made anew, or the file is an older one",
                 part.next, p, t->ends[p]);
        return OK;
    }
    return AGAIN;
}

enum code known_check(struct store *s, struct ends *ends, bool anew, struct err *err) {
    char what[256];
    for (int i = ends->n - 1; i >= 0; i--) {
        const struct ends_topic *t = &ends->topics[i];
        enum code code = written(t) ? wrong(s, t, what, sizeof what, err) : AGAIN;
        if (code == AGAIN)
            continue;
        if (code != OK)
            return code;
        if (!anew)
            return err_set(err, FATAL, ERR_JOURNAL_TOPIC, "topic '%s' %s. " EMBEDDED_RESNAPSHOT, t->name,
                           what);
        log_warn("journal", "a topic is not as it was left; the snapshot begins it anew",
                 F_STR("topic", t->name), F_STR("what", what));
        ends_forget(ends, i);
    }
    return OK;
}

static enum code stranger(struct store *s, const char *topic, int partitions, bool compacted, int partition,
                          int64_t next, void *arg, struct err *err) {
    (void)partitions, (void)compacted, (void)arg;
    if (next == 0 || !embedded_of_table(s->journal, topic))
        return OK;
    return err_set(
        err, FATAL, ERR_JOURNAL_TOPIC,
        "journal file '%s': topic '%s' holds records (partition %d, up to offset %" PRId64
        ") and there is no commit record in '%s': somebody edited the file. Choose another "
        "journal.embedded.path and "
        "topic_prefix, or remove the file; then build each replica anew: millrace replay --sink NAME",
        s->journal->path, topic, partition, next - 1, s->journal->commits);
}

enum code known_empty(struct store *s, struct err *err) {
    return each_partition(s, stranger, NULL, err);
}
