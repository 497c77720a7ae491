/* What the PostgreSQL source promises, on a real server. MILLRACE_TEST_PG_SOURCE is the URL of a superuser of
 * a server with wal_level = logical; the test makes and drops the database millrace_test_source there. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <libpq-fe.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "capture/postgres/identity.h"
#include "capture/source_table.h"

#define DATABASE   "millrace_test_source"
#define DEADLINE_S 20

/* ---- the fixture ----------------------------------------------------------------------------------- */

static char conninfo[1024]; /* of the test database */

static const char *url_part(const PQconninfoOption *parts, const char *keyword) {
    for (; parts->keyword; parts++)
        if (strcmp(parts->keyword, keyword) == 0)
            return parts->val;
    return NULL;
}

static PGconn *connect_to(const char *info) {
    PGconn *conn = PQconnectdb(info);
    if (PQstatus(conn) != CONNECTION_OK)
        fail_msg("%s", PQerrorMessage(conn));
    return conn;
}

static void sql(PGconn *conn, const char *text) {
    PGresult *res = PQexec(conn, text);
    ExecStatusType status = PQresultStatus(res);
    if (status != PGRES_COMMAND_OK && status != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQresultErrorMessage(res));
    PQclear(res);
}

/* The first value of the first row, static. */
static const char *ask(PGconn *conn, const char *text) {
    static char value[4096];
    PGresult *res = PQexec(conn, text);
    if (PQresultStatus(res) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQresultErrorMessage(res));
    snprintf(value, sizeof value, "%s", PQntuples(res) ? PQgetvalue(res, 0, 0) : "");
    PQclear(res);
    return value;
}

static PGconn *admin_open(void) {
    const char *url = getenv("MILLRACE_TEST_PG_SOURCE");
    if (!url)
        fail_msg(
            "set MILLRACE_TEST_PG_SOURCE to the URL of a superuser of a PostgreSQL with wal_level = logical");
    PQconninfoOption *parts = PQconninfoParse(url, NULL);
    assert_non_null(parts);
    size_t used = 0;
    conninfo[0] = 0;
    static const char *const kept[] = {"host", "port", "user", "password", "sslmode", NULL};
    for (int i = 0; kept[i]; i++)
        if (url_part(parts, kept[i]))
            used += (size_t)snprintf(conninfo + used, sizeof conninfo - used, "%s='%s' ", kept[i],
                                     url_part(parts, kept[i]));
    snprintf(conninfo + used, sizeof conninfo - used, "dbname=" DATABASE);
    PQconninfoFree(parts);
    return connect_to(url);
}

static void drop_all(PGconn *admin) {
    sql(admin, "SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE database = '" DATABASE
               "' AND active");
    for (int i = 0;
         i < 100 && strcmp(ask(admin, "SELECT count(*) FROM pg_replication_slots WHERE database = '" DATABASE
                                      "' AND active"),
                           "0") != 0;
         i++)
        usleep(20000);
    sql(admin,
        "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = '" DATABASE
        "'");
    sql(admin, "DROP DATABASE IF EXISTS " DATABASE " WITH (FORCE)");
}

struct fixture {
    PGconn *admin, *db;
    struct stop stop;
    struct source_env env;
    struct pg_options options;
    const char *patterns[4];
    struct source *source;
    struct err err;
    struct source_item item;
    /* the newest mark */
    struct buf state;
    uint64_t ticket;
    struct position position; /* newest handed over */
    bool boundary;
};

static int setup(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    log_setup(LOG_ERROR, false);
    f->admin = admin_open();
    sql(f->admin, "SET client_min_messages = warning");
    drop_all(f->admin);
    sql(f->admin, "CREATE DATABASE " DATABASE);
    f->db = connect_to(conninfo);
    sql(f->db, "SET client_min_messages = warning");
    stop_init(&f->stop);
    f->env = (struct source_env){.clock = &clock_system, .stop = &f->stop, .name = "contract"};
    f->patterns[0] = "public.*";
    f->options = (struct pg_options){
        .url = conninfo,
        .tables = {.items = f->patterns, .n = 1},
        .snapshot_workers = 2,
        .create = true,
        .partial_rows = PG_PARTIAL_HISTORY,
    };
    *state = f;
    return 0;
}

static void close_source(struct fixture *f) {
    if (f->source)
        postgres_source.close(f->source);
    f->source = NULL;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    close_source(f);
    PQfinish(f->db);
    drop_all(f->admin);
    PQfinish(f->admin);
    stop_free(&f->stop);
    buf_free(&f->state);
    free(f);
    return 0;
}

/* ---- driving --------------------------------------------------------------------------------------- */

static enum code try_open(struct fixture *f, bool resnapshot) {
    struct source_resume resume = {
        .resnapshot = resnapshot, .position = f->position, .boundary = f->boundary};
    if (f->state.len) {
        resume.found = true;
        resume.state = buf_cstr(&f->state);
    }
    enum code code = postgres_source.open(&f->options, &f->env, &resume, &f->source, &f->err);
    for (int i = 0; i < 100 && code == RETRY && f->err.id == ERR_SLOT_ACTIVE;
         i++) { /* our last session is still ending */
        usleep(20000);
        code = postgres_source.open(&f->options, &f->env, &resume, &f->source, &f->err);
    }
    return code;
}

static void open_source(struct fixture *f) {
    if (try_open(f, false) != OK)
        fail_msg("open: %s", f->err.text);
}

/* The next item within the deadline; false when nothing came. */
static bool next_within(struct fixture *f, int64_t ms) {
    int64_t deadline = clock_mono(f->env.clock) + ms * 1000;
    for (;;) {
        enum code code = postgres_source.next(f->source, &f->item, &f->err);
        if (code == OK) {
            f->position = f->item.position;
            f->boundary = f->item.type != ITEM_CHANGE;
            return true;
        }
        if (code != AGAIN)
            fail_msg("next: %s %s: %s", code_name(code), err_name(f->err.id), f->err.text);
        int64_t now = clock_mono(f->env.clock), until = deadline;
        if (now >= deadline)
            return false;
        struct pollfd fds[32];
        int n = postgres_source.fds(f->source, fds, 32, &until);
        stop_poll(&f->stop, fds, n, now, until);
    }
}

