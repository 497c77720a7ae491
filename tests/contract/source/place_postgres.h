/* What the suites of one PostgreSQL kind, and both places, need of the server. */
#pragma once

#include "place.h"

extern char conninfo[1024]; /* of our database on the source's server */

/* What the two kinds of source have in common that stand on a PostgreSQL server. */
extern char pgplace_nobody[]; /* an option: a role that is not there */
extern const struct place_type pgplace_types[];
void pgplace_open(void);
void pgplace_close(void);
void pgplace_empty(void);
void *pgplace_session(void);
void pgplace_end(void *session);
bool pgplace_run(void *session, const char *sql, struct buf *rows, struct buf *why);
void pgplace_sever(void);
