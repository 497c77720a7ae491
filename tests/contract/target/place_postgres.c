/* Where PostgreSQL replicas stand: a database of this program's own on the server of MILLRACE_TEST_PG_TARGET,
 * which is the URL of a superuser. */
#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include "target_case.h"

PGconn *eye;

void with_database(const char *from, const char *database, char *ret, size_t size) {
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

/* Its name is the program's, so that two of them never meet. */
static const char *database(void) {
    static char name[64];
    snprintf(name, sizeof name, "millrace_test_%s", program_invocation_short_name);
    for (char *c = name; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    return name;
}

static PGconn *connect_to(const char *conninfo) {
    PGconn *conn = PQconnectdb(conninfo);
    if (PQstatus(conn) != CONNECTION_OK)
        die(PQerrorMessage(conn));
    return conn;
}

static const char *server(void) {
    const char *found = getenv("MILLRACE_TEST_PG_TARGET");
    if (!found)
        die("set MILLRACE_TEST_PG_TARGET to the URL of a superuser of a PostgreSQL");
    return found;
}

/* On the server, as the superuser that it was given with. */
static void PRINTF_LIKE(2, 3) run(PGconn *conn, const char *fmt, ...) {
    char text[256];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    PGresult *result = PQexec(conn, text);
    if (PQresultStatus(result) != PGRES_COMMAND_OK)
        die(PQerrorMessage(conn));
    PQclear(result);
}

static void open_database(void) {
    static char conninfo[1024];
    PGconn *conn = connect_to(server());
    run(conn, "DROP DATABASE IF EXISTS %s WITH (FORCE)", database());
    run(conn, "CREATE DATABASE %s ENCODING 'UTF8' TEMPLATE template0", database());
    PQfinish(conn);
    with_database(server(), database(), conninfo, sizeof conninfo);
    url = conninfo;
    eye = connect_to(url);
    run(eye, "SET client_min_messages = error");
}

static void drop_database(void) {
    PQfinish(eye);
    PGconn *conn = connect_to(server());
    run(conn, "DROP DATABASE IF EXISTS %s WITH (FORCE)", database());
    PQfinish(conn);
}

static void run_sql(const char *text) {
    PGresult *result = PQexec(eye, text);
    if (PQresultStatus(result) != PGRES_COMMAND_OK && PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(eye));
    PQclear(result);
}

static void see_rows(const char *text, char *ret, size_t size) {
    PGresult *result = PQexec(eye, text);
    if (PQresultStatus(result) != PGRES_TUPLES_OK)
        fail_msg("%s: %s", text, PQerrorMessage(eye));
    for (int i = 0; i < PQntuples(result); i++)
        for (int k = 0; k < PQnfields(result); k++)
            put_seen(ret, size, i, k, PQgetisnull(result, i, k) ? NULL : PQgetvalue(result, i, k));
    PQclear(result);
}

static void empty(void) {
    run_sql("DROP SCHEMA IF EXISTS millrace CASCADE");
    run_sql("DROP SCHEMA IF EXISTS shop CASCADE");
    run_sql("CREATE SCHEMA shop");
}

static bool has_relation(const char *table) {
    return strcmp(see("SELECT to_regclass('%s')", table), "~") != 0;
}

static const char *key_columns(const char *table) {
    return see("SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum "
               "= ANY (i.indkey)"
               " WHERE i.indisprimary AND i.indrelid = '%s'::regclass ORDER BY "
               "array_position(i.indkey::int2[], a.attnum)",
               table);
}

const struct place postgres_place = {
    .kind = "postgres",
    .option = "url",
    .open = open_database,
    .close = drop_database,
    .empty = empty,
    .sql = run_sql,
    .see = see_rows,
    .has_table = has_relation,
    .key = key_columns,
    .unseen = "UPDATE millrace.sink_worker SET seen = '-infinity'",
    .has = CONSTRAINTS " " WORKERS,
    .name_bytes_max = 63,
};