static void next(struct fixture *f) {
    if (!next_within(f, DEADLINE_S * 1000))
        fail_msg("nothing came within %d s", DEADLINE_S);
}

static void mark(struct fixture *f) {
    buf_clear(&f->state);
    f->ticket = postgres_source.mark(f->source, &f->state);
}

static void confirm(struct fixture *f) {
    assert_int_equal(postgres_source.confirm(f->source, f->ticket, &f->err), OK);
}

static void put_value(struct buf *b, const struct value *v) {
    switch (v->tag) {
    case VALUE_ABSENT:
        buf_puts(b, "~");
        break;
    case VALUE_NULL:
        buf_puts(b, "null");
        break;
    case VALUE_INT:
        buf_printf(b, "%lld", (long long)v->i);
        break;
    case VALUE_FLOAT:
        buf_printf(b, "%g", v->d);
        break;
    case VALUE_POINT:
        buf_printf(b, "(%g,%g)", v->xy[0], v->xy[1]);
        break;
    case VALUE_TEXT:
    case VALUE_BYTES:
        if (v->s.len > 40)
            buf_printf(b, "<%zu>", v->s.len);
        else
            buf_put_slice(b, v->s);
    }
}

static void put_row(struct buf *b, const char *name, const struct table *t, const struct value *row) {
    if (!row)
        return;
    buf_printf(b, " %s{", name);
    for (int i = 0; i < t->n_columns; i++) {
        buf_printf(b, "%s%s=", i ? "," : "", t->columns[i].name);
        put_value(b, &row[i]);
    }
    buf_puts(b, "}");
}

/* The item as a line: "u public.t before{id=1,v=~} after{id=1,v=x}", "COMMIT", "IDLE". */
static const char *line(const struct source_item *item) {
    static struct buf b;
    buf_clear(&b);
    if (item->type != ITEM_CHANGE)
        return item->type == ITEM_COMMIT ? "COMMIT" : "IDLE";
    const struct change *c = &item->change;
    buf_printf(&b, "%c %s.%s", c->op, c->table->schema, c->table->name);
    put_row(&b, "before", c->table, c->before);
    put_row(&b, "after", c->table, c->after);
    if (c->other)
        buf_puts(&b, c->moved_partial ? " moved partial" : " moved");
    if (c->restart_identity)
        buf_puts(&b, " restart");
    return buf_cstr(&b);
}

/* The next items, in order; idle items between them do not count. NULL-terminated. */
#define expect(f, ...) expect_lines(f, (const char *const[]){__VA_ARGS__, NULL})
static void expect_lines(struct fixture *f, const char *const *lines) {
    for (; *lines; lines++) {
        struct position before = f->position;
        do
            next(f);
        while (f->item.type == ITEM_IDLE);
        assert_string_equal(line(&f->item), *lines);
        assert_true(position_cmp(f->item.position, before) > 0 || f->item.type != ITEM_CHANGE);
    }
}

/* Takes the snapshot without looking at its rows; ends at its boundary. */
static void pass_snapshot(struct fixture *f) {
    do
        next(f);
    while (f->item.type != ITEM_COMMIT);
    mark(f);
    confirm(f);
}

/* Puts another "flushed" into the stored state. */
static void rewrite_flushed(struct fixture *f, uint64_t at) {
    CLEANUP_BUF text = {0};
    const char *old = buf_cstr(&f->state), *key = "\"flushed\":\"", *p = strstr(old, key);
    assert_non_null(p);
    p += strlen(key);
    buf_put(&text, old, (size_t)(p - old));
    buf_printf(&text, LSN_FMT "%s", LSN_ARGS(at), strchr(p, '"'));
    buf_clear(&f->state);
    buf_put_slice(&f->state, buf_slice(&text));
}

static void expect_needs_resnapshot(struct fixture *f, const char *words) {
    assert_int_equal(try_open(f, false), FATAL);
    if (f->err.id != ERR_NEEDS_RESNAPSHOT || !strstr(f->err.text, words) ||
        !strstr(f->err.text, "--resnapshot"))
        fail_msg("%s: %s", err_name(f->err.id), f->err.text);
}

/* ---- snapshot and stream --------------------------------------------------------------------------- */

static void a_snapshot_truncates_reads_and_commits_and_the_stream_goes_on_from_there(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 10), (2, NULL);"
               "CREATE TABLE b (id int PRIMARY KEY, gone int, t text, g int GENERATED ALWAYS AS (id * 2) "
               "STORED); ALTER TABLE b DROP gone;"
               "INSERT INTO b VALUES (1, E'a\\tb\\\\c\\nd')");
    f->options.snapshot_workers = 1;
    open_source(f);
    expect(f, "t public.a", "t public.b");
    assert_true(f->item.change.snapshot && f->position.generation == 1 && f->position.commit == 0 &&
                f->position.ordinal == 2);
    expect(f, "r public.a after{id=1,v=10}", "r public.a after{id=2,v=null}",
           "r public.b after{id=1,t=a\tb\\c\nd}", "COMMIT");
    mark(f);
    assert_non_null(strstr(buf_cstr(&f->state), "\"phase\":\"stream\""));
    confirm(f);
    sql(f->db, "INSERT INTO a VALUES (3, 30)");
    sql(f->db, "BEGIN; UPDATE a SET v = 11 WHERE id = 1; DELETE FROM a WHERE id = 2; COMMIT");
    expect(f, "c public.a after{id=3,v=30}", "COMMIT", "u public.a after{id=1,v=11}",
           "d public.a before{id=2,v=~}", "COMMIT");
}

static void a_key_change_is_a_delete_and_a_create(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, v int); INSERT INTO a VALUES (1, 10);"
               "CREATE TABLE full_ (id int PRIMARY KEY, v int); ALTER TABLE full_ REPLICA IDENTITY FULL; "
               "INSERT INTO full_ VALUES (1, 10)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "UPDATE a SET id = 2");
    expect(f, "d public.a before{id=1,v=~} moved", "c public.a after{id=2,v=10} moved", "COMMIT");
    assert_true(f->position.ordinal == 2);
    sql(f->db, "UPDATE full_ SET id = 2");
    expect(f, "d public.full_ before{id=1,v=10} moved", "c public.full_ after{id=2,v=10} moved", "COMMIT");
    sql(f->db, "UPDATE full_ SET v = 11");
    expect(f, "u public.full_ before{id=2,v=10} after{id=2,v=11}", "COMMIT");
}

