/* What every target must hold (sink/target.h), walked for each row of target_table[] against a real server.
 *
 * MILLRACE_TEST_PG_TARGET is the URL of a superuser of a PostgreSQL; the test works in a database of its own.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include <libpq-fe.h>
#include <pthread.h>

#include "base/config.h"
#include "base/log.h"
#include "sink/target_table.h"

#define DATABASE "millrace_test_target"
#define LEASE_MS 10000

/* ---- the server, as somebody else sees it ---- */

static PGconn *eye;
static char url[1024];

static void die(const char *what) {
    fprintf(stderr, "%s\n", what);
    exit(1);
}

static void PRINTF_LIKE(1, 2) sql(const char *fmt, ...) {
    char text[8192];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    PGresult *result = PQexec(eye, text);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(eye));
    PQclear(result);
}

/* All rows as "a|b;c|d", NULL as "~". */
static const char *PRINTF_LIKE(1, 2) see(const char *fmt, ...) {
    static char out[65536];
    char text[4096];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    PGresult *result = PQexec(eye, text);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(eye));
    size_t at = 0;
    out[0] = 0;
    for (int i = 0; i < PQntuples(result); i++)
        for (int k = 0; k < PQnfields(result); k++)
            at += (size_t)snprintf(out + at, sizeof out - at, "%s%s",
                                   k   ? "|"
                                   : i ? ";"
                                       : "",
                                   PQgetisnull(result, i, k) ? "~" : PQgetvalue(result, i, k));
    PQclear(result);
    return out;
}

/* The URL with another database. */
static void with_database(const char *from, const char *database, char *ret, size_t size) {
    PQconninfoOption *info = PQconninfoParse(from, NULL);
    if (!info)
        die("MILLRACE_TEST_PG_TARGET is not a connection string");
    ret[0] = 0;
    for (PQconninfoOption *o = info; o->keyword; o++) {
        const char *value = strcmp(o->keyword, "dbname") == 0 ? database : o->val;
        if (value && *value)
            snprintf(ret + strlen(ret), size - strlen(ret), "%s='%s' ", o->keyword, value);
    }
    PQconninfoFree(info);
}

static void open_database(void) {
    const char *server = getenv("MILLRACE_TEST_PG_TARGET");
    if (!server)
        die("set MILLRACE_TEST_PG_TARGET to the URL of a superuser of a PostgreSQL");
    PGconn *conn = PQconnectdb(server);
    if (PQstatus(conn) != CONNECTION_OK)
        die(PQerrorMessage(conn));
    PQclear(PQexec(conn, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)"));
    PQclear(PQexec(conn, "CREATE DATABASE " DATABASE " ENCODING 'UTF8' TEMPLATE template0"));
    PQfinish(conn);
    with_database(server, DATABASE, url, sizeof url);
    eye = PQconnectdb(url);
    if (PQstatus(eye) != CONNECTION_OK)
        die(PQerrorMessage(eye));
    PQclear(PQexec(eye, "SET client_min_messages = error"));
}

static void drop_database(void) {
    PQfinish(eye);
    PGconn *conn = PQconnectdb(getenv("MILLRACE_TEST_PG_TARGET"));
    PQclear(PQexec(conn, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)"));
    PQfinish(conn);
}

/* ---- a process of a sink ---- */

static const struct target_ops *ops; /* the row that is walked */

struct process {
    struct arena arena;
    struct stop stop;
    struct target_env env;
    void *options;
    struct target *target;
    struct sink_progress progress;
    struct err err;
};

/* Options as key, value, ..., NULL beside the URL. */
static void *options_of(struct arena *arena, const char *const *pairs) {
    static char *keys[16];
    static struct config_node nodes[16], *items[16];
    struct config_node map = {.type = NODE_MAP, .file = "test", .keys = (const char **)keys, .items = items};
    int lines[16] = {0};
    map.key_lines = lines;
    for (size_t i = 0; pairs[i]; i += 2) {
        keys[map.n] = (char *)(uintptr_t)pairs[i];
        nodes[map.n] = (struct config_node){.type = NODE_SCALAR, .file = "test", .text = pairs[i + 1]};
        items[map.n] = &nodes[map.n];
        map.n++;
    }
    void *into = arena_zalloc(arena, ops->options->size);
    struct err err = {0};
    if (option_fill(ops->options, &map, into, arena, &err) != OK)
        fail_msg("%s", err.text);
    return into;
}

static enum code try_open(struct process *p, const char *owner, const char *const *pairs) {
    *p = (struct process){0};
    stop_init(&p->stop);
    p->env = (struct target_env){.clock = &clock_system, .stop = &p->stop, .sink = "report", .owner = owner};
    p->options = options_of(&p->arena, pairs);
    return ops->open(p->options, &p->env, &p->target, &p->err);
}

#define OPTIONS(...)                    \
    (const char *const[]) {             \
        "url", url, ##__VA_ARGS__, NULL \
    }

static void process_open(struct process *p, const char *owner, const char *const *pairs) {
    if (try_open(p, owner, pairs) != OK)
        fail_msg("open: %s", p->err.text);
}

static void process_end(struct process *p) {
    ops->close(p->target);
    stop_free(&p->stop);
    arena_free(&p->arena);
    *p = (struct process){0};
}

#define assert_code(p, call, code_, id_)                                                             \
    do {                                                                                             \
        (p)->err = (struct err){0};                                                                  \
        enum code got_ = (call);                                                                     \
        if (got_ != (code_) || ((id_) != ERR_NONE && (p)->err.id != (id_)))                          \
            fail_msg("%s: %s/%s, expected %s/%s: %s", #call, code_name(got_), err_name((p)->err.id), \
                     code_name(code_), err_name(id_), (p)->err.text);                                \
    } while (0)
#define assert_ok(p, call) assert_code(p, call, OK, ERR_NONE)

static enum code claim(struct process *p) {
    return ops->claim(p->target, 0, 1, LEASE_MS, &p->arena, &p->progress, &p->err);
}

static void process_begin(struct process *p, const char *owner, const char *const *pairs) {
    process_open(p, owner, pairs);
    assert_ok(p, claim(p));
}

static enum code commit(struct process *p) {
    p->progress.commit_seq++;
    p->progress.rebuild = false;
    p->progress.n_offsets = 0;
    return ops->commit(p->target, &p->progress, &p->err);
}

/* ---- tables and rows ---- */

#define V_INT(v) \
    { .tag = VALUE_INT, .i = (v) }
#define V_TEXT(v)                                     \
    {                                                 \
        .tag = VALUE_TEXT, .s = {(v), sizeof(v) - 1 } \
    }
#define V_NULL \
    { .tag = VALUE_NULL }
#define V_ABSENT \
    { .tag = VALUE_ABSENT }
#define ROW(...)             \
    (const struct value[]) { \
        __VA_ARGS__          \
    }

#define INT_KEY(n) \
    { .name = n, .type = "integer", .kind = KIND_INT32, .key = 1, .length = -1 }
#define INT_COLUMN(n) \
    { .name = n, .type = "integer", .kind = KIND_INT32, .nullable = true, .length = -1 }
#define TEXT_COLUMN(n) \
    { .name = n, .type = "text", .kind = KIND_TEXT, .nullable = true, .length = -1 }
#define COLUMN(n, t, k) \
    { .name = n, .type = t, .kind = k, .nullable = true, .length = -1 }

static struct arena memory; /* of one test */

static struct table *table_with(const char *name, const struct column *columns, int n,
                                struct user_type *types, int n_types) {
    struct table *t = arena_zalloc(&memory, sizeof *t);
    t->schema = "shop";
    t->name = name;
    t->columns = arena_zalloc(&memory, ((size_t)n + 1) * sizeof *t->columns);
    if (n)
        memcpy(t->columns, columns, (size_t)n * sizeof *columns);
    t->n_columns = n;
    t->key = arena_zalloc(&memory, ((size_t)n + 1) * sizeof *t->key);
    for (int place = 1; place <= n; place++)
        for (int i = 0; i < n; i++)
            if (columns[i].key == place)
                t->key[t->n_key++] = i;
    t->types = types;
    t->n_types = n_types;
    t->digest = table_digest(t);
    return t;
}
#define TABLE(name, ...)                                   \
    table_with(name, (const struct column[]){__VA_ARGS__}, \
               (int)(sizeof((const struct column[]){__VA_ARGS__}) / sizeof(struct column)), NULL, 0)

static const struct table *items(void) {
    return TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"));
}

static void add(struct batch *b, enum op op, const struct value *before, const struct value *after) {
    struct change change = {.op = op, .table = b->table, .before = before, .after = after};
    if (!batch_add(b, &change))
        fail_msg("batch_add took nothing");
}
#define INSERT(b, ...) add(b, OP_CREATE, NULL, ROW(__VA_ARGS__))
#define UPDATE(b, ...) add(b, OP_UPDATE, NULL, ROW(__VA_ARGS__))
#define DELETE(b, ...) add(b, OP_DELETE, ROW(__VA_ARGS__), NULL)

static struct batch current;
static struct batch *begin(const struct table *table) {
    batch_free(&current);
    batch_init(&current, table);
    return &current;
}

static enum code apply(struct process *p) {
    return ops->apply(p->target, &current, &p->err);
}

static enum code prepare_as(struct process *p, const struct table *table, bool fresh, bool may_clear) {
    struct mapped mapped = {.source = table, .table = (struct table *)(uintptr_t)table};
    return ops->prepare(p->target, &mapped, fresh, may_clear, &p->err);
}

static enum code prepare(struct process *p, const struct table *table) {
    return prepare_as(p, table, false, false);
}

static void apply_commit(struct process *p) {
    assert_ok(p, apply(p));
    assert_ok(p, commit(p));
}

/* Rows id 1..n of items, qty = id, note = 'n'; the server writes them itself. */
static void fill_items(int n) {
    sql("INSERT INTO shop.items SELECT i, i, 'n' FROM generate_series(1, %d) i", n);
}

static int set_up(void **state) {
    (void)state;
    sql("DROP SCHEMA IF EXISTS millrace CASCADE");
    sql("DROP SCHEMA IF EXISTS shop CASCADE");
    sql("CREATE SCHEMA shop");
    return 0;
}

static int tear_down(void **state) {
    (void)state;
    batch_free(&current);
    arena_free(&memory);
    return 0;
}

/* ---- ownership ---- */

static void a_part_has_one_owner_until_it_lets_go(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_int_equal(a.progress.epoch, 1);
    assert_int_equal(a.progress.commit_seq, 0);
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP);
    assert_ok(&a, ops->renew(a.target, &a.err));
    process_end(&a);
    assert_ok(&b, claim(&b));
    assert_int_equal(b.progress.epoch, 2);
    process_end(&b);
}

static void an_owner_that_is_not_seen_loses_its_part_and_its_session(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_TEXT("from a"));
    assert_ok(&a, apply(&a));
    sql("UPDATE millrace.sink_worker SET seen = '-infinity'");
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP); /* its session was at work a moment ago */
    assert_int_equal(ops->claim(b.target, 0, 1, 1, &b.arena, &b.progress, &b.err),
                     OK); /* for a lease of 1 ms it was not */
    assert_int_equal(b.progress.epoch, 2);
    assert_int_equal(commit(&a), RETRY);
    assert_string_equal(see("SELECT to_regclass('shop.items')"), "~");
    process_end(&a);
    assert_ok(&b, ops->renew(b.target, &b.err)); /* a could not give up what it no longer owns */
    process_end(&b);
}

