/* What the file holds, and tidying it because somebody asks: beside a running writer, or without one. */
#include <stdio.h>
#include <sys/stat.h>

#include "journal/embedded/check.h"
#include "journal/embedded/upkeep.h"
#include "journal/embedded/writer.h"

/* ?1 file, ?2 budget, ?3 bytes of the log. One statement, so that all of it is of one moment; of a chunk it
 * reads the index alone. */
static const char about[] =
    "SELECT json_object('kind', 'embedded', 'file', ?1, 'format', (SELECT user_version FROM "
    "pragma_user_version), 'prefix', prefix,"
    " 'writer_epoch', epoch, 'used_bytes', (SELECT (page_count - freelist_count) * page_size FROM "
    "pragma_page_count,"
    " pragma_freelist_count, pragma_page_size), 'budget_bytes', ?2, 'log_bytes', ?3, 'compaction_lag_ms', "
    "compaction_lag_ms,"
    " 'delete_retention_ms', delete_retention_ms, 'retention_ms', retention_ms, 'retention_bytes', "
    "retention_bytes, 'topics',"
    " (SELECT json_group_array(json_object('topic', t.name, 'partition', p.partition, 'compacted', "
    "json(iif(t.compacted, 'true',"
    " 'false')), 'low', p.low, 'next', p.next, 'compacted_to', (SELECT coalesce(max(upto), 0) FROM cleanings "
    "WHERE part = p.id),"
    " 'chunks', coalesce(c.n, 0), 'bytes', coalesce(c.bytes, 0), 'oldest_us', c.oldest, 'newest_us', "
    "c.newest))"
    " FROM topics t JOIN partitions p ON p.topic = t.id LEFT JOIN (SELECT part, count(*) AS n, sum(bytes) AS "
    "bytes, min(ts_us) AS oldest,"
    " max(ts_us) AS newest FROM chunks GROUP BY part) c ON c.part = p.id)) FROM pipeline";

static int64_t log_bytes(const struct embedded_journal *j) {
    struct stat st;
    CLEANUP_FREE char *wal = xasprintf("%s-wal", j->path);
    return stat(wal, &st) == 0 ? (int64_t)st.st_size : 0;
}

static enum code absent(const struct embedded_journal *j, struct err *err) {
    return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                   "journal file '%s' is not there: it is made when capture begins", j->path);
}

enum code embedded_info(struct journal *journal, const struct journal_env *env, int64_t wait_ms,
                        struct buf *ret_json, struct err *err) {
    const struct embedded_journal *j = embedded_of(journal);
    struct store s = {0};
    sqlite3_stmt *row = NULL;
    enum code code = store_open(&s, j, env, STORE_READER, embedded_deadline(env, wait_ms), err);
    if (code != OK)
        return code == AGAIN ? absent(j, err) : code;
    int rc = sqlite3_prepare_v2(s.db, about, -1, &row, NULL);
    if (rc == SQLITE_OK) {
        sqlite3_bind_text(row, 1, j->path, -1, SQLITE_STATIC);
        sqlite3_bind_int64(row, 2, j->options->budget_bytes);
        sqlite3_bind_int64(row, 3, log_bytes(j));
        rc = sqlite3_step(row);
    }
    if (rc == SQLITE_ROW)
        buf_put(ret_json, sqlite3_column_blob(row, 0), (size_t)sqlite3_column_bytes(row, 0));
    else
        code = store_error(&s, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "read it", err);
    sqlite3_finalize(row);
    store_close(&s);
    return code;
}

/* ---- tidying ---- */

/* What the last writer promised, whatever this process is configured to: epoch and times of the file. */
static enum code promised(struct store *s, struct embedded_options *o, int64_t *ret_epoch, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_PIPELINE, &row, err, "");
    if (code == OK) {
        o->compaction_lag_ms = sqlite3_column_int64(row, 1);
        o->delete_retention_ms = sqlite3_column_int64(row, 2);
        o->retention_ms = sqlite3_column_int64(row, 3);
        o->retention_bytes = sqlite3_column_int64(row, 4);
        store_end(row);
        code = store_row(s, SQL_EPOCH, &row, err, "");
    }
    if (code != OK)
        return code == AGAIN ? store_error(s, SQLITE_CORRUPT, "find its pipeline", err) : code;
    *ret_epoch = sqlite3_column_int64(row, 0);
    store_end(row);
    return OK;
}

static enum code newest_full(struct store *s, int64_t *ret, struct err *err) {
    CLEANUP_BUF source = {0};
    struct arena arena = {0};
    struct ends ends = {0};
    struct commit_record *last;
    enum code code = known_recall(s, &ends, &arena, &last, &source, ret, err);
    ends_free(&ends);
    arena_free(&arena);
    return code;
}

static enum code pass(struct store *s, int64_t epoch, struct err *err) {
    struct upkeep_pass p = {.store = s,
                            .epoch = epoch,
                            .now_us = clock_wall(s->env->clock),
                            .asked = true,
                            .deadline_us = INT64_MAX};
    enum code code = newest_full(s, &p.full_at, err);
    if (code == OK)
        code = upkeep_retain(&p, err);
    if (code == OK)
        code = upkeep_compact(&p, err);
    if (code == AGAIN)
        code = store_error(s, SQLITE_BUSY, "write to it", err);
    if (code == OK) /* what is busy with the log will do it */
        (void)sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    return code;
}

enum code embedded_tidy(struct journal *journal, const struct journal_env *env, int64_t *ret_before,
                        int64_t *ret_after, struct err *err) {
    struct embedded_journal *j = embedded_of(journal);
    const struct embedded_options *own = j->options;
    struct embedded_options as_promised = *own;
    struct store s = {0};
    int64_t epoch = 0;
    enum code code = store_open(&s, j, env, STORE_UPKEEP, embedded_deadline(env, EMBEDDED_LOCK_MS), err);
    if (code != OK)
        return code == AGAIN ? absent(j, err) : code;
    code = promised(&s, &as_promised, &epoch, err);
    if (code == OK)
        code = store_used(&s, ret_before, err);
    j->options = &as_promised; /* for the time of the pass; nobody else in this process uses the journal */
    if (code == OK)
        code = pass(&s, epoch, err);
    j->options = own;
    if (code == OK)
        code = store_used(&s, ret_after, err);
    store_close(&s);
    return code;
}
