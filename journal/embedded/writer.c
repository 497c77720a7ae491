/* Topics and appending. */
#include "journal/embedded/writer.h"

#include <assert.h>
#include <inttypes.h>

#include "journal/embedded/upkeep.h"

#define QUEUE_BYTES_MAX (8u << 20)
#define RECORD_OVERHEAD 64 /* of a record in its chunk, at most */
#define HEADER_OVERHEAD 24
#define TOPIC_MS        30000

enum code writer_fail(struct embedded_writer *w, enum code code, struct err *err) {
    assert(code != OK && code != AGAIN);
    if (w->failed.code == OK && err)
        w->failed = *err;
    w->failed.code = w->failed.code == OK ? code : w->failed.code;
    return code;
}

static enum code check(const struct embedded_writer *w, struct err *err) {
    if (w->failed.code == OK)
        return OK;
    return err_set(err, w->failed.code, w->failed.id, "%s", w->failed.text);
}

/* ---- topics ---- */

struct found { /* a row of topics */
    int64_t id, partitions;
    bool compacted;
};

static enum code find(struct store *s, const char *name, struct found *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_TOPIC, &row, err, "s", name);
    if (code != OK)
        return code;
    *ret = (struct found){sqlite3_column_int64(row, 0), sqlite3_column_int64(row, 1),
                          sqlite3_column_int64(row, 2) != 0};
    store_end(row);
    return OK;
}

static enum code make_rows(struct store *s, const struct topic_spec *spec, int partitions, struct err *err) {
    struct found made;
    enum code code =
        store_run(s, SQL_TOPIC_ADD, err, "sii", spec->name, (int64_t)partitions, (int64_t)spec->compacted);
    if (code == OK)
        code = find(s, spec->name, &made, err);
    for (int64_t p = 0; p < partitions && code == OK; p++)
        code = store_run(s, SQL_PARTITION_ADD, err, "ii", made.id, p);
    return code;
}

/* It is on disk with the first transaction that uses it. */
static enum code make(struct embedded_writer *w, const struct topic_spec *spec, int partitions,
                      struct err *err) {
    w->store.deadline_us = embedded_deadline(w->env, TOPIC_MS);
    enum code code = store_begin(&w->store, false, w->epoch, err);
    if (code == AGAIN)
        return store_error(&w->store, SQLITE_BUSY, "make a topic", err);
    if (code == OK)
        code = make_rows(&w->store, spec, partitions, err);
    if (code == OK)
        return store_commit(&w->store, err);
    store_rollback(&w->store);
    return code;
}

static enum code check_topic(const struct topic_spec *spec, const struct found *found, int64_t known,
                             struct err *err) {
    int64_t wanted = spec->keyed ? known : 1;
    if (wanted > 0 && found->partitions != wanted)
        return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                       "topic '%s' has %" PRId64 " partitions, expected %" PRId64
                       ": keys would move between partitions and lose their order. " EMBEDDED_RESNAPSHOT,
                       spec->name, found->partitions, wanted);
    if (found->compacted && !spec->compacted)
        return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                       "topic '%s' is compacted, and the table's changes must be kept whole now: it has no "
                       "key, or its full "
                       "rows are no longer logged. Restore its replica identity (ALTER TABLE ... REPLICA "
                       "IDENTITY FULL) and "
                       "key, or rename the table; or begin a new journal with another journal.embedded.path",
                       spec->name);
    return OK;
}

static enum code lanes_of(struct embedded_writer *w, const char *name, int partitions, struct lanes **ret,
                          struct err *err) {
    enum code code = OK;
    struct lanes *lanes = xcalloc(1, sizeof *lanes + (size_t)partitions * sizeof *lanes->lane);
    lanes->n = partitions;
    for (int p = 0; p < partitions && code == OK; p++) {
        sqlite3_stmt *row;
        struct lane *l = &lanes->lane[p];
        code = store_row(&w->store, SQL_PARTITION, &row, err, "si", name, (int64_t)p);
        if (code == AGAIN)
            code = store_error(&w->store, SQLITE_CORRUPT, "find a partition", err);
        if (code != OK)
            break;
        l->part = sqlite3_column_int64(row, 0);
        l->next = l->at = sqlite3_column_int64(row, 2);
        store_end(row);
    }
    if (code == OK)
        *ret = lanes;
    else
        free(lanes);
    return code;
}