static void the_rows_of_a_key_change_hold_until_its_second_half_is_out(void **state) {
    struct fixture *f = *state;
    sql(f->db,
        "CREATE TABLE a (at timestamptz PRIMARY KEY, x bytea, y bytea); ALTER TABLE a REPLICA IDENTITY FULL; "
        "INSERT INTO a VALUES ('2024-01-01 00:00:00+00', decode(repeat('ab', 1500000), 'hex'), "
        "decode(repeat('cd', 1500000), 'hex'))");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "UPDATE a SET at = '2025-01-01 00:00:00+00'");
    expect(f, "d public.a before{at=2024-01-01T00:00:00Z,x=<1500000>,y=<1500000>} moved",
           "c public.a after{at=2025-01-01T00:00:00Z,x=<1500000>,y=<1500000>} moved");
    const struct value *after = f->item.change.after;
    for (size_t i = 0; i < after[1].s.len; i++)
        assert_true((unsigned char)after[1].s.data[i] == 0xab && (unsigned char)after[2].s.data[i] == 0xcd);
    expect(f, "COMMIT");
}

/* Whatever byte of the log a stored position names, on a record's edge or not: what committed before it is
 * left out, what committed after it comes, from the first on. */
static void a_position_between_two_records_neither_skips_nor_repeats(void **state) {
    enum { ROWS = 6, STEPS = 60 };
    struct fixture *f = *state;
    uint64_t commits[ROWS], ends[ROWS];
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    uint64_t from = lsn_parse(ask(f->db, "SELECT pg_current_wal_insert_lsn()"));
    for (int i = 0; i < ROWS; i++) {
        char text[64];
        snprintf(text, sizeof text, "INSERT INTO a VALUES (%d)", i);
        sql(f->db, text);
        ends[i] = lsn_parse(ask(f->db, "SELECT pg_current_wal_insert_lsn()"));
        do
            next(f);
        while (f->item.type != ITEM_COMMIT);
        commits[i] = f->item.position.commit;
    }
    uint64_t generation = f->position.generation;
    for (int step = 0; step < STEPS; step++) { /* the log reaches beyond each */
        uint64_t at = from + (ends[ROWS - 1] - from) * (uint64_t)step / STEPS;
        close_source(f);
        f->position = (struct position){generation, at, 0};
        f->boundary = true;
        rewrite_flushed(f, at);
        open_source(f);
        int i = 0;
        while (i < ROWS && commits[i] < at)
            i++;
        if (i < ROWS) {
            char line_of[64];
            snprintf(line_of, sizeof line_of, "c public.a after{id=%d}", i);
            expect(f, line_of, "COMMIT");
        }
    }
}

static void a_cut_in_mid_transaction_holds_when_selection_and_keys_have_changed(void **state) {
    struct fixture *f = *state;
    sql(f->db,
        "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY); ALTER TABLE b REPLICA "
        "IDENTITY FULL; CREATE TABLE c (id int PRIMARY KEY); INSERT INTO b VALUES (1); INSERT INTO c VALUES "
        "(1)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "BEGIN; UPDATE b SET id = 2; UPDATE c SET id = 2; INSERT INTO a VALUES (1); INSERT INTO a "
               "VALUES (2); COMMIT");
    for (int i = 0; i < 5; i++) { /* up to the first of a's rows */
        do
            next(f);
        while (f->item.type == ITEM_IDLE);
    }
    assert_string_equal(line(&f->item), "c public.a after{id=1}");
    mark(f); /* the position is in the middle: the transaction comes again */
    close_source(f);
    sql(f->db, "ALTER TABLE b DROP CONSTRAINT b_pkey");
    f->patterns[1] = "!public.c";
    f->options.tables.n = 2;
    open_source(f);
    expect(f, "c public.a after{id=2}", "COMMIT");
}

static void an_unchanged_large_value_is_absent_or_filled_from_the_old_row(void **state) {
    struct fixture *f = *state;
    sql(f->db,
        "CREATE TABLE a (id int PRIMARY KEY, v int, big text); ALTER TABLE a ALTER big SET STORAGE EXTERNAL;"
        "CREATE TABLE full_ (LIKE a INCLUDING ALL); ALTER TABLE full_ REPLICA IDENTITY FULL;"
        "INSERT INTO a VALUES (1, 10, repeat('x', 9000)); INSERT INTO full_ SELECT * FROM a");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "UPDATE a SET v = 11");
    expect(f, "u public.a after{id=1,v=11,big=~}", "COMMIT");
    sql(f->db, "UPDATE a SET id = 2");
    expect(f, "d public.a before{id=1,v=~,big=~} moved partial",
           "c public.a after{id=2,v=11,big=~} moved partial", "COMMIT");
    sql(f->db, "UPDATE full_ SET v = 11");
    expect(f, "u public.full_ before{id=1,v=10,big=<9000>} after{id=1,v=11,big=<9000>}", "COMMIT");
    assert_false(f->item.change.table && f->item.change.table->partial);
}

static void a_truncate_is_one_change_per_table(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY); CREATE TABLE b (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db,
        "BEGIN; INSERT INTO a VALUES (1); TRUNCATE a, b RESTART IDENTITY; INSERT INTO a VALUES (2); COMMIT");
    expect(f, "c public.a after{id=1}", "t public.a restart", "t public.b restart", "c public.a after{id=2}",
           "COMMIT");
    assert_true(f->position.ordinal == 4);
}

