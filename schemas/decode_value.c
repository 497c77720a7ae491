#include "schemas/decode_value.h"

#include <assert.h>
#include <byteswap.h>

/* ---- text ---- */

#define ONES  UINT64_C(0x0101010101010101)
#define HIGHS UINT64_C(0x8080808080808080)

/* Length of the UTF-8 sequence that begins at p (Unicode 15, table 3-7: no overlong forms, no surrogates), 0
 * = none. */
static size_t utf8_length(const unsigned char *p, size_t left) {
    unsigned char lead = p[0];
    size_t n = lead < 0x80 ? 1 : lead < 0xC2 ? 0 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : lead < 0xF5 ? 4 : 0;
    if (n == 0 || n > left || lead == 0)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if (lead == 0xE0 && p[1] < 0xA0)
        return 0;
    if (lead == 0xED && p[1] > 0x9F)
        return 0;
    if (lead == 0xF0 && p[1] < 0x90)
        return 0;
    if (lead == 0xF4 && p[1] > 0x8F)
        return 0;
    return n;
}

bool text_valid(struct slice text) {
    const unsigned char *p = (const unsigned char *)text.data, *end = p + text.len;
    while (p < end) {
        uint64_t word;
        while (end - p >= 8) { /* eight bytes of ASCII without NUL at once */
            memcpy(&word, p, 8);
            if ((word | (word - ONES)) & HIGHS)
                break;
            p += 8;
        }
        if (p == end)
            break;
        size_t n = utf8_length(p, (size_t)(end - p));
        if (n == 0)
            return false;
        p += n;
    }
    return true;
}

/* ---- DECIMAL ---- */