static enum code open_topic(struct embedded_writer *w, const struct topic_spec *spec, int partitions,
                            bool internal, int *ret, struct err *err) {
    struct found found;
    struct lanes *lanes;
    int i = ends_find(&w->ends, spec->name);
    if (i >= 0 && w->ends.topics[i].open) {
        *ret = i;
        return OK;
    }
    enum code code = find(&w->store, spec->name, &found, err);
    if (code == AGAIN) {
        code = make(w, spec, partitions, err);
        if (code == OK)
            code = find(&w->store, spec->name, &found, err);
    }
    if (code == OK)
        code = check_topic(spec, &found, i >= 0 ? w->ends.topics[i].partitions : 0, err);
    if (code == OK)
        code = lanes_of(w, spec->name, (int)found.partitions, &lanes, err);
    if (code != OK)
        return code;
    if (i < 0) {
        i = ends_add(&w->ends, spec->name, (int)found.partitions, found.compacted);
        w->ends.topics[i].born = w->born;
    }
    struct ends_topic *t = &w->ends.topics[i];
    t->compacted = found.compacted;
    t->internal = internal;
    t->handle = lanes;
    t->open = true;
    *ret = i;
    return OK;
}

enum code writer_internal_topic(struct embedded_writer *w, const char *name, int *ret_topic,
                                struct err *err) {
    struct topic_spec spec = {.name = name, .compacted = true};
    enum code code = open_topic(w, &spec, 1, true, ret_topic, err);
    return code == OK || code == AGAIN ? code : writer_fail(w, code, err);
}

enum code embedded_topic(struct journal_writer *jw, const struct topic_spec *spec, int *ret_topic,
                         int *ret_partitions, struct err *err) {
    struct embedded_writer *w = embedded_writer_of(jw);
    int i, partitions = spec->keyed ? (int)w->journal->options->partitions : 1;
    enum code code = check(w, err);
    if (code == OK)
        code = open_topic(w, spec, partitions, false, &i, err);
    if (code == RETRY)
        return writer_fail(w, code, err);
    if (code != OK)
        return code;
    *ret_topic = i;
    *ret_partitions = w->ends.topics[i].partitions;
    return OK;
}

/* ---- append ---- */

static void seal(struct embedded_writer *w, struct lane *l) {
    if (w->n_sealed == w->cap_sealed) {
        w->cap_sealed = w->cap_sealed ? w->cap_sealed * 2 : 64;
        w->sealed = xrealloc(w->sealed, w->cap_sealed * sizeof *w->sealed);
    }
    w->sealed[w->n_sealed++] = (struct sealed){
        .head = {l->part, l->chunk.first, l->chunk.last, l->chunk.ts_us},
        .from = w->sealed_bytes.len,
        .len = l->chunk.bytes.len,
    };
    buf_put_slice(&w->sealed_bytes, buf_slice(&l->chunk.bytes));
    chunk_clear(&l->chunk);
}

static void touch(struct embedded_writer *w, struct lane *l) {
    if (l->touched)
        return;
    l->touched = true;
    if (w->n_touched == w->cap_touched) {
        w->cap_touched = w->cap_touched ? w->cap_touched * 2 : 64;
        w->touched = xrealloc(w->touched, w->cap_touched * sizeof *w->touched);
    }
    w->touched[w->n_touched++] = l;
}

