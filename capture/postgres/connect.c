/* libpq, never blocking longer than asked: PQconnectPoll and PQsendQuery between our own waits, so that a
 * stop is answered at once. (PostgreSQL manual, "Asynchronous Command Processing"; appendix A for the
 * SQLSTATEs.) */
#include "capture/postgres/connect.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"

#define CONNECT_MS_MAX 10000

void pgsource_clear(PGresult **result) {
    PQclear(*result);
    *result = NULL;
}

void pgsource_finish(PGconn **conn) {
    PQfinish(*conn);
    *conn = NULL;
}

/* ---- quoting ---- */

static void put_quoted(struct buf *sql, const char *text, char quote) {
    buf_putc(sql, quote);
    for (const char *p = text; *p; p++) {
        if (*p == quote || (*p == '\\' && quote == '\''))
            buf_putc(sql, *p);
        buf_putc(sql, *p);
    }
    buf_putc(sql, quote);
}

void put_literal(struct buf *sql, const char *text) {
    if (strchr(text, '\\'))
        buf_puts(sql, " E");
    put_quoted(sql, text, '\'');
}

void put_identifier(struct buf *sql, const char *name) {
    put_quoted(sql, name, '"');
}

void put_table(struct buf *sql, const char *schema, const char *name) {
    put_identifier(sql, schema);
    buf_putc(sql, '.');
    put_identifier(sql, name);
}

uint64_t lsn_parse(const char *text) {
    char *slash = NULL, *end = NULL;
    unsigned long high = text ? strtoul(text, &slash, 16) : 0;
    if (!slash || slash == text || *slash != '/')
        return 0;
    unsigned long low = strtoul(slash + 1, &end, 16);
    return end == slash + 1 || high > UINT32_MAX || low > UINT32_MAX ? 0 : (uint64_t)high << 32 | low;
}

/* ---- errors ---- */

/* libpq keeps no SQLSTATE of a failed login, but its verbose text begins "FATAL:  28P01: ". */
static bool sqlstate_in_text(const char *text, char state[6]) {
    for (const char *p = text; (p = strstr(p, ":  ")); p++) {
        if (strspn(p + 3, "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ") == 5 && p[8] == ':') {
            memcpy(state, p + 3, 5);
            state[5] = 0;
            return true;
        }
    }
    return false;
}

/* The server's words: without the verbose LOCATION line and without the trailing newline. */
static char *message_of(PGconn *conn, const PGresult *res) {
    const char *primary = res ? PQresultErrorField(res, PG_DIAG_MESSAGE_PRIMARY) : NULL;
    if (primary)
        return xstrdup(primary);
    const char *text = res ? PQresultErrorMessage(res) : "";
    if (!*text && conn)
        text = PQerrorMessage(conn);
    char *copy = xstrdup(*text ? text : "the connection was closed");
    char *location = strstr(copy, "\nLOCATION:");
    if (location)
        *location = 0;
    for (size_t n = strlen(copy); n && (copy[n - 1] == '\n' || copy[n - 1] == ' ');)
        copy[--n] = 0;
    return copy;
}

static bool state_in(const char *state, const char *const *prefixes) {
    for (; *prefixes; prefixes++)
        if (strncmp(state, *prefixes, strlen(*prefixes)) == 0)
            return true;
    return false;
}

/* What heals: connection trouble, no resources, shutdown, disk and file errors, conflicts, waits that were
 * too long. */
static const char *const states_retry[] = {"08", "53", "57P0", "57014", "58", "40", "55P03", NULL};
/* Who are you: login, database, right. */
static const char *const states_refused[] = {"28", "3D000", "42501", NULL};

static void state_of(PGconn *conn, const PGresult *res, char state[6]) {
    const char *field = res ? PQresultErrorField(res, PG_DIAG_SQLSTATE) : NULL;
    state[0] = 0;
    if (field)
        snprintf(state, 6, "%s", field);
    else if (conn)
        sqlstate_in_text(PQerrorMessage(conn), state);
}

/* What libpq itself refuses does not heal: a certificate that cannot be trusted, no TLS where it is asked
 * for, no password. */
static bool is_refusal(const char *message) {
    static const char *const words[] = {"certificate", "does not support SSL", "no password supplied", NULL};
    for (int i = 0; words[i]; i++)
        if (strstr(message, words[i]))
            return true;
    return false;
}

