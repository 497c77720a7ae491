/* SQLite's own ways to change rows: whatever statement an application thinks of, a replica that takes each
 * change strictly - the row it says was there must be there, exactly so - ends equal. */
#include "source_case.h"

#include <stdio.h>

#include <sqlite3.h>

static sqlite3 *replica;

/* ---- a replica that takes every change by its word ---- */

static void on_replica(const char *text) {
    char *why = NULL;
    if (sqlite3_exec(replica, text, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", text, why);
}

static void bind(sqlite3_stmt *stmt, int at, const struct value *v) {
    switch (v->tag) {
    case VALUE_INT:
        sqlite3_bind_int64(stmt, at, v->i);
        break;
    case VALUE_FLOAT:
        sqlite3_bind_double(stmt, at, v->d);
        break;
    case VALUE_TEXT:
        sqlite3_bind_text(stmt, at, v->s.data, (int)v->s.len, SQLITE_TRANSIENT);
        break;
    case VALUE_BYTES:
        sqlite3_bind_blob(stmt, at, v->s.data, (int)v->s.len, SQLITE_TRANSIENT);
        break;
    default:
        sqlite3_bind_null(stmt, at);
    }
}

/* Runs the statement on the rows; returns how many rows it changed. */
static int change_row(const char *text, const struct table *t, const struct value *first,
                      const struct value *second) {
    sqlite3_stmt *stmt;
    if (sqlite3_prepare_v2(replica, text, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", text, sqlite3_errmsg(replica));
    for (int i = 0; i < t->n_columns; i++) {
        bind(stmt, i + 1, &first[i]);
        if (second)
            bind(stmt, t->n_columns + i + 1, &second[i]);
    }
    assert_int_equal(sqlite3_step(stmt), SQLITE_DONE);
    sqlite3_finalize(stmt);
    return sqlite3_changes(replica);
}

static void put_list(struct buf *sql, const struct table *t, const char *format, const char *between,
                     int from) {
    for (int i = 0; i < t->n_columns; i++) {
        buf_puts(sql, i ? between : "");
        buf_printf(sql, "\"%s\"", t->columns[i].name);
        if (format)
            buf_printf(sql, " %s ?%d", format, from + i);
    }
}

static void insert(const struct table *t, const struct value *row) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "INSERT INTO \"%s\" (", t->name);
    put_list(&sql, t, NULL, ", ", 0);
    buf_puts(&sql, ") VALUES (?1");
    for (int i = 2; i <= t->n_columns; i++)
        buf_printf(&sql, ", ?%d", i);
    buf_puts(&sql, ")");
    assert_int_equal(change_row(buf_cstr(&sql), t, row, NULL), 1);
}

static void alter(const struct table *t, const struct value *before, const struct value *after) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, after ? "UPDATE \"%s\" SET " : "DELETE FROM \"%s\"", t->name);
    if (after)
        put_list(&sql, t, "=", ", ", t->n_columns + 1);
    buf_printf(&sql, " WHERE rowid = (SELECT rowid FROM \"%s\" WHERE ", t->name);
    put_list(&sql, t, "IS", " AND ", 1);
    buf_puts(&sql, ")");
    if (change_row(buf_cstr(&sql), t, before, after) != 1)
        fail_msg("the replica has no such row");
}

static void take(const struct change *c) {
    if (c->op == OP_TRUNCATE) {
        CLEANUP_FREE char *text = xasprintf("DELETE FROM \"%s\"", c->table->name);
        on_replica(text);
    } else if (c->op == OP_CREATE || c->op == OP_READ)
        insert(c->table, c->after);
    else
        alter(c->table, c->before, c->op == OP_UPDATE ? c->after : NULL);
}

static void expect_equal(const char *table, const char *columns, const char *order) {
    CLEANUP_BUF theirs = {0};
    CLEANUP_BUF why = {0};
    CLEANUP_FREE char *text = xasprintf("SELECT %s FROM %s ORDER BY %s", columns, table, order);
    assert_true(place->run(replica, text, &theirs, &why));
    assert_string_equal(buf_cstr(&theirs), see("%s", text));
}

