/* (SQLite manual, "Datatypes In SQLite", 3.1 "Determination Of Column Affinity".) */
#include "capture/trigger/sqlite/values.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "base/utf8.h"

struct cell cell_of(sqlite3_stmt *stmt, int column, struct arena *arena) {
    struct cell cell = {.type = sqlite3_column_type(stmt, column)};
    if (cell.type == SQLITE_INTEGER)
        cell.i = sqlite3_column_int64(stmt, column);
    else if (cell.type == SQLITE_FLOAT)
        cell.d = sqlite3_column_double(stmt, column);
    else if (cell.type != SQLITE_NULL) {
        const void *data = cell.type == SQLITE_TEXT ? (const void *)sqlite3_column_text(stmt, column)
                                                    : sqlite3_column_blob(stmt, column);
        size_t len = (size_t)sqlite3_column_bytes(stmt, column);
        cell.s = slice_make(arena_strndup(arena, data ? data : "", len), len);
    }
    return cell;
}

bool cell_same(const struct cell *a, const struct cell *b) {
    if (a->type == SQLITE_INTEGER && b->type == SQLITE_FLOAT)
        return (double)a->i == b->d;
    if (a->type == SQLITE_FLOAT && b->type == SQLITE_INTEGER)
        return cell_same(b, a);
    if (a->type != b->type)
        return false;
    switch (a->type) {
    case SQLITE_INTEGER:
        return a->i == b->i;
    case SQLITE_FLOAT:
        return a->d == b->d;
    case SQLITE_NULL:
        return true;
    default:
        return slice_eq(a->s, b->s);
    }
}

/* ---- types ---- */

static void set(struct column *column, enum kind kind, const char *type) {
    column->kind = kind;
    column->type = type;
    column->length = -1;
}

void lvalue_kind(const char *declared, struct column *ret) {
    static const struct {
        const char *word;
        enum kind kind;
        const char *type;
    } rules[] = {
        /* the order is SQLite's */
        {"INT", KIND_INT64, "bigint"},
        {"CHAR", KIND_TEXT, "text"},
        {"CLOB", KIND_TEXT, "text"},
        {"TEXT", KIND_TEXT, "text"},
        {"BLOB", KIND_BYTES, "bytea"},
        {"REAL", KIND_FLOAT64, "double precision"},
        {"FLOA", KIND_FLOAT64, "double precision"},
        {"DOUB", KIND_FLOAT64, "double precision"},
        {"BOOL", KIND_BOOL, "boolean"},
        {"DECIMAL", KIND_TEXT, "numeric"},
        {"NUMERIC", KIND_TEXT, "numeric"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof *rules; i++)
        if (strcasestr(declared, rules[i].word)) {
            set(ret, rules[i].kind, rules[i].type);
            return;
        }
    set(ret, KIND_TEXT, "text");
}

/* ---- values ---- */

/* The shortest text that reads back as the same number, as SQLite writes it: always with a point. */
static struct slice real_text(double d, bool numeric, struct arena *arena) {
    char text[40];
    if (isinf(d))
        return slice_of(arena_strdup(arena, numeric ? (d < 0 ? "-Infinity" : "Infinity")
                                            : d < 0 ? "-Inf"
                                                    : "Inf"));
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (strtod(text, NULL) == d)
            break;
    }
    return slice_of(arena_printf(arena, "%s%s", text, strpbrk(text, ".e") ? "" : ".0"));
}

static const char *read_text(const struct cell *cell, struct value *ret) {
    for (size_t at = 0; at < cell->s.len;) {
        size_t len = cell->s.data[at] ? utf8_length(cell->s.data + at) : 0;
        if (!len)
            return cell->s.data[at] ? "it is not UTF-8" : "it holds a NUL character";
        at += len;
    }
    ret->s = cell->s;
    return NULL;
}

static const char *read_any(const struct column *column, const struct cell *cell, struct arena *arena,
                            struct value *ret) {
    bool numeric = strcmp(column->type, "numeric") == 0;
    ret->tag = VALUE_TEXT;
    switch (cell->type) {
    case SQLITE_INTEGER:
        ret->s = slice_of(arena_printf(arena, "%lld", (long long)cell->i));
        return NULL;
    case SQLITE_FLOAT:
        ret->s = real_text(cell->d, numeric, arena);
        return NULL;
    case SQLITE_TEXT:
        return numeric ? "it is a text, which a number's column cannot carry" : read_text(cell, ret);
    default:
        return "it is a BLOB, which only a column declared BLOB can carry";
    }
}

static const char *read_integer(const struct column *column, const struct cell *cell, struct value *ret) {
    ret->tag = VALUE_INT;
    ret->i = cell->i;
    if (cell->type != SQLITE_INTEGER)
        return "it is no INTEGER";
    return column->kind == KIND_BOOL && cell->i != 0 && cell->i != 1 ? "it is neither 0 nor 1" : NULL;
}

const char *lvalue_read(const struct column *column, const struct cell *cell, struct arena *arena,
                        struct value *ret) {
    *ret = (struct value){.tag = VALUE_NULL};
    if (cell->type == SQLITE_NULL)
        return column->nullable ? NULL : "it is NULL in a column that must not be";
    switch (column->kind) {
    case KIND_INT64:
    case KIND_BOOL:
        return read_integer(column, cell, ret);
    case KIND_FLOAT64:
        ret->tag = VALUE_FLOAT;
        ret->d = cell->d;
        return cell->type == SQLITE_FLOAT ? NULL : "it is no REAL";
    case KIND_BYTES:
        ret->tag = VALUE_BYTES;
        ret->s = cell->s;
        return cell->type == SQLITE_BLOB ? NULL : "it is no BLOB";
    default:
        return read_any(column, cell, arena, ret);
    }
}
