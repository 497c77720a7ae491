/* The replication connection: frames down, feedback up (PostgreSQL manual, "Streaming Replication Protocol").
 *
 * write = flush = apply = confirmed: nothing else of ours may be forgotten by the server. */
#pragma once

#include "capture/postgres/connect.h"

struct wal_stream {
    PGconn *conn; /* owned from stream_start on; NULL before */
    const struct source_env *env;
    char *row;                   /* the message in hand, libpq's; the payload borrows from it */
    uint64_t confirmed;          /* what we report */
    uint64_t received;           /* newest LSN seen */
    uint64_t keepalive;          /* newest WAL end a keepalive told: all before it was sent to us */
    bool wanted;                 /* the server asked for a reply since that was last cleared */
    uint64_t reported;           /* confirmed, as last reported */
    int64_t reported_us, due_us; /* when; when next at the latest */
    int64_t status_us;           /* longest silence of ours */
    int64_t silence_us;          /* longest silence of the server's that is believed */
    bool heard;                  /* something came since heard_us was set */
    int64_t heard_us, pinged_us; /* last sign of life; when one was asked for, 0: not since */
    bool unflushed;              /* bytes of ours wait for the socket */
    int asks;                    /* replies demanded in close succession without progress */
    int64_t asks_since_us, asked_us;
    uint64_t asks_confirmed;
};

/* START_REPLICATION at `from`. @param sender_timeout_ms of the server; we speak three times as often, and at
 * least every 5 s. Takes the connection over, also on error. As pgsource_stream_error. */
MUST_CHECK enum code stream_start(struct wal_stream *stream, PGconn *conn, const struct source_env *env,
                                  const char *slot, const char *publication, uint64_t from,
                                  uint64_t confirmed, int64_t sender_timeout_ms, struct err *err);
/* The next frame of pgoutput, borrowed until the next call, and its LSN. Never blocks. AGAIN: nothing
 * there. */
MUST_CHECK enum code stream_read(struct wal_stream *stream, struct slice *ret, uint64_t *ret_lsn,
                                 struct err *err);
/* Whether the server has given no sign of life for its own wal_sender_timeout, although it was asked for
 * one. */
bool stream_silent(const struct wal_stream *stream);
/* Decides about a silent server by its own view of the WAL sender, asked for on another session of the same
 * server, which must be free, NULL: there is none that answers (pg_stat_activity: manual, "The Cumulative
 * Statistics System"). OK: it is at work and is waited for as long again; it passes over what we do not take
 * without a word, and for a new connection it would begin from the same place. RETRY/SOURCE_UNREACHABLE: it
 * waits for us, is gone, or nobody answers: this connection is dead. Blocks at most 5 s. */
MUST_CHECK enum code stream_judge_silence(struct wal_stream *stream, PGconn *sql, struct err *err);
/* Raises what is reported; `urgent`: the server waits, or nothing else will come soon. */
MUST_CHECK enum code stream_confirm(struct wal_stream *stream, uint64_t lsn, bool urgent, struct err *err);
/* Sends the status if it is due. */
MUST_CHECK enum code stream_service(struct wal_stream *stream, struct err *err);
void stream_close(struct wal_stream *stream);
