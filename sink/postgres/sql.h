/* Pieces of SQL text. Names come from the journal and are hostile: every one passes through here. */
#pragma once

#include "base/err.h"
#include "base/slice.h"
#include "sink/postgres/session.h"

/* True if the name can be a PostgreSQL identifier: 1..63 bytes of valid UTF-8. */
bool sql_name_ok(struct session *s, const char *name);
/* "name", with quotes doubled. */
void sql_ident(struct buf *sql, const char *name);
/* "schema"."name" */
void sql_qualified(struct buf *sql, const char *schema, const char *name);
/* 'text' as a literal, for the few statements that take no parameters. False: not valid UTF-8. */
MUST_CHECK bool sql_literal(struct session *s, struct buf *sql, const char *text);
/* One element of an array literal in text form; the caller puts the braces and commas. */
void sql_array_element(struct buf *sql, const char *text);
