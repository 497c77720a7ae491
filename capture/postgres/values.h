/* PostgreSQL's text forms read into values, and PostgreSQL's types mapped to kinds.
 *
 * Every session of ours fixes the formats: DateStyle ISO, IntervalStyle iso_8601, TimeZone UTC,
 * extra_float_digits 3, bytea_output hex, lc_monetary C, xmloption content, client_encoding UTF8. */
#pragma once

#include "schemas/change.h"

/* What decides a column's kind. Type names are as format_type() prints them; domains are resolved by the
 * caller. */
struct pg_type {
    uint32_t oid;              /* base type */
    int32_t typmod;            /* -1 = none */
    char typtype;              /* pg_type.typtype: b e c r m p */
    char category;             /* pg_type.typcategory; 'A' = array */
    const char *schema, *name; /* pg_type's */
    const char *text;          /* format_type(oid, typmod), schema-qualified unless pg_catalog */
    const char *const *labels; /* enum labels or NULL */
};

enum pg_numeric { PG_NUMERIC_PRECISE, PG_NUMERIC_STRING };
struct pg_type_policy {
    int numeric; /* PRECISE: numeric(p,s) as Debezium's decimal (NaN stops), unconstrained numeric as text;
                    STRING: all as text */
};

/* Fills kind, type, length, precision, scale, labels of `column` (strings borrowed from `type`). */
void pg_column_kind(const struct pg_type *type, const struct pg_type_policy *policy, struct column *column);

/* Reads one value. `text` is PostgreSQL's text form and may be borrowed by the value; what must be rewritten
 * goes to `scratch`. Returns NULL, or the reason (static text) why the kind cannot hold it exactly. */
typedef const char *pg_read_f(const struct column *column, struct slice text, struct arena *scratch,
                              struct value *ret);
pg_read_f *pg_reader(const struct column *column);
