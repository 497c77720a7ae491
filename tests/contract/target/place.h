/* A place where replicas of one kind stand, as somebody else sees it who can write SQL there: what the suites
 * need of each kind of target beside its row of target_table[]. A new kind is one file place_KIND.c and one
 * line in place_table.c (docs/adding-a-target.md).
 *
 * The suites write SQL that every kind takes, with tables named shop.x and millrace.x; a place that knows no
 * schemas reads them as shop_x and millrace_x, and one that knows no SQL shows its tables in a glass
 * (glass.h). Cases that need more than tables and rows ask for it (CASE_WITH); what only one kind can say
 * stands in cases of that kind (CASE_OF). */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

struct place {
    const char *kind;   /* of target_table[] */
    const char *option; /* the option that names the place: "url" */
    void (*open)(void);
    void (*close)(void);
    void (*empty)(void); /* the schema shop is there and empty, millrace is not there */
    void (*sql)(const char *text);
    void (*see)(const char *text, char *ret, size_t size);
    bool (*has_table)(const char *table);  /* "shop.items" */
    const char *(*key)(const char *table); /* the columns of its key, as see() tells them: "a;b" */
    const char *unseen;                    /* SQL: no owner was seen for long */
    const char
        *has;  /* words of CASE_WITH, separated by spaces: what a replica can have beside tables and rows */
    bool flat; /* there are no schemas: shop.items is named shop_items */
    int name_bytes_max; /* of a table or column; 0: any length */
};
extern const struct place *const place_table[]; /* NULL-terminated */
extern const struct place postgres_place, sqlite_place;

extern const char *url; /* the value of `option`: the replica of the test that runs */

/* The test program ends. */
_Noreturn void die(const char *what);
/* Appends a value, NULL as "~", to rows as "a|b;c|d". */
void put_seen(char *ret, size_t size, int row, int column, const char *value);
/* The connection string `from` of a PostgreSQL with another database, in `ret`. */
void with_database(const char *from, const char *database, char *ret, size_t size);
