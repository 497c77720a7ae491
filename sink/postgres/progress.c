/* Ownership and position, in the replica itself.
 *
 *   claim: epoch 7 ---- renew, commit (each WHERE epoch = 7) ----> somebody else claims: epoch 8
 *                                                                  our next commit matches no row: rolled
 * back
 *
 * A part is free when its owner let go of it, or was not seen for the lease. An owner whose session runs a
 * statement is seen, however long that takes: a source transaction may be larger than any lease. */
#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "sink/postgres/postgres.h"
#include "sink/postgres/sql.h"

#define NUMBER_LEN 24
static const char *number(char to[NUMBER_LEN], int64_t value) {
    snprintf(to, NUMBER_LEN, "%" PRId64, value);
    return to;
}

/* ---- claim ---- */

/* Another number of workers gives each of them other partitions: only from nothing. */
static enum code check_workers(struct pg_target *t, int workers, struct err *err) {
    static const char sql[] =
        "SELECT w.workers, pg_catalog.bool_or(w.commit_seq <> 0 OR EXISTS (SELECT FROM millrace.sink_offset "
        "o WHERE o.sink = w.sink))"
        " FROM millrace.sink_worker w WHERE w.sink = $1 AND w.workers <> $2::int GROUP BY w.workers";
    static const char forget[] = "DELETE FROM millrace.sink_worker WHERE sink = $1 AND worker >= $2::int";
    char number_text[NUMBER_LEN];
    const char *params[] = {t->env.sink, number(number_text, workers)};
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, sql, 2, params, &result, err);
    if (code != OK || PQntuples(result) == 0)
        return code;
    if (result_bool(result, 0, 1))
        return err_set(err, FATAL, ERR_CONFIG,
                       "sink %s was built with workers: %s and now has %d; restore the number, or build the "
                       "replica anew: "
                       "millrace replay --sink %s",
                       t->env.sink, result_name(result, 0, 0), workers, t->env.sink);
    return session_run(&t->session, forget, 2, params, NULL, err);
}

/* $3: owner, $4: lease in ms. Columns: free, somebody else's, whose, the session to end. */
static const char look_sql[] =
    "SELECT w.owner IS NULL OR w.owner = $3 OR greatest(w.seen, CASE"
    "  WHEN a.state = 'active' AND a.wait_event_type IS DISTINCT FROM 'Client' THEN "
    "pg_catalog.clock_timestamp()"
    "  ELSE a.state_change END) < pg_catalog.clock_timestamp() - $4::float8 * interval '1 millisecond',"
    " w.owner IS NOT NULL AND w.owner <> $3, w.owner, CASE WHEN a.usename = current_user THEN a.pid END"
    " FROM millrace.sink_worker w LEFT JOIN pg_catalog.pg_stat_activity a"
    "  ON a.pid = w.backend AND a.backend_start = w.backend_start"
    " WHERE w.sink = $1 AND w.worker = $2::int FOR UPDATE OF w";

static const char take_sql[] =
    "INSERT INTO millrace.sink_worker AS w (sink, worker, workers, epoch, owner, seen, backend, "
    "backend_start, rebuild)"
    " SELECT $1, $2::int, $4::int, 1, $3, pg_catalog.clock_timestamp(), a.pid, a.backend_start,"
    "  EXISTS (SELECT FROM millrace.sink_worker o WHERE o.sink = $1 AND o.rebuild)"
    " FROM pg_catalog.pg_stat_activity a WHERE a.pid = pg_catalog.pg_backend_pid()"
    " ON CONFLICT (sink, worker) DO UPDATE SET epoch = w.epoch + 1, owner = excluded.owner, seen = "
    "excluded.seen,"
    "  workers = excluded.workers, backend = excluded.backend, backend_start = excluded.backend_start"
    " RETURNING epoch, commit_seq, commits_next, generation, commit_lsn, ordinal, commit_us, rebuild, "
    "pipeline";

/* The session of an owner that was not seen may still hold locks: it is ended (allowed to the same role). */
static enum code end_zombie(struct pg_target *t, const char *pid, const char *owner, struct err *err) {
    log_warn("sink/postgres", "taking over from an owner that was not seen", F_STR("sink", t->env.sink),
             F_STR("owner", owner));
    if (!pid)
        return OK;
    const char *params[] = {pid};
    return session_run(&t->session, "SELECT pg_catalog.pg_terminate_backend($1::int)", 1, params, NULL, err);
}

