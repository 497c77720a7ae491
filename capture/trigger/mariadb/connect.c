/* (MariaDB manual, "MariaDB Connector/C API", "MariaDB Error Codes".) */
#include "capture/trigger/mariadb/connect.h"

#include <errmsg.h>
#include <mysqld_error.h>
#include <stdio.h>

#include "base/log.h"

enum { CONNECT_S_MAX = 10, ANSWER_S = 20 };

const char maria_session_sql[] =
    "SET NAMES utf8mb4, time_zone = '+00:00', sql_mode = 'STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION', "
    "sql_quote_show_create = 1, lock_wait_timeout = 10, innodb_lock_wait_timeout = 0, net_write_timeout = "
    "86400, "
    "wait_timeout = 86400, max_statement_time = 0, completion_type = 'NO_CHAIN', foreign_key_checks = 1, "
    "auto_increment_increment = 1, auto_increment_offset = 1, sql_select_limit = DEFAULT, "
    "tx_isolation = 'READ-COMMITTED', autocommit = 1";

void maria_free_result(MYSQL_RES **result) {
    if (*result)
        mysql_free_result(*result);
    *result = NULL;
}

/* ---- quoting ---- */

void maria_put_name(struct buf *sql, const char *name) {
    buf_putc(sql, '`');
    for (const char *p = name; *p; p++) {
        if (*p == '`')
            buf_putc(sql, '`');
        buf_putc(sql, *p);
    }
    buf_putc(sql, '`');
}

void maria_put_table(struct buf *sql, const char *schema, const char *name) {
    maria_put_name(sql, schema);
    buf_putc(sql, '.');
    maria_put_name(sql, name);
}

void maria_put_string(struct buf *sql, const char *text) {
    buf_putc(sql, '\'');
    for (const char *p = text; *p; p++) {
        if (*p == '\'' || *p == '\\')
            buf_putc(sql, *p);
        buf_putc(sql, *p);
    }
    buf_putc(sql, '\'');
}

/* ---- errors ---- */

static bool is_one_of(unsigned number, const unsigned *list) {
    for (; *list; list++)
        if (*list == number)
            return true;
    return false;
}

static const unsigned refused[] = {ER_ACCESS_DENIED_ERROR,
                                   ER_DBACCESS_DENIED_ERROR,
                                   ER_TABLEACCESS_DENIED_ERROR,
                                   ER_COLUMNACCESS_DENIED_ERROR,
                                   ER_SPECIFIC_ACCESS_DENIED_ERROR,
                                   ER_BAD_DB_ERROR,
                                   ER_ACCESS_DENIED_NO_PASSWORD_ERROR,
                                   ER_HOST_NOT_PRIVILEGED,
                                   ER_NO_SUCH_USER,
                                   ER_PROCACCESS_DENIED_ERROR,
                                   0};
/* What heals: no resources, shutdown, conflicts, waits that were too long, a table that was altered under a
 * view. */
static const unsigned heals[] = {ER_CON_COUNT_ERROR,
                                 ER_OUT_OF_RESOURCES,
                                 ER_SERVER_SHUTDOWN,
                                 ER_DISK_FULL,
                                 ER_RECORD_FILE_FULL,
                                 ER_LOCK_WAIT_TIMEOUT,
                                 ER_LOCK_DEADLOCK,
                                 ER_QUERY_INTERRUPTED,
                                 ER_CONNECTION_KILLED,
                                 ER_TABLE_DEF_CHANGED,
                                 ER_NEW_ABORTING_CONNECTION,
                                 ER_STATEMENT_TIMEOUT,
                                 ER_TOO_MANY_USER_CONNECTIONS,
                                 ER_USER_LIMIT_REACHED,
                                 ER_OPTION_PREVENTS_STATEMENT,
                                 0};
static const unsigned missing[] = {ER_NO_SUCH_TABLE, ER_BAD_FIELD_ERROR, ER_BAD_TABLE_ERROR, 0};

static enum code client_error(unsigned number, const char *message, const char *doing, struct err *err) {
    bool trust = number == CR_SSL_CONNECTION_ERROR || strstr(message, "certificate");
    if (trust)
        return err_set(err, FATAL, ERR_SOURCE_REFUSED,
                       "%s: %s; the server must offer TLS with a certificate that is trusted (tls_ca) and "
                       "bears its name; "
                       "tls: require only encrypts",
                       doing, message);
    if (number == CR_AUTH_PLUGIN_CANNOT_LOAD || number == CR_VERSION_ERROR)
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s: %s", doing, message);
    return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: %s", doing, message);
}

enum code maria_error(MYSQL *db, const char *doing, struct err *err) {
    unsigned number = mysql_errno(db);
    const char *message = *mysql_error(db) ? mysql_error(db) : "the connection was closed";
    if (number == 0 || (number >= CR_MIN_ERROR && number <= CR_MAX_ERROR) ||
        (number >= 5000 && number < 6000))
        return client_error(number, message, doing, err);
    if (is_one_of(number, refused))
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s: %s (error %u)", doing, message, number);
    if (is_one_of(number, heals))
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: %s (error %u)", doing, message, number);
    if (is_one_of(number, missing))
        return err_set(
            err, FATAL, ERR_SOURCE_TABLE,
            "%s: %s (error %u); look with `millrace source check`, mend with `millrace source install`",
            doing, message, number);
    return err_set(err, FATAL, ERR_SOURCE_SETTING, "%s: %s (error %u)", doing, message, number);
}

