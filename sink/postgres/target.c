/* The row of target_table for PostgreSQL: opening, closing, and what has no better place. */
#include <assert.h>

#include "sink/postgres/postgres.h"
#include "sink/target_table.h"

static enum code open_target(const void *options, const struct target_env *env, struct target **ret,
                             struct err *err) {
    struct pg_target *t = xcalloc(1, sizeof *t);
    t->base.ops = &postgres_target;
    t->env = *env;
    t->options = options;
    t->tx = 1;
    t->next_id = 1;
    const char *const labels[] = {"sink", env->sink, NULL};
    t->missing = metric_get(METRIC_COUNTER, "millrace_sink_missing_rows_total",
                            "Rows to change or delete that were not in the replica.", labels);
    enum code code = session_open(&t->session, t->options, &t->env, 20000, err);
    if (code != OK) {
        free(t);
        t = NULL;
    }
    *ret = t ? &t->base : NULL;
    return code;
}

enum code pg_undo(struct pg_target *t, enum code code) {
    assert(code != OK);
    t->session.about = NULL;
    session_rollback(&t->session);
    bool forget =
        t->altered || code == REJECT || code == FATAL; /* somebody may mend a table: read it again */
    replicas_rollback(t, forget);
    if (forget) {
        t->commit_id = 0;
        session_forget(&t->session);
    }
    t->altered = false;
    t->tx++;
    return code;
}

static void rollback(struct target *target) {
    struct pg_target *t = pg_of(target);
    if (t->session.in_transaction)
        (void)pg_undo(t, AGAIN);
}

static enum code clear(struct target *target, const struct table *table, bool snapshot, bool restart_identity,
                       struct err *err) {
    struct pg_target *t = pg_of(target);
    struct replica *r;
    enum code code = replica_get(t, table, &r, err);
    if (code != OK)
        return code;
    code = replica_clear(t, r, !snapshot, restart_identity, err);
    return code == OK ? OK : pg_undo(t, code);
}

static void close_target(struct target *target) {
    if (!target)
        return;
    struct pg_target *t = pg_of(target);
    if (t->session.in_transaction)
        (void)pg_undo(t, AGAIN);
    pg_release(t);
    replicas_free(t);
    session_close(&t->session);
    free(t);
}

const struct target_ops postgres_target = {
    .options = &postgres_options,
    .open = open_target,
    .claim = pg_claim,
    .renew = pg_renew,
    .prepare = pg_prepare,
    .apply = pg_apply,
    .clear = clear,
    .commit = pg_commit,
    .rollback = rollback,
    .park = pg_park,
    .reset = pg_reset,
    .close = close_target,
    .status = pg_status,
    .check = pg_check,
    .suggest = pg_suggest,
};