static enum code take(struct pg_target *t, int64_t lease_ms, struct arena *arena, struct sink_progress *ret,
                      struct err *err) {
    char worker[NUMBER_LEN], workers[NUMBER_LEN], lease[NUMBER_LEN];
    number(worker, t->worker), number(workers, t->workers), number(lease, lease_ms);
    CLEANUP_RESULT *seen = NULL, *result = NULL;
    const char *look[] = {t->env.sink, worker, t->env.owner, lease};
    enum code code = session_run(&t->session, look_sql, 4, look, &seen, err);
    if (code != OK)
        return code;
    bool known = PQntuples(seen) > 0;
    if (known && !result_bool(seen, 0, 0))
        return err_set(err, AGAIN, ERR_TARGET_OWNERSHIP, "worker %d of sink %s is owned by %s", t->worker,
                       t->env.sink, result_name(seen, 0, 2));
    const char *params[] = {t->env.sink, worker, t->env.owner, workers};
    code = session_run(&t->session, take_sql, 4, params, &result, err);
    if (code != OK)
        return code;
    if (PQntuples(result) != 1)
        return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the replica did not answer what it was asked");
    *ret = (struct sink_progress){
        .epoch = (uint64_t)result_int(result, 0, 0),
        .commit_seq = (uint64_t)result_int(result, 0, 1),
        .commits_next = result_int(result, 0, 2),
        .position = {(uint64_t)result_int(result, 0, 3), (uint64_t)result_int(result, 0, 4),
                     (uint64_t)result_int(result, 0, 5)},
        .commit_us = result_int(result, 0, 6),
        .rebuild = result_bool(result, 0, 7),
        .pipeline = PQgetisnull(result, 0, 8) ? NULL : arena_strdup(arena, result_text(result, 0, 8)),
    };
    bool other = known && result_bool(seen, 0, 1);
    return other ? end_zombie(t, result_text(seen, 0, 3), result_text(seen, 0, 2), err) : OK;
}

static enum code read_offsets(struct pg_target *t, struct arena *arena, struct sink_progress *ret,
                              struct err *err) {
    static const char sql[] =
        "SELECT topic, partition, next, generation, commit_lsn, ordinal FROM millrace.sink_offset"
        " WHERE sink = $1 AND worker = $2::int ORDER BY topic, partition";
    char worker[NUMBER_LEN];
    const char *params[] = {t->env.sink, number(worker, t->worker)};
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(&t->session, sql, 2, params, &result, err);
    if (code != OK)
        return code;
    ret->n_offsets = PQntuples(result);
    ret->offsets = arena_zalloc(arena, ((size_t)ret->n_offsets + 1) * sizeof *ret->offsets);
    for (int i = 0; i < ret->n_offsets; i++)
        ret->offsets[i] = (struct sink_offset){
            .topic = arena_strdup(arena, result_name(result, i, 0)),
            .partition = (int)result_int(result, i, 1),
            .next = result_int(result, i, 2),
            .position = {(uint64_t)result_int(result, i, 3), (uint64_t)result_int(result, i, 4),
                         (uint64_t)result_int(result, i, 5)},
        };
    return OK;
}

static enum code claim(struct pg_target *t, int64_t lease_ms, struct arena *arena, struct sink_progress *ret,
                       struct err *err) {
    static const char lock_sink[] =
        "SELECT pg_catalog.pg_advisory_xact_lock(1298232, pg_catalog.hashtext($1))";
    const char *params[] = {t->env.sink};
    enum code code = session_begin(&t->session, err);
    if (code == OK)
        code = session_run(&t->session, lock_sink, 1, params, NULL, err);
    if (code == OK)
        code = check_workers(t, t->workers, err);
    if (code == OK)
        code = take(t, lease_ms, arena, ret, err);
    if (code == OK)
        code = read_offsets(t, arena, ret, err);
    if (code == OK)
        code = session_script(&t->session, "COMMIT", err);
    if (code == OK)
        t->session.in_transaction = false;
    return code;
}

