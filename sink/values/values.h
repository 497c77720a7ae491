/* Values printed as PostgreSQL reads them. The inverse of capture's reading for kinds that came from
 * PostgreSQL, and exact for all others. Session formats: DateStyle ISO YMD, IntervalStyle iso_8601, TimeZone
 * UTC, bytea hex, lc_monetary C. */
#pragma once

#include "schemas/change.h"

/* Appends the plain text form (input of the type's input function). `type` is the REPLICA column's type as
 * format_type() prints it. Returns NULL or the reason (static text) why it has none. The value is not NULL or
 * ABSENT. */
typedef const char *pg_print_f(const struct column *column, const struct value *value, struct buf *out);
pg_print_f *pg_printer(const struct column *column, const char *type);

/* The same as one field of COPY ... FROM STDIN (FORMAT text): escapes, \N for NULL. ABSENT is written as \N
 * (the caller knows by its mask). */
const char *pg_copy_field(pg_print_f *print, const struct column *column, const struct value *value,
                          struct buf *out);

/* The binary form (input of the type's receive function), for the types where it is simple. `type`: OID of
 * the replica column's type, domains resolved. NULL: this kind and this type have none; text will do. */
typedef const char *pg_binary_f(const struct column *column, const struct value *value, struct buf *out);
pg_binary_f *pg_binary(const struct column *column, uint32_t type);
/* One field of COPY ... FROM STDIN (FORMAT binary): its length and its bytes. NULL and ABSENT as in
 * pg_copy_field. */
const char *pg_copy_binary(pg_binary_f *form, const struct column *column, const struct value *value,
                           struct buf *out);
