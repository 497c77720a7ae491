/* The reader: one connection, and a chunk in memory for each stream. Every read is a transaction of one
 * statement.
 *
 * A file that does not exist is no error: a capture agent has not been here yet. */
#pragma once

#include "journal/embedded/part.h"
#include "journal/embedded/tick.h"

struct embedded_stream {
    char *topic;
    int partition;
    int64_t part; /* partitions.id */
    int64_t at;   /* read from here on; everything before was taken */
    struct part_chunk chunk;
    struct chunk_cursor cursor;
    bool opened; /* the cursor stands in the chunk */
    bool peeked; /* `head` is the next record */
    struct chunk_record head;
    int64_t end; /* behind the last record there is, as last seen */
};

struct embedded_reader {
    const struct embedded_journal *journal;
    const struct journal_env *env;
    struct store store;
    struct tick tick;
    bool watching;
    int64_t look_us;                  /* when to see whether the file is still the same */
    struct embedded_stream **streams; /* NULL where closed */
    int n, cap;
    struct embedded_stream *commits; /* NULL: not begun */
    int64_t commits_next;            /* offset to begin at */
};

static inline struct embedded_reader *embedded_reader_of(struct journal_reader *r) {
    return (struct embedded_reader *)r;
}

/* Opens the file if there is one by now, and a stream that nobody closes but the caller. AGAIN: no file, or
 * no topic. */
MUST_CHECK enum code embedded_reader_topic(struct embedded_reader *r, const char *topic,
                                           struct embedded_stream **ret, struct part *ret_held,
                                           struct err *err);

/* stream.c */
/* The partition must be there; what it holds is in *ret_part. AGAIN: it is not. */
MUST_CHECK enum code embedded_stream_new(struct embedded_reader *r, const char *topic, int partition,
                                         int64_t offset, struct embedded_stream **ret, struct part *ret_part,
                                         struct err *err);
void embedded_stream_free(struct embedded_stream *s);
/* The next record is s->head. AGAIN: there is none now, s->end says up to where. FATAL/JOURNAL_GAP: it is
 * gone. */
MUST_CHECK enum code embedded_stream_peek(struct embedded_reader *r, struct embedded_stream *s,
                                          struct err *err);
void embedded_stream_take(struct embedded_stream *s);

journal_reader_open_f embedded_reader_open;
journal_commits_seek_f embedded_commits_seek;
journal_commits_next_f embedded_commits_next;
journal_commits_last_f embedded_commits_last;
journal_stream_open_f embedded_stream_open;
journal_stream_next_f embedded_stream_next;
journal_stream_close_f embedded_stream_close;
journal_reader_wait_f embedded_reader_wait;
journal_reader_close_f embedded_reader_close;