/* Takes all there is; sometimes the source is closed on the way and opened again where it stood. */
static void follow(struct fixture *f, unsigned *seed) {
    static int64_t end;
    char line[64];
    struct position last = f->position;
    sql("INSERT INTO done VALUES (%lld)", (long long)++end);
    snprintf(line, sizeof line, "c done after{id=%lld}", (long long)end);
    for (bool done = false; !done;) {
        next(f);
        if (f->item.type == ITEM_CHANGE && position_cmp(f->position, last) > 0) {
            last = f->position;
            if (strcmp(f->item.change.table->name, "done") != 0)
                take(&f->item.change);
            done = strcmp(item_line(&f->item), line) == 0;
        }
        if (!done && seed && rand_r(seed) % 60 == 0) {
            bool boundary = f->boundary && position_cmp(f->position, last) >= 0;
            mark(f);
            if (rand_r(seed) % 2)
                confirm(f);
            close_source(f);
            f->position = last;
            f->boundary = boundary;
            open_source(f);
        }
    }
    while (f->item.type != ITEM_COMMIT)
        next(f);
    mark(f);
    confirm(f);
}

static void begin(struct fixture *f, const char *tables, const char *plain) {
    replica = place->session();
    sqlite3_close(replica);
    assert_int_equal(sqlite3_open(":memory:", &replica), SQLITE_OK);
    sql("CREATE TABLE done (id INTEGER PRIMARY KEY)");
    sql("%s", tables);
    on_replica(plain);
    open_source(f);
    pass_snapshot(f);
}

static void end(void) {
    sqlite3_close(replica);
    replica = NULL;
}

/* ---- REPLACE and its kin ---- */

static void begin_t(struct fixture *f) {
    begin(
        f,
        "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INT, c TEXT NOT NULL DEFAULT 'dd' UNIQUE)",
        "CREATE TABLE t (id, a, b, c)");
    sql("INSERT INTO t VALUES (1, 'x', 0, 'c1'), (2, 'y', 0, 'c2'), (3, 'z', 0, 'dd'), (-1, NULL, 0, 'c4')");
    follow(f, NULL);
}

static void a_row_that_is_replaced_is_deleted(void **state) {
    struct fixture *f = *state;
    begin_t(f);
    sql("INSERT OR REPLACE INTO t VALUES (1, 'q', 1, 'c9')");
    expect(f, "d t before{id=1,a=x,b=0,c=c1}", "c t after{id=1,a=q,b=1,c=c9}", "COMMIT");
    sql("REPLACE INTO t (id, a, b, c) VALUES (1, 'y', 2, 'c5')");
    expect(f, "d t before{id=2,a=y,b=0,c=c2}", "d t before{id=1,a=q,b=1,c=c9}",
           "c t after{id=1,a=y,b=2,c=c5}", "COMMIT");
    sql("REPLACE INTO t (a, b, c) VALUES ('new', 3, NULL)");
    expect(f, "d t before{id=3,a=z,b=0,c=dd}", "c t after{id=4,a=new,b=3,c=dd}", "COMMIT");
    sql("UPDATE OR REPLACE t SET a = 'new' WHERE id = 1");
    expect(f, "d t before{id=4,a=new,b=3,c=dd}", "u t before{id=1,a=y,b=2,c=c5} after{id=1,a=new,b=2,c=c5}",
           "COMMIT");
    sql("UPDATE OR REPLACE t SET id = -1 WHERE id = 1");
    expect(f, "d t before{id=-1,a=null,b=0,c=c4}", "d t before{id=1,a=new,b=2,c=c5} moved",
           "c t after{id=-1,a=new,b=2,c=c5} moved", "COMMIT");
    sql("PRAGMA recursive_triggers = on; REPLACE INTO t VALUES (-1, 'r', 0, 'r')");
    expect(f, "d t before{id=-1,a=new,b=2,c=c5}", "c t after{id=-1,a=r,b=0,c=r}", "COMMIT");
    end();
}

/* The notes stand before the row that they belong to: they are kept until all of it was told. */
static void restarts_between_the_rows_of_one_replace_lose_none(void **state) {
    struct fixture *f = *state;
    begin_t(f);
    sql("REPLACE INTO t VALUES (1, 'y', 2, 'c5')");
    expect(f, "d t before{id=2,a=y,b=0,c=c2}");
    mark(f);
    close_source(f);
    open_source(f);
    expect(f, "d t before{id=1,a=x,b=0,c=c1}");
    mark(f);
    confirm(f);
    assert_int_equal(ops->service(f->source, &f->err), OK);
    close_source(f);
    open_source(f);
    expect(f, "c t after{id=1,a=y,b=2,c=c5}", "COMMIT");
    end();
}

