/* The commit record: the last word of every journal transaction, and the table of contents of the journal.
 *
 * JSON, one per transaction, in the one-partition topic <prefix>.commits, key = source name:
 *   {"v":1,"seq":41,"position":[1,23873408,10],"boundary":true,"full":false,"ts_us":...,
 *    "writer":"...","state":"...","pipeline":"...",
 *    "ends":{"shop.public.t":{"n":4,"k":"k","b":2,"p":{"0":122,"3":57}}}}
 *
 * `ends` tells, for each partition this transaction touched, the offset of its last record (n: the topic's
 * partition count; k: "k" = compacted, keeps the newest record per key, "h" = keeps the whole history; b: the
 * generation whose snapshot began the topic, from 2 on: offsets that a reader has from older generations mean
 * nothing in it). `writer` is the process that wrote it, a random name: how a capture agent tells that a
 * newer one has taken over. `pipeline` is made up with the first record and stays: how a sink tells that it
 * was given another journal. `move` is there when a pipeline goes from one journal to another (move.h):
 * "sealed" is the last word of the old one, "copying" and "moved" those of the new one before capture writes
 * to it; `move_of` the old one's `pipeline`, `move_seq` the record of the old one that the new one begins
 * behind. A `full` record tells them for every partition of every topic that ever got one, so that a reader
 * that lost older records can begin there. A reader that has applied record `seq` may go on with `seq`+1, or
 * jump to any later full one. */
#pragma once

#include "base/arena.h"
#include "base/err.h"
#include "schemas/position.h"

struct partition_end {
    int topic; /* index in the record's topics */
    int partition;
    int64_t offset; /* of the last record written */
};

struct commit_topic {
    const char *name;
    int partitions; /* the topic's partition count */
    bool compacted;
    uint64_t born; /* generation whose snapshot began it; 0: the first, or not told */
};

/* See move.h. */
enum commit_move {
    MOVE_NONE,
    MOVE_SEALED,  /* of the old journal: nothing follows, the pipeline goes on in another one */
    MOVE_COPYING, /* of the new journal: not whole yet, nobody may read it or write to it */
    MOVE_MOVED,   /* of the new journal: everything up to record move_seq of journal move_of is here */
};

struct commit_record {
    uint64_t seq;             /* 1, 2, 3, ... without holes in one pipeline */
    struct position position; /* everything at or below it is in the journal */
    bool boundary;            /* the position is a source commit boundary (or the end of a snapshot) */
    bool full;
    int64_t ts_us; /* wall clock of capture */
    const char
        *writer; /* random name of the process that wrote it; NULL = not told. Filled by the journal writer */
    const char *pipeline; /* random name of the journal, NULL = not told. Filled by the journal writer */
    const char *state;    /* the source's own words (source_mark), UTF-8, opaque here */
    enum commit_move move;
    const char *move_of; /* MOVE_COPYING, MOVE_MOVED: `pipeline` of the old journal */
    uint64_t move_seq;   /* MOVE_SEALED, MOVE_MOVED: newest boundary record of the old journal */
    struct commit_topic *topics;
    int n_topics;
    struct partition_end *ends; /* in ascending order of topic */
    int n_ends;
};

/* A record is never larger than this, in bytes of JSON; what is larger is not read. */
#define COMMIT_RECORD_BYTES_MAX (8 << 20)

/* Partitions of all topics of a pipeline together: each costs memory, whether its end is told or not. */
#define COMMIT_PARTITIONS_MAX 1000000

/* Appends the JSON to `out`. Numbers must not be larger than INT64_MAX. */
void commit_record_write(const struct commit_record *record, struct buf *out);
/* Strings and arrays live in the arena. REJECT/JOURNAL_CORRUPT. */
MUST_CHECK enum code commit_record_read(struct slice json, struct arena *arena, struct commit_record *ret,
                                        struct err *err);
/* Whether capture may write behind this record (NULL: there is none). FATAL/JOURNAL_MOVED: the pipeline has
 * left this journal, or has not arrived in it. */
MUST_CHECK enum code move_check(const struct commit_record *last, struct err *err);
