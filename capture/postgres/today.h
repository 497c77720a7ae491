/* What the source's catalog says of a table today, which may be another day than that of its place in the
 * log. */
#pragma once

#include <jansson.h>

#include "capture/postgres/connect.h"
#include "capture/postgres/pgoutput.h"

/* The row of one table, its lists as JSON. */
struct today {
    bool found;
    char identity;
    json_t *key;       /* column names in the primary key's order, or NULL */
    json_t *index;     /* the same of the identity index */
    json_t *columns;   /* [name, not_null, toastable, generated, type, typmod, missing] */
    json_t *ancestors; /* [schema, name] of the tables above a partition */
    char schema[4 * PG_NAME_MAX],
        name[4 * PG_NAME_MAX]; /* UTF-8 of what has 63 bytes in the server's encoding */
};
#define CLEANUP_TODAY __attribute__((cleanup(today_free))) struct today

/* Asks (blocks for a short query). `found` is false if there is no such table. RETRY/SOURCE_UNREACHABLE. To
 * be freed in any case. */
MUST_CHECK enum code today_read(PGconn *conn, const struct source_env *env, uint32_t relid, struct today *ret,
                                struct err *err);
void today_free(struct today *today);

/* The entry of a column, borrowed; NULL if there is none of that name. */
json_t *today_column(const struct today *today, struct slice name);
/* Whether a list of names has this one. */
bool today_names(const json_t *names, struct slice name);
/* Values of the column may be stored out of line. */
bool today_toastable(const struct today *today, const struct column *column);
/* What pgoutput of this server version would say of the table: catalog_shape, without relid. */
void today_shape(const struct today *today, const char *published, int server, struct arena *arena,
                 struct pgoutput_relation *ret);
