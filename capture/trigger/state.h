/* What a trigger-fed source stores with its position: JSON text in the journal's commit record. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

struct trigger_state {
    bool found, streaming; /* streaming: the snapshot is complete */
    char identity[128];    /* of the installation that was read (feed.h) */
    uint64_t after;        /* where the snapshot's stream began */
    char *start;           /* what the snapshot's end told; owned */
    char *stale;           /* rows that changed without change rows; "" = none; owned */
};
/* NULL text: nothing is stored. FATAL/JOURNAL_CORRUPT: not ours. To be freed in any case. */
MUST_CHECK enum code trigger_state_read(const char *text, struct trigger_state *ret, struct err *err);
void trigger_state_put(const struct trigger_state *state, struct buf *ret);
void trigger_state_free(struct trigger_state *state);
