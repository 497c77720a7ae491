/* Up to which id of the change table everything is resolved: committed and to be seen, or gone for ever.
 *
 *      handed over        bound        floor of a writer        last id given
 *   ------|-----------------|-----------------|----------------------|-----> ids
 *
 * An id is given before its transaction commits, so that ids become visible late and out of order. But every
 * writer holds a lock on the change table from before its first id to its end, and pg_locks tells of it. A
 * poll reads, in this order: the last id that was given (L), then the writers (W), then, in a new snapshot,
 * rows. Whoever had an id up to L is in W or has ended. A writer that was not in the W of the last poll took
 * its ids after that, so they lie above the last poll's L: its floor. The bound is the least of L and the
 * floors.
 *
 * (PostgreSQL manual, "pg_locks"; access/transam/xact.c: a transaction is visible before it lets go of its
 * locks.) */
#pragma once

#include "base/slice.h"

struct bound_writer {
    char who[40]; /* pg_locks.virtualtransaction */
    uint64_t floor;
    bool here; /* in the W of this poll */
};
struct bound {
    uint64_t bound; /* never falls */
    uint64_t last;  /* L of the last poll */
    uint64_t next;  /* L of this one */
    bool polled;
    struct bound_writer *writers;
    int n, cap;
};

/* Begins at an id that is known to be resolved. */
void bound_start(struct bound *bound, uint64_t resolved);
void bound_free(struct bound *bound);
/* One poll: its L, then each of its W, then the end, which returns the bound. */
void bound_last(struct bound *bound, uint64_t last);
void bound_writer(struct bound *bound, const char *who);
uint64_t bound_end(struct bound *bound);