static void every_replica_identity_gives_its_key(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE by_index (id int PRIMARY KEY, code int NOT NULL UNIQUE, v int);"
               "ALTER TABLE by_index REPLICA IDENTITY USING INDEX by_index_code_key;"
               "CREATE TABLE nothing (id int PRIMARY KEY); ALTER TABLE nothing REPLICA IDENTITY NOTHING;"
               "CREATE TABLE keyless (v int, w int); ALTER TABLE keyless REPLICA IDENTITY FULL;"
               "CREATE TABLE pair (v int, b int, a int, PRIMARY KEY (a, b))");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "INSERT INTO by_index VALUES (1, 7, 0); UPDATE by_index SET id = 2; UPDATE by_index SET code "
               "= 8; DELETE FROM by_index");
    expect(f, "c public.by_index after{id=1,code=7,v=0}");
    assert_int_equal(f->item.change.table->n_key, 1);
    assert_int_equal(f->item.change.table->key[0], 1);
    expect(f, "u public.by_index after{id=2,code=7,v=0}", "d public.by_index before{id=~,code=7,v=~} moved",
           "c public.by_index after{id=2,code=8,v=0} moved", "d public.by_index before{id=~,code=8,v=~}",
           "COMMIT");
    sql(f->db, "INSERT INTO nothing VALUES (1)");
    expect(f, "c public.nothing after{id=1}", "COMMIT");
    sql(f->db, "INSERT INTO keyless VALUES (1, NULL)");
    expect(f, "c public.keyless after{v=1,w=null}", "COMMIT");
    sql(f->db, "UPDATE keyless SET w = 2");
    expect(f, "u public.keyless before{v=1,w=null} after{v=1,w=2}", "COMMIT");
    sql(f->db, "INSERT INTO pair VALUES (0, 1, 2)");
    next(f);
    const struct table *t = f->item.change.table;
    assert_int_equal(t->n_key, 2);
    assert_int_equal(t->key[0], 2);
    assert_int_equal(t->key[1], 1);
}

static void a_schema_change_comes_at_its_exact_place(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, v int)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db,
        "BEGIN; INSERT INTO a VALUES (1, 1); ALTER TABLE a ADD w text; INSERT INTO a VALUES (2, 2, 'w');"
        "ALTER TABLE a DROP v; INSERT INTO a VALUES (3, 'w'); ALTER TABLE a RENAME w TO x; INSERT INTO a "
        "VALUES (4, 'x');"
        "ALTER TABLE a DROP x; ALTER TABLE a ADD x int NOT NULL DEFAULT 5; INSERT INTO a VALUES (5); COMMIT");
    expect(f, "c public.a after{id=1,v=1}", "c public.a after{id=2,v=2,w=w}", "c public.a after{id=3,w=w}",
           "c public.a after{id=4,x=x}", "c public.a after{id=5,x=5}", "COMMIT");
    sql(f->db, "ALTER TABLE a ALTER x DROP NOT NULL; INSERT INTO a VALUES (6, NULL)");
    expect(f, "c public.a after{id=6,x=null}", "COMMIT");
}

static void a_null_in_a_column_that_forbids_it_today_makes_a_new_version(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, v int)");
    open_source(f);
    pass_snapshot(f);
    close_source(f);
    sql(f->db, "INSERT INTO a VALUES (1, 1), (2, NULL)");
    sql(f->db, "ALTER TABLE a SET (fillfactor = 90); INSERT INTO a VALUES (3, 3), (4, NULL)"); /* describes it
                                                                                                  again */
    sql(f->db, "DELETE FROM a WHERE v IS NULL; ALTER TABLE a ALTER v SET NOT NULL");
    open_source(f);
    next(f);
    const struct table *strict = f->item.change.table;
    assert_false(strict->columns[1].nullable);
    expect(f, "c public.a after{id=2,v=null}");
    assert_true(f->item.change.table->columns[1].nullable);
    assert_true(f->item.change.table->digest != strict->digest);
    const struct table *loose = f->item.change.table;
    expect(f, "COMMIT", "c public.a after{id=3,v=3}");
    assert_ptr_equal(f->item.change.table, strict); /* a shape that comes back is the version it was */
    expect(f, "c public.a after{id=4,v=null}");
    assert_ptr_equal(f->item.change.table, loose);
}

static void tables_that_are_gone_are_read_as_they_were(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, v int)");
    open_source(f);
    pass_snapshot(f);
    close_source(f);
    sql(f->db, "INSERT INTO a VALUES (1, 1); DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, w text); "
               "INSERT INTO a VALUES (9, 'no')");
    open_source(f); /* the new table joins the publication here */
    expect(f, "c public.a after{id=1,v=1}", "COMMIT");
    sql(f->db, "INSERT INTO a VALUES (2, 'new')");
    expect(f, "c public.a after{id=2,w=new}", "COMMIT");
}

static void partitions_travel_as_leaves_or_as_their_root(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE p (id int, v int, PRIMARY KEY (id)) PARTITION BY RANGE (id);"
               "CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100);"
               "CREATE TABLE p2 (v int, id int NOT NULL, PRIMARY KEY (id)); ALTER TABLE p ATTACH PARTITION "
               "p2 FOR VALUES FROM (100) TO (200);"
               "INSERT INTO p VALUES (1, 1), (101, 2)");
    f->patterns[0] = "public.p"; /* the root's name takes its partitions */
    f->options.snapshot_workers = 1;
    open_source(f);
    expect(f, "t public.p1", "t public.p2", "r public.p1 after{id=1,v=1}", "r public.p2 after{v=2,id=101}",
           "COMMIT");
    sql(f->db, "UPDATE p SET id = 102 WHERE id = 1");
    expect(f, "d public.p1 before{id=1,v=~}", "c public.p2 after{v=1,id=102}", "COMMIT");
    sql(f->db,
        "CREATE TABLE p3 PARTITION OF p FOR VALUES FROM (200) TO (300); INSERT INTO p VALUES (201, 3)");
    expect(f, "c public.p3 after{id=201,v=3}", "COMMIT");
    close_source(f);
    buf_clear(&f->state);
    sql(f->db, "DROP PUBLICATION millrace_contract");
    f->options.publish_via_root = true;
    f->options.snapshot_workers = 1;
    f->position = (struct position){0};
    open_source(f);
    expect(f, "t public.p", "r public.p after{id=101,v=2}");
    pass_snapshot(f);
    sql(f->db, "INSERT INTO p VALUES (103, 4); UPDATE p SET v = 5 WHERE id = 103");
    expect(f, "c public.p after{id=103,v=4}", "u public.p after{id=103,v=5}", "COMMIT");
}

