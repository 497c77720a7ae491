/* What every source must hold (capture/source.h), walked for each row of source_table[] against a real
 * database (place.h): the case that all suites of this folder share.
 *
 * MILLRACE_TEST_KIND in the environment walks only that kind. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"
#include "capture/source.h"
#include "place.h"

extern const struct source_ops *ops; /* the row of source_table[] that is walked, */
extern const struct place *place;    /* and where its databases stand */

/* Runs the tests, or those that argv[1] names, for every source there is; returns how many failed. */
int walk_sources(int argc, char **argv, const struct CMUnitTest *tests, size_t n);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
/* What only this kind of source has, or says in its own SQL. */
#define CASE_OF(kind, f) \
    cmocka_unit_test_prestate_setup_teardown(f, set_up, tear_down, (void *)(uintptr_t)(kind))
#define POSTGRES          "postgres"
#define POSTGRES_TRIGGERS "postgres_triggers"
#define SQLITE            "sqlite"
#define MARIADB_TRIGGERS  "mariadb_triggers"

int set_up(void **state);
int tear_down(void **state);

/* ---- the database, as an application sees it ---- */

#define DEADLINE_S 20

/* Runs any number of statements; the test fails if one does. */
void PRINTF_LIKE(1, 2) sql(const char *fmt, ...);
/* The same in another session. */
void PRINTF_LIKE(2, 3) sql_in(void *session, const char *fmt, ...);
/* All rows of a query as "a|b;c|d", NULL as "~"; valid until the next one. */
const char *PRINTF_LIKE(1, 2) see(const char *fmt, ...);
/* Until the database answers so: its sessions end in their own time. */
void await(const char *query, const char *answer);
/* CREATE TABLE name (columns), whose changes carry whole old rows. */
void make_table(const char *name, const char *columns);

/* ---- a capture of it ---- */

struct fixture {
    struct stop stop;
    struct source_env env;
    struct arena arena; /* options */
    char *set[8][2];    /* YAML of options that the case has set: key, value */
    void *options;
    struct source *source;
    struct err err;
    struct source_item item;
    /* the newest mark */
    struct buf state;
    uint64_t ticket;
    struct position position; /* newest handed over */
    bool boundary;
};

/* Sets an option from here on, in YAML. */
void PRINTF_LIKE(3, 4) option(struct fixture *f, const char *key, const char *fmt, ...);
/* The same from lines of the place's; false if the kind has no such thing. */
bool option_line(struct fixture *f, const char *line);
/* The options as they stand now; they live as long as the fixture. */
void *options_of(struct fixture *f);

/* What the newest mark stored, as the next capture finds it. */
struct source_resume resume_of(const struct fixture *f);
/* `millrace source install`, for kinds that need it. */
enum code install(struct fixture *f);
/* Opens at the newest mark, or with none for a snapshot, for which what the kind needs is installed; waits
 * while our last session is still ending. */
enum code try_open(struct fixture *f, bool resnapshot);
void open_source(struct fixture *f);
void close_source(struct fixture *f);
/* There is nothing stored any more. */
void forget(struct fixture *f);
void expect_needs_resnapshot(struct fixture *f, const char *words);

/* The source's next word: an item, a refusal, or AGAIN when nothing came until the deadline. */
enum code step(struct fixture *f, int64_t deadline_us);
/* The next item within the deadline; false when nothing came. */
bool next_within(struct fixture *f, int64_t ms);
void next(struct fixture *f);
/* Takes items until the source refuses. */
void expect_refusal(struct fixture *f, enum code code, enum err_id id);
/* Takes the snapshot without looking at its rows; ends at its boundary, which is durable. */
void pass_snapshot(struct fixture *f);
/* Takes items until the database answers so. */
void wait_for(struct fixture *f, const char *question, const char *answer);

void mark(struct fixture *f);
void confirm(struct fixture *f);

/* The item as a line: "u t before{id=1,v=~} after{id=1,v=x}", "COMMIT", "IDLE"; the table's schema where it
 * is not the place's. Valid until the next one. */
const char *item_line(const struct source_item *item);
/* The next items, in order; idle items between them do not count. */
#define expect(f, ...) expect_lines(f, (const char *const[]){__VA_ARGS__, NULL})
void expect_lines(struct fixture *f, const char *const *lines);

/* Table a (id int, the key) with the row 1 is captured, its row 2 came from the stream and is durable;
 * closed, and our place is free. */
void stream_a_little(struct fixture *f);
/* A new snapshot and a stream that goes on from it. */
void mend_and_go_on(struct fixture *f);
