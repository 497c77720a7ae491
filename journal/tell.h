/* What a writer tells in its commit records: numbers without holes, and the ends as deltas, with a full
 * record first and then whenever the deltas since the last one weigh more than it, or the pipeline is idle.
 * And how it is read back. */
#pragma once

#include "journal/ends.h"
#include "journal/process.h"

struct tell {
    char pipeline[RANDOM_NAME_BYTES]; /* commit_record.pipeline */
    uint64_t seq;                     /* of the last commit */
    struct commit_record record;      /* the one under way */
    struct buf json;                  /* and its bytes */
    size_t full_bytes;                /* size of the last full record, 0 = none yet by this writer */
    size_t delta_bytes;               /* of all records since */
};
void tell_free(struct tell *t);
/* Makes the record that ends the open transaction: `caller` with what the writer fills. `foreseen`: see
 * ends_fill; the arrays are those of the ends. FATAL/JOURNAL_TOPIC: larger than COMMIT_RECORD_BYTES_MAX. */
MUST_CHECK enum code tell_fill(struct tell *t, struct ends *ends, const struct commit_record *caller,
                               bool foreseen, struct err *err);
/* It is durable: counted, noted (process_note), and handed to the caller. */
void tell_done(struct tell *t, struct commit_record *caller);

/* A writer goes on behind `last`. Returns the generation that topics belong to which are made from now on
 * (commit_topic.born); *ret_anew: the source begins a snapshot (`resnapshot`, or there was none to its end),
 * so no older topic is needed. */
uint64_t tell_resume(struct tell *t, const struct commit_record *last, bool resnapshot, bool *ret_anew);

/* Reading back: records in their order, up to the newest. Zero-initialised but for `ends`, which they go
 * into. */
struct recall {
    struct ends *ends;
    uint64_t seq; /* of the record read last, 0 = none */
    bool whole;   /* the ends stand on a full record and every delta since */
};
/* Forgets what was read. */
void recall_restart(struct recall *r);
/* FATAL/JOURNAL_CORRUPT as ends_apply. */
MUST_CHECK enum code recall_record(struct recall *r, const struct commit_record *record, struct err *err);