static void columns_and_tables_are_selected_by_pattern(void **state) {
    struct fixture *f = *state;
    static const char *keys[] = {"public.a"}, *values[] = {"!secret"};
    sql(f->db,
        "CREATE TABLE a (id int PRIMARY KEY, secret text, v int); INSERT INTO a VALUES (1, 's', 2);"
        "CREATE TABLE skipped (id int PRIMARY KEY); CREATE PUBLICATION millrace_contract FOR ALL TABLES");
    f->patterns[1] = "!public.skip*";
    f->options.tables.n = 2;
    f->options.columns = (struct text_map){keys, values, 1};
    open_source(f);
    expect(f, "t public.a", "r public.a after{id=1,v=2}", "COMMIT");
    sql(f->db, "BEGIN; INSERT INTO skipped VALUES (1); INSERT INTO a VALUES (2, 's', 3); COMMIT");
    expect(f, "c public.a after{id=2,v=3}", "COMMIT");
    close_source(f);
    values[0] = "!id";
    assert_int_equal(try_open(f, true), FATAL);
    assert_int_equal(f->err.id, ERR_CONFIG);
}

static void types_arrive(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE SCHEMA shop; CREATE TYPE shop.mood AS ENUM ('sad', 'ok'); CREATE DOMAIN shop.price AS "
               "numeric(8,2) NOT NULL;"
               "CREATE TYPE shop.pair AS (m shop.mood, p shop.price);"
               "CREATE TABLE a (id int PRIMARY KEY, m shop.mood, p shop.price, ms shop.mood[], pr shop.pair, "
               "ps shop.price[], u uuid, j jsonb, ts timestamptz);"
               "INSERT INTO a VALUES (1, 'ok', 1.5, '{sad,NULL}', '(ok,2)', '{1.25}', "
               "'00000000-0000-0000-0000-000000000001', '{\"a\": 1}', '2024-01-02 03:04:05+00')");
    open_source(f);
    expect(f, "t public.a",
           "r public.a "
           "after{id=1,m=ok,p=1.50,ms={sad,NULL},pr=(ok,2.00),ps={1.25},u=00000000-0000-0000-0000-"
           "000000000001,j={\"a\": 1},ts=2024-01-02T03:04:05Z}");
    const struct table *t = f->item.change.table;
    assert_string_equal(t->columns[1].type, "shop.mood");
    assert_string_equal(t->columns[1].labels[1], "ok");
    assert_string_equal(t->columns[2].type, "numeric(8,2)");
    assert_false(t->columns[2].nullable);
    assert_string_equal(t->columns[5].type, "numeric(8,2)[]");
    assert_int_equal(t->n_types, 2);
    assert_int_equal(t->types[0].kind, USER_TYPE_ENUM);
    assert_int_equal(t->types[1].kind, USER_TYPE_COMPOSITE);
    assert_string_equal(t->types[1].label_types[1], "numeric(8,2)");
    expect(f, "COMMIT");
    sql(f->db, "INSERT INTO a (id, p) VALUES (2, 1)");
    expect(f, "c public.a after{id=2,m=null,p=1.00,ms=null,pr=null,ps=null,u=null,j=null,ts=null}", "COMMIT");
    assert_true(t->n_types == 2);
    sql(f->db, "ALTER TYPE shop.mood ADD VALUE 'great'");
    sql(f->db, "INSERT INTO a (id, m, p) VALUES (3, 'great', 1)");
    next(f);
    assert_string_equal(f->item.change.table->columns[1].labels[2], "great");
}

static void a_value_that_cannot_be_carried_is_named(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY, n numeric(5,2))");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "INSERT INTO a VALUES (77, 'NaN')");
    enum code code;
    do {
        code = postgres_source.next(f->source, &f->item, &f->err);
        usleep(1000);
    } while (code == AGAIN || (code == OK && f->item.type == ITEM_IDLE));
    assert_int_equal(code, REJECT);
    assert_int_equal(f->err.id, ERR_VALUE_NOT_CARRIED);
    assert_non_null(strstr(f->err.text, "id=77"));
    assert_non_null(strstr(f->err.text, "numeric: string"));
}

/* ---- exactness under writers ----------------------------------------------------------------------- */

enum { ROWS = 400, WRITERS = 4 };
struct writer {
    pthread_t thread;
    int number;
    atomic_bool *stop;
    sem_t *under_way; /* posted after the first commit */
    int commits;
};

static void *write_along(void *arg) {
    struct writer *w = arg;
    PGconn *conn = PQconnectdb(conninfo);
    unsigned seed = (unsigned)w->number;
    PQclear(PQexec(conn, "SET deadlock_timeout = '20ms'"));
    while (!*w->stop) {
        char text[512];
        int a = rand_r(&seed) % ROWS, b = rand_r(&seed) % ROWS, n = rand_r(&seed);
        snprintf(
            text, sizeof text,
            "BEGIN; INSERT INTO w VALUES (%d, %d) ON CONFLICT (id) DO UPDATE SET n = excluded.n; "
            "DELETE FROM w WHERE id = %d; SAVEPOINT s; UPDATE w SET n = -1 WHERE id = %d; ROLLBACK TO s; "
            "INSERT INTO w SELECT %d, 1 WHERE NOT EXISTS (SELECT FROM w WHERE id = %d) ON CONFLICT DO "
            "NOTHING; COMMIT",
            a, n, b, b, (a + b) % ROWS, (a + b) % ROWS);
        PGresult *res = PQexec(conn, text);
        if (PQresultStatus(res) != PGRES_COMMAND_OK)
            PQclear(PQexec(conn, "ROLLBACK"));
        else if (w->commits++ == 0)
            sem_post(w->under_way);
        PQclear(res);
    }
    PQfinish(conn);
    return NULL;
}

struct model {
    bool there[ROWS + 1];
    int64_t n[ROWS + 1];
};

/* Applies as a strict replica would: an insert of a row that is there, or a delete of one that is not, is a
 * failure. */
static void model_apply(struct model *m, const struct change *c) {
    if (c->op == OP_TRUNCATE) {
        memset(m, 0, sizeof *m);
        return;
    }
    const struct value *row = c->after ? c->after : c->before;
    int64_t id = row[0].i;
    assert_true(id >= 0 && id <= ROWS);
    assert_int_equal(m->there[id], c->op == OP_UPDATE || c->op == OP_DELETE);
    m->there[id] = c->op != OP_DELETE;
    if (c->after)
        m->n[id] = row[1].i;
}