enum code pg_claim(struct target *target, int worker, int workers, int64_t lease_ms, struct arena *arena,
                   struct sink_progress *ret, struct err *err) {
    struct pg_target *t = pg_of(target);
    assert(!t->session.in_transaction && worker >= 0 && worker < workers);
    *ret = (struct sink_progress){0};
    t->epoch = 0;
    t->worker = worker;
    t->workers = workers;
    enum code code = progress_schema(&t->session, err);
    if (t->replicas)
        session_forget(&t->session);
    t->commit_id = 0;
    replicas_free(t); /* what we knew may be another owner's by now */
    if (code == OK)
        code = claim(t, lease_ms, arena, ret, err);
    if (code != OK)
        return pg_undo(t, code);
    t->epoch = ret->epoch;
    t->rebuild = ret->rebuild;
    return OK;
}

/* ---- renew, release ---- */

static enum code not_owner(const struct pg_target *t, struct err *err) {
    return err_set(err, RETRY, ERR_TARGET_OWNERSHIP, "another process has taken over worker %d of sink %s",
                   t->worker, t->env.sink);
}

static enum code touch(struct pg_target *t, const char *set, struct err *err) {
    char worker[NUMBER_LEN], epoch[NUMBER_LEN];
    const char *params[] = {t->env.sink, number(worker, t->worker), number(epoch, (int64_t)t->epoch)};
    CLEANUP_BUF sql = {0};
    buf_printf(
        &sql,
        "UPDATE millrace.sink_worker SET %s WHERE sink = $1 AND worker = $2::int AND epoch = $3::bigint",
        set);
    CLEANUP_RESULT *result = NULL;
    t->session.about = "schema millrace";
    enum code code = session_run(&t->session, buf_cstr(&sql), 3, params, &result, err);
    if (code == OK && result_rows(result) == 0)
        code = not_owner(t, err);
    return code;
}

enum code pg_renew(struct target *target, struct err *err) {
    struct pg_target *t = pg_of(target);
    assert(t->epoch > 0);
    if (t->session.in_transaction)
        return session_script(&t->session, "SELECT", err); /* a session that runs statements is seen */
    return touch(t, "seen = pg_catalog.clock_timestamp()", err);
}

void pg_release(struct pg_target *t) {
    if (t->epoch == 0 || !t->session.conn)
        return;
    t->session.deaf = true;
    struct err ignored;
    if (touch(t, "owner = NULL, seen = '-infinity'", &ignored) != OK)
        log_debug("sink/postgres", "ownership was not given up", F_STR("sink", t->env.sink),
                  F_STR("why", ignored.text));
    t->epoch = 0;
}

/* ---- commit ---- */

/* One statement: the division fails when no row of ours was there, and then COMMIT is not run. */
static const char commit_sql[] =
    "WITH mine AS (UPDATE millrace.sink_worker SET seen = pg_catalog.clock_timestamp(), commit_seq = "
    "$4::bigint,"
    "  commits_next = $5::bigint, generation = $6::bigint, commit_lsn = $7::bigint, ordinal = $8::bigint,"
    "  commit_us = $9::bigint, rebuild = $10::bool, pipeline = coalesce($17::text, pipeline)"
    "  WHERE sink = $1 AND worker = $2::int AND epoch = $3::bigint RETURNING 1),"
    " moved AS (INSERT INTO millrace.sink_offset AS o (sink, worker, topic, partition, next, generation, "
    "commit_lsn, ordinal)"
    "  SELECT $1, $2::int, u.* FROM unnest($11::text[], $12::int[], $13::bigint[], $14::bigint[], "
    "$15::bigint[],"
    "   $16::bigint[]) u WHERE EXISTS (SELECT FROM mine)"
    "  ON CONFLICT (sink, topic, partition) DO UPDATE SET worker = excluded.worker, next = excluded.next,"
    "  generation = excluded.generation, commit_lsn = excluded.commit_lsn, ordinal = excluded.ordinal)"
    " SELECT 1 / pg_catalog.count(*) FROM mine";
#define STATE_DIVISION "22012"

/* Array literals of the offsets: topic, partition, next, generation, commit, ordinal. */
static void put_offsets(struct buf arrays[6], const struct sink_progress *progress) {
    for (int a = 0; a < 6; a++)
        buf_putc(&arrays[a], '{');
    for (int i = 0; i < progress->n_offsets; i++) {
        const struct sink_offset *o = &progress->offsets[i];
        const int64_t numbers[] = {o->partition, o->next, (int64_t)o->position.generation,
                                   (int64_t)o->position.commit, (int64_t)o->position.ordinal};
        if (i)
            buf_putc(&arrays[0], ',');
        sql_array_element(&arrays[0], o->topic);
        for (int a = 1; a < 6; a++)
            buf_printf(&arrays[a], "%s%" PRId64, i ? "," : "", numbers[a - 1]);
    }
    for (int a = 0; a < 6; a++)
        buf_putc(&arrays[a], '}');
}

