/* Ownership and position, in the file itself.
 *
 *   claim: epoch 7 ---- renew, commit (each WHERE epoch = 7) ----> somebody else claims: epoch 8
 *                                                                  our next commit matches no row: rolled
 * back
 *
 * A part is free when its owner let go of it, or was not seen for the lease. An owner in a transaction holds
 * the file's write lock: nobody can take its part meanwhile, however long that takes, and the system lets go
 * of the lock of a process that died. A claim therefore never meets a zombie's open transaction, only its
 * next one. */
#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>

#include "base/log.h"
#include "sink/sqlite/sqlite.h"

/* ---- claim ---- */

static enum code check_workers(const struct lite_target *t, int workers, struct err *err) {
    if (workers == 1)
        return OK;
    return err_set(err, FATAL, ERR_CONFIG,
                   "sink %s has workers: %d, and an SQLite file takes one writer at a time: set workers: 1",
                   t->env.sink, workers);
}

/* AGAIN: somebody has it, and was seen. A time that lies in the future was told by a clock that has been set
 * back. */
static enum code look(struct lite_target *t, int64_t lease_ms, bool *others, struct err *err) {
    static const char sql[] =
        "SELECT owner, seen_us FROM millrace_sink_worker WHERE sink = ?1 AND worker = ?2"
        " AND owner IS NOT NULL AND owner <> ?3";
    CLEANUP_STMT *stmt = NULL;
    enum code code =
        db_ask(&t->db, sql, PARAMS(P_TEXT(t->env.sink), P_INT(t->worker), P_TEXT(t->env.owner)), &stmt, err);
    *others = stmt != NULL;
    if (code != OK || !stmt)
        return code;
    int64_t ago_us = clock_wall(t->env.clock) - sqlite3_column_int64(stmt, 1);
    if (llabs(ago_us) <= lease_ms * 1000)
        return err_set(err, AGAIN, ERR_TARGET_OWNERSHIP, "worker %d of sink %s is owned by %s", t->worker,
                       t->env.sink, db_text(stmt, 0));
    if (db_in_transaction(&t->db))
        log_warn("sink/sqlite", "taking over from an owner that was not seen", F_STR("sink", t->env.sink),
                 F_STR("owner", db_text(stmt, 0)));
    return OK;
}

/* An owner that was not seen and holds the write lock is at work. */
static enum code lock(struct lite_target *t, bool others, struct err *err) {
    enum code code = db_begin(&t->db, err);
    if (code != RETRY || !others || (sqlite3_errcode(t->db.conn) & 0xff) != SQLITE_BUSY)
        return code;
    return err_set(err, AGAIN, ERR_TARGET_OWNERSHIP,
                   "worker %d of sink %s is owned by another process, which is at work", t->worker,
                   t->env.sink);
}

static enum code take(struct lite_target *t, struct arena *arena, struct sink_progress *ret,
                      struct err *err) {
    static const char sql[] = "INSERT INTO millrace_sink_worker (sink, worker, workers, epoch, owner, "
                              "seen_us, rebuild) VALUES (?1, ?2, ?3, 1, ?4,"
                              " ?5, EXISTS (SELECT 1 FROM millrace_sink_worker WHERE sink = ?1 AND rebuild)) "
                              "ON CONFLICT (sink, worker) DO UPDATE"
                              " SET epoch = epoch + 1, owner = excluded.owner, seen_us = excluded.seen_us, "
                              "workers = excluded.workers"
                              " RETURNING epoch, commit_seq, commits_next, generation, commit_lsn, ordinal, "
                              "commit_us, rebuild, pipeline";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, sql,
                            PARAMS(P_TEXT(t->env.sink), P_INT(t->worker), P_INT(t->workers),
                                   P_TEXT(t->env.owner), P_INT(clock_wall(t->env.clock))),
                            &stmt, err);
    if (code != OK)
        return code;
    assert(stmt);
    *ret = (struct sink_progress){
        .epoch = (uint64_t)sqlite3_column_int64(stmt, 0),
        .commit_seq = (uint64_t)sqlite3_column_int64(stmt, 1),
        .commits_next = sqlite3_column_int64(stmt, 2),
        .position = {(uint64_t)sqlite3_column_int64(stmt, 3), (uint64_t)sqlite3_column_int64(stmt, 4),
                     (uint64_t)sqlite3_column_int64(stmt, 5)},
        .commit_us = sqlite3_column_int64(stmt, 6),
        .rebuild = sqlite3_column_int(stmt, 7),
        .pipeline =
            sqlite3_column_type(stmt, 8) == SQLITE_NULL ? NULL : arena_strdup(arena, db_text(stmt, 8)),
    };
    return db_finish(&t->db, stmt, NULL, err);
}