enum code pgsource_error(PGconn *conn, const PGresult *res, struct err *err, const char *doing) {
    char state[6];
    state_of(conn, res, state);
    CLEANUP_FREE char *message = message_of(conn, res);
    if (!state[0] && is_refusal(message))
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s: %s", doing, message);
    if (!state[0])
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: %s", doing, message);
    if (state_in(state, states_retry))
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: %s (SQLSTATE %s)", doing, message, state);
    if (state_in(state, states_refused))
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "%s: %s (SQLSTATE %s)", doing, message, state);
    if (strcmp(state, "55006") == 0)
        return err_set(err, RETRY, ERR_SLOT_ACTIVE, "%s: %s (SQLSTATE %s)", doing, message, state);
    /* A catalog that changed under a query: "cache lookup failed" and its like are gone the next time. */
    if (strncmp(state, "XX", 2) == 0 || strncmp(state, "42", 2) == 0)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: %s (SQLSTATE %s)", doing, message, state);
    return err_set(err, FATAL, ERR_SOURCE_SETTING, "%s: %s (SQLSTATE %s)", doing, message, state);
}

enum code pgsource_stream_error(PGconn *conn, const PGresult *res, struct err *err, const char *doing) {
    static const char again[] = "take a new snapshot: millrace capture --config FILE --resnapshot";
    char state[6];
    state_of(conn, res, state);
    CLEANUP_FREE char *message = message_of(conn, res);
    if (strcmp(state, "42704") == 0 && strstr(message, "publication"))
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "%s: %s; the publication was dropped or made after changes that are still to be read, and the "
            "server reads them with the catalog of their time, so that making it again does not help; %s",
            doing, message, again);
    bool removed = strncmp(state, "58P01", 5) == 0 && strstr(message, "removed");
    if (strcmp(state, "42704") == 0 || strcmp(state, "55000") == 0 || removed)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "%s: %s (SQLSTATE %s); the changes after our position are lost: %s", doing, message,
                       state, again);
    if (strncmp(state, "XX", 2) == 0 || strncmp(state, "54", 2) == 0)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "%s: %s (SQLSTATE %s); the server cannot decode its log past this change, most often "
                       "because a row is "
                       "larger than 1 GB as text; make the value smaller or delete the row, then %s",
                       doing, message, state, again);
    return pgsource_error(conn, res, err, doing);
}

/* ---- waiting ---- */

/* Waits until the socket is ready for `events`; OK, or RETRY when stopped or too late. */
static enum code wait_socket(PGconn *conn, const struct source_env *env, short events, int64_t deadline_us,
                             const char *doing, struct err *err) {
    struct pollfd fd = {.fd = PQsocket(conn), .events = events};
    int ready = stop_poll(env->stop, &fd, 1, clock_mono(env->clock), deadline_us);
    if (ready > 0)
        return OK;
    if (stop_asked(env->stop))
        return err_set(err, RETRY, ERR_STOPPED, "%s: asked to stop", doing);
    if (clock_mono(env->clock) >= deadline_us)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: the server did not answer in time", doing);
    return OK;
}

enum code pgsource_wait(PGconn *conn, const struct source_env *env, int64_t wait_ms, const char *doing,
                        PGresult **ret, struct err *err) {
    int64_t deadline = clock_mono(env->clock) + wait_ms * 1000;
    CLEANUP_RESULT *last = NULL;
    for (;;) {
        while (PQisBusy(conn)) {
            enum code code = wait_socket(conn, env, POLLIN, deadline, doing, err);
            if (code)
                return code;
            if (!PQconsumeInput(conn))
                return pgsource_error(conn, NULL, err, doing);
        }
        PGresult *res = PQgetResult(conn);
        if (!res)
            break;
        PQclear(last);
        last = res;
        ExecStatusType status = PQresultStatus(res);
        if (status == PGRES_COPY_BOTH || status == PGRES_COPY_OUT || status == PGRES_COPY_IN)
            break;
        if (clock_mono(env->clock) >= deadline)
            return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: the server's answer has no end", doing);
    }
    if (!last)
        return pgsource_error(conn, NULL, err, doing);
    ExecStatusType status = PQresultStatus(last);
    if (status == PGRES_FATAL_ERROR || status == PGRES_BAD_RESPONSE)
        return pgsource_error(conn, last, err, doing);
    if (status == PGRES_COPY_IN)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                       "%s: the server asks for rows, which nobody offered", doing);
    *ret = last;
    last = NULL;
    return OK;
}

