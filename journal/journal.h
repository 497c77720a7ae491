/* The log between capture and sinks: topics of partitions, appended to in transactions by one fenced writer,
 * read by many.
 *
 * A kind of journal is one row of journal_table.c. A handle is used by one thread (its crank); several
 * handles of one journal may live in one process. Nothing here knows what a change is: keys, values and
 * headers are bytes. */
#pragma once

#include <poll.h>

#include "base/arena.h"
#include "base/clock.h"
#include "base/option.h"
#include "base/stop.h"
#include "journal/commit_record.h"
#include "schemas/store.h"

struct journal; /* a kind and its configuration; no connection; shared by writers and readers */
struct journal_writer;
struct journal_reader;

struct journal_env { /* borrowed by the handles made from it */
    const struct clock *clock;
    const struct stop *stop; /* waits end early when it is asked for */
    bool anew; /* writers: a new snapshot was asked for, so topics may be gone, or made anew by others */
};

/* ---- writer ---- */

/* One transaction after another:
 *   append* -> commit (AGAIN*) -> OK: durable, readers can see it
 * After RETRY from any function the outcome of the open transaction is unknown: close, open anew, and go on
 * from the record that `open` returns. The first append begins the transaction. */

struct topic_spec {
    const char *name; /* "<prefix>.<schema>.<table>", legal in the journal */
    bool keyed;       /* keyed: spread over the configured partitions; else exactly one partition */
    bool compacted;   /* newest record per key is kept for ever; else everything is */
};

/* Fences older writers of this pipeline and returns the newest commit record (arena) or NULL if there is
 * none. Blocks at most `wait_ms`. RETRY/JOURNAL_UNREACHABLE; FATAL/JOURNAL_REFUSED; FATAL/JOURNAL_TOPIC: a
 * topic that the pipeline wrote to is gone, holds less than it did, or has other partitions (unless a
 * snapshot follows), there are topics with records but no commit record, the commits topic has more than one
 * partition, or settings that lose data (unclean leader election, min.insync.replicas below what the
 * replication factor allows). RETRY/JOURNAL_FULL, here and from every function that writes: the journal may
 * hold no more, or its disk cannot. */
typedef enum code journal_writer_open_f(struct journal *journal, const struct journal_env *env,
                                        const char *source, int64_t wait_ms, struct journal_writer **ret,
                                        struct arena *arena, struct commit_record **ret_last,
                                        struct err *err);
/* Without disturbing anybody: OK, or as writer_open: FATAL/JOURNAL_FENCED when another process has committed
 * to this pipeline since this one did, FATAL/JOURNAL_MOVED when the journal is sealed (move.h). Blocks at
 * most wait_ms. RETRY/JOURNAL_UNREACHABLE. */
typedef enum code journal_overtaken_f(struct journal *journal, const struct journal_env *env,
                                      const char *source, int64_t wait_ms, struct err *err);
/* Creates or checks a topic (at most 30 s); idempotent and cached. Returns a small topic number and its
 * partition count: of a topic that exists the count it was made with, whatever is configured. RETRY, FATAL as
 * above. */
typedef enum code journal_topic_f(struct journal_writer *w, const struct topic_spec *spec, int *ret_topic,
                                  int *ret_partitions, struct err *err);

struct journal_header {
    const char *name;
    struct slice value;
};
struct journal_append {
    int topic, partition;
    struct slice key, value; /* data == NULL: null; copied */
    const struct journal_header *headers;
    int n_headers;
};
/* Hands a record over (taken, not durable). AGAIN: the local queue (bounded in bytes) is full, or the last
 * transaction is not settled yet: call journal_writer_poll and again. RETRY. FATAL/ROW_TOO_LARGE: names
 * limit, size and both remedies; FATAL/JOURNAL_FENCED. */
typedef enum code journal_append_f(struct journal_writer *w, const struct journal_append *record,
                                   struct err *err);
/* Ends the transaction with `record` (the writer fills seq, topics, ends, full; the caller position,
 * boundary, ts, state; what the writer filled is valid until the next call for the writer). AGAIN: not done
 * within wait_ms (the last step may take a second longer), call again with the same arguments. OK: durable.
 * With nothing appended it writes only the commit record. RETRY: outcome unknown. FATAL/JOURNAL_FENCED. */
typedef enum code journal_commit_f(struct journal_writer *w, struct commit_record *record, int64_t wait_ms,
                                   struct err *err);
/* Serves callbacks for at most wait_ms. Errors of delivery show up here or in the next call: RETRY. */
typedef enum code journal_writer_poll_f(struct journal_writer *w, int64_t wait_ms, struct err *err);
typedef void
journal_writer_close_f(struct journal_writer *w); /* aborts what is open; at most 1 s; NULL is fine */

/* ---- reader: sees only committed records ---- */

struct journal_record {
    int64_t offset;
    int64_t ts_us;
    struct slice key, value; /* borrowed until the next call for the same stream; data == NULL: null */
    struct slice header;     /* the "millrace" header, empty if there is none */
    struct slice other_key;  /* of the header below, empty if there is none */
    const char *other_name;  /* "__debezium.oldkey", "__debezium.newkey", NULL if there is none */
};

typedef enum code journal_reader_open_f(struct journal *journal, const struct journal_env *env,
                                        int64_t wait_ms, struct journal_reader **ret, struct err *err);
