/* From the text of a changed row to values: the list of columns that its text was made of (its shape), and
 * the text of a composite value (PostgreSQL manual, "Composite Type Input and Output Syntax"). */
#pragma once

#include "capture/postgres/decode.h"

/* The columns of a table as some of its rows have them. */
struct layout {
    uint32_t relid;
    char *shape;               /* as it stands beside the row */
    int n;                     /* fields of the text */
    bool *left_out;            /* per field: generated */
    struct relation *relation; /* ->table NULL: not selected, or dropped */
    struct slice schema, name; /* owned by the layouts' arena */
    struct layout *next;
};
struct layouts {
    PGconn *sql; /* borrowed */
    const struct source_env *env;
    const char *schema; /* of the installation */
    struct catalog *catalog;
    struct arena arena;
    struct pgoutput_relation *scratch;
    struct layout *chains[256]; /* by relid: the newest of each table */
};

void layouts_init(struct layouts *layouts, PGconn *sql, const struct source_env *env, const char *schema,
                  struct catalog *catalog);
void layouts_free(struct layouts *layouts);
/* The layout of a row. Blocks for some short queries where the shape is another than that of the table's last
 * row. RETRY/SOURCE_UNREACHABLE; FATAL/SOURCE_PROTOCOL, CONFIG. */
MUST_CHECK enum code layouts_find(struct layouts *layouts, uint32_t relid, const char *shape,
                                  struct layout **ret, struct err *err);
/* Reads the text of a whole row, rewriting it in place. NULL, or why it is none of this layout (static
 * text). */
const char *layout_read(const struct layout *layout, char *text, struct pgoutput_row *ret);
