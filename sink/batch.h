/* A batch: the changes of one table version coalesced to the last state of each key.
 *
 *   before the batch   changes in the batch          what is left
 *   no row             c u u                         INSERT (full)
 *   row                u u                           UPDATE (present columns of all, newest wins)
 *   row                u d                           DELETE
 *   row                d c                           UPDATE (full)
 *   no row             c d                           DELETE (matches nothing; harmless)
 *
 * Without a key nothing is coalesced: the rows are kept in order and matched by all their columns. ABSENT
 * never hides a value that an earlier change of the batch brought. */
#pragma once

#include "base/arena.h"
#include "schemas/change.h"

enum row_op { ROW_INSERT, ROW_UPDATE, ROW_DELETE, ROW_NONE };

struct batch_row {
    enum row_op op;
    bool full;      /* no ABSENT in values */
    bool was_there; /* the first change of the key in this batch was not an insert: zero rows affected is a
                       divergence */
    const struct value *values; /* n_columns; DELETE of a keyed table: only the key counts */
    const struct value *before; /* keyless UPDATE: the old row; otherwise NULL */
    uint32_t next;              /* hash chain; internal */
    uint64_t hash;              /* internal */
};

struct batch {
    const struct table *table;
    struct batch_row *rows; /* in order of the first change of each key */
    uint32_t n, cap;
    uint32_t n_op[3]; /* how many rows end as insert, update, delete */
    bool partial;     /* some row has ABSENT values */
    bool snapshot;    /* only rows of a snapshot: all are inserts of new keys */
    bool filtered; /* rows to update or delete may rightly be missing: a row filter applies, or the replica is
                      built from compacted topics; set by the owner after reset */
    struct arena arena; /* copies of the values: its `used` is the batch's size in bytes */
    uint32_t *buckets;  /* internal */
    uint32_t n_buckets;
};

void batch_init(struct batch *batch, const struct table *table);
void batch_reset(struct batch *batch, const struct table *table); /* empty, memory kept */
void batch_free(struct batch *batch);
/* Takes r, c, u, d (values are copied). A `u` or `c` with moved_partial cannot be coalesced: the caller
 * applies it alone (returns false, nothing taken). */
bool batch_add(struct batch *batch, const struct change *change);
