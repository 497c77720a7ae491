/* Where MariaDB sources stand: a database of this program's own on the server of MILLRACE_TEST_MARIADB, which
 * is the URL of an account with all rights. */
#include "place_mariadb.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>

#include <mysql.h>

#include "capture/trigger/mariadb/options.h"
#include "source_case.h"

char maria_home[80];
static char database[64], kept[160], naive[160], nobody[256], url[256];
static struct arena arena;
static struct maria_url server;
static MYSQL *admin;

static void *open_session(void) {
    MYSQL *session = mysql_init(NULL);
    mysql_options(session, MYSQL_SET_CHARSET_NAME, "utf8mb4");
    if (!mysql_real_connect(session, server.host, server.user, server.password, NULL, server.port, NULL,
                            CLIENT_MULTI_STATEMENTS))
        die(mysql_error(session));
    mysql_select_db(session, database);
    return session;
}

static void end_session(void *session) {
    mysql_close(session);
}

static void put_rows(MYSQL *session, struct buf *rows) {
    MYSQL_RES *result = mysql_store_result(session);
    if (!result)
        return;
    MYSQL_ROW row;
    for (int i = 0; (row = mysql_fetch_row(result)); i++)
        for (unsigned k = 0; k < mysql_num_fields(result); k++)
            put_seen(rows, i, (int)k, row[k]);
    mysql_free_result(result);
}

static bool run_sql(void *session, const char *text, struct buf *rows, struct buf *why) {
    int failed = mysql_query(session, text);
    while (!failed) {
        buf_clear(rows);
        put_rows(session, rows);
        failed = mysql_next_result(session);
    }
    if (failed < 0)
        return true;
    buf_puts(why, mysql_error(session));
    mysql_query(session, "ROLLBACK");
    return false;
}

static void PRINTF_LIKE(1, 2) on_server(const char *fmt, ...) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!run_sql(admin, text, &rows, &why))
        die(buf_cstr(&why));
}

/* Its name is the program's, so that two of them never meet. */
static void open_server(void) {
    const char *from = getenv("MILLRACE_TEST_MARIADB");
    if (!from || !maria_url_parse(from, &arena, &server))
        die("set MILLRACE_TEST_MARIADB to the URL of a MariaDB server, of an account with all rights");
    snprintf(database, sizeof database, "millrace_test_%s", program_invocation_short_name);
    for (char *c = database; *c; c++)
        if (!isalnum((unsigned char)*c))
            *c = '_';
    snprintf(maria_home, sizeof maria_home, "%.40s_f", database + strlen("millrace_"));
    snprintf(kept, sizeof kept, "SELECT count(*) FROM %s.changes", maria_home);
    snprintf(naive, sizeof naive, "SELECT id FROM %s.changes WHERE id >", maria_home);
    snprintf(url, sizeof url, "mysql://%s:%s@%s:%u/%s", server.user, server.password, server.host,
             server.port, database);
    snprintf(nobody, sizeof nobody, "url: \"mysql://nobody_here:sesame@%s:%u/x\"", server.host, server.port);
    admin = open_session();
}

static void drop_databases(void) {
    on_server("DROP DATABASE IF EXISTS %s; DROP DATABASE IF EXISTS %s", database, maria_home);
}

static void empty_database(void) {
    drop_databases();
    on_server("CREATE DATABASE %s CHARACTER SET utf8mb4", database);
}

static void close_server(void) {
    drop_databases();
    mysql_close(admin);
    arena_free(&arena);
    arena = (struct arena){0};
}

static void put_options(struct buf *yaml) {
    buf_printf(yaml, "url: \"%s\"\ndatabase: %s\n", url, maria_home);
}

/* The source's sessions have no database of their own. */
static void sever(void) {
    CLEANUP_BUF rows = {0};
    CLEANUP_BUF why = {0};
    run_sql(admin,
            "SELECT ID FROM information_schema.PROCESSLIST WHERE DB IS NULL AND ID <> CONNECTION_ID() AND "
            "COMMAND <> 'Daemon' AND USER <> 'system user'",
            &rows, &why);
    char *text = strdup(buf_cstr(&rows)), *rest = text;
    for (char *id; (id = strsep(&rest, ";"));)
        if (*id)
            on_server("KILL %s", id);
    free(text);
}

