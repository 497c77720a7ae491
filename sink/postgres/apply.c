/* Which way a batch is applied. */
#include <assert.h>

#include "sink/postgres/postgres.h"

enum { SINGLE_ROWS = 16, SINGLE_BYTES = 256 * 1024 };

/* A row to be inserted must be whole: what is not there cannot be made up. */
static enum code check_inserts(const struct replica *r, const struct batch *batch, struct err *err) {
    for (uint32_t i = 0; batch->partial && i < batch->n; i++) {
        const struct batch_row *row = &batch->rows[i];
        for (int c = 0; row->op == ROW_INSERT && c < r->table->n_columns; c++)
            if (row->values[c].tag == VALUE_ABSENT && !r->columns[c].skip)
                return value_refused(r, c, row->values, "a row to be inserted lacks this column", err);
    }
    return OK;
}

static bool moved(const struct batch *batch) {
    return batch->n == 1 && batch->rows[0].op == ROW_UPDATE && batch->rows[0].before &&
           batch->table->n_key > 0;
}

static enum code dispatch(struct pg_target *t, struct replica *r, const struct batch *batch,
                          struct err *err) {
    enum code code = check_inserts(r, batch, err);
    if (code != OK)
        return code;
    if (r->table->n_key == 0)
        return apply_keyless(t, r, batch, err);
    if (late_key_takes(t, r, batch))
        return late_key_apply(t, r, batch, err);
    code = late_key_add(t, r, err);
    if (code != OK)
        return code;
    if (moved(batch))
        return apply_moved(t, r, batch, err);
    bool small = batch->n <= SINGLE_ROWS && batch->arena.used <= SINGLE_BYTES;
    bool wide = r->n_written > STAGE_COLUMNS_MAX;
    return small || wide ? apply_single(t, r, batch, err) : apply_staged(t, r, batch, err);
}

enum code pg_apply(struct target *target, struct batch *batch, struct err *err) {
    struct pg_target *t = pg_of(target);
    if (batch->n == 0)
        return OK;
    struct replica *r;
    enum code code = replica_get(t, batch->table, &r, err);
    if (code != OK)
        return code;
    t->session.about = r->label;
    code = dispatch(t, r, batch, err);
    t->session.about = NULL;
    return code == OK ? OK : pg_undo(t, code);
}
