/* Where SQLite sources stand: a file in a folder of this program's own. */
#include "place_sqlite.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <unistd.h>

#include <sqlite3.h>

#include "source_case.h"

static char folder[200], none[300], no_database[300];
char sqlite_path[256];

static void open_folder(void) {
    snprintf(folder, sizeof folder, "%s/%s-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp",
             program_invocation_short_name);
    if (!mkdtemp(folder))
        die("a folder for the test's files cannot be made");
    snprintf(sqlite_path, sizeof sqlite_path, "%s/shop.db", folder);
    snprintf(none, sizeof none, "path: %s/nowhere/shop.db", folder);
    snprintf(no_database, sizeof no_database, "path: %s/text", folder);
}

static void remove_files(void) {
    static const char *const ends[] = {"", "-wal", "-shm", "-journal", "-millrace", ".copy"};
    for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
        CLEANUP_FREE char *path = xasprintf("%s%s", sqlite_path, ends[i]);
        unlink(path);
    }
    unlink(strchr(no_database, '/'));
}

static void close_folder(void) {
    remove_files();
    rmdir(folder);
}

/* What newer ones have: PostgreSQL's concat(). */
static void concat(sqlite3_context *context, int n, sqlite3_value **values) {
    CLEANUP_BUF all = {0};
    for (int i = 0; i < n; i++)
        buf_puts(&all, (const char *)sqlite3_value_text(values[i]));
    sqlite3_result_text(context, buf_cstr(&all), (int)all.len, SQLITE_TRANSIENT);
}

static void *open_session(void) {
    sqlite3 *conn;
    if (sqlite3_open(sqlite_path, &conn) != SQLITE_OK)
        die(sqlite3_errmsg(conn));
    sqlite3_busy_timeout(conn, 10000);
    sqlite3_create_function(conn, "concat", -1, SQLITE_UTF8, NULL, concat, NULL, NULL);
    return conn;
}

static void end_session(void *session) {
    sqlite3_close(session);
}

static bool run_one(sqlite3 *conn, sqlite3_stmt *stmt, struct buf *rows) {
    int result, n = 0;
    buf_clear(rows);
    while ((result = sqlite3_step(stmt)) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(stmt); i++)
            put_seen(rows, n, i, (const char *)sqlite3_column_text(stmt, i));
        n++;
    }
    (void)conn;
    return result == SQLITE_DONE;
}

static bool run_sql(void *session, const char *text, struct buf *rows, struct buf *why) {
    sqlite3_stmt *stmt = NULL;
    bool fine = true;
    while (fine && *text) {
        fine = sqlite3_prepare_v2(session, text, -1, &stmt, &text) == SQLITE_OK;
        if (fine && stmt)
            fine = run_one(session, stmt, rows);
        if (!fine)
            buf_puts(why, sqlite3_errmsg(session));
        sqlite3_finalize(stmt);
    }
    if (!fine && !sqlite3_get_autocommit(session))
        sqlite3_exec(session, "ROLLBACK", NULL, NULL, NULL);
    return fine;
}

static void empty_folder(void) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    remove_files();
    FILE *text = fopen(strchr(no_database, '/'), "w");
    if (!text)
        die("a file of the test cannot be made");
    for (int i = 0; i < 100; i++)
        fputs("this is a text, and no database; ", text);
    fclose(text);
    void *conn = open_session();
    if (!run_sql(conn, "PRAGMA journal_mode = wal", &rows, &why))
        die(buf_cstr(&why));
    end_session(conn);
}

static void put_options(struct buf *yaml) {
    buf_printf(yaml, "path: %s\n", sqlite_path);
}

static const struct place_type types[] = {
    {"INTEGER", "-9223372036854775808", "-9223372036854775808"},
    {"INT", "' 12 '", "12"},
    {"BOOLEAN", "true", "1"},
    {"REAL", "0.1", "0.10000000000000001"},
    {"REAL", "7", "7"},
    {"DOUBLE PRECISION", "-1e300 * 1e300", "-inf"},
    {"DECIMAL(10,2)", "1.10", "1.1"},
    {"NUMERIC", "'12345678901234567'", "12345678901234567"},
    {"NUMERIC", "0.1 + 0.2", "0.30000000000000004"},
    {"TEXT", "'a''b'", "a'b"},
    {"VARCHAR(10)", "17", "17"},
    {"TEXT", "''", ""},
    {"TEXT", "NULL", "null"},
    {"BLOB", "x'616263'", "abc"},
    {"BLOB", "x''", ""},
    {"DATE", "'2024-02-29'", "2024-02-29"},
    {"DATETIME", "1700000000", "1700000000"},
    {"", "2.0", "2.0"},
    {0},
};

const struct place sqlite_place = {
    .kind = SQLITE,
    .schema = "main",
    .open = open_folder,
    .close = close_folder,
    .empty = empty_folder,
    .options = put_options,
    .away = none,
    .refused = no_database,
    .session = open_session,
    .end = end_session,
    .run = run_sql,
    .backslash = "\\",
    .upsert = "ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    .types = types,
    .not_carried = {"INTEGER", "'many'", "no INTEGER"},
    .kept = "SELECT -confirmed FROM millrace_source",
    .keyless = true,
};
