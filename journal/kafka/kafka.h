/* What the files of this folder share: the configuration, one librdkafka client, and what its errors mean.
 *
 * Speaks Kafka through librdkafka (rdkafka.h, CONFIGURATION.md; 2.0 or newer). Brokers 2.8 to 4.x. */
#pragma once

#include <librdkafka/rdkafka.h>
#include <stdatomic.h>

#include "journal/journal.h"

/* The end of messages about topics that are not as they were left. */
#define KAFKA_RESNAPSHOT                                                                                   \
    "Take a new snapshot, which begins such topics anew: millrace capture --config FILE --resnapshot (or " \
    "run)"

enum kafka_delivery { KAFKA_EXACTLY_ONCE, KAFKA_AT_LEAST_ONCE };

struct kafka_options {
    const char *brokers;
    const char *topic_prefix;
    int64_t partitions;
    int64_t replication; /* -1 = the broker's default */
    int64_t compaction_lag_ms, delete_retention_ms, transaction_timeout_ms;
    int64_t fetch_bytes; /* per partition */
    int64_t pause_ms;    /* between two transactions, at least */
    int delivery;        /* enum kafka_delivery */
    struct text_map properties;
};
extern const struct option_table kafka_option_table;

struct kafka_journal {
    struct journal base;
    const struct kafka_options *options;
    char *commits, *schemas; /* "<prefix>.commits", "<prefix>.schemas" */
    size_t record_bytes_max;
    bool compressed;           /* the producer compresses: sizes on the wire are not known beforehand */
    atomic_bool shared;        /* somebody else was seen to write to the pipeline's topics */
    atomic_size_t batch_bytes; /* 0, or the smallest max.message.bytes met: a batch must fit too */
};

/* Checks what the table cannot. FATAL/CONFIG. */
MUST_CHECK enum code kafka_journal_open(const void *options, const char *pipeline, struct journal **ret,
                                        struct err *err);
void kafka_journal_close(struct journal *journal);
static inline struct kafka_journal *kafka_journal_of(struct journal *journal) {
    return (struct kafka_journal *)journal;
}

/* ---- one librdkafka client ---- */

/* A listener is a reader that mostly waits. */
enum kafka_role { KAFKA_WRITER, KAFKA_READER, KAFKA_LISTENER, KAFKA_ADMIN };

struct kafka_handle {
    rd_kafka_t *rk;
    const struct kafka_journal *journal;
    const struct journal_env *env;
    const struct kafka_hooks *hooks; /* NULL = none */
    /* What the error callback heard; it runs inside rd_kafka_poll, on the handle's own thread. */
    rd_kafka_resp_err_t refused; /* authentication or TLS failed, last time we looked */
    char refused_text[512];
    unsigned lost;         /* connections that failed, as far as the library tells */
    char lost_text[256];   /* of the last connection that failed, "" = none */
    int64_t down_since_us; /* all brokers are down since then; 0 = not */
};

/* What a writer wants to be told. */
struct kafka_hooks {
    /* A delivery report; inside rd_kafka_poll. */
    void (*delivered)(rd_kafka_t *rk, const rd_kafka_message_t *message, void *handle);
    /* A request of this kind goes out (the protocol's number, KAFKA_PRODUCE...). @threads any */
    void (*requested)(struct kafka_handle *h, int api);
};
enum { KAFKA_PRODUCE = 0, KAFKA_ADD_PARTITIONS = 24 };

/* `source` names the pipeline (writers in exactly_once, else unused); `hooks` may be NULL, else they outlive
 * the handle. Connects in the background. The handle must not move while it is open. FATAL/CONFIG. */
MUST_CHECK enum code kafka_handle_open(struct kafka_handle *h, const struct kafka_journal *journal,
                                       const struct journal_env *env, enum kafka_role role,
                                       const char *source, const struct kafka_hooks *hooks, struct err *err);
void kafka_handle_close(struct kafka_handle *h);

/* A broker has answered: what went wrong before it is over. */
static inline void kafka_heard(struct kafka_handle *h) {
    h->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    h->down_since_us = 0;
}

/* Monotonic time `wait_ms` from now. */
int64_t kafka_deadline(const struct journal_env *env, int64_t wait_ms);
/* Milliseconds to the deadline, at most `slice_ms`; 0 when it is over or the stop is asked for. */
int kafka_left_ms(const struct journal_env *env, int64_t deadline_us, int slice_ms);
static inline bool kafka_over(const struct journal_env *env, int64_t deadline_us) {
    return kafka_left_ms(env, deadline_us, 1) == 0;
}
/* A wait is over: RETRY/STOPPED, FATAL/JOURNAL_REFUSED if the brokers turned us away, else
 * RETRY/JOURNAL_UNREACHABLE. */
enum code kafka_timeout(struct kafka_handle *h, const char *doing, struct err *err);

/* ---- errors ---- */

/* Sets the error by the table in errors.c. `doing` says what was tried ("commit the transaction"), `about`
 * may be NULL or name a topic. Returns the code. */
enum code kafka_error(struct err *err, rd_kafka_resp_err_t error, const char *doing, const char *about);
/* True if librdkafka goes on by itself after this error of a consumer: nothing to decide. */
bool kafka_passing(rd_kafka_resp_err_t error);
/* FATAL/ROW_TOO_LARGE with both remedies. */
enum code kafka_too_large(struct err *err, const char *topic, size_t bytes, size_t bytes_max);

/* ---- reading a range (range.c) ---- */

typedef enum code kafka_range_f(void *arg, const rd_kafka_message_t *message, struct err *err);
/* Hands every committed record of partition 0 with from <= offset < to to `each`, on a reader's handle, while
 * that partition is not being read otherwise. An error of `each` ends it. RETRY when the deadline is over. */
MUST_CHECK enum code kafka_range_read(struct kafka_handle *reader, const char *topic, int64_t from,
                                      int64_t to, int64_t deadline_us, kafka_range_f *each, void *arg,
                                      struct err *err);
/* Low and end offset of a partition, as the handle sees it: a reader up to the oldest open transaction, a
 * writer all. AGAIN: there is no such topic or partition. */
MUST_CHECK enum code kafka_watermarks(struct kafka_handle *h, const char *topic, int partition,
                                      int64_t deadline_us, int64_t *ret_low, int64_t *ret_end,
                                      struct err *err);
/* The newest commit record below `end` (arena), NULL if there is none. */
MUST_CHECK enum code kafka_range_last(struct kafka_handle *reader, int64_t low, int64_t end,
                                      int64_t deadline_us, struct arena *arena, struct commit_record **ret,
                                      int64_t *ret_offset, struct err *err);
/* Parses one; FATAL/JOURNAL_CORRUPT naming topic and offset. */
MUST_CHECK enum code kafka_commit_parse(const rd_kafka_message_t *message, const char *topic,
                                        struct arena *arena, struct commit_record *ret, struct err *err);