void writer_put(struct embedded_writer *w, const struct journal_append *a) {
    struct ends_topic *t = &w->ends.topics[a->topic];
    struct lane *l = &((struct lanes *)t->handle)->lane[a->partition];
    struct chunk_record record = {
        .offset = l->at++, .ts_us = clock_wall(w->env->clock), .key = a->key, .value = a->value};
    if (a->n_headers) {
        buf_clear(&w->headers);
        chunk_headers(&w->headers, a->headers, a->n_headers);
        record.headers = buf_slice(&w->headers);
    }
    size_t before = l->chunk.bytes.len;
    chunk_put(&l->chunk, &record);
    w->queued_bytes += l->chunk.bytes.len - before;
    touch(w, l);
    ends_sent(&w->ends, a->topic, a->partition);
    ends_note(&w->ends, a->topic, a->partition, record.offset);
    if (l->chunk.bytes.len >= EMBEDDED_CHUNK_BYTES)
        seal(w, l);
}

/* At most what the record takes in the file. */
static size_t bytes_of(const struct journal_append *a) {
    size_t bytes = RECORD_OVERHEAD + a->key.len + a->value.len;
    for (int i = 0; i < a->n_headers; i++)
        bytes += HEADER_OVERHEAD + strlen(a->headers[i].name) + a->headers[i].value.len;
    return bytes;
}

static enum code too_large(const char *topic, size_t bytes, int64_t bytes_max, struct err *err) {
    return err_set(err, FATAL, ERR_ROW_TOO_LARGE,
                   "topic '%s' takes records of at most %" PRId64 " bytes and this one has %zu. Raise "
                   "journal.embedded.record_bytes (for example to %zu), or exclude the column or the table",
                   topic, bytes_max, bytes, bytes + bytes / 2);
}

enum code embedded_append(struct journal_writer *jw, const struct journal_append *a, struct err *err) {
    struct embedded_writer *w = embedded_writer_of(jw);
    assert(a->topic >= 0 && a->topic < w->ends.n && w->ends.topics[a->topic].open);
    const struct ends_topic *t = &w->ends.topics[a->topic];
    assert(a->partition >= 0 && a->partition < t->partitions);
    if (w->failed.code != OK)
        return check(w, err);
    assert(w->step == WRITER_IDLE || w->step == WRITER_FILLING); /* no commit is under way */
    size_t bytes = bytes_of(a);
    if ((int64_t)bytes > w->journal->options->record_bytes)
        return too_large(t->name, bytes, w->journal->options->record_bytes, err);
    if (w->queued_bytes && w->queued_bytes + bytes > QUEUE_BYTES_MAX)
        return AGAIN;
    writer_put(w, a);
    w->step = WRITER_FILLING;
    return OK;
}

enum code embedded_writer_poll(struct journal_writer *jw, int64_t wait_ms, struct err *err) {
    struct embedded_writer *w = embedded_writer_of(jw);
    enum code code = check(w, err);
    if (code != OK || w->step != WRITER_FILLING || w->queued_bytes < QUEUE_BYTES_MAX / 2)
        return code;
    w->store.deadline_us = embedded_deadline(w->env, wait_ms);
    code = writer_stage(w, err);
    return code == AGAIN ? OK : code;
}

/* ---- life ---- */

static void lanes_free(void *handle) {
    struct lanes *lanes = handle;
    for (int i = 0; i < lanes->n; i++)
        chunk_free(&lanes->lane[i].chunk);
    free(lanes);
}

void embedded_writer_close(struct journal_writer *jw) {
    struct embedded_writer *w = embedded_writer_of(jw);
    if (!w)
        return;
    upkeep_stop(w->upkeep);
    store_rollback(&w->store);
    store_close(&w->store);
    w->ends.handle_free = lanes_free;
    ends_free(&w->ends);
    tell_free(&w->tell);
    free(w->touched);
    free(w->sealed);
    buf_free(&w->sealed_bytes);
    buf_free(&w->headers);
    free(w->source);
    free(w->pipeline);
    free(w);
}
