/* A printer for each kind, and COPY's text format around it (PostgreSQL manual, COPY, "Text Format"). */
#include "sink/values/values.h"

#include <assert.h>

#include "sink/values/values_print.h"

/* ---- text and bytes ---- */

const char *pg_print_text(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_TEXT);
    buf_put_slice(out, value->s);
    return NULL;
}

/* \x0123ab */
const char *pg_print_bytes(const struct column *column, const struct value *value, struct buf *out) {
    static const char digits[] = "0123456789abcdef";
    (void)column;
    assert(value->tag == VALUE_BYTES);
    const unsigned char *bytes = (const unsigned char *)value->s.data;
    char *p = buf_room(out, 2 + 2 * value->s.len);
    *p++ = '\\';
    *p++ = 'x';
    for (size_t i = 0; i < value->s.len; i++) {
        *p++ = digits[bytes[i] >> 4];
        *p++ = digits[bytes[i] & 15];
    }
    out->len += 2 + 2 * value->s.len;
    return NULL;
}

/* ---- which printer ---- */

static pg_print_f *const printers[KIND_COUNT] = {
    [KIND_BOOL] = pg_print_bool,
    [KIND_INT16] = pg_print_int,
    [KIND_INT32] = pg_print_int,
    [KIND_INT64] = pg_print_int,
    [KIND_FLOAT32] = pg_print_float32,
    [KIND_FLOAT64] = pg_print_float64,
    [KIND_DECIMAL] = pg_print_text, /* money reads plain decimals too */
    [KIND_TEXT] = pg_print_text,
    [KIND_JSON] = pg_print_text,
    [KIND_XML] = pg_print_text,
    [KIND_UUID] = pg_print_text,
    [KIND_ENUM] = pg_print_text,
    [KIND_LTREE] = pg_print_text,
    [KIND_TSVECTOR] = pg_print_text,
    [KIND_BYTES] = pg_print_bytes,
    [KIND_BITS] = pg_print_text,
    [KIND_DATE] = pg_print_date,
    [KIND_TIME_MS] = pg_print_time,
    [KIND_TIME] = pg_print_time,
    [KIND_TIMESTAMP_MS] = pg_print_timestamp,
    [KIND_TIMESTAMP] = pg_print_timestamp,
    [KIND_ZONED_TIMESTAMP] = pg_print_zoned_timestamp,
    [KIND_ZONED_TIME] = pg_print_text,
    [KIND_INTERVAL] = pg_print_text,
    [KIND_POINT] = pg_print_point,
};

static bool starts_with(const char *text, const char *start) {
    return strncmp(text, start, strlen(start)) == 0;
}

/* Whether the last identifier of a type, as format_type() prints it, is `name` (which needs no quotes). */
static bool type_is(const char *type, const char *name) {
    size_t len = strlen(type), tail = strlen(name);
    if (len < tail || strcmp(type + len - tail, name) != 0)
        return false;
    return len == tail || type[len - tail - 1] == '.';
}

/* boolean reads all forms, bit only digits; any other type gets the form of the cast from the source's own
 * type. */
static pg_print_f *bool_printer(const struct column *column, const char *type) {
    bool digits =
        starts_with(type, "bit") || (starts_with(column->type, "bit") && strcmp(type, "boolean") != 0);
    return digits ? pg_print_bit : strcmp(type, "boolean") == 0 ? pg_print_bool : pg_print_bool_word;
}

pg_print_f *pg_printer(const struct column *column, const char *type) {
    assert((unsigned)column->kind < KIND_COUNT);
    if (column->kind == KIND_BOOL)
        return bool_printer(column, type);
    if (column->kind == KIND_JSON && type_is(type, "hstore"))
        return pg_print_hstore;
    if (column->kind == KIND_FLOAT32 && strcmp(type, "double precision") == 0)
        return pg_print_float64; /* the same number, not the shortest text that a float would read back */
    return printers[column->kind];
}

/* ---- COPY ---- */

/* The letter after the backslash, or 0 for a byte that stands for itself. */
static inline char copy_escape(char c) {
    static const char letters[14] = {[8] = 'b', [9] = 't', [10] = 'n', [11] = 'v', [12] = 'f', [13] = 'r'};
    if (c == '\\')
        return c;
    return (unsigned char)c < sizeof letters ? letters[(unsigned char)c] : 0;
}

/* Where the first byte below 14 or backslash may be: eight bytes at a time. */
static const char *skip_plain(const char *p, const char *end) {
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    for (; end - p >= 8; p += 8) {
        uint64_t word;
        memcpy(&word, p, 8);
        uint64_t slashed = word ^ ones * '\\';
        if ((((word - ones * 14) & ~word) | ((slashed - ones) & ~slashed)) & highs)
            break;
    }
    return p;
}

static size_t count_escapes(const char *p, const char *end) {
    size_t n = 0;
    while ((p = skip_plain(p, end)) < end)
        for (const char *stop = end - p < 8 ? end : p + 8; p < stop; p++)
            n += copy_escape(*p) != 0;
    return n;
}

/* Escapes what stands in `out` from `mark` on, from its end to the first byte that needs it. */
static void escape_from(struct buf *out, size_t mark) {
    size_t escapes = count_escapes(out->data + mark, out->data + out->len);
    if (escapes == 0)
        return;
    buf_room(out, escapes);
    char *from = out->data + out->len;
    out->len += escapes;
    for (char *to = out->data + out->len; escapes > 0;) {
        char letter = copy_escape(*--from);
        *--to = letter ? letter : *from;
        if (letter) {
            *--to = '\\';
            escapes--;
        }
    }
}

const char *pg_copy_field(pg_print_f *print, const struct column *column, const struct value *value,
                          struct buf *out) {
    if (value->tag == VALUE_NULL || value->tag == VALUE_ABSENT) {
        buf_put(out, "\\N", 2);
        return NULL;
    }
    if (print == pg_print_bytes)
        buf_putc(out, '\\'); /* before the only backslash there will be */
    size_t mark = out->len;
    const char *reason = print(column, value, out);
    if (reason)
        out->len = mark;
    else if (value->tag == VALUE_TEXT && out->len > mark)
        escape_from(out, mark);
    return reason;
}
