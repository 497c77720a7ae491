#include "capture/postgres/stream.h"

#include <endian.h>
#include <stdio.h>

#include "base/log.h"

#define STATUS_US_MAX   INT64_C(5000000) /* at least this often */
#define STATUS_SPARE_US INT64_C(100000)  /* under load at most this often */
#define REPLY_SPARE_US  INT64_C(10000)   /* to the same question at most this often */
#define SHUTDOWN_US     INT64_C(1000000) /* how long a server that shuts down may wait for us */
#define ASK_GAP_US      INT64_C(200000)
#define SILENCE_US      INT64_C(60000000) /* where the server has no wal_sender_timeout */
#define US_1970_TO_2000 INT64_C(946684800000000)

static void put_name(struct buf *sql,
                     const char *name) /* an identifier inside a literal, as the walsender reads it */
{
    buf_puts(sql, "'\"");
    for (const char *p = name; *p; p++) {
        if (*p == '\'' || *p == '"')
            buf_putc(sql, *p);
        buf_putc(sql, *p);
    }
    buf_puts(sql, "\"'");
}

enum code stream_start(struct wal_stream *s, PGconn *conn, const struct source_env *env, const char *slot,
                       const char *publication, uint64_t from, uint64_t confirmed, int64_t sender_timeout_ms,
                       struct err *err) {
    *s = (struct wal_stream){
        .conn = conn, .env = env, .confirmed = confirmed, .received = from, .status_us = STATUS_US_MAX};
    if (sender_timeout_ms > 0 && sender_timeout_ms * 1000 / 3 < s->status_us)
        s->status_us = sender_timeout_ms * 1000 / 3;
    s->silence_us = sender_timeout_ms > 0 ? sender_timeout_ms * 1000 : SILENCE_US;
    s->heard_us = clock_mono(env->clock);
    CLEANUP_BUF sql = {0};
    buf_printf(&sql,
               "START_REPLICATION SLOT \"%s\" LOGICAL " LSN_FMT " (proto_version '1', publication_names ",
               slot, LSN_ARGS(from));
    put_name(&sql, publication);
    buf_puts(&sql, ")");
    static const char doing[] = "starting the stream";
    if (!PQsendQuery(conn, buf_cstr(&sql)))
        return pgsource_error(conn, NULL, err, doing);
    int64_t deadline = clock_mono(env->clock) + 10000000;
    while (PQisBusy(conn)) {
        struct pollfd fd = {.fd = PQsocket(conn), .events = POLLIN};
        stop_poll(env->stop, &fd, 1, clock_mono(env->clock), deadline);
        if (stop_asked(env->stop) || clock_mono(env->clock) >= deadline)
            return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "%s: no answer", doing);
        if (!PQconsumeInput(conn))
            return pgsource_error(conn, NULL, err, doing);
    }
    CLEANUP_RESULT *res = PQgetResult(conn);
    if (PQresultStatus(res) != PGRES_COPY_BOTH)
        return pgsource_stream_error(conn, res, err, doing);
    PQsetnonblocking(conn, 1);
    s->reported_us = clock_mono(env->clock) - s->status_us;
    s->due_us = s->reported_us;
    return OK;
}

void stream_close(struct wal_stream *s) {
    PQfreemem(s->row);
    PQfinish(s->conn);
    s->row = NULL;
    s->conn = NULL;
}

/* ---- feedback ---- */

static enum code flush(struct wal_stream *s, struct err *err) {
    int left = PQflush(s->conn);
    if (left < 0)
        return pgsource_error(s->conn, NULL, err, "telling the source our position");
    s->unflushed = left > 0;
    return OK;
}

static char *put_u64(char *p, uint64_t v) {
    v = htobe64(v);
    memcpy(p, &v, 8);
    return p + 8;
}

static enum code report_or_ping(struct wal_stream *s, bool ping, struct err *err) {
    char message[1 + 4 * 8 + 1], *p = message;
    if (s->confirmed ==
        0) { /* zero would make us no standby at all: better silent until there is something to say */
        s->reported_us = clock_mono(s->env->clock);
        s->due_us = s->reported_us + s->status_us;
        return OK;
    }
    *p++ = 'r';
    p = put_u64(p, s->confirmed);
    p = put_u64(p, s->confirmed);
    p = put_u64(p, s->confirmed);
    p = put_u64(p, (uint64_t)(clock_wall(s->env->clock) - US_1970_TO_2000));
    *p++ = ping; /* a reply is wanted */
    int sent = PQputCopyData(s->conn, message, (int)sizeof message);
    if (sent < 0)
        return pgsource_error(s->conn, NULL, err, "telling the source our position");
    if (sent > 0) {
        s->reported = s->confirmed;
        s->reported_us = clock_mono(s->env->clock);
        s->due_us = s->reported_us + s->status_us;
    }
    return flush(s, err);
}

static enum code report(struct wal_stream *s, struct err *err) {
    return report_or_ping(s, false, err);
}

enum code stream_confirm(struct wal_stream *s, uint64_t lsn, bool urgent, struct err *err) {
    if (lsn > s->confirmed)
        s->confirmed = lsn;
    if (s->confirmed == s->reported)
        return OK;
    int64_t now = clock_mono(s->env->clock);
    if (urgent || now - s->reported_us >= STATUS_SPARE_US)
        return report(s, err);
    if (s->due_us > s->reported_us + STATUS_SPARE_US)
        s->due_us = s->reported_us + STATUS_SPARE_US;
    return OK;
}

enum code stream_service(struct wal_stream *s, struct err *err) {
    if (clock_mono(s->env->clock) >= s->due_us)
        return report(s, err);
    return s->unflushed ? flush(s, err) : OK;
}