static void a_zombie_cannot_commit_renew_or_park(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_TEXT("zombie"));
    assert_ok(&a, apply(&a));
    sql("UPDATE millrace.sink_worker SET epoch = epoch + 1, owner = 'b'");
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_OWNERSHIP);
    assert_code(&a, ops->renew(a.target, &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_code(&a, ops->park(a.target, "shop", "items", "why", &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    process_end(&a);
    assert_string_equal(see("SELECT owner FROM millrace.sink_worker"), "b");
}

static void rows_and_position_move_together_or_not_at_all(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    assert_ok(&a, apply(&a));
    ops->rollback(a.target);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");

    assert_ok(&a, apply(&a));
    struct sink_offset offsets[] = {{.topic = "p.shop.\"it,{}\\ems",
                                     .partition = 3,
                                     .next = 42,
                                     .position = {1, UINT64_C(0xFEDCBA9876543210), 7}}};
    struct sink_progress next = {.epoch = 1,
                                 .commit_seq = 9,
                                 .commits_next = 10,
                                 .position = {1, 2, 3},
                                 .commit_us = 4,
                                 .offsets = offsets,
                                 .n_offsets = 1};
    assert_ok(&a, ops->commit(a.target, &next, &a.err));
    assert_string_equal(see("SELECT * FROM shop.items"), "1|1|~");
    process_end(&a);

    process_begin(&a, "b", OPTIONS());
    assert_int_equal(a.progress.commit_seq, 9);
    assert_int_equal(a.progress.commits_next, 10);
    assert_int_equal(a.progress.position.ordinal, 3);
    assert_int_equal(a.progress.commit_us, 4);
    assert_int_equal(a.progress.n_offsets, 1);
    assert_string_equal(a.progress.offsets[0].topic, offsets[0].topic);
    assert_int_equal(a.progress.offsets[0].next, 42);
    assert_true(a.progress.offsets[0].position.commit == UINT64_C(0xFEDCBA9876543210));
    process_end(&a);
}

static void another_number_of_workers_needs_a_replay(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, commit(&a));
    assert_code(&a, ops->claim(a.target, 0, 2, LEASE_MS, &a.arena, &a.progress, &a.err), FATAL, ERR_CONFIG);
    assert_non_null(strstr(a.err.text, "millrace replay --sink report"));
    assert_ok(&a, ops->reset(a.target, &a.err));
    assert_ok(&a, ops->claim(a.target, 1, 2, LEASE_MS, &a.arena, &a.progress, &a.err));
    assert_true(a.progress.rebuild);
    process_end(&a);
}

/* ---- somebody in the way ---- */

struct blocked {
    struct process *p;
    enum code code;
    int64_t took_us;
};

static void *apply_blocked(void *arg) {
    struct blocked *b = arg;
    int64_t begun = clock_mono(&clock_system);
    b->code = apply(b->p);
    b->took_us = clock_mono(&clock_system) - begun;
    return NULL;
}

static void await_lock(void) {
    for (int i = 0; i < 500; i++) {
        if (strcmp(see("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                       "current_database()"),
                   "0") != 0)
            return;
        usleep(10000);
    }
    fail_msg("nobody waits for the lock");
}

static void an_owner_at_work_keeps_its_part_however_long_that_takes(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    sql("BEGIN; LOCK TABLE shop.items");
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    struct blocked blocked = {.p = &a};
    pthread_t thread;
    pthread_create(&thread, NULL, apply_blocked, &blocked);
    await_lock();
    PGconn *other = PQconnectdb(url);
    PQclear(PQexec(other, "UPDATE millrace.sink_worker SET seen = '-infinity'"));
    PQfinish(other);
    assert_int_equal(ops->claim(b.target, 0, 1, 1000, &b.arena, &b.progress, &b.err), AGAIN);
    sql("COMMIT");
    pthread_join(thread, NULL);
    assert_int_equal(blocked.code, OK);
    assert_ok(&a, commit(&a));
    process_end(&a);
    process_end(&b);
}

static void a_stop_ends_a_statement_that_waits(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("lock_timeout", "1h"));
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    for (int staged = 0; staged < 2; staged++) {
        sql("BEGIN; LOCK TABLE shop.items");
        struct batch *b = begin(items());
        for (int i = 0; i < (staged ? 200 : 1); i++)
            UPDATE(b, V_INT(i), V_INT(1), V_NULL);
        struct blocked blocked = {.p = &a};
        pthread_t thread;
        pthread_create(&thread, NULL, apply_blocked, &blocked);
        await_lock();
        stop_request(&a.stop);
        pthread_join(thread, NULL);
        assert_int_equal(blocked.code, RETRY);
        assert_int_equal(a.err.id, ERR_STOPPED);
        assert_true(blocked.took_us < 4000000);
        sql("COMMIT");
        process_end(&a);
        assert_string_equal(see("SELECT owner FROM millrace.sink_worker"),
                            "~"); /* given up: a successor need not wait */
        if (!staged)
            process_begin(&a, "a", OPTIONS("lock_timeout", "1h"));
    }
}

static void a_lock_that_is_not_given_is_tried_again(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("lock_timeout", "50ms"));
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    sql("BEGIN; LOCK TABLE shop.items");
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    assert_code(&a, apply(&a), RETRY, ERR_NONE);
    sql("COMMIT");
    apply_commit(&a);
    process_end(&a);
}

static void a_lost_connection_leaves_nothing(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    assert_ok(&a, apply(&a));
    sql("SELECT pg_terminate_backend(backend, 5000) FROM millrace.sink_worker");
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_UNREACHABLE);
    assert_code(&a, apply(&a), RETRY, ERR_TARGET_UNREACHABLE);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    assert_string_equal(see("SELECT commit_seq FROM millrace.sink_worker"), "1");
}

static void a_replica_that_takes_no_writes_is_full_for_now(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    process_end(&a);
    sql("ALTER DATABASE " DATABASE " SET default_transaction_read_only = on");
    process_open(&a, "a", OPTIONS());
    assert_code(&a, claim(&a), RETRY, ERR_TARGET_FULL);
    process_end(&a);
    sql("ALTER DATABASE " DATABASE " RESET default_transaction_read_only");
}