static void assert_model_is_source(struct fixture *f, const struct model *m) {
    PGresult *res = PQexec(f->db, "SELECT id, n FROM w ORDER BY id");
    int at = 0;
    for (int id = 0; id < ROWS; id++) {
        if (!m->there[id])
            continue;
        assert_true(at < PQntuples(res));
        assert_int_equal(strtol(PQgetvalue(res, at, 0), NULL, 10), id);
        assert_int_equal(strtoll(PQgetvalue(res, at, 1), NULL, 10), m->n[id]);
        at++;
    }
    assert_int_equal(at, PQntuples(res) - 1); /* the end mark */
    PQclear(res);
}

static void snapshot_and_stream_are_exact_while_writers_write_and_the_source_restarts(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE w (id int PRIMARY KEY, n bigint); INSERT INTO w SELECT i, 0 FROM "
               "generate_series(0, 399, 2) i");
    atomic_bool stop = false;
    sem_t under_way;
    struct writer writers[WRITERS] = {0};
    sem_init(&under_way, 0, 0);
    for (int i = 0; i < WRITERS; i++) {
        writers[i].number = i + 1;
        writers[i].stop = &stop;
        writers[i].under_way = &under_way;
        pthread_create(&writers[i].thread, NULL, write_along, &writers[i]);
    }
    struct timespec deadline;
    clock_gettime(CLOCK_REALTIME, &deadline);
    deadline.tv_sec += 30;
    for (int i = 0; i < WRITERS; i++)
        assert_int_equal(sem_timedwait(&under_way, &deadline), 0);
    struct model *m = calloc(1, sizeof *m);
    open_source(f);
    unsigned seed = 1;
    int64_t began = clock_mono(f->env.clock), restarts = 0;
    struct position last = {0};
    for (bool end = false; !end;) {
        if (!stop && clock_mono(f->env.clock) - began > 4000000) {
            stop = true;
            for (int i = 0; i < WRITERS; i++)
                pthread_join(writers[i].thread, NULL);
            sql(f->db, "INSERT INTO w VALUES (400, 0)");
        }
        next(f);
        if (f->item.type == ITEM_CHANGE) {
            assert_true(position_cmp(f->position, last) > 0);
            last = f->position;
            model_apply(m, &f->item.change);
            end = f->item.change.after && f->item.change.after[0].i == ROWS;
        }
        if (f->position.commit && rand_r(&seed) % 300 == 0) { /* anywhere, also inside a transaction */
            mark(f);
            if (rand_r(&seed) % 2)
                confirm(f);
            close_source(f);
            open_source(f);
            restarts++;
        }
    }
    assert_model_is_source(f, m);
    int commits = 0;
    for (int i = 0; i < WRITERS; i++)
        commits += writers[i].commits;
    print_message("          %d commits, %d restarts\n", commits, (int)restarts);
    assert_true(commits > 100 && restarts > 3);
    free(m);
}

/* ---- feedback -------------------------------------------------------------------------------------- */

static void wait_for(struct fixture *f, const char *question, const char *answer) {
    for (int i = 0; i < 500; i++) {
        if (strcmp(ask(f->db, question), answer) == 0)
            return;
        next_within(f, 10);
    }
    fail_msg("%s never became %s", question, answer);
}

static void the_slot_moves_on_confirm_and_not_before(void **state) {
    struct fixture *f = *state;
    char question[256], before[64];
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 50);
    snprintf(
        before, sizeof before, "%s",
        ask(f->db,
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"));
    sql(f->db, "INSERT INTO a VALUES (1)");
    expect(f, "c public.a after{id=1}", "COMMIT");
    mark(f);
    for (int i = 0; i < 20; i++) {
        next_within(f, 10);
        assert_int_equal(postgres_source.service(f->source, &f->err), OK);
    }
    assert_string_equal(
        ask(f->db,
            "SELECT confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"),
        before);
    confirm(f);
    snprintf(
        question, sizeof question,
        "SELECT confirmed_flush_lsn > '%s' FROM pg_replication_slots WHERE slot_name = 'millrace_contract'",
        before);
    wait_for(f, question, "t");
    /* and it is the end of the commit, so that nothing waits for a later one */
    wait_for(f,
             "SELECT flush_lsn = replay_lsn AND write_lsn = flush_lsn FROM pg_stat_replication WHERE "
             "application_name = 'millrace'",
             "t");
}

static void an_idle_source_lets_its_slot_move_on(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "CREATE SCHEMA other; CREATE TABLE other.x (t text); INSERT INTO other.x SELECT repeat('x', "
               "1000) FROM generate_series(1, 30000)");
    int64_t deadline = clock_mono(f->env.clock) + 15000000;
    do
        assert_true(next_within(f, 15000) && clock_mono(f->env.clock) < deadline);
    while (f->item.type != ITEM_IDLE);
    assert_true(f->position.commit == 0); /* the snapshot's end: nothing of ours has happened since */
    mark(f);
    confirm(f);
    wait_for(f,
             "SELECT pg_current_wal_lsn() - confirmed_flush_lsn < 1000000 FROM pg_replication_slots WHERE "
             "slot_name = 'millrace_contract'",
             "t");
    close_source(f);
    open_source(f); /* and from the mark of an idle item we go on */
    sql(f->db, "INSERT INTO a VALUES (5)");
    expect(f, "c public.a after{id=5}", "COMMIT");
}

/* ---- needs a new snapshot ---------------------------------------------------------------------------- */

static void stream_a_little(struct fixture *f) {
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a VALUES (1)");
    open_source(f);
    pass_snapshot(f);
    sql(f->db, "INSERT INTO a VALUES (2)");
    expect(f, "c public.a after{id=2}", "COMMIT");
    mark(f);
    confirm(f);
    next_within(f, 50);
    close_source(f);
    for (int i = 0;
         i < 200 &&
         strcmp(ask(f->db, "SELECT active FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"),
                "f") != 0;
         i++)
        usleep(10000);
}