static enum code read_offsets(struct lite_target *t, struct arena *arena, struct sink_progress *ret,
                              struct err *err) {
    static const char sql[] =
        "SELECT topic, partition, next, generation, commit_lsn, ordinal, count(*) OVER ()"
        " FROM millrace_sink_offset WHERE sink = ?1 AND worker = ?2 ORDER BY topic, partition";
    CLEANUP_STMT *stmt = NULL;
    enum code code = db_ask(&t->db, sql, PARAMS(P_TEXT(t->env.sink), P_INT(t->worker)), &stmt, err);
    bool row = stmt != NULL;
    size_t n = row ? (size_t)sqlite3_column_int64(stmt, 6) : 0;
    ret->offsets = arena_zalloc(arena, (n + 1) * sizeof *ret->offsets);
    while (code == OK && row) {
        ret->offsets[ret->n_offsets++] = (struct sink_offset){
            .topic = arena_strdup(arena, db_text(stmt, 0)),
            .partition = sqlite3_column_int(stmt, 1),
            .next = sqlite3_column_int64(stmt, 2),
            .position = {(uint64_t)sqlite3_column_int64(stmt, 3), (uint64_t)sqlite3_column_int64(stmt, 4),
                         (uint64_t)sqlite3_column_int64(stmt, 5)},
        };
        code = db_step(&t->db, stmt, &row, err);
    }
    return code;
}

static enum code claim(struct lite_target *t, int64_t lease_ms, struct arena *arena,
                       struct sink_progress *ret, struct err *err) {
    bool others;
    enum code code = look(t, lease_ms, &others, err); /* a standby that waits takes no lock */
    if (code == OK)
        code = lock(t, others, err);
    if (code == OK)
        code = look(t, lease_ms, &others, err);
    if (code == OK)
        code = take(t, arena, ret, err);
    if (code == OK)
        code = read_offsets(t, arena, ret, err);
    return code == OK ? db_commit(&t->db, err) : code;
}

enum code lite_claim(struct target *target, int worker, int workers, int64_t lease_ms, struct arena *arena,
                     struct sink_progress *ret, struct err *err) {
    struct lite_target *t = lite_of(target);
    assert(!db_in_transaction(&t->db) && worker >= 0 && worker < workers);
    *ret = (struct sink_progress){0};
    t->epoch = 0;
    t->worker = worker;
    t->workers = workers;
    lite_replicas_free(t); /* what we knew may be another owner's by now */
    enum code code = check_workers(t, workers, err);
    if (code == OK)
        code = lite_schema_ensure(&t->db, err);
    if (code == OK)
        code = claim(t, lease_ms, arena, ret, err);
    if (code != OK)
        return lite_undo(t, code);
    t->epoch = ret->epoch;
    t->rebuild = ret->rebuild;
    return OK;
}

/* ---- renew, release ---- */

enum code lite_not_owner(const struct lite_target *t, struct err *err) {
    return err_set(err, RETRY, ERR_TARGET_OWNERSHIP, "another process has taken over worker %d of sink %s",
                   t->worker, t->env.sink);
}

static enum code touch(struct lite_target *t, const char *owner, int64_t seen_us, struct err *err) {
    static const char sql[] = "UPDATE millrace_sink_worker SET owner = ?4, seen_us = ?5"
                              " WHERE sink = ?1 AND worker = ?2 AND epoch = ?3";
    int64_t changes = 0;
    t->db.about = NULL;
    enum code code = db_begin(&t->db, err);
    if (code == OK)
        code = db_run(
            &t->db, sql,
            PARAMS(P_TEXT(t->env.sink), P_INT(t->worker), P_INT(t->epoch), P_TEXT(owner), P_INT(seen_us)),
            &changes, err);
    if (code == OK)
        code = changes ? db_commit(&t->db, err) : lite_not_owner(t, err);
    db_rollback(&t->db);
    return code;
}

enum code lite_renew(struct target *target, struct err *err) {
    struct lite_target *t = lite_of(target);
    assert(t->epoch > 0);
    if (db_in_transaction(&t->db))
        return OK; /* the write lock says it */
    return touch(t, t->env.owner, clock_wall(t->env.clock), err);
}

void lite_release(struct lite_target *t) {
    enum { PATIENCE_MS = 1000 };
    if (t->epoch == 0)
        return;
    t->db.deaf = true;
    t->db.busy_ms = PATIENCE_MS;
    struct err ignored;
    if (touch(t, NULL, 0, &ignored) != OK)
        log_debug("sink/sqlite", "ownership was not given up", F_STR("sink", t->env.sink),
                  F_STR("why", ignored.text));
    t->epoch = 0;
}

