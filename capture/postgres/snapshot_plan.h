/* What a snapshot reads: the units as the stream will name them, and the pieces of the tables that store
 * their rows. */
#pragma once

#include "capture/postgres/decode.h"
#include "capture/postgres/tables.h"

struct snapshot_unit {
    struct relation *relation;
    const char *columns; /* SQL list of the selected columns */
    int tasks_left;
};
struct snapshot_task {
    int unit;
    const char *sql; /* COPY ... TO STDOUT */
};
struct snapshot_plan {
    struct arena arena;
    struct snapshot_unit *units;
    struct snapshot_task *tasks;
    int n_units, n_tasks, cap_tasks;
    double rows; /* estimate */
};

/* Plans inside the imported snapshot of `conn`: locks the tables against being rewritten, and refuses (RETRY)
 * if one was rewritten or truncated after the snapshot was exported, for then it would look empty. */
MUST_CHECK enum code snapshot_plan_make(PGconn *conn, const struct pg_options *options,
                                        const struct source_env *env, const char *publication,
                                        struct catalog *catalog, struct snapshot_plan *ret, struct err *err);
void snapshot_plan_free(struct snapshot_plan *plan);