static void a_server_that_refuses_is_told_from_one_that_does_not_answer(void **state) {
    (void)state;
    struct process a;
    assert_code(
        &a, try_open(&a, "a", (const char *const[]){"url", "host=127.0.0.1 port=1 password=hunter2", NULL}),
        RETRY, ERR_TARGET_UNREACHABLE);
    assert_null(strstr(a.err.text, "hunter2"));
    process_end(&a);
    char other[1024];
    with_database(url, "millrace_no_such_database", other, sizeof other);
    assert_code(&a, try_open(&a, "a", (const char *const[]){"url", other, NULL}), FATAL, ERR_TARGET_REFUSED);
    process_end(&a);
    assert_code(&a, try_open(&a, "a", (const char *const[]){"url", "postgres://u:hunter2%zz@h/d", NULL}),
                FATAL, ERR_CONFIG);
    assert_null(strstr(a.err.text, "hunter2"));
    process_end(&a);
}

/* ---- batches ---- */

/* Small batches and large ones go different ways; both must end the same. */
static const int sizes[] = {3, 40, 2000};
#define EACH_SIZE(n) for (size_t size_ = 0, n; size_ < 3 && (n = (size_t)sizes[size_]); size_++)
/* The type of one column of the replica: all columns have a binary form, or one of them has none for an int. */
static const char *const forms[] = {"int", "numeric", NULL};
#define EACH_SIZE_AND_FORM(n, form) \
    EACH_SIZE(n)                    \
    for (const char *const *form_ = forms, *form; (form = *form_); form_++)

static void every_kind_of_row_ends_in_its_last_state(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s, note text)", form);
        fill_items((int)n * 2);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, V_INT(i), V_INT(-i), V_TEXT("upd\tated\\N"));
            DELETE(b, V_INT(i + (int)n), V_ABSENT, V_ABSENT);
            INSERT(b, V_INT(i + 2 * (int)n), V_INT(i), V_NULL);
        }
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|%zu|%zu", 2 * n, n, n);
        assert_string_equal(
            see("SELECT count(*), count(*) FILTER (WHERE qty = -id AND note = E'upd\\tated\\\\N'),"
                " count(*) FILTER (WHERE note IS NULL AND id > %zu) FROM shop.items",
                2 * n),
            expected);
        process_end(&a);
    }
}

static void absent_columns_are_kept(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s, note text)", form);
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            if (i % 3 == 0)
                UPDATE(b, V_INT(i), V_INT(-i), V_ABSENT);
            if (i % 3 == 1)
                UPDATE(b, V_INT(i), V_ABSENT, V_TEXT("new"));
            if (i % 3 == 2)
                UPDATE(b, V_INT(i), V_INT(-i), V_TEXT("new"));
        }
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE (qty = -id) <> (id %% 3 <> 1)"
                                " OR (note = 'new') <> (id %% 3 <> 0)"),
                            "0");
        process_end(&a);
    }
}

static void a_column_that_no_row_carries_is_not_touched(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, V_INT(i), V_ABSENT, V_ABSENT);
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty <> id OR note <> 'n'"), "0");
        process_end(&a);
    }
}

static void unique_values_may_change_places(void **state) {
    (void)state;
    EACH_SIZE_AND_FORM(n, form) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty %s UNIQUE, note text, own text DEFAULT 'own',"
            " twice int GENERATED ALWAYS AS (qty * 2) STORED)", form);
        fill_items((int)n);
        sql("UPDATE shop.items SET own = 'kept ' || id");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, V_INT(i), V_INT(i % (int)n + 1), V_ABSENT);
        INSERT(b, V_INT(5000), V_INT(5000), V_TEXT("new"));
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|%zu", n, n + 1);
        assert_string_equal(
            see("SELECT count(*) FILTER (WHERE qty = id %% %zu + 1 AND note = 'n' AND own = 'kept ' || id"
                " AND twice = qty * 2), count(*) FROM shop.items",
                n),
            expected);
        assert_string_equal(see("SELECT own FROM shop.items WHERE id = 5000"), "own");
        process_end(&a);
    }
}

static void inserted_rows_replace_what_is_there(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text, own text)");
        sql("INSERT INTO shop.items VALUES (1, 0, 'old', 'kept')");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(i), V_TEXT("new"));
        apply_commit(&a);
        char expected[64];
        snprintf(expected, sizeof expected, "%zu|1", n);
        assert_string_equal(
            see("SELECT count(*) FILTER (WHERE qty = id AND note = 'new'), count(own) FROM shop.items"),
            expected);
        process_end(&a);
    }
}

static void a_missing_row_is_written_whole_or_stops(void **state) {
    (void)state;
    EACH_SIZE(n) {
        for (int how = 0; how < 3; how++) { /* insert, stop, insert but partial */
            set_up(NULL);
            sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
            fill_items((int)n);
            sql("DELETE FROM shop.items WHERE id = 2");
            struct process a;
            process_begin(&a, "a", OPTIONS("on_missing", how == 1 ? "stop" : "insert"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++) {
                if (how < 2)
                    UPDATE(b, V_INT(i), V_INT(-i), V_TEXT("new"));
                else
                    UPDATE(b, V_INT(i), V_INT(-i), V_ABSENT);
            }
            if (how == 0) {
                apply_commit(&a);
                assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty <> -id"), "0");
                assert_string_equal(see("SELECT note FROM shop.items WHERE id = 2"), "new");
            } else {
                assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
                assert_non_null(strstr(a.err.text, "shop.items"));
                assert_non_null(strstr(a.err.text, "(2)"));
                assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty < 0"), "0");
            }
            process_end(&a);
        }
    }
}

static void a_missing_row_to_delete_is_fine_unless_asked(void **state) {
    (void)state;
    EACH_SIZE(n) {
        for (int stops = 0; stops < 2; stops++) {
            set_up(NULL);
            sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
            fill_items((int)n);
            sql("DELETE FROM shop.items WHERE id = 2");
            struct process a;
            process_begin(&a, "a", OPTIONS("on_missing", stops ? "stop" : "insert"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++)
                DELETE(b, V_INT(i), V_ABSENT, V_ABSENT);
            INSERT(b, V_INT(9000), V_NULL, V_NULL); /* and one that came and went */
            DELETE(b, V_INT(9000), V_ABSENT, V_ABSENT);
            if (stops) {
                assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
                assert_non_null(strstr(a.err.text, "(2)"));
            } else {
                apply_commit(&a);
                assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
            }
            process_end(&a);
        }
    }
}

static void behind_a_filter_missing_rows_are_no_divergence(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        struct process a;
        process_begin(&a, "a", OPTIONS("on_missing", "stop"));
        struct batch *b = begin(items());
        b->filtered = true;
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, V_INT(i), V_INT(-i), V_TEXT("new"));
            DELETE(b, V_INT(i + 5000), V_ABSENT, V_ABSENT);
        }
        apply_commit(&a);
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE qty = -id"), expected);
        process_end(&a);
    }
}

static void a_partial_row_can_change_its_key(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
    fill_items(2);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch_row row = {.op = ROW_UPDATE,
                            .was_there = true,
                            .values = ROW(V_INT(7), V_INT(70), V_ABSENT),
                            .before = ROW(V_INT(2), V_ABSENT, V_ABSENT)};
    struct batch one = {.table = items(), .rows = &row, .n = 1, .n_op = {[ROW_UPDATE] = 1}, .partial = true};
    assert_ok(&a, ops->apply(a.target, &one, &a.err));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT * FROM shop.items ORDER BY 1"), "1|1|n;7|70|n");
    assert_code(&a, ops->apply(a.target, &one, &a.err), REJECT, ERR_TARGET_DIVERGED);
    process_end(&a);
}

static void a_table_of_nothing_but_its_key(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        struct process a;
        const struct table *table = TABLE("tags", INT_KEY("id"));
        process_begin(&a, "a", OPTIONS());
        assert_ok(&a, prepare(&a, table));
        struct batch *b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i));
        assert_ok(&a, apply(&a));
        b = begin(table);
        for (int i = 1; i <= (int)n + 1; i++)
            UPDATE(b, V_INT(i)); /* one of them is not there */
        apply_commit(&a);
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n + 1);
        assert_string_equal(see("SELECT count(*) FROM shop.tags"), expected);
        process_end(&a);
    }
}

