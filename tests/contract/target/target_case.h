/* What every target must hold (sink/target.h), walked for each row of target_table[] against a real replica
 * (place.h): the case that all suites of this folder share.
 *
 * MILLRACE_TEST_KIND in the environment walks only that kind. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <libpq-fe.h>

#include "place.h"
#include "sink/target.h"
#include "tests/values.h"

extern const struct target_ops *ops; /* the row of target_table[] that is walked */

extern const struct place *place; /* where its replicas stand */

/* Runs the tests for every target there is, each in a new place; returns how many failed. */
int walk_targets(const struct CMUnitTest *tests, size_t n);
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
/* What only this kind of target has, or says in its own SQL. */
#define CASE_OF(kind, f) \
    cmocka_unit_test_prestate_setup_teardown(f, set_up, tear_down, (void *)(uintptr_t)(kind))
#define POSTGRES "postgres"
#define SQLITE   "sqlite"
/* What every kind must hold whose replicas have this (place.h: .has). */
#define CASE_WITH(what, f) CASE_OF(what, f)
#define CONSTRAINTS        "constraints" /* tables made by hand: UNIQUE, CHECK, foreign keys, DEFAULT, generated */
#define WORKERS            "workers" /* several workers of one sink write to it at a time */

/* Before each test, and in one as often as it likes: the schema shop is there and empty, millrace is not
 * there. */
int set_up(void **state);
int tear_down(void **state);

/* ---- the replica, as somebody else sees it ---- */

extern PGconn *eye; /* of PostgreSQL: the connection of sql() and see() */

/* Runs any number of statements (place.h); the test fails if one does. */
void PRINTF_LIKE(1, 2) sql(const char *fmt, ...);
/* All rows of a query as "a|b;c|d", NULL as "~"; valid until the next one. */
const char *PRINTF_LIKE(1, 2) see(const char *fmt, ...);
/* A table's name as the replica's own SQL and errors have it: "shop.items". Valid until the next one. */
const char *named(const char *table);
bool has_table(const char *table);
/* The place has `what` of CASE_WITH. */
bool has(const char *what);
/* The columns of a table's key as "a;b". Valid until the next see(). */
const char *key_of(const char *table);
/* No owner was seen for long. */
void forget_owners(void);

/* ---- a process of a sink ---- */

#define LEASE_MS 10000

/* The sink "report" in one process: what it was opened with, what it knows of its part, the last error. */
struct process {
    struct arena arena;
    struct stop stop;
    struct target_env env;
    void *options;
    struct target *target;
    struct sink_progress progress;
    struct err err;
};

/* Options as key, value, ..., beside the place; and a whole list, with NULL at its end. */
#define OPTIONS(...)                            \
    (const char *const[]) {                     \
        place->option, url, ##__VA_ARGS__, NULL \
    }

/* Opens the target as `owner`; process_end() is due also when that failed. */
enum code try_open(struct process *p, const char *owner, const char *const *pairs);
void process_open(struct process *p, const char *owner, const char *const *pairs);
/* Opens it and claims part 0 of 1. */
void process_begin(struct process *p, const char *owner, const char *const *pairs);
void process_end(struct process *p);

/* Steps of the target, with the error in p->err. */
enum code claim(struct process *p);
enum code prepare(struct process *p, const struct table *table);
enum code prepare_as(struct process *p, const struct table *table, bool fresh, bool may_clear);
enum code apply(struct process *p); /* the current batch */
enum code commit(struct process *p);
void apply_commit(struct process *p); /* both must be OK */

#define assert_code(p, call, code_, id_)                                                             \
    do {                                                                                             \
        (p)->err = (struct err){0};                                                                  \
        enum code got_ = (call);                                                                     \
        if (got_ != (code_) || ((id_) != ERR_NONE && (p)->err.id != (id_)))                          \
            fail_msg("%s: %s/%s, expected %s/%s: %s", #call, code_name(got_), err_name((p)->err.id), \
                     code_name(code_), err_name(id_), (p)->err.text);                                \
    } while (0)
#define assert_ok(p, call) assert_code(p, call, OK, ERR_NONE)

/* ---- tables and rows ---- */

#define INT_KEY(n) \
    { .name = n, .type = "integer", .kind = KIND_INT32, .key = 1, .length = -1 }
#define INT_COLUMN(n) \
    { .name = n, .type = "integer", .kind = KIND_INT32, .nullable = true, .length = -1 }
#define TEXT_COLUMN(n) \
    { .name = n, .type = "text", .kind = KIND_TEXT, .nullable = true, .length = -1 }
#define COLUMN(n, t, k) \
    { .name = n, .type = t, .kind = k, .nullable = true, .length = -1 }

extern struct arena memory; /* of one test */

/* A table of schema shop, in `memory`; its key is the columns with `key`, in that order. */
struct table *table_with(const char *name, const struct column *columns, int n, struct user_type *types,
                         int n_types);
#define TABLE(name, ...)                                   \
    table_with(name, (const struct column[]){__VA_ARGS__}, \
               (int)(sizeof((const struct column[]){__VA_ARGS__}) / sizeof(struct column)), NULL, 0)

const struct table *items(void); /* shop.items: id integer, the key; qty integer; note text */
const struct table *notes(void); /* shop.notes, without a key: n integer, doc json, note text */
/* Rows id 1..n of items, qty = id, note = 'n'; the replica writes them itself. */
void fill_items(int n);

/* Small batches and large ones go different ways; both must end the same. */
extern const size_t batch_sizes[3];
#define EACH_SIZE(n) for (size_t size_ = 0, n; size_ < 3 && (n = batch_sizes[size_]); size_++)

extern struct batch current;
/* Makes `current` a new batch of the table, and returns it. */
struct batch *begin(const struct table *table);
/* One change more in the batch, which takes it. */
void add(struct batch *b, enum op op, const struct value *before, const struct value *after);
#define INSERT(b, ...) add(b, OP_CREATE, NULL, ROW(__VA_ARGS__))
#define UPDATE(b, ...) add(b, OP_UPDATE, NULL, ROW(__VA_ARGS__))
#define DELETE(b, ...) add(b, OP_DELETE, ROW(__VA_ARGS__), NULL)