static void a_row_that_is_only_in_the_way_stays(void **state) {
    struct fixture *f = *state;
    begin_t(f);
    sql("INSERT OR IGNORE INTO t VALUES (1, 'q', 1, 'c9')");
    sql("INSERT INTO t VALUES (1, 'q', 1, 'c9') ON CONFLICT (id) DO NOTHING");
    sql("INSERT INTO t VALUES (2, 'q', 1, 'c9') ON CONFLICT DO UPDATE SET b = 5");
    expect(f, "u t before{id=2,a=y,b=0,c=c2} after{id=2,a=y,b=5,c=c2}", "COMMIT");
    sql("UPDATE OR IGNORE t SET a = 'x'");
    follow(f, NULL);
    sql("BEGIN; INSERT OR IGNORE INTO t VALUES (1, 'q', 1, 'c9'); DELETE FROM t WHERE id = 1; "
        "INSERT INTO t VALUES (1, 'q', 1, 'c9'); COMMIT");
    expect(f, "d t before{id=1,a=x,b=0,c=c1}", "c t after{id=1,a=q,b=1,c=c9}", "COMMIT");
    sql("INSERT INTO t (a, b, c) VALUES ('auto', 1, 'auto')"); /* while a row -1 is there */
    expect(f, "c t after{id=4,a=auto,b=1,c=auto}", "COMMIT");
    end();
}

/* ---- whatever comes ---- */

static const char tables[] =
    "CREATE TABLE t (id INTEGER PRIMARY KEY, a TEXT UNIQUE, b INT, c TEXT NOT NULL DEFAULT 'dd', UNIQUE (b, "
    "c));"
    "CREATE TABLE w (x TEXT COLLATE NOCASE, y REAL, u INT UNIQUE, PRIMARY KEY (x, y)) WITHOUT ROWID;"
    "CREATE TABLE k (v INT, u TEXT UNIQUE ON CONFLICT REPLACE);"
    "CREATE TABLE f (id INTEGER PRIMARY KEY, up INT REFERENCES f (id) ON DELETE CASCADE ON UPDATE CASCADE,"
    "    t INT REFERENCES t (id) ON DELETE SET NULL ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED);"
    "CREATE TRIGGER after_update AFTER UPDATE OF a ON t WHEN NEW.b < 100 BEGIN UPDATE t SET b = NEW.b + 100 "
    "WHERE id "
    "= NEW.id; END;"
    "CREATE TRIGGER after_insert AFTER INSERT ON k BEGIN INSERT OR IGNORE INTO w VALUES (NEW.u, NEW.v, "
    "NEW.v); UPDATE k "
    "SET v = v + 1 WHERE rowid = NEW.rowid; END;"
    "CREATE TRIGGER before_delete BEFORE DELETE ON w BEGIN DELETE FROM k WHERE v = OLD.u; END";
static const char plain[] =
    "CREATE TABLE t (id, a, b, c); CREATE TABLE w (x, y, u); CREATE TABLE k (v, u); CREATE "
    "TABLE f (id, up, t)";