static void keys_are_equal_as_their_type_says(void **state) {
    (void)state;
    sql("CREATE EXTENSION IF NOT EXISTS citext SCHEMA public");
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.users (name public.citext, kind varchar(5), qty int, PRIMARY KEY (name, "
            "kind))");
        sql("INSERT INTO shop.users SELECT 'User' || i, 'a', i FROM generate_series(1, %zu) i", n);
        const struct table *table = TABLE(
            "users", {.name = "name", .type = "public.citext", .kind = KIND_TEXT, .key = 1},
            {.name = "kind", .type = "character varying(5)", .kind = KIND_TEXT, .key = 2}, INT_COLUMN("qty"));
        struct process a;
        process_begin(&a, "a", OPTIONS("on_missing", "stop"));
        struct batch *b = begin(table);
        char(*names)[16] = arena_alloc(&memory, (n + 1) * 16);
        for (size_t i = 1; i <= n; i++) {
            struct value name = {.tag = VALUE_TEXT,
                                 .s = {names[i], (size_t)snprintf(names[i], 16, "uSER%zu", i)}};
            add(b, OP_UPDATE, NULL, ROW(name, V_TEXT("a"), V_INT(-1)));
        }
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.users WHERE qty <> -1"), "0");
        process_end(&a);
    }
}

/* ---- constraints, triggers ---- */

static void foreign_keys_and_triggers_do_not_act_unless_asked(void **state) {
    (void)state;
    for (int fire = 0; fire < 2; fire++) {
        set_up(NULL);
        sql("CREATE TABLE shop.orders (id int PRIMARY KEY);"
            "CREATE TABLE shop.items (id int PRIMARY KEY, qty int REFERENCES shop.orders, note text);"
            "CREATE TABLE shop.log (what text);"
            "CREATE FUNCTION shop.fire() RETURNS trigger LANGUAGE plpgsql AS"
            " $$BEGIN INSERT INTO shop.log VALUES (TG_OP); RETURN NEW; END$$;"
            "CREATE TRIGGER t AFTER INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION shop.fire()");
        struct process a;
        process_begin(&a, "a", OPTIONS("triggers", fire ? "fire" : "off"));
        const struct table *orders = TABLE("orders", INT_KEY("id"));
        if (fire) {
            INSERT(begin(orders), V_INT(1));
            assert_ok(&a, apply(&a));
        }
        INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL); /* the child before its parent */
        assert_ok(&a, apply(&a));
        if (!fire) {
            INSERT(begin(orders), V_INT(1));
            assert_ok(&a, apply(&a));
        }
        assert_ok(&a, commit(&a));
        assert_string_equal(see("SELECT count(*) FROM shop.log"), fire ? "1" : "0");
        INSERT(begin(items()), V_INT(2), V_INT(99), V_NULL);
        if (fire) {
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
            assert_non_null(strstr(a.err.text, "items_qty_fkey"));
        } else
            apply_commit(&a);
        process_end(&a);
    }
}

static void rows_that_cascades_would_take_along_are_not_rewritten(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int UNIQUE, note text);"
        "CREATE TABLE shop.parts (item int REFERENCES shop.items ON DELETE CASCADE)");
    fill_items(2);
    sql("INSERT INTO shop.parts VALUES (1)");
    struct process a;
    process_begin(&a, "a", OPTIONS("triggers", "fire"));
    struct batch *b = begin(items());
    UPDATE(b, V_INT(1), V_INT(2), V_NULL);
    UPDATE(b, V_INT(2), V_INT(1), V_NULL);
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.parts"), "1");
}

static void without_the_right_to_silence_triggers_only_tables_without_them(void **state) {
    (void)state;
    sql("DROP ROLE IF EXISTS millrace_plain");
    sql("CREATE ROLE millrace_plain LOGIN; GRANT CREATE ON DATABASE " DATABASE " TO millrace_plain;"
        "GRANT USAGE, CREATE ON SCHEMA shop TO millrace_plain;"
        "CREATE TABLE shop.parent (id int PRIMARY KEY); CREATE TABLE shop.child (id int PRIMARY KEY "
        "REFERENCES shop.parent);"
        "GRANT ALL ON ALL TABLES IN SCHEMA shop TO millrace_plain");
    char plain[1200];
    snprintf(plain, sizeof plain, "%s user=millrace_plain", url);
    struct process a;
    process_begin(&a, "a", (const char *const[]){"url", plain, NULL});
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), V_INT(1), V_NULL, V_NULL);
    apply_commit(&a);
    assert_code(&a, prepare(&a, TABLE("child", INT_KEY("id"))), FATAL, ERR_TARGET_REFUSED);
    assert_non_null(strstr(a.err.text, "session_replication_role"));
    process_end(&a);
    sql("DROP OWNED BY millrace_plain; DROP ROLE millrace_plain");
}

static void a_violated_constraint_is_named_without_the_row(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int CONSTRAINT few CHECK (qty < 5000), note "
            "text NOT NULL)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", "ignore"));
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(i + 4998), V_TEXT("secret"));
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_non_null(strstr(a.err.text, "few"));
        assert_non_null(strstr(a.err.text, "shop.items"));
        assert_null(strstr(a.err.text, "secret"));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(1), V_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_non_null(strstr(a.err.text, "note"));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
        process_end(&a);
    }
}

static void a_second_row_with_a_unique_value_is_a_violation(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int CONSTRAINT only_one UNIQUE, note text)");
        sql("INSERT INTO shop.items VALUES (9999, 1, 'in the way')");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(i), V_NULL);
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_CONSTRAINT);
        assert_non_null(strstr(a.err.text, "only_one"));
        process_end(&a);
    }
}

static void a_value_that_the_replica_refuses_is_not_quoted(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TYPE shop.mood AS ENUM ('sad'); CREATE TABLE shop.faces (id int PRIMARY KEY, mood "
            "shop.mood)");
        const struct table *table = TABLE("faces", INT_KEY("id"), COLUMN("mood", "shop.mood", KIND_ENUM));
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(table);
        static const char *const values[] = {"hunter2", "a\" hunter2 \"b", "a, line 1, column hunter2"};
        for (size_t v = 0; v < sizeof values / sizeof *values; v++) {
            for (int i = 1; i <= (int)n; i++)
                INSERT(b, V_INT(i), V_TEXT(values[v]));
            assert_code(&a, apply(&a), REJECT, ERR_TARGET_VALUE);
            assert_null(strstr(a.err.text, "hunter2"));
            assert_non_null(strstr(a.err.text, "shop.faces"));
            b = begin(table);
        }
        process_end(&a);
    }
}

static void what_a_trigger_says_of_a_row_is_not_quoted(void **state) {
    (void)state;
    static const char *const codes[] = {"P0001", "22000", "23514", "58030"};
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
        for (size_t c = 0; c < sizeof codes / sizeof *codes; c++) {
            sql("CREATE OR REPLACE FUNCTION shop.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE "
                "EXCEPTION 'not %%', NEW.note USING ERRCODE = '%s'; END $$;"
                "CREATE OR REPLACE TRIGGER refuse BEFORE INSERT ON shop.items FOR EACH ROW EXECUTE FUNCTION "
                "shop.refuse()",
                codes[c]);
            struct process a;
            process_begin(&a, "a", OPTIONS("triggers", "fire"));
            struct batch *b = begin(items());
            for (int i = 1; i <= (int)n; i++)
                INSERT(b, V_INT(i), V_INT(i), V_TEXT("hunter2"));
            enum code code = apply(&a);
            assert_int_not_equal(code, OK);
            assert_null(strstr(a.err.text, "hunter2"));
            assert_non_null(strstr(a.err.text, codes[c]));
            process_end(&a);
        }
    }
}

/* ---- clearing ---- */

static void a_table_is_emptied_also_where_foreign_keys_point_to_it(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id serial PRIMARY KEY, qty int, note text); CREATE TABLE shop.parts (item "
        "int REFERENCES shop.items)");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (int how = 0; how < 4; how++) { /* with a foreign key and without; as a truncate and as a snapshot */
        fill_items(10);
        if (how == 2)
            sql("DROP TABLE shop.parts; SELECT nextval('shop.items_id_seq')");
        if (how == 2)
            assert_ok(&a, ops->reset(a.target, &a.err)); /* what is known of the table is forgotten */
        if (how == 2)
            assert_ok(&a, claim(&a));
        assert_ok(&a, ops->clear(a.target, items(), how % 2, true, &a.err));
        assert_ok(&a, commit(&a));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    }
    process_end(&a);
}

static void rows_of_somebody_else_are_never_mixed_in(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text)");
    fill_items(3);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_code(&a, prepare_as(&a, items(), true, false), FATAL, ERR_TARGET_NOT_EMPTY);
    assert_non_null(strstr(a.err.text, "shop.items"));
    sql("DELETE FROM shop.items");
    assert_ok(&a, prepare_as(&a, items(), true, false));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    apply_commit(&a);
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_as(&a, items(), true, false)); /* now they are ours */
    ops->rollback(a.target);
    process_end(&a);
}

static enum code prepare_from(struct process *p, const struct table *source, const struct table *table, const char *filter) {
    struct mapped mapped = {.source = source, .table = (struct table *)(uintptr_t)table, .filter = filter};
    return ops->prepare(p->target, &mapped, false, false, &p->err);
}