/* ---- commit ---- */

static enum code move_offsets(struct lite_target *t, const struct sink_progress *progress, struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace_sink_offset (sink, worker, topic, partition, next, generation, commit_lsn, "
        "ordinal)"
        " VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) ON CONFLICT (sink, topic, partition) DO UPDATE SET"
        " worker = excluded.worker, next = excluded.next, generation = excluded.generation,"
        " commit_lsn = excluded.commit_lsn, ordinal = excluded.ordinal";
    enum code code = db_keep(&t->db, sql, &t->move_offset, err);
    for (int i = 0; i < progress->n_offsets && code == OK; i++) {
        const struct sink_offset *o = &progress->offsets[i];
        db_bind(t->move_offset, PARAMS(P_TEXT(t->env.sink), P_INT(t->worker), P_TEXT(o->topic),
                                       P_INT(o->partition), P_INT(o->next), P_INT(o->position.generation),
                                       P_INT(o->position.commit), P_INT(o->position.ordinal)));
        code = db_finish(&t->db, t->move_offset, NULL, err);
    }
    return code;
}

static enum code move_worker(struct lite_target *t, const struct sink_progress *progress, struct err *err) {
    static const char sql[] =
        "UPDATE millrace_sink_worker SET seen_us = ?4, commit_seq = ?5, commits_next = ?6, generation = ?7, "
        "commit_lsn = ?8,"
        " ordinal = ?9, commit_us = ?10, rebuild = ?11, pipeline = coalesce(?12, pipeline)"
        " WHERE sink = ?1 AND worker = ?2 AND epoch = ?3";
    int64_t changes = 0;
    enum code code = db_keep(&t->db, sql, &t->move_worker, err);
    if (code != OK)
        return code;
    db_bind(t->move_worker,
            PARAMS(P_TEXT(t->env.sink), P_INT(t->worker), P_INT(t->epoch), P_INT(clock_wall(t->env.clock)),
                   P_INT(progress->commit_seq), P_INT(progress->commits_next),
                   P_INT(progress->position.generation), P_INT(progress->position.commit),
                   P_INT(progress->position.ordinal), P_INT(progress->commit_us), P_INT(progress->rebuild),
                   P_TEXT(progress->pipeline)));
    code = db_finish(&t->db, t->move_worker, &changes, err);
    return code == OK && changes == 0 ? lite_not_owner(t, err) : code;
}

enum code lite_commit(struct target *target, const struct sink_progress *progress, struct err *err) {
    struct lite_target *t = lite_of(target);
    assert(t->epoch > 0);
    t->db.about = NULL;
    enum code code = db_begin(&t->db, err);
    if (code == OK)
        code = move_worker(t, progress, err);
    if (code == OK)
        code = move_offsets(t, progress, err);
    if (code == OK && t->rebuild && !progress->rebuild)
        code = tables_empty_stale(t, err);
    if (code == OK)
        code = db_commit(&t->db, err);
    if (code != OK)
        return lite_undo(t, code);
    t->rebuild = progress->rebuild;
    t->altered = false;
    t->tx++;
    return OK;
}

/* ---- reset ---- */

/* The tables that were written become stale: the next prepare empties them. */
enum code lite_reset(struct target *target, struct err *err) {
    static const char *const steps[] = {
        "UPDATE millrace_sink_worker SET epoch = epoch + 1, owner = NULL, seen_us = 0, commit_seq = 0, "
        "commits_next = 0,"
        " generation = 0, commit_lsn = 0, ordinal = 0, commit_us = 0, rebuild = 1, pipeline = NULL WHERE "
        "sink = ?1",
        "DELETE FROM millrace_sink_offset WHERE sink = ?1",
        "UPDATE millrace_sink_table SET stale = stale OR written, incarnation = NULL, parked_reason = NULL, "
        "parked_us = NULL"
        " WHERE sink = ?1",
    };
    struct lite_target *t = lite_of(target);
    assert(!db_in_transaction(&t->db));
    t->db.about = NULL;
    enum code code = lite_schema_ensure(&t->db, err);
    if (code == OK)
        code = db_begin(&t->db, err);
    for (size_t i = 0; code == OK && i < sizeof steps / sizeof *steps; i++)
        code = db_run(&t->db, steps[i], PARAMS(P_TEXT(t->env.sink)), NULL, err);
    if (code == OK)
        code = db_commit(&t->db, err);
    if (code != OK)
        return lite_undo(t, code);
    t->epoch = 0;
    return OK;
}
