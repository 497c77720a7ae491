/* Making a connection: parameters, TLS defaults, waiting with a deadline. */
#pragma once

#include "sink/postgres/session.h"

/* Connects s->conn (env and options are set). No statement is sent yet. */
MUST_CHECK enum code connect_session(struct session *s, int64_t wait_ms, struct err *err);
