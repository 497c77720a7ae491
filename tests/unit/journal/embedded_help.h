/* A journal in a directory of its own, for the tests of journal/embedded: writing and reading in one call
 * each, and what is done to the file by hand. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <sqlite3.h>

#include "journal/embedded/reader.h"
#include "journal/embedded/upkeep.h"
#include "journal/embedded/writer.h"

#define WAIT_MS 20000

struct world {
    char *directory;
    struct embedded_options options; /* to be changed, then world_configure */
    struct journal *journal;
    struct arena arena;
    struct commit_record *last; /* what writer_open returned */
    struct err err;
    uint64_t commits;
};

extern const struct journal_env world_env;

/* Set-up and tear-down of cmocka. */
int world_open(void **state);
int world_close(void **state);
void world_configure(struct world *w); /* makes the journal anew from the options */
#define CASE(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

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

#define SAYS(w, word)                                        \
    do {                                                     \
        if (!strstr((w)->err.text, word))                    \
            fail_msg("no '%s' in: %s", word, (w)->err.text); \
    } while (0)

enum code world_try_writer(struct world *w, struct journal_writer **ret);
struct journal_writer *world_writer(struct world *w);
struct journal_reader *world_reader(struct world *w);
int world_topic(struct world *w, struct journal_writer *writer, const char *table, bool compacted);
/* Waits until there is room. value NULL: a delete. */
enum code world_try_append(struct world *w, struct journal_writer *writer, int topic, int partition,
                           const char *key, struct slice value);
void world_append(struct world *w, struct journal_writer *writer, int topic, int partition, const char *key,
                  const char *value);
enum code world_try_commit(struct world *w, struct journal_writer *writer, struct commit_record *ret);
struct commit_record world_commit(struct world *w, struct journal_writer *writer);

/* Topic of a table, without its prefix. */
char *world_name(struct world *w, const char *table);
int64_t world_end(const struct commit_record *r, const char *topic, int partition);
/* All records of a partition as "offset:key=value " (delete: "offset:key! "), from `from` on. */
const char *world_dump(struct world *w, const char *table, int partition, int64_t from);

/* SQL on the file, by hand. */
void world_sql(struct world *w, const char *sql);
int64_t world_number(struct world *w, const char *sql);
/* Bytes of the file itself, its log written back before. */
void world_read_file(struct world *w, struct buf *ret);
void world_write_file(struct world *w, struct slice bytes);
