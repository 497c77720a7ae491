/* Protocol: libpq's PQconnectStartParams and PQconnectPoll (manual 34.1), so that the stop and a deadline end
 * it. */
#include "sink/postgres/connect.h"

#include <assert.h>
#include <unistd.h>

#include "base/log.h"
#include "sink/postgres/outcome.h"

#define SYSTEM_ROOTS "/etc/ssl/certs/ca-certificates.crt"

static const char *value_of(const PQconninfoOption *info, const char *keyword) {
    for (; info->keyword; info++)
        if (strcmp(info->keyword, keyword) == 0)
            return info->val && *info->val ? info->val : NULL;
    return NULL;
}

static bool one_is_local(const char *host, size_t n) {
    static const char *const local[] = {"localhost", "127.0.0.1", "::1"};
    if (n == 0 || host[0] == '/' || host[0] == '@')
        return true;
    for (size_t i = 0; i < sizeof local / sizeof *local; i++)
        if (strlen(local[i]) == n && strncmp(host, local[i], n) == 0)
            return true;
    return false;
}

/* Every host of a comma-separated list is this machine. */
static bool all_are_local(const char *hosts) {
    while (hosts) {
        size_t n = strcspn(hosts, ",");
        if (!one_is_local(hosts, n))
            return false;
        hosts = hosts[n] ? hosts + n + 1 : NULL;
    }
    return true;
}

/* The CA bundle of the system, if the operator named none and keeps none of their own. */
static const char *system_roots(void) {
    const char *home = getenv("HOME");
    CLEANUP_FREE char *own = xasprintf("%s/.postgresql/root.crt", home ? home : "");
    return access(own, R_OK) != 0 && access(SYSTEM_ROOTS, R_OK) == 0 ? SYSTEM_ROOTS : NULL;
}

struct parameters {
    const char *keys[20], *values[20];
    int n;
};

static void add(struct parameters *p, const char *key, const char *value) {
    if (!value)
        return;
    assert(p->n + 1 < (int)(sizeof p->keys / sizeof *p->keys));
    p->keys[p->n] = key;
    p->values[p->n++] = value;
}

/* What stands before dbname can be said otherwise by the URL; what stands after cannot. */
static void fill(struct parameters *p, const PQconninfoOption *info, const char *url, const char *name) {
    const char *host = value_of(info, "hostaddr") ? value_of(info, "hostaddr") : value_of(info, "host");
    if (!host)
        host = getenv("PGHOST");
    const char *sslmode = value_of(info, "sslmode");
    if (!sslmode)
        sslmode = all_are_local(host) ? "prefer" : "verify-full";
    add(p, "sslmode", sslmode);
    if (strncmp(sslmode, "verify-", 7) == 0 && !value_of(info, "sslrootcert"))
        add(p, "sslrootcert", system_roots());
    add(p, "gssencmode", "disable");
    add(p, "keepalives_idle", "10");
    add(p, "keepalives_interval", "5");
    add(p, "keepalives_count", "3");
    add(p, "tcp_user_timeout", "15000");
    add(p, "connect_timeout", "10");
    add(p, "fallback_application_name", name);
    add(p, "dbname", url);
    add(p, "client_encoding", "UTF8");
    p->keys[p->n] = p->values[p->n] = NULL;
}

static enum code await(struct session *s, int64_t wait_ms, struct err *err) {
    const struct clock *clock = s->env->clock;
    int64_t deadline = clock_mono(clock) + wait_ms * 1000;
    PostgresPollingStatusType state = PGRES_POLLING_WRITING;
    while (state != PGRES_POLLING_OK) {
        if (state == PGRES_POLLING_FAILED)
            return outcome_of_connection(PQerrorMessage(s->conn), err);
        struct pollfd fd = {.fd = PQsocket(s->conn),
                            .events = state == PGRES_POLLING_WRITING ? POLLOUT : POLLIN};
        int64_t now = clock_mono(clock);
        if (stop_poll(s->env->stop, &fd, 1, now, deadline) == 0) {
            if (stop_asked(s->env->stop))
                return err_set(err, RETRY, ERR_STOPPED, "stopped while connecting");
            if (clock_mono(clock) >= deadline)
                return err_set(err, RETRY, ERR_TARGET_UNREACHABLE,
                               "the replica did not answer within %lld ms", (long long)wait_ms);
            continue;
        }
        state = PQconnectPoll(s->conn);
    }
    return OK;
}

/* Who leaves the safe default has to read so in the log. */
static void warn_if_open(PGconn *conn, const char *sink) {
    bool verified = false;
    PQconninfoOption *info = PQconninfo(conn);
    const char *mode = info ? value_of(info, "sslmode") : NULL;
    verified = PQsslInUse(conn) && mode && strncmp(mode, "verify-", 7) == 0;
    if (!verified && !all_are_local(PQhost(conn)))
        log_warn("sink/postgres",
                 PQsslInUse(conn) ? "the replica's certificate is not verified, as sslmode says"
                                  : "the connection to the replica is not encrypted, as sslmode says",
                 F_STR("sink", sink), F_STR("host", PQhost(conn)));
    PQconninfoFree(info);
}

enum code connect_session(struct session *s, int64_t wait_ms, struct err *err) {
    char *reason = NULL;
    PQconninfoOption *info = PQconninfoParse(s->options->url, &reason);
    if (!info) { /* the reason quotes the URL, which may hold a password */
        PQfreemem(reason);
        return err_set(err, FATAL, ERR_CONFIG,
                       "the url of sink %s is not a connection string that libpq can read", s->env->sink);
    }
    CLEANUP_FREE char *name = xasprintf("millrace %s", s->env->sink);
    struct parameters p = {.n = 0};
    fill(&p, info, s->options->url, name);
    s->conn = PQconnectStartParams(p.keys, p.values, 1);
    PQconninfoFree(info);
    if (!s->conn)
        return err_set(err, FATAL, ERR_SYSTEM, "no memory for a connection");
    /* with the SQLSTATE, which a failed connection tells nowhere else */
    PQsetErrorVerbosity(s->conn, PQERRORS_VERBOSE);
    if (PQstatus(s->conn) == CONNECTION_BAD)
        return outcome_of_connection(PQerrorMessage(s->conn), err);
    enum code code = await(s, wait_ms, err);
    if (code != OK)
        return code;
    PQsetErrorVerbosity(s->conn, PQERRORS_DEFAULT);
    warn_if_open(s->conn, s->env->sink);
    return PQsetnonblocking(s->conn, 1) == 0 ? OK : outcome_of_connection(PQerrorMessage(s->conn), err);
}
