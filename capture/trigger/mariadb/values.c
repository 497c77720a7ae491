/* (MariaDB manual, "Data Types", "QUOTE", "UNIX_TIMESTAMP".) */
#include "capture/trigger/mariadb/values.h"

#include <stdio.h>

#include "capture/trigger/mariadb/connect.h"
#include "capture/trigger/mariadb/times.h"

/* How a field is asked for. */
enum form {
    FORM_PLAIN,
    FORM_DOUBLE,
    FORM_BITS,
    FORM_INSTANT,
    FORM_TEXT,
    FORM_BYTES,
    FORM_GEOMETRY,
    FORM_PRINTED
};

static const struct type_row {
    const char *data;
    enum form form;
    enum kind kind, unsigned_kind;
} types[] = {
    {"tinyint", FORM_PLAIN, KIND_INT16, KIND_INT16},
    {"smallint", FORM_PLAIN, KIND_INT16, KIND_INT32},
    {"mediumint", FORM_PLAIN, KIND_INT32, KIND_INT32},
    {"int", FORM_PLAIN, KIND_INT32, KIND_INT64},
    {"bigint", FORM_PLAIN, KIND_INT64, KIND_DECIMAL},
    {"year", FORM_PLAIN, KIND_INT16, KIND_INT16},
    {"decimal", FORM_PLAIN, KIND_DECIMAL, KIND_DECIMAL},
    {"float", FORM_DOUBLE, KIND_FLOAT32, KIND_FLOAT32},
    {"double", FORM_DOUBLE, KIND_FLOAT64, KIND_FLOAT64},
    {"bit", FORM_BITS, KIND_BITS, KIND_BITS},
    {"date", FORM_PLAIN, KIND_DATE, KIND_DATE},
    {"datetime", FORM_PLAIN, KIND_TIMESTAMP, KIND_TIMESTAMP},
    {"timestamp", FORM_INSTANT, KIND_ZONED_TIMESTAMP, KIND_ZONED_TIMESTAMP},
    {"time", FORM_PLAIN, KIND_INTERVAL, KIND_INTERVAL},
    {"char", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"varchar", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"tinytext", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"text", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"mediumtext", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"longtext", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"enum", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"set", FORM_TEXT, KIND_TEXT, KIND_TEXT},
    {"binary", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"varbinary", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"tinyblob", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"blob", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"mediumblob", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"longblob", FORM_BYTES, KIND_BYTES, KIND_BYTES},
    {"uuid", FORM_PRINTED, KIND_UUID, KIND_UUID},
    {"inet4", FORM_PRINTED, KIND_TEXT, KIND_TEXT},
    {"inet6", FORM_PRINTED, KIND_TEXT, KIND_TEXT},
    {"geometry", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"point", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"linestring", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"polygon", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"multipoint", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"multilinestring", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"multipolygon", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
    {"geometrycollection", FORM_GEOMETRY, KIND_BYTES, KIND_BYTES},
};

static const struct type_row *type_of(const struct maria_column *column) {
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if (strcmp(types[i].data, column->data) == 0)
            return &types[i];
    return NULL;
}

/* ---- kinds ---- */

static bool is_date(enum kind kind) {
    return kind == KIND_DATE || kind == KIND_TIMESTAMP || kind == KIND_ZONED_TIMESTAMP;
}

/* The type that holds every value of the kind, as a replica is told it (sink/values/type_name.h). */
static const char *replica_type(const struct column *column, struct arena *arena) {
    static const char *const names[KIND_COUNT] = {
        [KIND_INT16] = "smallint",
        [KIND_INT32] = "integer",
        [KIND_INT64] = "bigint",
        [KIND_FLOAT32] = "real",
        [KIND_FLOAT64] = "double precision",
        [KIND_TEXT] = "text",
        [KIND_UUID] = "uuid",
        [KIND_BYTES] = "bytea",
        [KIND_DATE] = "date",
        [KIND_TIMESTAMP] = "timestamp without time zone",
        [KIND_TIMESTAMP_MS] = "timestamp without time zone",
        [KIND_ZONED_TIMESTAMP] = "timestamp with time zone",
        [KIND_INTERVAL] = "interval",
    };
    if (column->kind == KIND_DECIMAL)
        return arena_printf(arena, "numeric(%d,%d)", column->precision, column->scale);
    if (column->kind == KIND_BITS)
        return arena_printf(arena, "bit(%d)", column->length);
    return names[column->kind];
}

const char *maria_column_kind(const struct maria_column *column, int dates, struct arena *arena,
                              struct column *ret) {
    const struct type_row *type = type_of(column);
    *ret = (struct column){.name = arena_strdup(arena, column->name),
                           .length = -1,
                           .nullable = column->nullable,
                           .key = column->key};
    if (!type)
        return "is not known here";
    ret->kind = strstr(column->type, "unsigned") ? type->unsigned_kind : type->kind;
    if (dates == MARIA_DATES_STRING && is_date(ret->kind))
        ret->kind = KIND_TEXT;
    if (ret->kind == KIND_TIMESTAMP && column->fraction <= 3)
        ret->kind = KIND_TIMESTAMP_MS;
    if (ret->kind == KIND_BITS)
        ret->length = column->precision;
    if (ret->kind == KIND_DECIMAL) {
        ret->precision =
            type->form == FORM_PLAIN && strcmp(column->data, "bigint") == 0 ? 20 : column->precision;
        ret->scale = column->scale;
    }
    ret->type = replica_type(ret, arena);
    return NULL;
}

/* ---- asking for a row ---- */

static const struct {
    const char *before, *after;
} form_sql[] = {
    [FORM_PLAIN] = {"IFNULL(", ",'NULL')"},
    [FORM_DOUBLE] = {"IFNULL(CAST(", " AS DOUBLE),'NULL')"}, /* a FLOAT would be printed with six digits */
    [FORM_BITS] = {"IFNULL(CAST(", " AS UNSIGNED),'NULL')"},
    [FORM_INSTANT] = {"IFNULL(UNIX_TIMESTAMP(",
                      "),'NULL')"}, /* the application's time zone does not matter */
    [FORM_TEXT] = {"QUOTE(CONVERT(", " USING utf8mb4))"},
    [FORM_BYTES] = {"QUOTE(", ")"},
    [FORM_GEOMETRY] = {"QUOTE(CAST(", " AS BINARY))"},
    [FORM_PRINTED] = {"QUOTE(CAST(", " AS CHAR))"},
};

/* The server converts a character that it cannot convert into a question mark. */
static bool may_lose(const char *charset) {
    return strcmp(charset, "utf8mb4") != 0 && strcmp(charset, "utf8mb3") != 0;
}

/* "IF(there and back again is the same," ...; the other branch is a bare '?'. */
static void put_lossless(struct buf *sql, const struct maria_column *column, const char *row) {
    CLEANUP_BUF name = {0};
    buf_puts(&name, row);
    maria_put_name(&name, column->name);
    buf_printf(sql, "IF(BINARY CONVERT(CONVERT(%s USING utf8mb4) USING %s) <=> BINARY CONVERT(%s USING %s),",
               buf_cstr(&name), column->charset, buf_cstr(&name), column->charset);
}

void maria_put_field(struct buf *sql, const struct maria_column *column, const char *row) {
    const struct type_row *type = type_of(column);
    enum form form = type ? type->form : FORM_PRINTED;
    bool lossy = form == FORM_TEXT && may_lose(column->charset);
    if (lossy)
        put_lossless(sql, column, row);
    buf_puts(sql, form_sql[form].before);
    buf_puts(sql, row);
    maria_put_name(sql, column->name);
    buf_puts(sql, form_sql[form].after);
    buf_puts(sql, lossy ? ",'?')" : "");
}

void maria_put_row(struct buf *sql, const struct maria_column *columns, int n, const char *row) {
    /* The first part is there so that the whole is bytes: no character set is converted, and one column is a
     * row, too. */
    buf_puts(sql, "CONCAT_WS(',',_binary''");
    for (int i = 0; i < n; i++) {
        buf_putc(sql, ',');
        maria_put_field(sql, &columns[i], row);
    }
    buf_putc(sql, ')');
}

/* ---- reading a row ---- */

struct field {
    bool null, quoted;
    struct slice text;
};

static char unescaped(char c) {
    return c == '0' ? '\0' : c == 'Z' ? '\x1a' : c;
}

/* The inside of a quoted field; *p stands after its first quote, and then after its last. */
static bool take_quoted(const char **p, const char *end, struct arena *arena, struct slice *ret) {
    const char *begin = *p, *q = begin;
    size_t escapes = 0;
    while (q < end && *q != '\'') {
        if (*q == '\\')
            q++, escapes++;
        q++;
    }
    if (q >= end)
        return false;
    *p = q + 1;
    *ret = slice_make(begin, (size_t)(q - begin));
    if (!escapes)
        return true;
    char *out = arena_alloc(arena, ret->len);
    size_t n = 0;
    for (const char *r = begin; r < q; r++)
        out[n++] = *r == '\\' ? unescaped(*++r) : *r;
    *ret = slice_make(out, n);
    return true;
}

static bool take_field(const char **p, const char *end, struct arena *arena, struct field *ret) {
    *ret = (struct field){0};
    if (*p >= end || **p != ',')
        return false;
    (*p)++;
    if (*p < end && **p == '\'') {
        (*p)++;
        ret->quoted = true;
        return take_quoted(p, end, arena, &ret->text) && (*p == end || **p == ',');
    }
    const char *comma = memchr(*p, ',', (size_t)(end - *p));
    ret->text = slice_make(*p, (size_t)((comma ? comma : end) - *p));
    ret->null = slice_is(ret->text, "NULL");
    *p = comma ? comma : end;
    return ret->text.len > 0;
}

static const char *read_text(struct slice text, struct value *ret) {
    *ret = (struct value){VALUE_TEXT, .s = text};
    if (memchr(text.data ? text.data : "", 0, text.len))
        return "has a NUL character";
    return NULL;
}

static const char *read_int(struct slice text, struct value *ret) {
    char copy[32], *end;
    if (text.len >= sizeof copy)
        return "is no integer";
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    *ret = (struct value){VALUE_INT, .i = strtoll(copy, &end, 10)};
    return *end ? "is no integer" : NULL;
}

static const char *read_double(struct slice text, bool single, struct value *ret) {
    char copy[64], *end;
    if (text.len >= sizeof copy)
        return "is no number";
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    double d = strtod(copy, &end);
    *ret = (struct value){VALUE_FLOAT, .d = single ? (double)(float)d : d};
    return *end ? "is no number" : NULL;
}

/* Zeros before the number (ZEROFILL) are not part of it. */
static const char *read_decimal(struct slice text, struct value *ret) {
    while (text.len > 1 && text.data[0] == '0' && text.data[1] != '.')
        text.data++, text.len--;
    *ret = (struct value){VALUE_TEXT, .s = text};
    return NULL;
}

static const char *read_bits(struct slice text, int length, struct arena *arena, struct value *ret) {
    char copy[32];
    if (length < 1 || length > 64 || text.len >= sizeof copy)
        return "is no bit field";
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    uint64_t bits = strtoull(copy, NULL, 10);
    char *out = arena_alloc(arena, (size_t)length);
    for (int i = 0; i < length; i++)
        out[i] = bits >> (length - 1 - i) & 1 ? '1' : '0';
    *ret = (struct value){VALUE_TEXT, .s = {out, (size_t)length}};
    return NULL;
}

static const char *read_value(const struct column *column, const struct maria_column *from, struct slice text,
                              bool quoted, struct arena *arena, struct value *ret) {
    bool instant = type_of(from)->form == FORM_INSTANT;
    if (type_of(from)->form == FORM_TEXT && !quoted)
        return "has characters in its character set that Unicode does not have, or that are broken";
    switch (column->kind) {
    case KIND_INT16:
    case KIND_INT32:
    case KIND_INT64:
        return read_int(text, ret);
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return read_double(text, column->kind == KIND_FLOAT32, ret);
    case KIND_DECIMAL:
        return read_decimal(text, ret);
    case KIND_BITS:
        return read_bits(text, column->length, arena, ret);
    case KIND_BYTES:
        *ret = (struct value){VALUE_BYTES, .s = text};
        return NULL;
    case KIND_DATE:
        return maria_read_date(text, ret);
    case KIND_TIMESTAMP:
    case KIND_TIMESTAMP_MS:
        return maria_read_datetime(text, ret);
    case KIND_ZONED_TIMESTAMP:
        return maria_read_instant(text, arena, ret);
    case KIND_INTERVAL:
        return maria_read_time(text, arena, ret);
    default:
        return instant ? maria_read_instant_text(text, arena, ret) : read_text(text, ret);
    }
}

const char *maria_read_row(const struct table *table, const struct maria_column *columns, struct slice text,
                           struct arena *arena, struct value *ret, int *ret_column) {
    const char *p = text.data, *end = text.data + text.len;
    for (int i = 0; i < table->n_columns; i++) {
        struct field field;
        *ret_column = -1;
        if (!take_field(&p, end, arena, &field))
            return "the change row's text is broken";
        *ret_column = i;
        ret[i] = (struct value){VALUE_NULL};
        const char *why = field.null ? NULL
                                     : read_value(&table->columns[i], &columns[i], field.text, field.quoted,
                                                  arena, &ret[i]);
        if (why)
            return why;
    }
    *ret_column = -1;
    return p == end ? NULL : "the change row's text is broken";
}

void maria_put_key(struct buf *to, const struct table *table, struct slice text) {
    enum { BYTES_SHOWN = 64 };
    struct arena arena = {0};
    const char *p = text.data, *end = text.data + text.len, *comma = "";
    struct field field;
    for (int i = 0; i < table->n_columns && take_field(&p, end, &arena, &field); i++) {
        if (!table->columns[i].key)
            continue;
        int len = field.text.len < BYTES_SHOWN ? (int)field.text.len : BYTES_SHOWN;
        buf_printf(to, "%s%s=%.*s", comma, table->columns[i].name, len, field.text.data);
        comma = ", ";
    }
    arena_free(&arena);
}
