/* Every journal in journal_table[] keeps the contracts of journal.h: the case that all suites of this folder
 * share. One fixture per kind of journal does to it what happens behind its back.
 *
 *   MILLRACE_TEST_KAFKA=127.0.0.1:9092 MILLRACE_TEST_EMBEDDED=/some/directory \
 *       contract.journal.topics [NAME OF A TEST]
 *
 * Not here, because it needs servers to be stopped: nothing is called durable while the journal is away
 * (scenarios). */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/journal.h"

#define WAIT_MS 20000
/* Settings of a topic that may be compacted: nothing goes for a week. */
#define WEEK "cleanup.policy=compact;min.compaction.lag.ms=604800000;delete.retention.ms=604800000"

/* ---- fixtures: what is done to a journal behind its back ---- */

struct fixture {
    const char *kind;
    const char *variable; /* of the environment: where the journal is */
    /* YAML of the options; `away`: of a journal that does not answer. */
    void (*options)(struct buf *yaml, const char *prefix, const char *extra);
    void (*options_away)(struct buf *yaml);
    /* A setting of a topic, "" if there is none; the number of partitions for "partitions". */
    void (*setting)(const char *topic, const char *name, char *ret, size_t size);
    void (*make_topic)(const char *topic, int partitions, const char *settings); /* "name=value;..." */
    void (*delete_before)(const char *topic, int partition, int64_t offset);
    void (*delete_topic)(const char *topic);
    void (*write)(const char *topic, int partition,
                  const char *value); /* somebody else, without a transaction */
    const char *limit;                /* name of the setting that limits a record */
    const char *loose; /* YAML of options for more speed and fewer promises, "" if there are none */
    bool service;      /* others use it as well: topics have settings of their own, strangers write */
};
extern const struct fixture kafka_fixture, embedded_fixture;

/* ---- walking the table ---- */

extern const struct journal_ops *ops; /* the row of journal_table[] under test, */
extern const struct fixture *fixture; /* and what belongs to it */
extern struct stop stop;
extern const struct journal_env env;

/* Runs the tests, or those that argv[1] names, for every kind of journal; returns how many failed. */
int walk_journals(int argc, char **argv, const struct CMUnitTest *tests, size_t n);
#define CASE(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)
/* Sets `ops` and `fixture`; false if there is no such kind. */
bool choose_journal(const char *kind);

/* ---- one case's world ---- */

/* A journal of its own, below a random prefix. */
struct world {
    char prefix[64];
    struct arena arena;
    struct journal *journal;
    struct commit_record *last; /* what writer_open returned */
    struct err err;
    uint64_t commit;
};

int world_open(void **state);
int world_close(void **state);
/* A handle more: of the options in YAML; of the world's own, with `extra` YAML. The caller closes it. */
struct journal *open_journal(struct world *w, struct buf *yaml);
struct journal *journal_with(struct world *w, const char *extra);

#define MUST(w, call)                                            \
    do {                                                         \
        enum code must_ = (call);                                \
        if (must_ != OK)                                         \
            fail_msg("%s: %s", code_name(must_), (w)->err.text); \
    } while (0)

#define REFUSED(w, call, want_code, want_id)                                                  \
    do {                                                                                      \
        enum code refused_ = (call);                                                          \
        if (refused_ != (want_code) || (w)->err.id != ERR_##want_id)                          \
            fail_msg("%s %s: %s", code_name(refused_), err_name((w)->err.id), (w)->err.text); \
    } while (0)

/* ---- writing ---- */

struct journal_writer *writer_of(struct world *w, struct journal *journal);
struct journal_writer *writer(struct world *w);
/* The topic of a table, as it stands in the journal; and its number for a writer. */
const char *name_of(struct world *w, const char *table);
int topic(struct world *w, struct journal_writer *writer, const char *table, bool keyed, bool compacted);
/* Waits while the queue is full. */
enum code append_text(struct world *w, struct journal_writer *writer, int topic, int partition,
                      const char *key, const char *value);
void append(struct world *w, struct journal_writer *writer, int topic, int partition, const char *value);
/* Commits at the next position, and waits until that is done or failed. */
enum code try_commit(struct world *w, struct journal_writer *writer, struct commit_record *record);
struct commit_record commit(struct world *w, struct journal_writer *writer);
/* Where a commit record says that a partition ends; -1: it says nothing of it. */
int64_t end_of(const struct commit_record *r, const char *topic, int partition);

/* ---- reading ---- */

struct journal_reader *reader(struct world *w);
int stream(struct world *w, struct journal_reader *r, const char *table, int partition, int64_t offset);
/* The next commit record of a reader, and the next record of a stream up to `last`: waited for. */
struct commit_record *next_commit(struct world *w, struct journal_reader *r);
struct journal_record next(struct world *w, struct journal_reader *r, int stream, int64_t last);
void assert_text(struct slice got, const char *want);
