/* The row of target_table for SQLite: opening, closing, and what has no better place. */
#include <assert.h>

#include "sink/sqlite/sqlite.h"
#include "sink/target_table.h"

static enum code open_target(const void *options, const struct target_env *env, struct target **ret,
                             struct err *err) {
    struct lite_target *t = xcalloc(1, sizeof *t);
    t->base.ops = &sqlite_target;
    t->env = *env;
    t->options = options;
    t->tx = 1;
    const char *const labels[] = {"sink", env->sink, NULL};
    t->missing = metric_get(METRIC_COUNTER, "millrace_sink_missing_rows_total",
                            "Rows to change or delete that were not in the replica.", labels);
    enum code code = db_open(&t->db, t->options, &t->env, DB_CREATE, t->options->lock_timeout_ms, err);
    if (code != OK) {
        db_close(&t->db);
        free(t);
        t = NULL;
    }
    *ret = t ? &t->base : NULL;
    return code;
}

enum code lite_undo(struct lite_target *t, enum code code) {
    assert(code != OK);
    t->db.about = NULL;
    db_rollback(&t->db);
    /* somebody may mend a table: read it again */
    lite_replicas_rollback(t, t->altered || code == REJECT || code == FATAL);
    t->altered = false;
    t->tx++;
    return code;
}

static void rollback(struct target *target) {
    struct lite_target *t = lite_of(target);
    if (db_in_transaction(&t->db))
        (void)lite_undo(t, AGAIN);
}

/* Readers go on with what they see, so a snapshot's clearing and a truncate are one and the same. */
static enum code clear(struct target *target, const struct table *table, bool snapshot, bool restart_identity,
                       struct err *err) {
    (void)snapshot, (void)restart_identity;
    struct lite_target *t = lite_of(target);
    struct replica *r;
    enum code code = lite_replica_get(t, table, &r, err);
    if (code != OK)
        return code;
    t->db.about = r->flat;
    code = table_clear(t, r->flat, err);
    t->db.about = NULL;
    return code == OK ? OK : lite_undo(t, code);
}

static void close_target(struct target *target) {
    if (!target)
        return;
    struct lite_target *t = lite_of(target);
    if (db_in_transaction(&t->db))
        (void)lite_undo(t, AGAIN);
    lite_release(t);
    lite_replicas_free(t);
    sqlite3_finalize(t->move_worker);
    sqlite3_finalize(t->move_offset);
    db_close(&t->db);
    buf_free(&t->scratch);
    free(t);
}

const struct target_ops sqlite_target = {
    .options = &sqlite_options,
    .open = open_target,
    .claim = lite_claim,
    .renew = lite_renew,
    .prepare = lite_prepare,
    .apply = lite_apply,
    .clear = clear,
    .commit = lite_commit,
    .rollback = rollback,
    .park = lite_park,
    .reset = lite_reset,
    .close = close_target,
    .status = lite_status,
    .check = lite_check,
    .suggest = lite_suggest,
};
