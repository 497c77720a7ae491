/* A place where sources of one kind stand, as an application sees it that writes SQL there: what the suites
 * need of each kind of source beside its row of source_table[].
 *
 * The suites write SQL that every kind takes; where dialects differ, the place has the word. What only one
 * kind can say or do stands in cases of that kind (CASE_OF). A new source is tested by a new place. */
#pragma once

#include <stdbool.h>

#include "base/err.h"
#include "base/slice.h"

/* A type of the source: how a column of it is declared, a value in SQL, and the value as item_line() prints
 * it. */
struct place_type {
    const char *declared, *literal, *line;
};

struct place {
    const char *kind;   /* of source_table[] */
    const char *schema; /* of the tables that the suites make; item_line() leaves it out */
    void (*open)(void);
    void (*close)(void);
    void (*empty)(void); /* the database is there, without a table and without a trace of us */

    /* ---- options, as YAML "key: value" lines; NULL where the kind has no such thing ---- */
    void (*options)(struct buf *yaml);
    const char *in_order; /* the snapshot reads one table after the other */
    const char *away;     /* nobody is there: RETRY/SOURCE_UNREACHABLE; any password in it is "sesame" */
    const char *refused;  /* somebody is there and does not let us in: FATAL/SOURCE_REFUSED */

    /* ---- sessions of applications, also in other threads ---- */
    void *(*session)(void);
    void (*end)(void *session);
    /* Any number of statements. Rows of the last one as "a|b;c|d", NULL as "~". False: `why`, and the
     * transaction is over. */
    bool (*run)(void *session, const char *sql, struct buf *rows, struct buf *why);

    /* ---- words of its SQL ---- */
    const char *backslash; /* in a literal */
    const char *upsert;    /* after INSERT INTO w (id, n) VALUES (...): the row that is there takes n */
    const char *whole; /* "... %s ...": changes of this table carry whole old rows; NULL: they always do */
    const struct place_type *types; /* ends with .declared = NULL */
    struct place_type not_carried;  /* a value that stops the source; `line`: words of the message */

    /* ---- what the kind can ---- */
    const char *naive;   /* SQL that ends with "id >": ids of change rows, all of which `kept` counts; NULL:
                            there are none */
    const char *kept;    /* SQL: a number that falls only when the database forgets what we confirmed */
    bool truncates;      /* TRUNCATE is told */
    bool keyless;        /* a table without a key is captured as it is made */
    bool transforms;     /* rows written under any shape come with that shape, whatever the table is now */
    void (*sever)(void); /* the source's sessions are ended; NULL: there are none */
};
extern const struct place postgres_place, postgres_triggers_place, mariadb_triggers_place, sqlite_place;

/* The test program ends. */
_Noreturn void die(const char *what);
/* Appends a value, NULL as "~", to rows as "a|b;c|d". */
void put_seen(struct buf *rows, int row, int column, const char *value);