/* ---- asking ---- */

enum code maria_exec(MYSQL *db, const char *doing, const char *sql, struct err *err) {
    if (mysql_real_query(db, sql, strlen(sql)) != 0)
        return maria_error(db, doing, err);
    mysql_free_result(mysql_store_result(db));
    return mysql_errno(db) ? maria_error(db, doing, err) : OK;
}

enum code maria_query(MYSQL *db, const char *doing, const char *sql, MYSQL_RES **ret, struct err *err) {
    if (mysql_real_query(db, sql, strlen(sql)) != 0)
        return maria_error(db, doing, err);
    *ret = mysql_store_result(db);
    return *ret ? OK : maria_error(db, doing, err);
}

enum code maria_stream(MYSQL *db, const char *doing, const char *sql, MYSQL_RES **ret, struct err *err) {
    if (mysql_real_query(db, sql, strlen(sql)) != 0)
        return maria_error(db, doing, err);
    *ret = mysql_use_result(db);
    return *ret ? OK : maria_error(db, doing, err);
}

enum code maria_number(MYSQL *db, const char *doing, const char *sql, uint64_t *ret, struct err *err) {
    CLEANUP_ROWS *rows = NULL;
    enum code code = maria_query(db, doing, sql, &rows, err);
    MYSQL_ROW row = code == OK ? mysql_fetch_row(rows) : NULL;
    *ret = row ? field_number(row, 0) : 0;
    return code;
}

/* ---- connecting ---- */

static bool host_is_local(const char *host) {
    return !host || strcmp(host, "localhost") == 0 || strcmp(host, "::1") == 0 ||
           strncmp(host, "127.", 4) == 0;
}

static void set_tls(MYSQL *db, const struct maria_options *options, const struct maria_url *url) {
    my_bool on = 1, off = 0;
    bool local = url->socket || host_is_local(url->host);
    bool verify = options->tls == MARIA_TLS_VERIFY && (!local || options->tls_ca);
    bool encrypt = verify || (options->tls == MARIA_TLS_REQUIRE && !local);
    if (options->tls_ca)
        mysql_options(db, MYSQL_OPT_SSL_CA, options->tls_ca);
    mysql_options(db, MYSQL_OPT_SSL_ENFORCE, encrypt ? &on : &off);
    mysql_options(db, MYSQL_OPT_SSL_VERIFY_SERVER_CERT, verify ? &on : &off);
    if (!local && !verify)
        log_warn("capture",
                 encrypt ? "the source's certificate is not verified, as tls says"
                         : "the connection to the source is not encrypted, as tls says",
                 F_STR("host", url->host));
}

static void set_times(MYSQL *db, int64_t wait_ms) {
    unsigned connect_s = wait_ms == MARIA_PATIENT || wait_ms >= CONNECT_S_MAX * 1000 ? CONNECT_S_MAX
                         : wait_ms < 1000                                            ? 1
                                          : (unsigned)(wait_ms / 1000);
    unsigned answer_s = wait_ms == MARIA_PATIENT ? 0 : ANSWER_S;
    mysql_options(db, MYSQL_OPT_CONNECT_TIMEOUT, &connect_s);
    mysql_options(db, MYSQL_OPT_READ_TIMEOUT, &answer_s);
    mysql_options(db, MYSQL_OPT_WRITE_TIMEOUT, &answer_s);
    mysql_options(db, MYSQL_SET_CHARSET_NAME, "utf8mb4");
}

static enum code check_server(MYSQL *db, struct err *err) {
    const char *version = mysql_get_server_info(db);
    unsigned long number = mysql_get_server_version(db);
    if (!strstr(version, "MariaDB"))
        return err_set(err, FATAL, ERR_SOURCE_SETTING, "the source is not MariaDB: its version is %s",
                       version);
    if (number < 100600)
        return err_set(err, FATAL, ERR_SOURCE_SETTING,
                       "the source is MariaDB %s; triggers are read from 10.6 and newer", version);
    return maria_exec(db, "setting up a session with the source", maria_session_sql, err);
}

enum code maria_connect(const struct maria_options *options, int64_t wait_ms, MYSQL **ret, struct err *err) {
    struct arena arena = {0};
    struct maria_url url;
    if (!maria_url_parse(options->url, &arena, &url)) {
        arena_free(&arena);
        return err_set(err, FATAL, ERR_CONFIG,
                       "the source's url is not of the form mysql://user:password@host:port/database");
    }
    MYSQL *db = mysql_init(NULL);
    if (!db) {
        arena_free(&arena);
        return err_set(err, RETRY, ERR_SYSTEM, "no memory for a connection");
    }
    set_tls(db, options, &url);
    set_times(db, wait_ms);
    bool open = mysql_real_connect(db,
                                   url.socket ? NULL
                                   : url.host ? url.host
                                              : "localhost",
                                   url.user, url.password, NULL, url.port, url.socket, 0) != NULL;
    enum code code = open ? check_server(db, err) : maria_error(db, "connecting to the source", err);
    arena_free(&arena);
    if (code != OK) {
        mysql_close(db);
        return code;
    }
    *ret = db;
    return OK;
}