/* The first commit after a rebuild: tables that the sink wrote before it and that nothing came for are
 * emptied too. Of several workers the last one does it: what the others are building must neither be waited
 * for nor be emptied. A row that is locked is that of a table which its worker empties itself. */
static enum code empty_stale(struct pg_target *t, struct err *err) {
    static const char lock[] = "SELECT pg_catalog.pg_advisory_xact_lock(1298232, pg_catalog.hashtext($1))";
    static const char others[] = "SELECT EXISTS (SELECT FROM millrace.sink_worker WHERE sink = $1 AND worker "
                                 "<> $2::int AND rebuild)";
    static const char sql[] = "WITH mine AS (SELECT schema, name FROM millrace.sink_table WHERE sink = $1 "
                              "AND stale FOR UPDATE SKIP "
                              "LOCKED)"
                              " UPDATE millrace.sink_table s SET stale = false FROM mine"
                              " WHERE s.sink = $1 AND s.schema = mine.schema AND s.name = mine.name"
                              " RETURNING pg_catalog.format('%I.%I', s.schema, s.name), EXISTS (SELECT FROM "
                              "pg_catalog.pg_namespace n"
                              " JOIN pg_catalog.pg_class c ON c.relnamespace = n.oid WHERE n.nspname = "
                              "s.schema AND c.relname = s.name "
                              "AND c.relkind IN ('r', 'p'))";
    char worker[NUMBER_LEN];
    const char *params[] = {t->env.sink, number(worker, t->worker)};
    CLEANUP_RESULT *building = NULL, *result = NULL;
    enum code code = session_begin(&t->session, err);
    if (code == OK)
        code = session_run(&t->session, lock, 1, params, NULL, err);
    if (code == OK)
        code = session_run(&t->session, others, 2, params, &building, err);
    if (code != OK || result_bool(building, 0, 0))
        return code;
    code = session_run(&t->session, sql, 1, params, &result, err);
    for (int i = 0; code == OK && i < PQntuples(result); i++) {
        if (!result_bool(result, i, 1))
            continue;
        CLEANUP_BUF clear = {0};
        buf_printf(&clear, "DELETE FROM %s", result_name(result, i, 0));
        code = session_run(&t->session, buf_cstr(&clear), 0, NULL, NULL, err);
    }
    return code;
}

/* Planning it costs more than running it. A failed attempt may leave the statement behind: its number is not
 * used again. */
static enum code move_position(struct pg_target *t, int id, const char *const *params, int *n,
                               struct err *err) {
    char name[32];
    snprintf(name, sizeof name, "millrace_%d_p", id);
    enum code code = OK;
    if (id != t->commit_id)
        code = pipeline_prepare(&t->session, name, commit_sql, 17, NULL, err), ++*n;
    if (code == OK)
        code = pipeline_prepared(&t->session, name, 17, params, err), ++*n;
    return code;
}

/* Begins if nothing is open, moves the position, commits: one round trip. */
static enum code commit(struct pg_target *t, const struct sink_progress *progress, struct err *err) {
    struct buf arrays[6] = {0};
    put_offsets(arrays, progress);
    const int64_t numbers[] = {t->worker,
                               (int64_t)t->epoch,
                               (int64_t)progress->commit_seq,
                               progress->commits_next,
                               (int64_t)progress->position.generation,
                               (int64_t)progress->position.commit,
                               (int64_t)progress->position.ordinal,
                               progress->commit_us};
    char texts[8][NUMBER_LEN];
    const char *params[17] = {t->env.sink};
    for (int i = 0; i < 8; i++)
        params[i + 1] = number(texts[i], numbers[i]);
    params[9] = progress->rebuild ? "true" : "false";
    for (int a = 0; a < 6; a++)
        params[10 + a] = buf_cstr(&arrays[a]);
    params[16] = progress->pipeline;

