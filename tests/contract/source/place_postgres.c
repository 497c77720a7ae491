/* Where PostgreSQL sources stand: a database of this program's own on the server of MILLRACE_TEST_PG_SOURCE,
 * which is the URL of a superuser of a server with wal_level = logical. */
#include "place_postgres.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include <libpq-fe.h>

#include "source_case.h"

char conninfo[1024];
char pgplace_nobody[1200];
static PGconn *admin;

#define OUR_SLOT "database LIKE 'millrace\\_test\\_contract\\_source%'"

/* Its name is the program's, so that two of them never meet. */
static const char *database(void) {
    static char name[64];
    snprintf(name, sizeof name, "millrace_test_%s", program_invocation_short_name);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    return name;
}

static PGconn *connect_to(const char *info) {
    PGconn *conn = PQconnectdb(info);
    if (PQstatus(conn) != CONNECTION_OK)
        die(PQerrorMessage(conn));
    PQclear(PQexec(conn, "SET client_min_messages = warning; SET deadlock_timeout = '20ms'"));
    return conn;
}

bool pgplace_run(void *session, const char *text, struct buf *rows, struct buf *why) {
    PGresult *result = PQexec(session, text);
    bool fine = PQresultStatus(result) == PGRES_COMMAND_OK || PQresultStatus(result) == PGRES_TUPLES_OK;
    if (!fine) {
        buf_puts(why, PQresultErrorMessage(result));
        PQclear(PQexec(session, "ROLLBACK"));
    }
    for (int i = 0; fine && i < PQntuples(result); i++)
        for (int k = 0; k < PQnfields(result); k++)
            put_seen(rows, i, k, PQgetisnull(result, i, k) ? NULL : PQgetvalue(result, i, k));
    PQclear(result);
    return fine;
}

/* On the server, as its superuser. Valid until the next one. */
static const char *PRINTF_LIKE(1, 2) on_server(const char *fmt, ...) {
    static struct buf rows;
    CLEANUP_BUF why = {0};
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    buf_clear(&rows);
    if (!pgplace_run(admin, text, &rows, &why))
        die(buf_cstr(&why));
    return buf_cstr(&rows);
}

void pgplace_open(void) {
    const char *url = getenv("MILLRACE_TEST_PG_SOURCE");
    if (!url)
        die("set MILLRACE_TEST_PG_SOURCE to the URL of a superuser of a PostgreSQL with wal_level = logical");
    PQconninfoOption *parts = PQconninfoParse(url, NULL);
    if (!parts)
        die("MILLRACE_TEST_PG_SOURCE is not a connection string");
    static const char *const kept[] = {"host", "port", "user", "password", "sslmode", NULL};
    size_t used = 0;
    for (int i = 0; kept[i]; i++)
        for (PQconninfoOption *part = parts; part->keyword; part++)
            if (part->val && strcmp(part->keyword, kept[i]) == 0)
                used +=
                    (size_t)snprintf(conninfo + used, sizeof conninfo - used, "%s='%s' ", kept[i], part->val);
    snprintf(conninfo + used, sizeof conninfo - used, "dbname=%s", database());
    PQconninfoFree(parts);
    snprintf(pgplace_nobody, sizeof pgplace_nobody, "url: \"%s user=millrace_nobody_here password=sesame\"",
             conninfo);
    admin = connect_to(url);
}

/* The slot may be left in the database of another program, which died. */
static void drop_slot(void) {
    int64_t deadline = clock_mono(&clock_system) + DEADLINE_S * 1000000;
    on_server("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots WHERE %s AND active",
              OUR_SLOT);
    while (strcmp(on_server("SELECT count(*) FROM pg_replication_slots WHERE %s AND active", OUR_SLOT),
                  "0") != 0) {
        if (clock_mono(&clock_system) > deadline)
            die("the test's slot does not become free");
        poll(NULL, 0, 10);
    }
    on_server("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE %s", OUR_SLOT);
}

static void drop_database(void) {
    drop_slot();
    on_server("DROP DATABASE IF EXISTS %s WITH (FORCE)", database());
}

void pgplace_empty(void) {
    drop_database();
    on_server("CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0", database());
}

void pgplace_close(void) {
    drop_database();
    PQfinish(admin);
}

void *pgplace_session(void) {
    return connect_to(conninfo);
}

void pgplace_end(void *session) {
    PQfinish(session);
}

static void put_options(struct buf *yaml) {
    buf_printf(yaml, "url: \"%s\"\ntables: [\"public.*\"]\npartial_rows: history\n", conninfo);
}

void pgplace_sever(void) {
    on_server("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'millrace' "
              "AND datname "
              "= '%s'",
              database());
}

const struct place_type pgplace_types[] = {
    {"boolean", "true", "1"},
    {"smallint", "-32768", "-32768"},
    {"bigint", "9223372036854775807", "9223372036854775807"},
    {"double precision", "0.1", "0.10000000000000001"},
    {"numeric(12,3)", "-1.5", "-1.500"},
    {"numeric", "12345678901234567890.0123456789", "12345678901234567890.0123456789"},
    {"text", "'a''b'", "a'b"},
    {"text", "NULL", "null"},
    {"bytea", "'abc'::bytea", "abc"},
    {"uuid", "'00000000-0000-0000-0000-00000000000A'", "00000000-0000-0000-0000-00000000000a"},
    {"jsonb", "'{\"a\": 1}'", "{\"a\": 1}"},
    {"date", "'1970-01-11'", "10"},
    {"timestamp", "'1970-01-01 00:00:01.000001'", "1000001"},
    {"timestamptz", "'2024-01-02 03:04:05+00'", "2024-01-02T03:04:05Z"},
    {"interval", "'1 day 2 hours'", "P1DT2H"},
    {"integer[]", "'{1,NULL}'", "{1,NULL}"},
    {0},
};

const struct place postgres_place = {
    .kind = POSTGRES,
    .schema = "public",
    .open = pgplace_open,
    .close = pgplace_close,
    .empty = pgplace_empty,
    .options = put_options,
    .in_order = "snapshot_workers: 1",
    .away = "url: \"postgres://u:sesame@127.0.0.1:1/x\"",
    .refused = pgplace_nobody,
    .session = pgplace_session,
    .end = pgplace_end,
    .run = pgplace_run,
    .backslash = "\\",
    .upsert = "ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    .whole = "ALTER TABLE %s REPLICA IDENTITY FULL",
    .types = pgplace_types,
    .not_carried = {"numeric(5,2)", "'NaN'", "numeric: string"},
    .kept = "SELECT '0/0'::pg_lsn - confirmed_flush_lsn FROM pg_replication_slots WHERE slot_name = "
            "'millrace_contract'",
    .truncates = true,
    .keyless = true,
    .transforms = true,
    .sever = pgplace_sever,
};
