/* One window: what a commit record says this worker must read, merged over its partitions by position.
 *
 *   partition 0:  ... | p3  p7  p9 |          p9 <= the record's position
 *   partition 1:  ... | p4  p5     |          window_next gives p3 p4 p5 p7 p9
 *
 * Every partition is read exactly up to the offset that the record names, so nothing at or below its position
 * is missing. */
#pragma once

#include "journal/journal.h"

struct sink_topic; /* the owner's; opaque here */

struct stream {
    struct sink_topic *topic;
    int partition;
    int id;                   /* the journal's stream, -1 = not open */
    int64_t next;             /* first offset not taken */
    int64_t last;             /* the window's end */
    struct position position; /* newest change taken */
    bool dirty;               /* moved since the last replica commit */
    bool resumed;             /* read up to `next` before this claim */
    struct journal_record head;
    struct position head_position;
    uint8_t head_flags;
};

struct window {
    struct journal_reader *reader;
    const struct journal_ops *journal;
    struct stream **heap; /* streams with a head, least position first */
    int n_heap, cap;
    struct stream **waiting; /* streams whose head has not been fetched yet */
    int n_waiting;
    struct stream *current; /* the one whose head window_next gave last */
};

void window_init(struct window *w, const struct journal_ops *journal, struct journal_reader *reader);
void window_free(struct window *w);
/* Adds a stream to be read up to offset `last` (inclusive); nothing happens if it was read that far
 * already. */
MUST_CHECK enum code window_add(struct window *w, const char *topic, struct stream *stream, int64_t last,
                                struct err *err);
/* The change with the least position; its stream's `next` has moved past it. AGAIN: wait for the journal.
 * *ret NULL: the window is done. REJECT/JOURNAL_CORRUPT: *ret names the stream. The record is borrowed until
 * the next call. */
MUST_CHECK enum code window_next(struct window *w, struct stream **ret, struct err *err);