/* The commits topic from `offset` (0 = the earliest there is) on. */
typedef enum code journal_commits_seek_f(struct journal_reader *r, int64_t offset, struct err *err);
/* Next commit record (arena) and its own offset in the commits topic. AGAIN: none yet. */
typedef enum code journal_commits_next_f(struct journal_reader *r, struct arena *arena,
                                         struct commit_record **ret, int64_t *ret_offset, struct err *err);
/* The newest commit record there is now, NULL if none; does not move the cursor of commits_next. Blocks at
 * most wait_ms. */
typedef enum code journal_commits_last_f(struct journal_reader *r, int64_t wait_ms, struct arena *arena,
                                         struct commit_record **ret, int64_t *ret_offset, struct err *err);
#define JOURNAL_EARLIEST (-1) /* an offset: that of the first record that is still held */
/* Opens a stream of one partition at `offset`; the journal bounds in bytes what is fetched ahead of the
 * reader. FATAL/JOURNAL_GAP: the offset lies before what a topic that is not compacted still holds, or the
 * partition is gone. RETRY/JOURNAL_UNREACHABLE: there is no such partition (yet), and nothing was read from
 * it before. */
typedef enum code journal_stream_open_f(struct journal_reader *r, const char *topic, int partition,
                                        int64_t offset, int *ret_stream, struct err *err);
/* Next record whose offset is <= `last`. AGAIN: not fetched yet. OK with ret->offset > last: the stream has
 * no more record up to `last` (compacted away, or transaction markers): nothing was consumed. RETRY: the
 * topic is gone, the broker does not answer. FATAL/JOURNAL_GAP: records were deleted while the stream was
 * open. */
typedef enum code journal_stream_next_f(struct journal_reader *r, int stream, int64_t last,
                                        struct journal_record *ret, struct err *err);
typedef void journal_stream_close_f(struct journal_reader *r, int stream);
/* Blocks until some stream or the commits topic may have something, the stop, or wait_ms. */
typedef enum code journal_reader_wait_f(struct journal_reader *r, int64_t wait_ms, struct err *err);
typedef void journal_reader_close_f(struct journal_reader *r);

/* ---- schemas inside the journal ---- */
/* A store kept in topic <prefix>.schemas. With a writer: put() appends inside the writer's transactions;
 * without: get only. A store with a writer lives no longer than the writer, and the ids it gave away in a
 * transaction that did not commit are gone with it: after opening the writer anew make a new store, and put()
 * every schema again. */
typedef enum code journal_schemas_f(struct journal *journal, const struct journal_env *env,
                                    struct journal_writer *writer_or_null, struct schema_store **ret,
                                    struct err *err);

/* ---- for those who look after it: a kind that comes with tools of its own names them (FATAL/USAGE) ---- */

/* What it holds, as a JSON object:
 * {"kind":..,"file":..,"topics":[{"topic":..,"partition":..,"low":..,"next":..,...}]}. Changes nothing. */
typedef enum code journal_info_f(struct journal *journal, const struct journal_env *env, int64_t wait_ms,
                                 struct buf *ret_json, struct err *err);
/* Reads all that it holds, for as long as that takes, beside a running pipeline: every damage is a finding
 * (base/finding.h), level error. */
typedef enum code journal_prove_f(struct journal *journal, const struct journal_env *env,
                                  struct buf *findings_json, struct err *err);
/* Deletes and compacts now what may go by what is configured. Safe beside a running writer;
 * RETRY/JOURNAL_FENCED: another one took over meanwhile, call again. *ret_before, *ret_after: bytes held. */
typedef enum code journal_tidy_f(struct journal *journal, const struct journal_env *env, int64_t *ret_before,
                                 int64_t *ret_after, struct err *err);

/* ---- the kind ---- */

/* What compacted topics still know, microseconds: every change for `changes_us`, and of a row that is gone
 * its delete for `deletes_us` more. A reader that has a row and comes later than both may miss its delete. As
 * configured; the writer refuses topics that know less (JOURNAL_TOPIC). */
struct journal_kept {
    int64_t changes_us, deletes_us;
};

struct journal_ops {
    const struct option_table *options;
    /* `options` is the filled struct of the table; borrowed. `pipeline`: its name, for what the options leave
     * open; NULL: not known. */
    enum code (*open)(const void *options, const char *pipeline, struct journal **ret, struct err *err);
    void (*close)(struct journal *journal);
    const char *(*prefix)(const struct journal *journal); /* topic prefix */
    size_t (*record_bytes_max)(const struct journal *journal);
    struct journal_kept (*kept)(const struct journal *journal);
    journal_writer_open_f *writer_open;
    journal_overtaken_f *overtaken;
    journal_topic_f *topic;
    journal_append_f *append;
    journal_commit_f *commit;
    journal_writer_poll_f *writer_poll;
    journal_writer_close_f *writer_close;
    journal_reader_open_f *reader_open;
    journal_commits_seek_f *commits_seek;
    journal_commits_next_f *commits_next;
    journal_commits_last_f *commits_last;
    journal_stream_open_f *stream_open;
    journal_stream_next_f *stream_next;
    journal_stream_close_f *stream_close;
    journal_reader_wait_f *reader_wait;
    journal_reader_close_f *reader_close;
    journal_schemas_f *schemas;
    /* doctor: connects, checks broker settings, rights and existing topics without changing anything. */
    enum code (*check)(struct journal *journal, int64_t wait_ms, struct buf *findings_json, struct err *err);
    journal_info_f *info;
    journal_prove_f *prove;
    journal_tidy_f *tidy;
};

/* First member of every implementation's structs. */
struct journal {
    const struct journal_ops *ops;
};