    uint64_t done[4];
    int n = 0, id = t->commit_id ? t->commit_id : t->next_id++;
    enum code code = pipeline_begin(&t->session, err);
    if (code == OK && !t->session.in_transaction)
        code = pipeline_run(&t->session, "BEGIN", 0, NULL, err), n++;
    if (code == OK)
        code = move_position(t, id, params, &n, err);
    if (code == OK)
        code = pipeline_run(&t->session, "COMMIT", 0, NULL, err), n++;
    if (code == OK)
        code = pipeline_end(&t->session, n, done, err);
    t->commit_id = code == OK ? id : 0;
    for (int a = 0; a < 6; a++)
        buf_free(&arrays[a]);
    return code;
}

enum code pg_commit(struct target *target, const struct sink_progress *progress, struct err *err) {
    struct pg_target *t = pg_of(target);
    assert(t->epoch > 0);
    t->session.about = "schema millrace";
    enum code code = OK;
    if (t->rebuild && !progress->rebuild)
        code = empty_stale(t, err);
    if (code == OK)
        code = late_keys_add(t, NULL, err);
    t->session.about = "schema millrace";
    if (code == OK)
        code = commit(t, progress, err);
    if (code != OK) {
        if (session_failed_with(&t->session, STATE_DIVISION))
            code = not_owner(t, err);
        return pg_undo(t, code);
    }
    t->session.in_transaction = false;
    t->rebuild = progress->rebuild;
    t->altered = false;
    t->tx++;
    return OK;
}

/* ---- tables ---- */

enum code progress_table_state(struct pg_target *t, const struct table *table, enum table_state *ret,
                               struct err *err) {
    static const char sql[] = "SELECT written, stale, incarnation <> $4::bigint FROM millrace.sink_table"
                              " WHERE sink = $1 AND schema = $2 AND name = $3";
    char incarnation[NUMBER_LEN];
    const char *params[] = {t->env.sink, table->schema, table->name,
                            number(incarnation, (int64_t)table->incarnation)};
    CLEANUP_RESULT *result = NULL;
    *ret = TABLE_NEW;
    enum code code = session_run(&t->session, sql, 4, params, &result, err);
    if (code != OK || PQntuples(result) == 0 || !result_bool(result, 0, 0))
        return code;
    bool anew = table->incarnation && !PQgetisnull(result, 0, 2) && result_bool(result, 0, 2);
    *ret = result_bool(result, 0, 1) || anew ? TABLE_STALE : TABLE_WRITTEN;
    return OK;
}

enum code progress_table_before(struct pg_target *t, const struct table *table, struct arena *arena,
                                const char **ret_schema, const char **ret_name, struct err *err) {
    static const char sql[] =
        "SELECT schema, name FROM millrace.sink_table WHERE sink = $1 AND incarnation = $2::bigint"
        " AND written AND NOT stale AND (schema, name) <> ($3, $4)";
    char incarnation[NUMBER_LEN];
    const char *params[] = {t->env.sink, number(incarnation, (int64_t)table->incarnation), table->schema,
                            table->name};
    CLEANUP_RESULT *result = NULL;
    *ret_schema = *ret_name = NULL;
    if (!table->incarnation)
        return OK;
    enum code code = session_run(&t->session, sql, 4, params, &result, err);
    if (code != OK || PQntuples(result) == 0)
        return code;
    *ret_schema = arena_strdup(arena, result_name(result, 0, 0));
    *ret_name = arena_strdup(arena, result_name(result, 0, 1));
    return OK;
}

enum code progress_table_renamed(struct pg_target *t, const struct table *table, const char *schema,
                                 const char *name, struct err *err) {
    static const char forget[] =
        "DELETE FROM millrace.sink_table WHERE sink = $1 AND schema = $2 AND name = $3";
    static const char move[] = "UPDATE millrace.sink_table SET schema = $2, name = $3"
                               " WHERE sink = $1 AND schema = $4 AND name = $5";
    const char *params[] = {t->env.sink, table->schema, table->name, schema, name};
    enum code code = session_run(&t->session, forget, 3, params, NULL, err);
    return code == OK ? session_run(&t->session, move, 5, params, NULL, err) : code;
}

