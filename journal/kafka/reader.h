/* The reader: librdkafka's simple consumer, one queue per partition, no groups. Offsets live in the replica.
 *
 * Batches are taken from a partition's queue without ever pausing it: librdkafka 2.0.2 skips records when
 * both are used. */
#pragma once

#include "journal/kafka/kafka.h"

#define STREAM_BATCH 500

struct kafka_stream {
    struct kafka_handle *h;
    char *topic;
    int partition;
    rd_kafka_topic_t *rkt;
    rd_kafka_queue_t *queue;
    rd_kafka_message_t *messages[STREAM_BATCH];
    int next, n;
    rd_kafka_message_t *lent;    /* handed to the caller, freed by the next call */
    int64_t waiting_us, look_us; /* stuck.c: nothing came since then; when to look why */
    int64_t eof;                 /* the stream was read up to here and there was no more; -1 = not known */
    int64_t at;                  /* read from here on; everything before was taken */
    bool on;                     /* the client reads it; else it waits for kafka_stream_begin */
};

struct kafka_reader {
    struct kafka_handle h;         /* first: the callbacks get its address */
    int wake;                      /* eventfd: some queue was empty and has something now */
    struct kafka_stream **streams; /* NULL where closed */
    int n, cap;
    struct kafka_stream *commits; /* NULL: not begun */
    int64_t commits_next;         /* offset to begin at */
    int64_t commits_retry_us;     /* the topic does not exist yet: look again then */
    /* Another client for the commits topic, opened late: for who is idle (idle.c), and for commits_last */
    struct kafka_handle second;
    bool idle;
    int64_t heard_us; /* when something came last */
};

static inline struct kafka_reader *kafka_reader_of(struct journal_reader *r) {
    return (struct kafka_reader *)r;
}

MUST_CHECK enum code kafka_stream_start(struct kafka_reader *r, struct kafka_handle *h, const char *topic,
                                        int partition, int64_t offset, struct kafka_stream **ret,
                                        struct err *err);
void kafka_stream_stop(struct kafka_stream *s); /* and frees it; NULL is fine */
/* Starts and stops the client's reading, at `at`. Neither waits for a broker. */
MUST_CHECK enum code kafka_stream_begin(struct kafka_stream *s, struct err *err);
void kafka_stream_pause(struct kafka_stream *s);
/* Takes what is not a record and no error from the queue. False if something is left: messages[next]. */
bool kafka_stream_empty(struct kafka_reader *r, struct kafka_stream *s);

/* Goes idle if nothing has come for a while and nothing is expected. (idle.c) */
MUST_CHECK enum code kafka_idle_look(struct kafka_reader *r, int64_t now_us, struct err *err);
/* Ends that, if it was idle. Partitions that `record` (may be NULL) tells of are read at once, others when
 * they are asked for. After an error the reader can only be closed. */
MUST_CHECK enum code kafka_idle_end(struct kafka_reader *r, const struct commit_record *record,
                                    struct err *err);
MUST_CHECK enum code kafka_second_open(struct kafka_reader *r, struct err *err);
/* Whether the brokers answer for the commits topic; blocks for 2 s at most. AGAIN: they say there is none. */
MUST_CHECK enum code kafka_commits_ask(struct kafka_handle *h, struct err *err);

/* A record that must be there has not come: after some seconds the reason is looked for and logged.
 * (stuck.c) */
void kafka_stuck_look(struct kafka_reader *r, struct kafka_stream *s);

journal_reader_open_f kafka_reader_open;
journal_commits_seek_f kafka_commits_seek;
journal_commits_next_f kafka_commits_next;
journal_commits_last_f kafka_commits_last;
journal_stream_open_f kafka_stream_open;
journal_stream_next_f kafka_stream_next;
journal_stream_close_f kafka_stream_close;
journal_reader_wait_f kafka_reader_wait;
journal_reader_close_f kafka_reader_close;