static struct table *incarnation(const struct table *table, uint64_t number) {
    struct table *t = table_copy(table, &memory);
    t->incarnation = number;
    t->digest = table_digest(t);
    return t;
}

static void rows_keep_their_origin(void **state) {
    (void)state;
    const struct table *grown = TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("remark"));
    const struct table *mine = incarnation(items(), 7), *other = incarnation(TABLE("parts", INT_KEY("id")), 8);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(&a, mine, mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_from(&a, mine, mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    fill_items(3);
    for (int restarted = 0; restarted < 2; restarted++) {
        /* another table, another filter, other names of columns */
        assert_code(&a, prepare_from(&a, other, incarnation(items(), 8), NULL), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "shop.parts"));
        process_end(&a);
        process_begin(&a, "a", OPTIONS());
        assert_code(&a, prepare_from(&a, mine, mine, NULL), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "millrace replay --sink"));
        assert_code(&a, prepare_from(&a, mine, incarnation(grown, 7), "qty = 1"), FATAL, ERR_CONFIG);
        assert_non_null(strstr(a.err.text, "note"));
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "3");
    }
    /* renamed at the source, and still under its old name here */
    assert_ok(&a, prepare_from(&a, incarnation(TABLE("goods", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note")), 7), mine, "qty = 1"));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "3");
    /* whatever is configured holds once it is built anew */
    assert_ok(&a, ops->reset(a.target, &a.err));
    assert_ok(&a, claim(&a));
    assert_ok(&a, prepare_from(&a, other, incarnation(items(), 8), NULL));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    process_end(&a);
}

static void a_replay_empties_what_the_sink_wrote(void **state) {
    (void)state;
    struct process a, cli;
    const struct table *gone = TABLE("gone", INT_KEY("id"));
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare_as(&a, items(), true, false));
    assert_ok(&a, prepare_as(&a, gone, true, false));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    assert_ok(&a, apply(&a));
    INSERT(begin(gone), V_INT(1));
    apply_commit(&a);
    sql("CREATE TABLE shop.other (id int); INSERT INTO shop.other VALUES (1)");

    process_open(&cli, "cli", OPTIONS());
    assert_ok(&cli, ops->reset(cli.target, &cli.err));
    process_end(&cli);
    assert_code(&a, ops->renew(a.target, &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    assert_ok(&a, claim(&a));
    assert_true(a.progress.rebuild);
    assert_int_equal(a.progress.commit_seq, 0);
    assert_int_equal(a.progress.n_offsets, 0);
    assert_ok(&a, prepare_as(&a, items(), true, a.progress.rebuild));
    INSERT(begin(items()), V_INT(2), V_INT(2), V_NULL);
    assert_string_equal(see("SELECT count(*) FROM shop.items"),
                        "1"); /* readers see the old rows until the commit */
    apply_commit(&a);
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    assert_string_equal(see("SELECT count(*) FROM shop.gone"), "0"); /* nothing came for it */
    assert_string_equal(see("SELECT count(*) FROM shop.other"), "1");
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_false(a.progress.rebuild);
    assert_ok(&a, prepare_as(&a, items(), false, false));
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    process_end(&a);
}

static enum code claim_part(struct process *p, int worker, int workers) {
    return ops->claim(p->target, worker, workers, LEASE_MS, &p->arena, &p->progress, &p->err);
}

static void a_replay_does_not_wait_for_what_is_being_built(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items())); /* not committed: its row of millrace.sink_table is locked */
    process_open(&b, "b", OPTIONS("lock_timeout", "1s"));
    assert_ok(&b, ops->reset(b.target, &b.err));
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_UNREACHABLE);
    process_end(&b);
    process_end(&a);
}

static void workers_that_build_anew_do_not_wait_for_each_other(void **state) {
    (void)state;
    struct process a, b, cli;
    const struct table *other = TABLE("other", INT_KEY("id")), *gone = TABLE("gone", INT_KEY("id"));
    process_open(&a, "p", OPTIONS("lock_timeout", "1s"));
    process_open(&b, "p", OPTIONS("lock_timeout", "1s"));
    assert_ok(&a, claim_part(&a, 0, 2));
    assert_ok(&b, claim_part(&b, 1, 2));
    assert_ok(&a, prepare_as(&a, items(), true, false));
    assert_ok(&a, prepare_as(&a, gone, true, false));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    assert_ok(&a, apply(&a));
    INSERT(begin(gone), V_INT(1));
    apply_commit(&a);
    assert_ok(&b, prepare_as(&b, other, true, false));
    INSERT(begin(other), V_INT(1));
    apply_commit(&b);

    process_open(&cli, "cli", OPTIONS());
    assert_ok(&cli, ops->reset(cli.target, &cli.err));
    process_end(&cli);
    assert_ok(&a, claim_part(&a, 0, 2));
    assert_ok(&b, claim_part(&b, 1, 2));
    assert_ok(&b, prepare_as(&b, other, true, b.progress.rebuild));
    INSERT(begin(other), V_INT(2));
    assert_ok(&b, apply(&b)); /* and goes on for hours */
    assert_ok(&a, prepare_as(&a, items(), true, a.progress.rebuild));
    INSERT(begin(items()), V_INT(2), V_INT(2), V_NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    assert_string_equal(see("SELECT id FROM shop.other"), "1"); /* still building */
    assert_string_equal(see("SELECT count(*) FROM shop.gone"), "1");
    assert_ok(&b, commit(&b));
    assert_string_equal(see("SELECT id FROM shop.other"), "2");
    assert_string_equal(see("SELECT count(*) FROM shop.gone"), "0"); /* the last one empties what nothing came for */
    assert_string_equal(see("SELECT id FROM shop.items"), "2");
    process_end(&a);
    process_end(&b);
}

/* ---- rows without a key ---- */

static const struct table *notes(void) {
    return TABLE("notes", INT_COLUMN("n"), COLUMN("doc", "json", KIND_JSON), TEXT_COLUMN("note"));
}

static void of_equal_rows_exactly_one_is_deleted(void **state) {
    (void)state;
    for (int extra = 0; extra < 2;
         extra++) { /* with a column of the replica's own rows are taken one by one */
        set_up(NULL);
        sql("CREATE TABLE shop.notes (n int, doc json, note text%s)",
            extra ? ", own text DEFAULT 'own'" : "");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(notes());
        for (int i = 0; i < 3; i++)
            INSERT(b, V_INT(1), V_TEXT("{\"a\": 1}"), V_NULL);
        INSERT(b, V_INT(1), V_TEXT("{\"a\":1}"), V_NULL);
        INSERT(b, V_INT(1), V_TEXT("{\"a\": 1}"), V_TEXT(""));
        apply_commit(&a);
        b = begin(notes());
        add(b, OP_DELETE, ROW(V_INT(1), V_TEXT("{\"a\": 1}"), V_NULL), NULL);
        add(b, OP_UPDATE, ROW(V_INT(1), V_TEXT("{\"a\": 1}"), V_NULL),
            ROW(V_INT(2), V_TEXT("{\"a\": 1}"), V_NULL));
        INSERT(b, V_INT(3), V_NULL, V_NULL);
        add(b, OP_DELETE, ROW(V_INT(3), V_NULL, V_NULL), NULL);
        apply_commit(&a);
        assert_string_equal(
            see("SELECT n, doc, note FROM shop.notes ORDER BY n, doc::text COLLATE \"C\", note"),
            "1|{\"a\": 1}|;1|{\"a\": 1}|~;1|{\"a\":1}|~;2|{\"a\": 1}|~");
        if (extra)
            assert_string_equal(see("SELECT count(*) FROM shop.notes WHERE own = 'own'"), "4");
        add(begin(notes()), OP_DELETE, ROW(V_INT(77), V_NULL, V_TEXT("secret")), NULL);
        if (extra)
            INSERT(&current, V_INT(1), V_NULL, V_NULL),
                add(&current, OP_UPDATE, ROW(V_INT(1), V_NULL, V_NULL), ROW(V_INT(5), V_NULL, V_NULL));
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
        assert_null(strstr(a.err.text, "secret"));
        process_end(&a);
    }
}

static void many_rows_without_a_key(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, notes()));
    assert_ok(&a, commit(&a));
    sql("INSERT INTO shop.notes SELECT i %% 500, '{}', 'x' FROM generate_series(1, 20000) i");
    struct batch *b = begin(notes());
    for (int i = 0; i < 3000; i++)
        add(b, OP_UPDATE, ROW(V_INT(i % 500), V_TEXT("{}"), V_TEXT("x")),
            ROW(V_INT(i % 500), V_TEXT("{}"), V_TEXT("y")));
    for (int i = 0; i < 500; i++)
        add(b, OP_DELETE, ROW(V_INT(i), V_TEXT("{}"), V_TEXT("x")), NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT note, count(*), count(DISTINCT n) FROM shop.notes GROUP BY 1 ORDER BY 1"),
                        "x|16500|500;y|3000|500");
    process_end(&a);
}