enum code pgsource_query(PGconn *conn, const struct source_env *env, int64_t wait_ms, const char *doing,
                         const char *sql, PGresult **ret, struct err *err) {
    if (!PQsendQuery(conn, sql))
        return pgsource_error(conn, NULL, err, doing);
    return pgsource_wait(conn, env, wait_ms, doing, ret, err);
}

/* ---- connecting ---- */

static const char session_settings[] =
    "-c DateStyle=ISO -c IntervalStyle=iso_8601 -c TimeZone=UTC -c extra_float_digits=3 -c bytea_output=hex "
    "-c lc_monetary=C -c xmloption=content -c search_path= -c row_security=off -c statement_timeout=0 -c "
    "lock_timeout=5000 "
    "-c idle_in_transaction_session_timeout=0 "
    "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"; /* a dead host holds
                                                                                          nothing up */

static bool host_is_local(const char *host) {
    return !*host || *host == '/' || *host == '@' || strcmp(host, "localhost") == 0 ||
           strcmp(host, "::1") == 0 || strncmp(host, "127.", 4) == 0;
}

/* Every one of a comma-separated list. */
static bool hosts_are_local(const char *hosts) {
    CLEANUP_FREE char *copy = xstrdup(hosts);
    for (char *p = copy; p;) {
        char *host = strsep(&p, ",");
        if (!host_is_local(host))
            return false;
    }
    return true;
}

/* The CA bundle of the system, if the operator named none and keeps none of their own. */
static const char *system_roots(void) {
    static const char roots[] = "/etc/ssl/certs/ca-certificates.crt";
    const char *home = getenv("HOME");
    CLEANUP_FREE char *own = xasprintf("%s/.postgresql/root.crt", home ? home : "");
    return access(own, R_OK) != 0 && access(roots, R_OK) == 0 ? roots : NULL;
}

struct keywords {
    const char *names[64], *values[64];
    int n;
};

static void keyword_set(struct keywords *k, const char *name, const char *value) {
    for (int i = 0; i < k->n; i++) {
        if (strcmp(k->names[i], name) == 0) {
            k->values[i] = value;
            return;
        }
    }
    if (k->n < 63) {
        k->names[k->n] = name;
        k->values[k->n++] = value;
    }
}

static const char *keyword_get(const struct keywords *k, const char *name) {
    for (int i = 0; i < k->n; i++)
        if (strcmp(k->names[i], name) == 0)
            return k->values[i];
    return NULL;
}

/* Ours over the URL's where a wrong one would change bytes or hang; the URL's own where it is taste. */
static void keywords_fill(struct keywords *k, const PQconninfoOption *url, enum pg_session kind,
                          char **options) {
    keyword_set(k, "application_name", "millrace");
    keyword_set(k, "connect_timeout", "10");
    keyword_set(k, "keepalives", "1");
    keyword_set(k, "keepalives_idle", "5");
    keyword_set(k, "keepalives_interval", "2");
    keyword_set(k, "keepalives_count", "3");
    keyword_set(k, "tcp_user_timeout", "15000");
    keyword_set(k, "gssencmode", "disable");
    for (const PQconninfoOption *p = url; p->keyword; p++)
        if (p->val)
            keyword_set(k, p->keyword, p->val);
    const char *host = keyword_get(k, "hostaddr");
    if (!host)
        host = keyword_get(k, "host");
    if (!host)
        host = getenv("PGHOST");
    if (!keyword_get(k, "sslmode") && !getenv("PGSSLMODE") && host && !hosts_are_local(host))
        keyword_set(k, "sslmode", "verify-full");
    const char *mode = keyword_get(k, "sslmode"), *roots = system_roots();
    if (mode && strncmp(mode, "verify-", 7) == 0 && !keyword_get(k, "sslrootcert") &&
        !getenv("PGSSLROOTCERT") && roots)
        keyword_set(k, "sslrootcert", roots);
    const char *given = keyword_get(k, "options");
    *options = xasprintf("%s%s%s", given ? given : "", given ? " " : "", session_settings);
    keyword_set(k, "options", *options);
    keyword_set(k, "client_encoding", "UTF8");
    keyword_set(k, "fallback_application_name", "millrace");
    if (kind == PG_SESSION_REPLICATION)
        keyword_set(k, "replication", "database");
}