static void mend_and_go_on(struct fixture *f) {
    sql(f->db, "DELETE FROM a WHERE id = 1");
    if (try_open(f, true) != OK)
        fail_msg("%s", f->err.text);
    f->position = (struct position){0};
    expect(f, "t public.a");
    assert_true(f->position.generation == 2 && f->position.ordinal == 1);
    pass_snapshot(f);
    sql(f->db, "INSERT INTO a VALUES (4)");
    expect(f, "c public.a after{id=4}", "COMMIT");
    assert_true(f->position.generation == 2);
}

static void a_dropped_slot_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql(f->db, "SELECT pg_drop_replication_slot('millrace_contract'); INSERT INTO a VALUES (3)");
    expect_needs_resnapshot(f, "does not exist");
    mend_and_go_on(f);
}

static void a_recreated_slot_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql(f->db, "SELECT pg_drop_replication_slot('millrace_contract')");
    sql(f->db, "INSERT INTO a VALUES (3)");
    sql(f->db, "SELECT pg_create_logical_replication_slot('millrace_contract', 'pgoutput')");
    expect_needs_resnapshot(f, "made again");
    mend_and_go_on(f);
}

static void a_slot_moved_ahead_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql(f->db, "INSERT INTO a VALUES (3)");
    sql(f->db, "SELECT pg_replication_slot_advance('millrace_contract', pg_current_wal_lsn())");
    expect_needs_resnapshot(f, "moved ahead");
    mend_and_go_on(f);
}

static void another_history_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    char *flushed = strstr(buf_cstr(&f->state), "\"flushed\":\"");
    assert_non_null(flushed);
    char *kept = strdup(buf_cstr(&f->state));
    memcpy(flushed + 11, "F", 1); /* our position is far ahead of the server's log */
    expect_needs_resnapshot(f, "restored from an older backup");
    buf_clear(&f->state);
    buf_puts(&f->state, kept);
    char *system = strstr(buf_cstr(&f->state), "\"system\":\"");
    system[10] = system[10] == '1' ? '2' : '1';
    expect_needs_resnapshot(f, "another database cluster");
    free(kept);
}

static void a_dropped_publication_needs_a_new_snapshot(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    sql(f->db, "DROP PUBLICATION millrace_contract; INSERT INTO a VALUES (3)");
    expect_needs_resnapshot(f, "publication");
    mend_and_go_on(f);
}

static void a_crash_in_the_middle_of_a_snapshot_begins_it_again(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY); INSERT INTO a SELECT generate_series(1, 1000)");
    open_source(f);
    for (int i = 0; i < 300; i++)
        next(f);
    mark(f);
    assert_non_null(strstr(buf_cstr(&f->state), "\"phase\":\"snapshot\""));
    confirm(f);
    close_source(f);
    sql(f->db, "DELETE FROM a WHERE id > 2; INSERT INTO a VALUES (2000)");
    open_source(f);
    f->position = (struct position){0};
    f->options.snapshot_workers = 1;
    expect(f, "t public.a");
    assert_true(f->position.generation == 2);
    expect(f, "r public.a after{id=1}", "r public.a after{id=2}", "r public.a after{id=2000}", "COMMIT");
    sql(f->db, "INSERT INTO a VALUES (3)");
    expect(f, "c public.a after{id=3}", "COMMIT");
}