static const struct place_type types[] = {
    {"tinyint", "-128", "-128"},
    {"tinyint unsigned", "255", "255"},
    {"smallint", "-32768", "-32768"},
    {"smallint unsigned", "65535", "65535"},
    {"mediumint unsigned", "16777215", "16777215"},
    {"int unsigned", "4294967295", "4294967295"},
    {"int(8) zerofill", "42", "42"},
    {"bigint", "-9223372036854775808", "-9223372036854775808"},
    {"bigint unsigned", "18446744073709551615", "18446744073709551615"},
    {"bigint unsigned zerofill", "7", "7"},
    {"boolean", "true", "1"},
    {"float", "0.1", "0.10000000149011612"},
    {"double", "0.1", "0.10000000000000001"},
    {"double", "1.7976931348623157e308", "1.7976931348623157e+308"},
    {"decimal(12,3)", "-1.5", "-1.500"},
    {"decimal(65,30)", "12345678901234567890123456789012345.000000000000000000000000000001", "<66>"},
    {"bit(12)", "b'101000000001'", "101000000001"},
    {"bit(64)", "b'1'", "<64>"},
    {"year", "1901", "1901"},
    {"date", "'1970-01-11'", "10"},
    {"date", "'0001-01-01'", "-719162"},
    {"datetime", "'1970-01-01 00:00:01'", "1000000"},
    {"datetime(6)", "'1969-12-31 23:59:59.999999'", "-1"},
    {"datetime(6)", "'9999-12-31 23:59:59.999999'", "253402300799999999"},
    {"timestamp(6) NULL", "'2024-01-02 03:04:05.000100'", "2024-01-02T03:04:05.0001Z"},
    {"timestamp NULL", "'2024-01-02 03:04:05'", "2024-01-02T03:04:05Z"},
    {"time(3)", "'-838:59:58.5'", "PT-838H-59M-58.5S"},
    {"time", "'00:00:00'", "PT0S"},
    {"char(5)", "'a  '", "a"},
    {"varchar(20)", "'a  '", "a  "},
    {"varchar(20) CHARACTER SET latin1", "'\xc3\xbc\xe2\x82\xac'", "\xc3\xbc\xe2\x82\xac"},
    {"varchar(20) CHARACTER SET utf16", "'\xf0\x9f\x98\x80'", "\xf0\x9f\x98\x80"},
    {"varchar(20) CHARACTER SET sjis", "'\xe3\x83\x86'", "\xe3\x83\x86"},
    {"varchar(20) CHARACTER SET koi8r", "NULL", "null"},
    {"text", "'it''s,\\\\ \"NULL\"\n\t'", "it's,\\ \"NULL\"\n\t"},
    {"text", "'NULL'", "NULL"},
    {"text", "''", ""},
    {"longtext", "REPEAT('x', 100000)", "<100000>"},
    {"binary(50)", "'a'", "<50>"},
    {"varbinary(20)", "x'275c1aff'", "'\\\x1a\xff"},
    {"blob", "REPEAT(x'00', 50)", "<50>"},
    {"enum('a','b,c','')", "'b,c'", "b,c"},
    {"set('a','b','c')", "'c,a'", "a,c"},
    {"json", "'{\"a\": [1, \"x\"]}'", "{\"a\": [1, \"x\"]}"},
    {"uuid", "'00000000-0000-0000-0000-00000000000A'", "00000000-0000-0000-0000-00000000000a"},
    {"inet6", "'2001:DB8::1'", "2001:db8::1"},
    {"linestring", "ST_GeomFromText('LINESTRING(1 2, 3 4)')", "<45>"},
    {0},
};

const struct place mariadb_triggers_place = {
    .kind = MARIADB_TRIGGERS,
    .schema = database,
    .open = open_server,
    .close = close_server,
    .empty = empty_database,
    .options = put_options,
    .away = "url: \"mysql://u:sesame@127.0.0.1:1/x\"",
    .refused = nobody,
    .session = open_session,
    .end = end_session,
    .run = run_sql,
    .backslash = "\\\\",
    .upsert = "ON DUPLICATE KEY UPDATE n = VALUES(n)",
    .types = types,
    .not_carried = {"date", "'0000-00-00'", "dates: string"},
    .naive = naive,
    .kept = kept,
    .sever = sever,
};