static void absent_columns_of_a_row_without_a_key_are_kept(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(notes());
    INSERT(b, V_INT(1), V_TEXT("{}"), V_TEXT("long"));
    add(b, OP_UPDATE, ROW(V_INT(1), V_TEXT("{}"), V_TEXT("long")), ROW(V_INT(2), V_TEXT("{}"), V_ABSENT));
    apply_commit(&a);
    assert_string_equal(see("SELECT * FROM shop.notes"), "2|{}|long");
    process_end(&a);
}

static void a_table_without_columns(void **state) {
    (void)state;
    struct process a;
    const struct table *empty = table_with("empty", NULL, 0, NULL, 0);
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(empty);
    const struct value none[1] = {V_NULL};
    for (int i = 0; i < 3; i++)
        add(b, OP_CREATE, NULL, none);
    apply_commit(&a);
    add(begin(empty), OP_DELETE, none, NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.empty"), "2");
    process_end(&a);
}

static void a_table_of_as_many_columns_as_there_can_be(void **state) {
    (void)state;
    enum { N = 1600 };
    static char names[N][16];
    struct column *columns = arena_zalloc(&memory, N * sizeof *columns);
    struct value *row = arena_zalloc(&memory, N * sizeof *row);
    for (int i = 0; i < N; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i] = (struct column){
            .name = names[i], .type = "integer", .kind = KIND_INT32, .nullable = i > 0, .key = i == 0};
        row[i] = (struct value)V_INT(i);
    }
    const struct table *wide = table_with("wide", columns, N, NULL, 0);
    struct process a;
    process_begin(&a, "a", OPTIONS());
    struct batch *b = begin(wide);
    for (int i = 0; i < 20; i++) {
        row[0].i = i;
        add(b, i < 18 ? OP_CREATE : OP_UPDATE, NULL, row);
    }
    apply_commit(&a);
    assert_string_equal(see("SELECT count(*), sum(c1599) FROM shop.wide"), "20|31980");
    process_end(&a);
}

/* ---- shapes ---- */

static const char *shape_of(const char *table) {
    return see("SELECT a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull FROM pg_attribute a"
               " WHERE attrelid = '%s'::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum",
               table);
}

static void tables_are_created_with_the_sources_types(void **state) {
    (void)state;
    static const char *const moods[] = {"sad", "ok", "it's \"happy\"", NULL},
                             *const parts[] = {"x", "how", NULL},
                             *const part_types[] = {"integer", "shop.mood[]", NULL};
    struct user_type types[] = {
        {.kind = USER_TYPE_ENUM, .schema = "shop", .name = "mood", .labels = moods},
        {.kind = USER_TYPE_COMPOSITE,
         .schema = "shop",
         .name = "pair",
         .labels = parts,
         .label_types = part_types},
        {.kind = USER_TYPE_EXTENSION, .name = "hstore"},
    };
    const struct column columns[] = {
        {.name = "a", .type = "bigint", .kind = KIND_INT64, .key = 2},
        {.name = "b", .type = "character varying(20)", .kind = KIND_TEXT, .key = 1},
        {.name = "c", .type = "numeric(12,2)", .kind = KIND_DECIMAL, .precision = 12, .scale = 2},
        COLUMN("d", "timestamp(3) with time zone", KIND_ZONED_TIMESTAMP),
        COLUMN("e", "shop.mood", KIND_ENUM),
        COLUMN("f", "shop.pair[]", KIND_TEXT),
        COLUMN("g", "ext.hstore", KIND_TEXT),
        COLUMN("h", "integer[]", KIND_TEXT),
        COLUMN("i", "interval day to second(3)", KIND_INTERVAL),
    };
    const struct table *table = table_with("all", columns, 9, types, 3);
    sql("DROP SCHEMA IF EXISTS ext CASCADE; DROP SCHEMA shop CASCADE"); /* schemas are created as well */
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, table));
    add(begin(table), OP_CREATE, NULL,
        ROW(V_INT(1), V_TEXT("k"), V_TEXT("1.50"), V_TEXT("2024-01-02T03:04:05.123Z"),
            V_TEXT("it's \"happy\""), V_NULL, V_TEXT("\"a\"=>\"1\""), V_TEXT("{1,NULL,3}"),
            V_TEXT("P1DT2H")));
    apply_commit(&a);
    assert_string_equal(shape_of("shop.all"),
                        "a|bigint|t;b|character varying(20)|t;c|numeric(12,2)|t;d|timestamp(3) with time "
                        "zone|f;e|shop.mood|f;"
                        "f|shop.pair[]|f;g|ext.hstore|f;h|integer[]|f;i|interval day to second(3)|f");
    assert_string_equal(
        see("SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'shop.all'::regclass"),
        "PRIMARY KEY (b, a)");
    assert_string_equal(see("SELECT c, e, h FROM shop.all"), "1.50|it's \"happy\"|{1,NULL,3}");

    static const char *const more[] = {"sad", "meh", "ok", "it's \"happy\"", NULL};
    types[0].labels = more;
    const struct table *next = table_with("all", columns, 9, types, 3);
    assert_ok(&a, prepare(&a, next)); /* the new label is used in the same transaction */
    add(begin(next), OP_UPDATE, NULL,
        ROW(V_INT(1), V_TEXT("k"), V_ABSENT, V_ABSENT, V_TEXT("meh"), V_ABSENT, V_ABSENT, V_ABSENT,
            V_ABSENT));
    apply_commit(&a);
    assert_string_equal(see("SELECT e, e < 'ok' FROM shop.all"), "meh|t");
    process_end(&a);
    sql("DROP SCHEMA ext CASCADE");
}

static void a_missing_table_is_not_created_unless_allowed(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("create_tables", "false"));
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "CREATE TABLE \"shop\".\"items\" (\"id\" integer NOT NULL"));
    process_end(&a);
}

static const struct table *items_grown(void) {
    return TABLE("items", {.name = "id", .type = "bigint", .kind = KIND_INT64, .key = 1, .length = -1},
                 COLUMN("qty", "numeric(12,2)", KIND_DECIMAL), COLUMN("note", "text", KIND_TEXT),
                 COLUMN("extra", "integer", KIND_INT32));
}

static void the_replica_grows_with_its_source(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note varchar(10), old text NOT NULL)");
    sql("INSERT INTO shop.items VALUES (1, 1, 'n', 'old')");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items_grown()));
    INSERT(begin(items_grown()), V_INT(INT64_C(5000000000)), V_TEXT("1.25"), V_TEXT("longer than ten"),
           V_INT(7));
    assert_ok(&a, apply(&a));
    ops->rollback(a.target); /* the alteration goes back as well, and is done again */
    assert_string_equal(shape_of("shop.items"),
                        "id|integer|t;qty|integer|f;note|character varying(10)|f;old|text|t");
    assert_ok(&a, prepare(&a, items_grown()));
    apply_commit(&a);
    assert_string_equal(shape_of("shop.items"),
                        "id|bigint|t;qty|numeric(12,2)|f;note|text|f;old|text|f;extra|integer|f");
    assert_string_equal(see("SELECT * FROM shop.items ORDER BY id"),
                        "1|1.00|n|old|~;5000000000|1.25|longer than ten|~|7");
    const struct table *older =
        TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), COLUMN("note", "character varying(10)", KIND_TEXT));
    UPDATE(begin(older), V_INT(1), V_INT(2), V_TEXT("older")); /* rows of the older version still fit */
    apply_commit(&a);
    assert_string_equal(see("SELECT qty, note FROM shop.items WHERE id = 1"), "2.00|older");
    process_end(&a);
}

static void a_change_of_shape_stops_with_the_sql_if_asked(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note varchar(10))");
    struct process a;
    process_begin(&a, "a", OPTIONS("schema_change", "stop"));
    assert_code(&a, prepare(&a, items_grown()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "ALTER TABLE \"shop\".\"items\""));
    assert_non_null(strstr(a.err.text, "ALTER COLUMN \"id\" TYPE bigint"));
    assert_non_null(strstr(a.err.text, "ADD COLUMN \"extra\" integer"));
    process_end(&a);
}

static void columns_that_the_replica_lacks_are_left_out_if_asked(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (note text, id int PRIMARY KEY)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", "ignore"));
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(i), V_TEXT("n"));
        assert_ok(&a, apply(&a));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, V_INT(i), V_INT(i), V_TEXT("m"));
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items WHERE note <> 'm'"), "0");
        assert_string_equal(shape_of("shop.items"), "note|text|f;id|integer|t");
        process_end(&a);
    }
}

