/* SQLite's values and declared types, mapped to kinds.
 *
 * A declared type is a hint to SQLite: any column may hold any class of value ("Datatypes In SQLite", 3).
 * What a column's kind cannot carry exactly is refused by name, never altered.
 *
 *   declared (by SQLite's rules of affinity)      kind     replica's type      carries
 *   INT in the name                               INT64    bigint              INTEGER
 *   CHAR, CLOB, TEXT                              TEXT     text                TEXT
 *   BLOB                                          BYTES    bytea               BLOB
 *   REAL, FLOA, DOUB                              FLOAT64  double precision    REAL
 *   BOOL...                                       BOOL     boolean             INTEGER 0 and 1
 *   DECIMAL..., NUMERIC...                        TEXT     numeric             INTEGER, REAL as exact text
 *   all others (DATE, none at all, ...)           TEXT     text                INTEGER, REAL, TEXT as exact
 * text */
#pragma once

#include <sqlite3.h>

#include "schemas/change.h"

/* A value as SQLite has it. */
struct cell {
    int type; /* SQLITE_INTEGER, ... */
    int64_t i;
    double d;
    struct slice s; /* a NUL follows */
};
struct cell cell_of(sqlite3_stmt *stmt, int column, struct arena *arena);
/* The same number, text or bytes. */
bool cell_same(const struct cell *a, const struct cell *b);

/* Fills type, kind and what goes with it; strings are static. */
void lvalue_kind(const char *declared, struct column *ret);
/* Texts and bytes are the cell's or live in the arena. NULL, or why the column cannot carry it (static
 * text). */
const char *lvalue_read(const struct column *column, const struct cell *cell, struct arena *arena,
                        struct value *ret);
