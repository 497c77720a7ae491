/* Where a change stands in its source's history.
 *
 *   generation 1                                  generation 2 (a new snapshot was taken)
 *   |-- snapshot --|-- stream ------------------>|-- snapshot --|-- stream -->
 *    (1,0,1)..(1,0,n) (1,commit,1)..(1,commit,m)   (2,0,1)..
 *
 * Ordered lexicographically. `commit` is the LSN of the commit record (pgoutput's Begin tells it before the
 * first change, so that a transaction larger than memory can be shipped while it arrives); rows of a snapshot
 * have commit 0. `ordinal` counts inside the transaction from 1, with gaps: what is not captured and what may
 * become two changes takes its numbers too, so that they depend on the log alone. Many changes share one LSN,
 * so an LSN alone is never a position. A position is comparable only within one pipeline. */
#pragma once

#include <stdint.h>

struct position {
    uint64_t generation, commit, ordinal;
};

static inline int position_cmp(struct position a, struct position b) {
    if (a.generation != b.generation)
        return a.generation < b.generation ? -1 : 1;
    if (a.commit != b.commit)
        return a.commit < b.commit ? -1 : 1;
    return a.ordinal < b.ordinal ? -1 : a.ordinal > b.ordinal;
}