static void a_type_that_loses_values_is_never_taken(void **state) {
    (void)state;
    static const char *const pairs[][2] = {
        {"numeric(12,2)", "numeric(12,1)"},
        {"integer", "text[]"},
        {"timestamp without time zone", "timestamp(3) without time zone"},
        {"text", "integer"},
        {"double precision", "real"},
        {"character(5)", "character(3)"},
        {"date", "timestamp without time zone"},
    };
    for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
        set_up(NULL);
        sql("CREATE TABLE shop.narrow (id int PRIMARY KEY, v %s)", pairs[i][1]);
        sql("INSERT INTO shop.narrow VALUES (1, NULL)");
        struct process a;
        process_begin(&a, "a", OPTIONS("schema_change", i % 2 ? "ignore" : "stop"));
        assert_code(&a, prepare(&a, TABLE("narrow", INT_KEY("id"), COLUMN("v", pairs[i][0], KIND_TEXT))),
                    REJECT, ERR_TARGET_TABLE);
        assert_non_null(strstr(a.err.text, pairs[i][0]));
        process_end(&a);
    }
}

static void a_table_without_the_sources_key_is_refused(void **state) {
    (void)state;
    sql("CREATE TABLE shop.items (id int, qty int PRIMARY KEY, note text)");
    struct process a;
    process_begin(&a, "a", OPTIONS("schema_change", "stop"));
    assert_code(&a, prepare(&a, items()), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "CREATE UNIQUE INDEX ON \"shop\".\"items\" (\"id\")"));
    process_end(&a);
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    INSERT(begin(items()), V_INT(1), V_INT(1), V_NULL);
    apply_commit(&a);
    process_end(&a);
}

static void generated_and_identity_columns_and_domains(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE DOMAIN shop.word AS text NOT NULL;"
            "CREATE TABLE shop.items (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, qty int GENERATED "
            "ALWAYS AS (id * 10) STORED, note shop.word)");
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(1), V_TEXT("w"));
        assert_ok(&a, apply(&a));
        b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            if (i % 2)
                UPDATE(b, V_INT(i), V_INT(2), V_TEXT("v"));
            else
                UPDATE(b, V_INT(i), V_INT(2), V_ABSENT);
        }
        apply_commit(&a);
        assert_string_equal(
            see("SELECT count(*) FROM shop.items WHERE qty <> id * 10 OR (note = 'v') <> (id %% 2 = 1)"),
            "0");
        process_end(&a);
    }
}

static void partitioned_replicas(void **state) {
    (void)state;
    EACH_SIZE(n) {
        set_up(NULL);
        sql("CREATE TABLE shop.items (id int PRIMARY KEY, qty int, note text) PARTITION BY HASH (id);"
            "CREATE TABLE shop.p0 PARTITION OF shop.items FOR VALUES WITH (MODULUS 2, REMAINDER 0);"
            "CREATE TABLE shop.p1 PARTITION OF shop.items FOR VALUES WITH (MODULUS 2, REMAINDER 1);"
            "CREATE TABLE shop.notes (n int, doc json, note text) PARTITION BY LIST (n);"
            "CREATE TABLE shop.n0 PARTITION OF shop.notes FOR VALUES IN (0);"
            "CREATE TABLE shop.n1 PARTITION OF shop.notes DEFAULT");
        fill_items((int)n);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(items());
        for (int i = 1; i <= (int)n; i++) {
            UPDATE(b, V_INT(i), V_INT(-i), V_ABSENT);
            INSERT(b, V_INT(i + (int)n), V_INT(1), V_NULL);
        }
        assert_ok(&a, apply(&a));
        b = begin(notes());
        for (int i = 0; i < 6; i++)
            INSERT(b, V_INT(i % 3), V_NULL, V_NULL);
        add(b, OP_DELETE, ROW(V_INT(0), V_NULL, V_NULL), NULL);
        add(b, OP_UPDATE, ROW(V_INT(0), V_NULL, V_NULL), ROW(V_INT(9), V_NULL, V_NULL));
        apply_commit(&a);
        assert_string_equal(see("SELECT n FROM shop.notes ORDER BY 1"), "1;1;2;2;9");
        process_end(&a);
    }
}

/* ---- hostile journals ---- */

static void hostile_names_are_names(void **state) {
    (void)state;
    static const char evil[] = "x\"; DROP TABLE shop.victim; --";
    sql("CREATE TABLE shop.victim (id int)");
    EACH_SIZE(n) {
        sql("DROP SCHEMA IF EXISTS \"s'\"\" $1\" CASCADE");
        struct table *table =
            TABLE(evil, {.name = "a\"b.c\\", .type = "integer", .kind = KIND_INT32, .key = 1},
                  INT_COLUMN("op"), TEXT_COLUMN("'); DELETE FROM shop.victim; --"), TEXT_COLUMN("%s %n {}"));
        table->schema = "s'\" $1";
        table->digest = table_digest(table);
        struct process a;
        process_begin(&a, "a", OPTIONS());
        struct batch *b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            INSERT(b, V_INT(i), V_INT(i), V_TEXT("x"), V_TEXT("y"));
        assert_ok(&a, prepare_as(&a, table, true, true));
        assert_ok(&a, apply(&a));
        b = begin(table);
        for (int i = 1; i <= (int)n; i++)
            UPDATE(b, V_INT(i), V_INT(0), V_ABSENT, V_TEXT("z"));
        apply_commit(&a);
        assert_ok(&a, ops->park(a.target, table->schema, evil, "'; DROP", &a.err));
        char expected[32];
        snprintf(expected, sizeof expected, "%zu", n);
        assert_string_equal(
            see("SELECT count(*) FROM \"s'\"\" $1\".\"x\"\"; DROP TABLE shop.victim; --\" WHERE op = 0"),
            expected);
        process_end(&a);
    }
    assert_string_equal(see("SELECT count(*) FROM shop.victim"), "0");
    sql("DROP SCHEMA IF EXISTS \"s'\"\" $1\" CASCADE");
}

static void names_that_cannot_be_are_refused(void **state) {
    (void)state;
    static const char *const names[] = {"", "\xff\xfe",
                                        "0123456789012345678901234567890123456789012345678901234567890123"};
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (size_t i = 0; i < 3; i++) {
        assert_code(&a, prepare(&a, TABLE(names[i], INT_KEY("id"))), REJECT, ERR_TARGET_TABLE);
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), INT_COLUMN(names[i]))), REJECT,
                    ERR_TARGET_TABLE);
    }
    process_end(&a);
}

static void hostile_types_never_become_sql(void **state) {
    (void)state;
    static const char *const types[] = {
        "integer); DROP TABLE shop.victim; --",
        "integer DEFAULT (SELECT 1)",
        "integer[][]; x",
        "int4, x int",
        "",
        "serial",
        "integer CHECK (true)",
        "\"a\"\"; --",
        "numeric(1,(SELECT 1))",
        "shop.victim; DROP",
        "text COLLATE \"C\"",
        "nosuchtype",
        "shop.nosuch",
        "character varying(20",
        "integer -- x",
        "pg_catalog.\"trigger\"",
        "record",
    };
    sql("CREATE TABLE shop.victim (id int)");
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), COLUMN("c", types[i], KIND_TEXT))), REJECT,
                    ERR_TARGET_TABLE);
        assert_string_equal(see("SELECT to_regclass('shop.t')"), "~");
    }
    sql("CREATE TABLE shop.t (id int PRIMARY KEY, c point)");
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        assert_code(&a, prepare(&a, TABLE("t", INT_KEY("id"), COLUMN("c", types[i], KIND_TEXT))), REJECT,
                    ERR_TARGET_TABLE);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.victim"), "0");
}

/* ---- seen from outside ---- */

static void status_tells_who_how_far_and_what_stands(void **state) {
    (void)state;
    struct process a;
    CLEANUP_BUF json = {0};
    process_open(&a, "a", OPTIONS());
    assert_ok(&a, ops->status(a.options, &a.env, 5000, &json, &a.err));
    assert_string_equal(buf_cstr(&json), "{\"workers\":[],\"parked\":[]}");
    assert_ok(&a, claim(&a));
    a.progress.position = (struct position){1, 2, 3};
    assert_ok(&a, commit(&a));
    assert_ok(&a, ops->park(a.target, "shop", "items", "because \"it\"", &a.err));
    buf_clear(&json);
    assert_ok(&a, ops->status(a.options, &a.env, 5000, &json, &a.err));
    char text[4096];
    snprintf(text, sizeof text, "%s", buf_cstr(&json));
    assert_string_equal(see("SELECT j->'workers'->0->>'owner', j->'workers'->0->>'position', "
                            "j->'parked'->0->>'table', j->'parked'->0->>'reason'"
                            " FROM (SELECT $json$%s$json$::json j) x",
                            text),
                        "a|[1, 2, 3]|items|because \"it\"");
    assert_ok(&a, ops->park(a.target, "shop", "items", NULL, &a.err));
    buf_clear(&json);
    assert_ok(&a, ops->status(a.options, &a.env, 5000, &json, &a.err));
    assert_non_null(strstr(buf_cstr(&json), "\"parked\" : []"));
    process_end(&a);
}