/* Digits of a number below 10^19, right-aligned before `end`; returns where they begin. */
static char *digits_u64(char *end, uint64_t number) {
    do {
        *--end = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    return end;
}

static char *digits_u128(char *end, unsigned __int128 number) {
    const uint64_t e19 = UINT64_C(10000000000000000000);
    while (number >> 64) {
        char *stop = end - 19;
        end = digits_u64(end, (uint64_t)(number % e19));
        while (end > stop)
            *--end = '0';
        number /= e19;
    }
    return digits_u64(end, (uint64_t)number);
}

/* Any length: magnitude as 32-bit limbs (most significant first), divided by 10^9 until nothing is left. */
static char *digits_long(char *end, const unsigned char *p, size_t len, bool negative) {
    uint32_t limbs[DECIMAL_BYTES_MAX / 4 + 1] = {0};
    size_t n = (len + 3) / 4, first = 0;
    unsigned carry = negative; /* minus x = not x, plus one */
    for (size_t i = 0; i < len; i++) {
        unsigned byte = p[len - 1 - i];
        if (negative) {
            byte = (byte ^ 0xFFu) + carry;
            carry = byte >> 8;
            byte &= 0xFFu;
        }
        limbs[n - 1 - i / 4] |= (uint32_t)byte << (8 * (i % 4));
    }
    while (first < n && limbs[first] == 0)
        first++;
    while (first < n) {
        uint64_t rest = 0;
        for (size_t i = first; i < n; i++) {
            rest = rest << 32 | limbs[i];
            limbs[i] = (uint32_t)(rest / 1000000000);
            rest %= 1000000000;
        }
        char *stop = end - 9;
        end = digits_u64(end, rest);
        while (first < n && limbs[first] == 0)
            first++;
        while (first < n && end > stop)
            *--end = '0';
    }
    return end;
}

/* The digits of |unscaled| before `end`, without leading zeros ("0" for zero). */
static char *decimal_digits(char *end, struct slice unscaled, bool *ret_negative) {
    const unsigned char *p = (const unsigned char *)unscaled.data;
    size_t len = unscaled.len;
    bool negative = (p[0] & 0x80) != 0;
    *ret_negative = negative;
    if (len > 16) {
        char *digits = digits_long(end, p, len, negative);
        if (digits == end)
            *--digits = '0';
        return digits;
    }
    unsigned __int128 number = negative ? ~(unsigned __int128)0 : 0;
    for (size_t i = 0; i < len; i++)
        number = number << 8 | p[i];
    return digits_u128(end, negative ? -number : number);
}

bool decimal_text(struct slice unscaled, int scale, struct arena *arena, struct slice *ret) {
    char scratch[DECIMAL_BYTES_MAX * 5 / 2 + 32], *end = scratch + sizeof scratch;
    bool negative;
    if (unscaled.len == 0 || unscaled.len > DECIMAL_BYTES_MAX)
        return false;
    assert(scale >= -DECIMAL_SCALE_MAX && scale <= DECIMAL_SCALE_MAX);
    const char *digits = decimal_digits(end, unscaled, &negative);
    size_t n = (size_t)(end - digits), point = scale > 0 ? (size_t)scale : 0;
    size_t zeros_before = point >= n ? point + 1 - n : 0;
    size_t zeros_after = scale < 0 && *digits != '0' ? (size_t)-scale : 0;
    size_t whole = zeros_before ? 1 : n - point; /* digits before the point */

    char *out = arena_alloc(arena, n + zeros_before + zeros_after + 2), *q = out;
    if (negative)
        *q++ = '-';
    memset(q, '0', zeros_before);
    memcpy(q + zeros_before, digits, n);
    q += zeros_before + n;
    memset(q, '0', zeros_after);
    q += zeros_after;
    if (point) {
        char *dot = out + negative + whole;
        memmove(dot + 1, dot, (size_t)(q - dot));
        *dot = '.';
        q++;
    }
    *ret = slice_make(out, (size_t)(q - out));
    return true;
}

static bool read_decimal(struct cursor *c, int scale, struct arena *arena, struct value *ret) {
    struct slice unscaled;
    if (!cursor_bytes(c, &unscaled))
        return false;
    return decimal_text(unscaled, scale, arena, &ret->s) ? true : cursor_fail(c, "impossible decimal");
}

/* ---- the other kinds ---- */

static bool read_text(struct cursor *c, struct value *ret) {
    if (!cursor_bytes(c, &ret->s))
        return false;
    return text_valid(ret->s) ? true : cursor_fail(c, "text that is not UTF-8 or holds a NUL");
}

static bool read_bool(struct cursor *c, struct value *ret) {
    const char *p;
    if (!cursor_take(c, 1, &p))
        return false;
    ret->i = (unsigned char)*p;
    return ret->i <= 1 ? true : cursor_fail(c, "boolean that is neither 0 nor 1");
}

static bool read_int16(struct cursor *c, struct value *ret) {
    if (!cursor_long(c, &ret->i))
        return false;
    return ret->i >= INT16_MIN && ret->i <= INT16_MAX ? true : cursor_fail(c, "int outside 16 bits");
}

static uint32_t little32(const char *p) {
    uint32_t n;
    memcpy(&n, p, sizeof n);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    n = bswap_32(n);
#endif
    return n;
}

static bool read_float(struct cursor *c, double *ret) {
    const char *p;
    if (!cursor_take(c, 4, &p))
        return false;
    uint32_t bits = little32(p);
    float f;
    memcpy(&f, &bits, sizeof f);
    *ret = (double)f;
    return true;
}

static bool read_double(struct cursor *c, double *ret) {
    const char *p;
    if (!cursor_take(c, 8, &p))
        return false;
    uint64_t bits = (uint64_t)little32(p + 4) << 32 | little32(p);
    memcpy(ret, &bits, sizeof *ret);
    return true;
}

static bool read_timestamp_ms(struct cursor *c, struct value *ret) {
    if (!cursor_long(c, &ret->i))
        return false;
    if (ret->i == TIMESTAMP_INFINITY || ret->i == TIMESTAMP_MINUS_INFINITY)
        return true;
    return !__builtin_mul_overflow(ret->i, 1000, &ret->i) ? true
                                                          : cursor_fail(c, "timestamp outside 64 bits");
}

static bool read_time_ms(struct cursor *c, struct value *ret) {
    if (!cursor_int(c, &ret->i))
        return false;
    ret->i *= 1000;
    return true;
}

/* Some writers leave out trailing zero bytes; only a short column may be that much longer than what was
 * read. */
static bool read_bits(struct cursor *c, int length, struct arena *arena, struct value *ret) {
    struct slice bytes;
    if (!cursor_bytes(c, &bytes))
        return false;
    size_t n = (size_t)length, need = (n + 7) / 8;
    if (bytes.len > need || (bytes.len < need && n > 4096))
        return cursor_fail(c, "bit string of another length");
    if (bytes.len == need && n % 8 && (unsigned char)bytes.data[need - 1] >> (n % 8))
        return cursor_fail(c, "bit string with bits beyond its length");
    char *text = arena_alloc(arena, n);
    for (size_t i = 0; i < n; i++) {
        unsigned byte = i / 8 < bytes.len ? (unsigned char)bytes.data[i / 8] : 0;
        text[n - 1 - i] = (char)('0' + (byte >> (i % 8) & 1));
    }
    ret->s = slice_make(text, n);
    return true;
}

static bool read_point(struct cursor *c, const struct shape *record, struct value *ret) {
    double x = 0, y = 0;
    for (int i = 0; i < record->n; i++) {
        if (strcmp(record->names[i], "x") == 0) {
            if (!read_double(c, &x))
                return false;
        } else if (strcmp(record->names[i], "y") == 0) {
            if (!read_double(c, &y))
                return false;
        } else if (!value_skip(c, record->items[i], 1)) {
            return false;
        }
    }
    ret->xy[0] = x;
    ret->xy[1] = y;
    return true;
}

static bool read_kind(struct cursor *c, const struct plan_column *column, struct arena *arena,
                      struct value *ret) {
    switch (column->kind) {
    case KIND_BOOL:
        return read_bool(c, ret);
    case KIND_INT16:
        return read_int16(c, ret);
    case KIND_INT32:
    case KIND_DATE:
        return cursor_int(c, &ret->i);
    case KIND_INT64:
    case KIND_TIME:
    case KIND_TIMESTAMP:
        return cursor_long(c, &ret->i);
    case KIND_FLOAT32:
        return read_float(c, &ret->d);
    case KIND_FLOAT64:
        return read_double(c, &ret->d);
    case KIND_DECIMAL:
        return read_decimal(c, column->scale, arena, ret);
    case KIND_TEXT:
    case KIND_JSON:
    case KIND_XML:
    case KIND_UUID:
    case KIND_ENUM:
    case KIND_LTREE:
    case KIND_TSVECTOR:
    case KIND_ZONED_TIMESTAMP:
    case KIND_ZONED_TIME:
    case KIND_INTERVAL:
        return read_text(c, ret);
    case KIND_BYTES:
        return cursor_bytes(c, &ret->s);
    case KIND_BITS:
        return read_bits(c, column->length, arena, ret);
    case KIND_TIME_MS:
        return read_time_ms(c, ret);
    case KIND_TIMESTAMP_MS:
        return read_timestamp_ms(c, ret);
    case KIND_POINT:
        return read_point(c, column->value, ret);
    case KIND_COUNT:
        break;
    }
    assert(!"a kind without a reader");
    return false;
}

/* kind_tag() as a table, so that the hot path has no call into another file. */
static const enum value_tag tags[KIND_COUNT] = {
#define X(id, tag, avro, connect_name, text) [KIND_##id] = VALUE_##tag,
    KIND_TABLE(X)
#undef X
};

bool value_read(struct cursor *c, const struct plan_column *column, struct arena *arena, struct value *ret) {
    bool null;
    if (!cursor_optional(c, column->null_at, &null))
        return false;
    ret->tag = null ? VALUE_NULL : tags[column->kind];
    return null || read_kind(c, column, arena, ret);
}

/* ---- skipping ---- */

static bool skip_bytes(struct cursor *c, int64_t size) {
    const char *p;
    return size >= 0 ? cursor_take(c, (uint64_t)size, &p) : cursor_fail(c, "negative length");
}

static bool skip_text(struct cursor *c) {
    struct slice text;
    return cursor_bytes(c, &text);
}

/* Blocks of an array or map: a count and that many items; a negative count is followed by the block's size in
 * bytes. */
static bool skip_blocks(struct cursor *c, const struct shape *shape, int depth) {
    for (;;) {
        int64_t count, size;
        if (!cursor_long(c, &count))
            return false;
        if (count == 0)
            return true;
        if (count < 0) {
            if (!cursor_long(c, &size) || !skip_bytes(c, size))
                return false;
            continue;
        }
        if ((uint64_t)count > cursor_left(c))
            return cursor_fail(c, "more items than the record has bytes");
        for (int64_t i = 0; i < count; i++) {
            if (shape->type == SHAPE_MAP && !skip_text(c))
                return false;
            if (!value_skip(c, shape->items[0], depth + 1))
                return false;
        }
    }
}

static bool skip_record(struct cursor *c, const struct shape *shape, int depth) {
    for (int i = 0; i < shape->n; i++)
        if (!value_skip(c, shape->items[i], depth + 1))
            return false;
    return true;
}

static bool skip_union(struct cursor *c, const struct shape *shape, int depth) {
    int64_t branch;
    if (!cursor_long(c, &branch))
        return false;
    if (branch < 0 || branch >= shape->n)
        return cursor_fail(c, "union branch that is not in the schema");
    return value_skip(c, shape->items[branch], depth + 1);
}

static bool skip_enum(struct cursor *c, const struct shape *shape) {
    int64_t symbol;
    if (!cursor_int(c, &symbol))
        return false;
    return symbol >= 0 && symbol < shape->n ? true : cursor_fail(c, "enum symbol that is not in the schema");
}

bool value_skip(struct cursor *c, const struct shape *shape, int depth) {
    int64_t number;
    if (depth > PLAN_DEPTH_MAX)
        return cursor_fail(c, "nested too deeply");
    if (c->steps-- == 0) {
        c->steps = 0;
        return cursor_fail(c, "more values than the record has bytes");
    }
    switch (shape->type) {
    case SHAPE_NULL:
        return true;
    case SHAPE_BOOLEAN:
        return skip_bytes(c, 1);
    case SHAPE_INT:
        return cursor_int(c, &number);
    case SHAPE_LONG:
        return cursor_long(c, &number);
    case SHAPE_FLOAT:
        return skip_bytes(c, 4);
    case SHAPE_DOUBLE:
        return skip_bytes(c, 8);
    case SHAPE_BYTES:
    case SHAPE_STRING:
        return skip_text(c);
    case SHAPE_RECORD:
        return skip_record(c, shape, depth);
    case SHAPE_ENUM:
        return skip_enum(c, shape);
    case SHAPE_ARRAY:
    case SHAPE_MAP:
        return skip_blocks(c, shape, depth);
    case SHAPE_UNION:
        return skip_union(c, shape, depth);
    case SHAPE_FIXED:
        return skip_bytes(c, shape->n);
    }
    assert(!"a shape without a way past it");
    return false;
}
