/* What session.c and pipeline.c share: waiting and failing. For no other file. */
#pragma once

#include "sink/postgres/session.h"

/* OK: a statement can be sent. RETRY: the connection is closed, or the stop was asked for. */
enum code session_ready(struct session *s, struct err *err);
/* The connection failed: RETRY (or what the server said about it). */
enum code session_lost(struct session *s, struct err *err);
/* The server refused a statement: remembers the SQLSTATE. */
enum code session_failed(struct session *s, const PGresult *result, struct err *err);
/* When an answer to what is sent now is overdue (monotonic microseconds). */
int64_t session_due(const struct session *s);
/* Sends everything that libpq holds. */
enum code session_flush(struct session *s, int64_t deadline, struct err *err);
/* OK: PQgetResult will not block. */
enum code session_await(struct session *s, int64_t deadline, struct err *err);
/* To be called with every failure: a stop cancels the statement at the server. Returns `code`. */
enum code session_interrupted(struct session *s, enum code code, enum err_id id);