static void the_doctor_reads_and_changes_nothing(void **state) {
    (void)state;
    struct process a;
    CLEANUP_BUF findings = {0};
    process_open(&a, "a", OPTIONS());
    assert_ok(&a, ops->check(a.options, &a.env, 5000, &findings, &a.err));
    char text[8192];
    snprintf(text, sizeof text, "%s", buf_cstr(&findings));
    assert_string_equal(see("SELECT count(*) > 2, count(*) FILTER (WHERE f->>'level' <> 'ok') FROM "
                            "json_array_elements($json$[%s]$json$) f",
                            text),
                        "t|0");
    assert_string_equal(see("SELECT count(*) FROM pg_namespace WHERE nspname = 'millrace'"), "0");
    process_end(&a);
}

/* ---- snapshots into tables that are just created ---- */

static enum code apply_read(struct process *p, const struct table *table, int from, int to, int qty) {
    struct batch *b = begin(table);
    for (int i = from; i <= to; i++)
        add(b, OP_READ, NULL, ROW(V_INT(i), V_INT(qty), V_TEXT("s"), V_NULL));
    return apply(p);
}

static const char *see_keys(void) {
    return see("SELECT contype, pg_get_constraintdef(oid) FROM pg_constraint WHERE conrelid = 'shop.items'::regclass"
               " AND contype <> 'n'");
}

static void a_table_that_was_created_for_a_snapshot_has_its_key_when_it_is_seen(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 10, 0));
    assert_ok(&a, apply_read(&a, items(), 11, 3000, 0));
    assert_ok(&a, apply_read(&a, items(), 3001, 3010, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(see_keys(), "p|PRIMARY KEY (id)");
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "3010|0|3010");
    assert_ok(&a, apply_read(&a, items(), 2001, 4000, 1)); /* a table that others see keeps its key */
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "4000|2000|4000");
    process_end(&a);
}

static void changes_after_a_snapshot_find_the_rows_of_the_same_transaction(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    struct batch *b = begin(items());
    UPDATE(b, V_INT(7), V_INT(70), V_TEXT("u"));
    DELETE(b, V_INT(8), V_NULL, V_NULL);
    INSERT(b, V_INT(9), V_INT(90), V_TEXT("i"));
    assert_ok(&a, apply(&a));
    assert_ok(&a, apply_read(&a, items(), 2001, 4000, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(see_keys(), "p|PRIMARY KEY (id)");
    assert_string_equal(see("SELECT count(*), sum(qty), max(id) FROM shop.items"), "3999|160|4000");
    process_end(&a);
}

static void of_rows_that_a_snapshot_holds_twice_the_last_stays(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    assert_ok(&a, apply_read(&a, items(), 1001, 3000, 1));
    assert_ok(&a, apply_read(&a, items(), 1501, 1600, 2));
    assert_ok(&a, commit(&a));
    assert_string_equal(see_keys(), "p|PRIMARY KEY (id)");
    assert_string_equal(see("SELECT qty, count(*), min(id), max(id) FROM shop.items GROUP BY 1 ORDER BY 1"),
                        "0|1000|1|1000;1|1900|1001|3000;2|100|1501|1600");
    process_end(&a);
}

static void another_version_finds_the_key_of_what_is_being_built(void **state) {
    (void)state;
    struct process a;
    const struct table *wider =
        TABLE("items", INT_KEY("id"), INT_COLUMN("qty"), TEXT_COLUMN("note"), TEXT_COLUMN("more"));
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 2000, 0));
    assert_ok(&a, prepare(&a, wider));
    assert_ok(&a, apply_read(&a, wider, 1001, 3000, 1));
    assert_ok(&a, commit(&a));
    assert_string_equal(see_keys(), "p|PRIMARY KEY (id)");
    assert_string_equal(see("SELECT count(*), sum(qty), count(more) FROM shop.items"), "3000|2000|0");
    process_end(&a);
}

static void what_was_built_without_its_key_is_gone_with_its_transaction(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    for (int i = 0; i < 2; i++) {
        assert_ok(&a, prepare(&a, items()));
        assert_ok(&a, apply_read(&a, items(), 1, 2000, i));
        ops->rollback(a.target);
        assert_string_equal(see("SELECT to_regclass('shop.items')"), "~");
    }
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, apply_read(&a, items(), 1, 5, 0));
    assert_ok(&a, commit(&a));
    assert_string_equal(see_keys(), "p|PRIMARY KEY (id)");
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "5");
    process_end(&a);
}

static const struct CMUnitTest tests[] = {
#define CASE(f) cmocka_unit_test_setup_teardown(f, set_up, tear_down)
    CASE(a_part_has_one_owner_until_it_lets_go),
    CASE(an_owner_that_is_not_seen_loses_its_part_and_its_session),
    CASE(a_zombie_cannot_commit_renew_or_park),
    CASE(rows_and_position_move_together_or_not_at_all),
    CASE(another_number_of_workers_needs_a_replay),
    CASE(an_owner_at_work_keeps_its_part_however_long_that_takes),
    CASE(a_stop_ends_a_statement_that_waits),
    CASE(a_lock_that_is_not_given_is_tried_again),
    CASE(a_lost_connection_leaves_nothing),
    CASE(a_replica_that_takes_no_writes_is_full_for_now),
    CASE(a_server_that_refuses_is_told_from_one_that_does_not_answer),
    CASE(every_kind_of_row_ends_in_its_last_state),
    CASE(absent_columns_are_kept),
    CASE(a_column_that_no_row_carries_is_not_touched),
    CASE(unique_values_may_change_places),
    CASE(inserted_rows_replace_what_is_there),
    CASE(a_missing_row_is_written_whole_or_stops),
    CASE(a_missing_row_to_delete_is_fine_unless_asked),
    CASE(behind_a_filter_missing_rows_are_no_divergence),
    CASE(a_partial_row_can_change_its_key),
    CASE(a_table_of_nothing_but_its_key),
    CASE(keys_are_equal_as_their_type_says),
    CASE(foreign_keys_and_triggers_do_not_act_unless_asked),
    CASE(rows_that_cascades_would_take_along_are_not_rewritten),
    CASE(without_the_right_to_silence_triggers_only_tables_without_them),
    CASE(a_violated_constraint_is_named_without_the_row),
    CASE(a_second_row_with_a_unique_value_is_a_violation),
    CASE(a_value_that_the_replica_refuses_is_not_quoted),
    CASE(what_a_trigger_says_of_a_row_is_not_quoted),
    CASE(a_table_is_emptied_also_where_foreign_keys_point_to_it),
    CASE(rows_of_somebody_else_are_never_mixed_in),
    CASE(rows_keep_their_origin),
    CASE(a_replay_empties_what_the_sink_wrote),
    CASE(a_replay_does_not_wait_for_what_is_being_built),
    CASE(workers_that_build_anew_do_not_wait_for_each_other),
    CASE(a_table_that_was_created_for_a_snapshot_has_its_key_when_it_is_seen),
    CASE(changes_after_a_snapshot_find_the_rows_of_the_same_transaction),
    CASE(of_rows_that_a_snapshot_holds_twice_the_last_stays),
    CASE(another_version_finds_the_key_of_what_is_being_built),
    CASE(what_was_built_without_its_key_is_gone_with_its_transaction),
    CASE(of_equal_rows_exactly_one_is_deleted),
    CASE(many_rows_without_a_key),
    CASE(absent_columns_of_a_row_without_a_key_are_kept),
    CASE(a_table_without_columns),
    CASE(a_table_of_as_many_columns_as_there_can_be),
    CASE(tables_are_created_with_the_sources_types),
    CASE(a_missing_table_is_not_created_unless_allowed),
    CASE(the_replica_grows_with_its_source),
    CASE(a_change_of_shape_stops_with_the_sql_if_asked),
    CASE(columns_that_the_replica_lacks_are_left_out_if_asked),
    CASE(a_type_that_loses_values_is_never_taken),
    CASE(a_table_without_the_sources_key_is_refused),
    CASE(generated_and_identity_columns_and_domains),
    CASE(partitioned_replicas),
    CASE(hostile_names_are_names),
    CASE(names_that_cannot_be_are_refused),
    CASE(hostile_types_never_become_sql),
    CASE(status_tells_who_how_far_and_what_stands),
    CASE(the_doctor_reads_and_changes_nothing),
};

int main(void) {
    log_setup(LOG_ERROR, false);
    int failed = 0;
    for (size_t i = 0; target_table[i]; i++) {
        ops = target_table[i];
        if (strcmp(ops->options->name, "postgres") != 0)
            die("there is no fixture for this kind of target yet");
        open_database();
        failed += cmocka_run_group_tests_name(ops->options->name, tests, NULL, NULL);
        drop_database();
    }
    return failed;
}
