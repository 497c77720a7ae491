/* MariaDB's types mapped to kinds, and the text in which triggers and snapshot tell a row.
 *
 * A row is one text of fields separated by commas, made by the same expressions in both places, in a session
 * whose sql_mode, character set and (for snapshots) time zone are fixed:
 *
 *      42,NULL,'it\'s',1704164645.123456,'\0\Z'
 *
 * numbers and dates bare, everything else as QUOTE() prints it, characters as UTF-8. */
#pragma once

#include "capture/trigger/mariadb/options.h"
#include "schemas/change.h"

/* A column as information_schema.columns tells it. */
struct maria_column {
    const char *name, *type;        /* type: COLUMN_TYPE */
    const char *data;               /* DATA_TYPE */
    const char *charset;            /* of characters, "" else */
    int precision, scale, fraction; /* of numbers; fraction: digits of a second */
    bool nullable;
    int key; /* place in the primary key from 1; 0 = not in it */
};

/* Fills kind, type (PostgreSQL's name of it), precision, scale, length, labels of `ret` (strings in the
 * arena). NULL, or what makes the type impossible. */
const char *maria_column_kind(const struct maria_column *column, int dates, struct arena *arena,
                              struct column *ret);
/* Appends the SQL expression of one column's field; `row` is "NEW.", "OLD." or "". */
void maria_put_field(struct buf *sql, const struct maria_column *column, const char *row);
/* The whole row's expression. */
void maria_put_row(struct buf *sql, const struct maria_column *columns, int n, const char *row);

/* Reads a row; values are borrowed from `text` or live in the arena. NULL, or why a value cannot be carried;
 * *ret_column is then its index, or -1 where the text itself is broken. */
const char *maria_read_row(const struct table *table, const struct maria_column *columns, struct slice text,
                           struct arena *arena, struct value *ret, int *ret_column);
/* "id=7, name='x'": the fields of the key as the text has them, each cut at 64 bytes. */
void maria_put_key(struct buf *to, const struct table *table, struct slice text);