static enum code connect_poll(PGconn *conn, const struct source_env *env, int64_t wait_ms, struct err *err) {
    static const char doing[] = "connecting to the source";
    int64_t deadline = clock_mono(env->clock) + (wait_ms < CONNECT_MS_MAX ? wait_ms : CONNECT_MS_MAX) * 1000;
    PostgresPollingStatusType wanted = PGRES_POLLING_WRITING;
    while (PQstatus(conn) != CONNECTION_BAD) {
        if (wanted == PGRES_POLLING_OK)
            return OK;
        if (wanted == PGRES_POLLING_FAILED)
            break;
        enum code code =
            wait_socket(conn, env, wanted == PGRES_POLLING_READING ? POLLIN : POLLOUT, deadline, doing, err);
        if (code)
            return code;
        wanted = PQconnectPoll(conn);
    }
    return pgsource_error(conn, NULL, err, doing);
}

static enum code check_server(PGconn *conn, const struct source_env *env, struct err *err) {
    int version = PQserverVersion(conn);
    if (version < 140000)
        return err_set(err, FATAL, ERR_SOURCE_SETTING,
                       "the source is PostgreSQL %d.%d; Millrace reads 14 and newer", version / 10000,
                       version % 10000);
    const char *encoding = PQparameterStatus(conn, "server_encoding");
    if (encoding && strcmp(encoding, "SQL_ASCII") == 0)
        return err_set(
            err, FATAL, ERR_SOURCE_SETTING,
            "the source's database has the encoding SQL_ASCII, which does not say what its bytes mean; dump "
            "it and load it into a database with a real encoding, e.g. UTF8");
    CLEANUP_RESULT *res = NULL;
    return pgsource_query(conn, env, 10000, "setting up a session", "SET idle_session_timeout = 0", &res,
                          err);
}

/* Who leaves the safe default has to read so in the log. */
static void warn_if_open(PGconn *conn) {
    PQconninfoOption *info = PQconninfo(conn);
    bool verified = false;
    for (const PQconninfoOption *p = info; p && p->keyword; p++)
        verified |= strcmp(p->keyword, "sslmode") == 0 && p->val && strncmp(p->val, "verify-", 7) == 0;
    PQconninfoFree(info);
    verified &= PQsslInUse(conn) != 0;
    if (!verified && !hosts_are_local(PQhost(conn)))
        log_warn("capture",
                 PQsslInUse(conn) ? "the source's certificate is not verified, as sslmode says"
                                  : "the connection to the source is not encrypted, as sslmode says",
                 F_STR("host", PQhost(conn)));
}

static void notice_ignore(void *arg, const PGresult *res) {
    (void)arg, (void)res;
}

enum code pgsource_connect(const struct pg_options *options, const struct source_env *env,
                           enum pg_session kind, int64_t wait_ms, PGconn **ret, struct err *err) {
    /* The parser's own message may quote the URL, and with it the password. */
    PQconninfoOption *url = PQconninfoParse(options->url, NULL);
    if (!url)
        return err_set(err, FATAL, ERR_CONFIG, "the source's url is not a PostgreSQL connection URL");
    struct keywords k = {.n = 0};
    CLEANUP_FREE char *settings = NULL;
    keywords_fill(&k, url, kind, &settings);
    PGconn *conn = PQconnectStartParams(k.names, k.values, 0);
    PQconninfoFree(url);
    if (!conn)
        return err_set(err, RETRY, ERR_SYSTEM, "no memory for a connection");
    PQsetErrorVerbosity(conn, PQERRORS_VERBOSE); /* so that a refused login tells its SQLSTATE */
    PQsetNoticeReceiver(conn, notice_ignore, NULL);
    enum code code = connect_poll(conn, env, wait_ms, err);
    if (code == OK) {
        PQsetErrorVerbosity(conn, PQERRORS_DEFAULT);
        warn_if_open(conn);
        code = check_server(conn, env, err);
    }
    if (code) {
        PQfinish(conn);
        return code;
    }
    *ret = conn;
    return OK;
}
