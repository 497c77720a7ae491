/* How values of the source stand in the file: a number, a text or bytes, exactly.
 *
 *   kind                               stands as   column declared
 *   BOOL, INT16, INT32, INT64          INTEGER     INTEGER
 *   FLOAT32, FLOAT64                   REAL        (nothing); NaN, which SQLite has not, as the text NaN
 *   BYTES                              BLOB        BLOB
 *   all others                         TEXT        TEXT
 *
 * SQLite converts what it stores to what the column is declared for: a column declared NUMERIC would turn
 * '1.10' into 1.1, and one declared REAL would turn -0.0 into 0.0. Under these declarations nothing is
 * converted. */
#pragma once

#include <sqlite3.h>

#include "sink/values/values.h"

enum stands { STANDS_INTEGER, STANDS_REAL, STANDS_TEXT, STANDS_BLOB };

/* What a column of the replica is for: the source's type that it was made for, or widened to. */
struct form_type {
    const char *type; /* as the source prints it */
    int kind;         /* enum kind */
    int scale;        /* DECIMAL */
};

/* "INTEGER", "", "TEXT", "BLOB" */
const char *form_declared(const struct form_type *type);
/* Whether a column that somebody else declared so keeps every value of the type as it is. */
bool form_kept_by(const struct form_type *type, const char *declared);

/* From a column of a version to a column of the replica, which may be wider. */
struct form {
    enum stands stands;
    pg_print_f *print;     /* a text that must be made first; NULL: the value's own */
    pg_print_f *old_print; /* the same for what stands in the file already */
    int places;            /* so many digits stand after the point; -1: as they come */
    int width; /* padded with blanks to so many characters; 0: blanks at the end go; -1: as it comes */
    const struct column *column;
};

/* How `to` holds values of `column`. False: it cannot hold all of them exactly. The column must outlive
 * ret. */
bool form_between(const struct column *column, const struct form_type *to, struct form *ret);
/* Whether a column for `from` can become one for the source's column without changing a value. */
bool form_widens(const struct form_type *from, const struct column *column);
/* Whether two types stand in the file in the very same form. */
bool form_same(const struct form *form);

/* Binds the value, which is not ABSENT, as parameter i. Texts and bytes are not copied: they must live until
 * the statement has run. NULL, or why the replica cannot hold it exactly (static text). */
const char *form_bind(const struct form *form, const struct value *value, struct buf *scratch,
                      sqlite3_stmt *stmt, int i);

/* A value that stands under the form's first type, under its second: the SQL function of one argument that
 * widening uses. `form` must outlive its use. */
void form_function(sqlite3_context *context, int n, sqlite3_value **values);