static void an_active_slot_is_waited_for(void **state) {
    struct fixture *f = *state;
    assert_int_equal(postgres_source.vacant(&f->options, &f->env, &f->err), OK);
    stream_a_little(f);
    assert_int_equal(postgres_source.vacant(&f->options, &f->env, &f->err), OK);
    open_source(f);
    assert_int_equal(postgres_source.vacant(&f->options, &f->env, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    struct source *first = f->source;
    struct source_resume resume = {
        .found = true, .position = f->position, .boundary = true, .state = buf_cstr(&f->state)};
    assert_int_equal(postgres_source.open(&f->options, &f->env, &resume, &f->source, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    f->source = first;
}

static void a_timeline_that_left_before_our_position_needs_a_new_snapshot(void **state) {
    (void)state;
    static const char history[] = "1\t0/5000000\tno recovery target specified\n2\t0/7000000\tbefore 2024\n";
    struct err err;
    assert_int_equal(timeline_check(history, 3, 1, 0x5000000, &err), OK);
    assert_int_equal(timeline_check(history, 3, 2, 0x6000000, &err), OK);
    assert_int_equal(timeline_check(history, 3, 1, 0x5000001, &err), FATAL);
    assert_int_equal(err.id, ERR_NEEDS_RESNAPSHOT);
    assert_non_null(strstr(err.text, "0/5000000"));
    assert_int_equal(timeline_check(history, 3, 7, 0x100, &err), FATAL);
    assert_int_equal(timeline_check("", 1, 2, 0x100, &err), FATAL);
    struct pg_state ours = {.timeline = 1, .flushed = 0x4000000, .reach = 0x4000000};
    state_reaches(&ours, 0x5000000); /* handed over in part: its commit record is not on the new timeline */
    assert_int_equal(timeline_check(history, 3, 1, ours.reach, &err), FATAL);
}

static void a_severed_stream_is_opened_again_and_nothing_is_missing(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    open_source(f);
    sql(f->db, "INSERT INTO a VALUES (10)");
    expect(f, "c public.a after{id=10}", "COMMIT");
    mark(f);
    confirm(f);
    sql(f->db, "INSERT INTO a VALUES (11)");
    sql(f->db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace'");
    enum code code;
    int64_t deadline = clock_mono(f->env.clock) + 10000000;
    do {
        code = postgres_source.next(f->source, &f->item, &f->err);
        usleep(1000);
    } while ((code == AGAIN || code == OK) && clock_mono(f->env.clock) < deadline);
    assert_int_equal(code, RETRY);
    assert_int_equal(f->err.id, ERR_SOURCE_UNREACHABLE);
    close_source(f);
    open_source(f); /* from the mark, which is before 11 */
    f->position = (struct position){0};
    expect(f, "c public.a after{id=11}", "COMMIT");
}

static void a_caller_that_takes_nothing_keeps_its_session_by_service(void **state) {
    struct fixture *f = *state;
    char *url = NULL;
    assert_true(asprintf(&url, "%s options='-c wal_sender_timeout=3000'", conninfo) > 0);
    f->options.url = url;
    sql(f->db, "CREATE TABLE a (id int PRIMARY KEY)");
    open_source(f);
    pass_snapshot(f);
    next_within(f, 100);
    sql(f->db, "INSERT INTO a SELECT generate_series(1, 200000)"); /* more than the socket holds */
    for (int i = 0; i < 50; i++) {
        if (postgres_source.service(f->source, &f->err) != OK)
            fail_msg("service: %s", f->err.text);
        usleep(100000);
    }
    for (int i = 0; i < 200000; i++)
        next(f);
    expect(f, "COMMIT");
    free(url);
    f->options.url = conninfo;
}

/* ---- refusals and reports -------------------------------------------------------------------------- */

static void tables_that_cannot_be_captured_are_refused_with_their_sql(void **state) {
    struct fixture *f = *state;
    sql(f->db, "CREATE TABLE a (v int)");
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_TABLE_WITHOUT_KEY);
    assert_non_null(strstr(f->err.text, "ALTER TABLE \"public\".\"a\" REPLICA IDENTITY FULL"));
    sql(f->db, "DROP TABLE a; CREATE TABLE a (id int PRIMARY KEY, t text)");
    f->options.partial_rows = PG_PARTIAL_REFUSE;
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_PARTIAL_ROWS);
    assert_non_null(strstr(f->err.text, "partial_rows: history"));
    sql(f->db, "ALTER TABLE a REPLICA IDENTITY FULL");
    f->patterns[0] = "public.nowhere";
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_TABLE);
    assert_string_equal(
        ask(f->db, "SELECT count(*) FROM pg_replication_slots WHERE slot_name = 'millrace_contract'"), "0");
    f->patterns[0] = "public.*";
    open_source(f);
}

static void a_refused_login_is_final_and_an_absent_server_is_not(void **state) {
    struct fixture *f = *state;
    char *url = NULL;
    assert_true(asprintf(&url, "%s user=millrace_nobody_here password=sesame", conninfo) > 0);
    f->options.url = url;
    assert_int_equal(try_open(f, false), FATAL);
    assert_int_equal(f->err.id, ERR_SOURCE_REFUSED);
    assert_null(strstr(f->err.text, "sesame"));
    f->options.url = "postgres://u:sesame@127.0.0.1:1/x";
    assert_int_equal(try_open(f, false), RETRY);
    assert_int_equal(f->err.id, ERR_SOURCE_UNREACHABLE);
    assert_null(strstr(f->err.text, "sesame"));
    f->options.url = conninfo;
    free(url);
}

static void status_and_check_say_where_it_stands(void **state) {
    struct fixture *f = *state;
    struct source_resume none = {0};
    CLEANUP_BUF json = {0}, findings = {0};
    stream_a_little(f);
    struct source_resume resume = {
        .found = true, .position = f->position, .boundary = true, .state = buf_cstr(&f->state)};
    assert_int_equal(postgres_source.status(&f->options, &f->env, &resume, 5000, &json, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&json), "\"state\":\"stopped\""));
    sql(f->db, "SELECT pg_drop_replication_slot('millrace_contract'); CREATE TABLE keyless (v text)");
    buf_clear(&json);
    assert_int_equal(postgres_source.status(&f->options, &f->env, &resume, 5000, &json, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&json), "\"state\":\"needs-resnapshot\""));
    assert_int_equal(postgres_source.check(&f->options, &f->env, &none, 5000, &findings, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&findings), "table-without-key"));
    assert_non_null(strstr(buf_cstr(&findings), "\"level\":\"ok\""));
    f->options.url = "postgres://u:sesame@127.0.0.1:1/x";
    buf_clear(&json);
    assert_int_equal(postgres_source.status(&f->options, &f->env, &none, 5000, &json, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&json), "\"state\":\"unreachable\""));
    f->options.url = conninfo;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
/* An argument picks tests by pattern. */
int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        TEST(a_snapshot_truncates_reads_and_commits_and_the_stream_goes_on_from_there),
        TEST(a_key_change_is_a_delete_and_a_create),
        TEST(the_rows_of_a_key_change_hold_until_its_second_half_is_out),
        TEST(a_position_between_two_records_neither_skips_nor_repeats),
        TEST(a_cut_in_mid_transaction_holds_when_selection_and_keys_have_changed),
        TEST(an_unchanged_large_value_is_absent_or_filled_from_the_old_row),
        TEST(a_truncate_is_one_change_per_table),
        TEST(every_replica_identity_gives_its_key),
        TEST(a_schema_change_comes_at_its_exact_place),
        TEST(a_null_in_a_column_that_forbids_it_today_makes_a_new_version),
        TEST(tables_that_are_gone_are_read_as_they_were),
        TEST(partitions_travel_as_leaves_or_as_their_root),
        TEST(columns_and_tables_are_selected_by_pattern),
        TEST(types_arrive),
        TEST(a_value_that_cannot_be_carried_is_named),
        TEST(snapshot_and_stream_are_exact_while_writers_write_and_the_source_restarts),
        TEST(the_slot_moves_on_confirm_and_not_before),
        TEST(an_idle_source_lets_its_slot_move_on),
        TEST(a_dropped_slot_needs_a_new_snapshot),
        TEST(a_recreated_slot_needs_a_new_snapshot),
        TEST(a_slot_moved_ahead_needs_a_new_snapshot),
        TEST(another_history_needs_a_new_snapshot),
        TEST(a_dropped_publication_needs_a_new_snapshot),
        TEST(a_crash_in_the_middle_of_a_snapshot_begins_it_again),
        TEST(an_active_slot_is_waited_for),
        TEST(a_timeline_that_left_before_our_position_needs_a_new_snapshot),
        TEST(a_severed_stream_is_opened_again_and_nothing_is_missing),
        TEST(a_caller_that_takes_nothing_keeps_its_session_by_service),
        TEST(tables_that_cannot_be_captured_are_refused_with_their_sql),
        TEST(a_refused_login_is_final_and_an_absent_server_is_not),
        TEST(status_and_check_say_where_it_stands),
    };
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