enum code progress_table_written(struct pg_target *t, const struct table *table, struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace.sink_table AS s (sink, schema, name, written, incarnation)"
        " VALUES ($1, $2, $3, true, nullif($4::bigint, 0))"
        " ON CONFLICT (sink, schema, name) DO UPDATE SET written = true, stale = false,"
        " incarnation = coalesce(excluded.incarnation, s.incarnation)";
    char incarnation[NUMBER_LEN];
    const char *params[] = {t->env.sink, table->schema, table->name,
                            number(incarnation, (int64_t)table->incarnation)};
    return session_run(&t->session, sql, 4, params, NULL, err);
}

enum code pg_park(struct target *target, const char *schema, const char *table, const char *reason,
                  struct err *err) {
    static const char sql[] =
        "INSERT INTO millrace.sink_table AS s (sink, schema, name, parked_reason, parked_at)"
        " SELECT $1, $2, $3, $4, CASE WHEN $4::text IS NULL THEN NULL ELSE pg_catalog.clock_timestamp() END"
        " WHERE $6::bigint = 0 OR EXISTS (SELECT FROM millrace.sink_worker w"
        "  WHERE w.sink = $1 AND w.worker = $5::int AND w.epoch = $6::bigint)"
        " ON CONFLICT (sink, schema, name) DO UPDATE SET parked_reason = excluded.parked_reason,"
        "  parked_at = CASE WHEN s.parked_reason = excluded.parked_reason THEN s.parked_at ELSE "
        "excluded.parked_at END";
    struct pg_target *t = pg_of(target);
    char worker[NUMBER_LEN], epoch[NUMBER_LEN];
    const char *params[] = {
        t->env.sink, schema, table, reason, number(worker, t->worker), number(epoch, (int64_t)t->epoch)};
    static const char forget[] =
        "DELETE FROM millrace.sink_table WHERE sink = $1 AND schema = $2 AND name = $3";
    bool unknown = !*schema && !reason; /* the row stands for nothing else */
    CLEANUP_RESULT *result = NULL;
    t->session.about = "schema millrace";
    enum code code = unknown ? session_run(&t->session, forget, 3, params, NULL, err)
                             : session_run(&t->session, sql, 6, params, &result, err);
    if (code == OK && !unknown && result_rows(result) == 0)
        code = not_owner(t, err);
    return code == OK ? OK : pg_undo(t, code);
}

/* The tables that were written become stale: the next prepare empties them. Sessions that are at work on the
 * sink are ended: a build is one long transaction, and what it holds locked is not worth waiting for. */
enum code pg_reset(struct target *target, struct err *err) {
    static const char end_workers[] = "SELECT pg_catalog.pg_terminate_backend(a.pid) FROM "
                                      "millrace.sink_worker w JOIN pg_catalog.pg_stat_activity a"
                                      " ON a.pid = w.backend AND a.backend_start = w.backend_start"
                                      " WHERE w.sink = $1 AND a.usename = current_user AND a.state <> 'idle' "
                                      "AND a.pid <> pg_catalog.pg_backend_pid()";
    static const char lock[] = "SELECT pg_catalog.pg_advisory_xact_lock(1298232, pg_catalog.hashtext($1))";
    static const char workers[] =
        "UPDATE millrace.sink_worker SET epoch = epoch + 1, owner = NULL, seen = '-infinity', commit_seq = 0,"
        " commits_next = 0, generation = 0, commit_lsn = 0, ordinal = 0, commit_us = 0, rebuild = true, "
        "pipeline = NULL"
        " WHERE sink = $1";
    static const char offsets[] = "DELETE FROM millrace.sink_offset WHERE sink = $1";
    static const char tables[] =
        "UPDATE millrace.sink_table SET stale = stale OR written, incarnation = NULL, parked_reason = NULL,"
        " parked_at = NULL WHERE sink = $1";
    static const char *const steps[] = {lock, end_workers, workers, offsets, tables};
    struct pg_target *t = pg_of(target);
    assert(!t->session.in_transaction);
    const char *params[] = {t->env.sink};
    enum code code = progress_schema(&t->session, err);
    if (code == OK)
        code = session_run(&t->session, end_workers, 1, params, NULL, err);
    if (code == OK)
        code = session_begin(&t->session, err);
    for (size_t i = 0; code == OK && i < sizeof steps / sizeof *steps; i++)
        code = session_run(&t->session, steps[i], 1, params, NULL, err);
    if (code == OK)
        code = session_script(&t->session, "COMMIT", err);
    if (code != OK)
        return pg_undo(t, code);
    t->session.in_transaction = false;
    t->epoch = 0;
    return OK;
}