/* A server that shuts down asks again and again until we confirm its last byte; if we cannot, we must not
 * hold it up. */
static enum code answer(struct wal_stream *s, struct err *err) {
    int64_t now = clock_mono(s->env->clock);
    s->wanted = true;
    bool again = s->confirmed == s->asks_confirmed && now - s->asked_us < ASK_GAP_US;
    if (!again) {
        s->asks = 0;
        s->asks_since_us = now;
        s->asks_confirmed = s->confirmed;
    }
    s->asked_us = now;
    s->asks++;
    if (s->asks >= 10 && now - s->asks_since_us >= SHUTDOWN_US && s->keepalive > s->confirmed)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                       "the server is shutting down and waits for a confirmation that we cannot give yet; "
                       "letting it go");
    if (s->confirmed != s->reported || now - s->reported_us >= REPLY_SPARE_US)
        return report(s, err);
    s->due_us = s->reported_us + REPLY_SPARE_US;
    return OK;
}

/* ---- reading ---- */

static uint64_t get_u64(const char *p) {
    uint64_t v;
    memcpy(&v, p, 8);
    return be64toh(v);
}

/* Nothing was there to read: half-open connections look like this for ever. As wal_receiver_timeout: asks
 * after half the time; after the other half the silence is judged. Bytes of a message that is not whole yet
 * are a sign of life, too. */
static enum code mind_silence(struct wal_stream *s, struct err *err) {
    int64_t now = clock_mono(s->env->clock);
    struct pollfd fd = {.fd = PQsocket(s->conn), .events = POLLIN};
    if (!s->heard && now - s->heard_us < s->silence_us / 2)
        return AGAIN;
    if (s->heard || poll(&fd, 1, 0) > 0) {
        s->heard = false;
        s->heard_us = now;
        s->pinged_us = 0;
        return AGAIN;
    }
    if (s->confirmed && !s->pinged_us) {
        s->pinged_us = now;
        enum code code = report_or_ping(s, true, err);
        return code == OK ? AGAIN : code;
    }
    return AGAIN;
}

bool stream_silent(const struct wal_stream *s) {
    return s->pinged_us && clock_mono(s->env->clock) - s->pinged_us >= s->silence_us / 2;
}

enum code stream_judge_silence(struct wal_stream *s, PGconn *sql, struct err *err) {
    char ask[256];
    snprintf(ask, sizeof ask,
             "SELECT coalesce(wait_event_type || ' ' || wait_event, 'none') FROM pg_stat_activity WHERE pid "
             "= %d AND backend_type = "
             "'walsender' AND wait_event_type IS DISTINCT FROM 'Client' AND wait_event_type IS DISTINCT FROM "
             "'Activity'",
             PQbackendPID(s->conn));
    CLEANUP_RESULT *res = NULL;
    int64_t now = clock_mono(s->env->clock), silent_s = (now - s->heard_us) / 1000000;
    struct err ignored; /* a server that does not answer here either is as gone */
    if (!sql ||
        pgsource_query(sql, s->env, 5000, "asking about a silent WAL sender", ask, &res, &ignored) != OK ||
        PQntuples(res) == 0)
        return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE,
                       "the server has been silent for %lld s and does not answer; connecting anew",
                       (long long)silent_s);
    log_warn("capture", "the WAL sender does not answer, but it is at work; waiting for it",
             F_INT("silent_s", silent_s), F_INT("process", PQbackendPID(s->conn)),
             F_STR("waits_for", pgsource_text(res, 0, 0)));
    s->heard_us = now;
    s->pinged_us = 0;
    return OK;
}

/* The stream broke; `res`: what the server said, if anything. */
static enum code broken(struct wal_stream *s, const PGresult *res, struct err *err) {
    char doing[64];
    snprintf(doing, sizeof doing, "reading the stream after " LSN_FMT, LSN_ARGS(s->received));
    return res ? pgsource_stream_error(s->conn, res, err, doing) : pgsource_error(s->conn, NULL, err, doing);
}

/* One message of the copy stream, or AGAIN. */
static enum code read_message(struct wal_stream *s, int *ret_len, struct err *err) {
    PQfreemem(s->row);
    s->row = NULL;
    int len = PQgetCopyData(s->conn, &s->row, 1);
    if (len == 0) {
        if (!PQconsumeInput(s->conn))
            return broken(s, NULL, err);
        len = PQgetCopyData(s->conn, &s->row, 1);
    }
    if (len == 0)
        return mind_silence(s, err);
    if (len > 0) {
        s->heard = true;
        *ret_len = len;
        return OK;
    }
    if (len == -2)
        return broken(s, NULL, err);
    CLEANUP_RESULT *res = PQgetResult(s->conn);
    if (res && PQresultStatus(res) == PGRES_FATAL_ERROR)
        return broken(s, res, err);
    return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "the server ended the stream: it is shutting down");
}

enum code stream_read(struct wal_stream *s, struct slice *ret, uint64_t *ret_lsn, struct err *err) {
    for (;;) {
        int len = 0;
        enum code code = read_message(s, &len, err);
        if (code)
            return code;
        if (s->row[0] == 'w' && len >= 25) {
            *ret_lsn = get_u64(s->row + 1);
            if (*ret_lsn > s->received)
                s->received = *ret_lsn;
            *ret = slice_make(s->row + 25, (size_t)len - 25);
            return OK;
        }
        if (s->row[0] != 'k' || len < 18)
            return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                           "the server sent a replication message that is neither data nor keepalive");
        s->keepalive = get_u64(s->row + 1);
        if (s->keepalive > s->received)
            s->received = s->keepalive;
        if (s->row[17]) {
            code = answer(s, err);
            if (code)
                return code;
        }
    }
}