static void put_statement(struct buf *text, unsigned *seed) {
    static const char *const or
        [] = {"", "OR REPLACE ", "OR REPLACE ", "OR IGNORE ", "OR FAIL ", "OR ROLLBACK "};
    const char *word = or [rand_r(seed) % 6];
    int p = rand_r(seed) % 12, q = rand_r(seed) % 12, r = rand_r(seed) % 12;
    switch (rand_r(seed) % 16) {
    case 0:
    case 1:
        buf_printf(text, "INSERT %sINTO t VALUES (%d, 'a%d', %d, 'c%d')", word, p, q, r % 3, q % 3);
        break;
    case 2:
        buf_printf(text, "INSERT %sINTO t (a, b, c) VALUES (%s'a%d'%s, %d, NULL)", word,
                   p % 4 ? "" : "nullif('', ", q, p % 4 ? "" : ")", r % 3);
        break;
    case 3:
        buf_printf(text, "INSERT INTO t VALUES (%d, 'a%d', %d, 'c') ON CONFLICT DO UPDATE SET a = 'a%d'", p,
                   q, r, r);
        break;
    case 4:
        buf_printf(text, "UPDATE %st SET a = 'a%d', id = id + %d WHERE id > %d", word, p, q % 3, r);
        break;
    case 5:
        buf_printf(text, "UPDATE %st SET b = %d WHERE id < %d", word, p % 3, q);
        break;
    case 6:
        buf_printf(text, "DELETE FROM %s", p % 4 ? "t WHERE id % 3 = 0" : q % 2 ? "t" : "w");
        break;
    case 7:
    case 8:
        buf_printf(text, "INSERT %sINTO w VALUES ('%c%d', %d, %d)", word, r % 2 ? 'a' : 'A', p % 4, q % 3, r);
        break;
    case 9:
        buf_printf(text, "UPDATE %sw SET u = u + 1, y = %d WHERE x = 'a%d'", word, q % 3, p % 4);
        break;
    case 10:
        buf_printf(text, "INSERT %sINTO k (rowid, v, u) VALUES (%d, %d, 'u%d')", word, p - 1, q, r);
        break;
    case 11:
        buf_printf(text, "INSERT INTO k (v, u) SELECT v + 1, 'u' || (%d + v) FROM k WHERE v < %d", p, q);
        break;
    case 12:
        buf_printf(text, "UPDATE %sk SET u = 'u%d', rowid = %d WHERE v = %d", word, p, q, r);
        break;
    case 13:
        buf_printf(text, "REPLACE INTO f VALUES (%d, %s%d%s, (SELECT min(id) FROM t WHERE id > %d))", p,
                   q % 3 ? "nullif(0, 0 * " : "", q, q % 3 ? ")" : "", r);
        break;
    case 14:
        buf_printf(text, "PRAGMA recursive_triggers = %s", p % 2 ? "on" : "off");
        break;
    default:
        buf_printf(text, "PRAGMA foreign_keys = %s", p % 2 ? "on" : "off");
    }
}

/* Statements may fail: what they left behind is what counts. */
static void write_some(void *session, unsigned *seed) {
    bool open = false;
    for (int i = 0; i < 40; i++) {
        CLEANUP_BUF text = {0};
        int dice = rand_r(seed) % 12;
        if (dice == 0 && !open)
            open = true, buf_puts(&text, "BEGIN");
        else if (dice == 1 && open)
            open = false, buf_puts(&text, rand_r(seed) % 3 ? "COMMIT" : "ROLLBACK");
        else if (dice == 2 && open)
            buf_puts(&text, rand_r(seed) % 2 ? "SAVEPOINT s" : "ROLLBACK TO s");
        else
            put_statement(&text, seed);
        if (sqlite3_exec(session, buf_cstr(&text), NULL, NULL, NULL) != SQLITE_OK)
            continue;
    }
    sqlite3_exec(session, "COMMIT", NULL, NULL, NULL);
    sqlite3_exec(session, "ROLLBACK", NULL, NULL, NULL);
}

static void any_statements_whatever_leave_the_replica_equal(void **state) {
    struct fixture *f = *state;
    const char *given = getenv("MILLRACE_TEST_SEED");
    unsigned seed = given ? (unsigned)strtoul(given, NULL, 10) : 1;
    begin(f, tables, plain);
    void *session = place->session();
    for (int round = 0; round < 60; round++) {
        write_some(session, &seed);
        follow(f, &seed);
        expect_equal("t", "id, a, b, c", "id");
        expect_equal("w", "x, y, u", "x COLLATE BINARY, y");
        expect_equal("k", "v, u", "v, u");
        expect_equal("f", "id, up, t", "id");
    }
    place->end(session);
    end();
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, a_row_that_is_replaced_is_deleted),
        CASE_OF(SQLITE, restarts_between_the_rows_of_one_replace_lose_none),
        CASE_OF(SQLITE, a_row_that_is_only_in_the_way_stays),
        CASE_OF(SQLITE, any_statements_whatever_leave_the_replica_equal),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
