/* Opening a writer: what the file holds is on disk, nobody else writes, the end of every partition is known
 * again. */
#include <assert.h>
#include <stdio.h>

#include "base/log.h"
#include "journal/embedded/reader.h"
#include "journal/embedded/tick.h"
#include "journal/embedded/upkeep.h"
#include "journal/embedded/writer.h"

#define SYNC_MS 5000 /* others may read an old state for longer: then not everything can be written back */

/* A write that could not be synced may stand in the page cache and not on the disk, and a second fsync says
 * nothing of it. So what the write-ahead log holds is written once more, into the file itself, before it is
 * believed. */
static enum code believe(struct embedded_writer *w, int64_t deadline_us, struct err *err) {
    int frames = 0, done = 0;
    int64_t soon_us = embedded_deadline(w->env, SYNC_MS);
    w->store.deadline_us = soon_us < deadline_us ? soon_us : deadline_us;
    enum code code = store_run(&w->store, SQL_SYNC_FULL, err, "");
    if (code != OK)
        return code;
    w->store.full_sync = true;
    int rc = sqlite3_wal_checkpoint_v2(w->store.db, NULL, SQLITE_CHECKPOINT_FULL, &frames, &done);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        return store_error(&w->store, rc, "write its log back", err);
    if (rc != SQLITE_OK || done < frames)
        log_warn("journal", "somebody reads an old state of the journal: its log cannot be written back now",
                 F_STR("path", w->journal->path));
    return OK;
}

/* What a writer before us did not finish. */
static enum code sweep(struct embedded_writer *w, struct err *err) {
    for (;;) {
        sqlite3_stmt *row;
        enum code code = store_row(&w->store, SQL_LEFT_OVER, &row, err, "");
        if (code != OK)
            return code == AGAIN ? OK : code;
        int64_t part = sqlite3_column_int64(row, 0);
        store_end(row);
        code = store_begin(&w->store, false, w->epoch, err);
        if (code == AGAIN)
            return store_error(&w->store, SQLITE_BUSY, "sweep it", err);
        if (code != OK)
            return code;
        code = store_run(&w->store, SQL_LEFT_OVER_DELETE, err, "i", part);
        code = code == OK ? store_commit(&w->store, err) : (store_rollback(&w->store), code);
        if (code != OK)
            return code;
    }
}

/* ---- taking over ---- */

static enum code check_owner(const struct embedded_writer *w, const struct buf *source,
                             const struct commit_record *last, struct err *err) {
    if (!slice_is(buf_slice(source), w->source))
        return err_set(
            err, FATAL, ERR_JOURNAL_TOPIC,
            "journal file '%s' holds the commit records of source '%.*s', and this is source '%s': one file "
            "serves one source. Choose another journal.embedded.path, or name the source as before",
            w->journal->path, (int)source->len, source->data, w->source);
    return process_overtaken(w->pipeline, last, err);
}

static enum code recall(struct embedded_writer *w, struct arena *arena, struct commit_record **ret_last,
                        int64_t *ret_full, struct err *err) {
    CLEANUP_BUF source = {0};
    struct commit_record *last;
    enum code code = known_recall(&w->store, &w->ends, arena, &last, &source, ret_full, err);
    if (code != OK)
        return code;
    if (!last)
        return known_empty(&w->store, err);
    code = check_owner(w, &source, last, err);
    if (code != OK)
        return code;
    bool anew;
    w->born = tell_resume(&w->tell, last, w->env->anew, &anew);
    *ret_last = last;
    return known_check(&w->store, &w->ends, anew, err);
}

static enum code take_epoch(struct embedded_writer *w, struct err *err) {
    const struct embedded_options *o = w->journal->options;
    sqlite3_stmt *row;
    enum code code = store_run(&w->store, SQL_TAKE_OVER, err, "iiii", o->compaction_lag_ms,
                               o->delete_retention_ms, o->retention_ms, o->retention_bytes);
    if (code == OK)
        code = store_row(&w->store, SQL_EPOCH, &row, err, "");
    if (code != OK)
        return code == AGAIN ? store_error(&w->store, SQLITE_CORRUPT, "find its pipeline", err) : code;
    w->epoch = sqlite3_column_int64(row, 0);
    store_end(row);
    return OK;
}

/* Who writes is settled in one transaction: whoever comes too late for it finds another epoch. */
static enum code take_over(struct embedded_writer *w, struct arena *arena, struct commit_record **ret_last,
                           int64_t *ret_full, struct err *err) {
    enum code code = store_begin(&w->store, true, -1, err);
    if (code == AGAIN)
        return store_error(&w->store, SQLITE_BUSY, "become the writer of the pipeline", err);
    if (code != OK)
        return code;
    code = recall(w, arena, ret_last, ret_full, err);
    if (code == OK)
        code = take_epoch(w, err);
    if (code == OK)
        return store_commit(&w->store, err);
    store_rollback(&w->store);
    return code;
}

static enum code become(struct embedded_writer *w, int64_t deadline_us, struct arena *arena,
                        struct commit_record **ret_last, struct err *err) {
    int64_t full = -1;
    enum code code = store_create(w->journal, err);
    if (code == OK)
        code = store_open(&w->store, w->journal, w->env, STORE_WRITER, deadline_us, err);
    if (code == AGAIN)
        return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "journal file '%s' was removed just now",
                       w->journal->path);
    if (code == OK)
        code = tick_make(w->journal->tick, err);
    if (code == OK)
        code = believe(w, deadline_us, err);
    w->store.deadline_us = deadline_us;
    if (code == OK)
        code = take_over(w, arena, ret_last, &full, err);
    if (code == OK)
        code = sweep(w, err);
    if (code == OK)
        code = writer_internal_topic(w, w->journal->commits, &w->commits, err);
    if (code == OK)
        code = upkeep_start(&w->store, w->epoch, full, deadline_us, &w->upkeep, err);
    return code;
}

enum code embedded_writer_open(struct journal *journal, const struct journal_env *env, const char *source,
                               int64_t wait_ms, struct journal_writer **ret, struct arena *arena,
                               struct commit_record **ret_last, struct err *err) {
    struct embedded_writer *w = xcalloc(1, sizeof *w);
    *ret = NULL;
    *ret_last = NULL;
    w->journal = embedded_of(journal);
    w->env = env;
    w->source = xstrdup(source);
    w->pipeline = xasprintf("%s %s", w->journal->path, source);
    w->born = 1;
    random_name(w->tell.pipeline);
    enum code code = become(w, embedded_deadline(env, wait_ms), arena, ret_last, err);
    if (code == OK) {
        *ret = (struct journal_writer *)w;
        return OK;
    }
    assert(code != AGAIN);
    *ret_last = NULL;
    embedded_writer_close((struct journal_writer *)w);
    return code;
}

enum code embedded_overtaken(struct journal *journal, const struct journal_env *env, const char *source,
                             int64_t wait_ms, struct err *err) {
    struct journal_reader *reader = NULL;
    struct arena arena = {0};
    struct commit_record *last = NULL;
    int64_t offset;
    CLEANUP_FREE char *pipeline = xasprintf("%s %s", embedded_of(journal)->path, source);
    enum code code = embedded_reader_open(journal, env, wait_ms, &reader, err);
    if (code == OK)
        code = embedded_commits_last(reader, wait_ms, &arena, &last, &offset, err);
    if (code == OK && last)
        code = process_overtaken(pipeline, last, err);
    embedded_reader_close(reader);
    arena_free(&arena);
    return code;
}
