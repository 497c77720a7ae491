/* Column writers. Avro 1.11 specification, "Binary Encoding"; logical forms as Debezium's converters make
 * them.
 *
 * Every writer gets room for the whole value before it starts (one bounds check per value), so below that
 * check they only move a pointer: VALUE_ROOM bytes for branch, length and everything of fixed size, plus the
 * value's own bytes. */
#include "schemas/encode_value.h"

#include <assert.h>
#include <math.h>

#define VALUE_ROOM     48
#define TEXT_BYTES_MAX ((size_t)1 << 30)
#define PLACEHOLDER    "__debezium_unavailable_value"

#define LIMB_DIGITS 18
#define LIMBS_MAX   54 /* numeric(p,s) ends at p = 1000: 3322 bits in 52 limbs, one for the sign, one spare */

static_assert(VALUE_ROOM >= 1 + VARINT_BYTES_MAX + sizeof PLACEHOLDER, "the placeholder fits in the room");

/* ---- decimals ---- */

/* Writes the low 1..8 bytes of `number`, highest first; all 8 bytes at `out` may be overwritten. */
static char *big_endian_write(char *out, uint64_t number, int bytes) {
    uint64_t turned = __builtin_bswap64(number << (64 - 8 * bytes));
    memcpy(out, &turned, 8);
    return out + bytes;
}

static int int64_bytes(int64_t number) {
    uint64_t magnitude = (uint64_t)(number ^ (number >> 63)) | 1; /* | 1: zero takes one byte as well */
    return (64 - __builtin_clzll(magnitude)) / 8 + 1;
}

/* Minimal two's complement of up to 18 digits. */
static char *decimal_small(char *out, uint64_t magnitude, bool negative) {
    int64_t number = negative ? -(int64_t)magnitude : (int64_t)magnitude;
    int bytes = int64_bytes(number);
    *out++ = (char)(bytes * 2);
    return big_endian_write(out, (uint64_t)number, bytes);
}

/* Minimal two's complement of up to 38 digits (10^38 < 2^127). */
static char *decimal_medium(char *out, unsigned __int128 magnitude, bool negative) {
    unsigned __int128 number = negative ? -magnitude : magnitude;
    uint64_t high = (uint64_t)(number >> 64), low = (uint64_t)number;
    bool high_is_sign = high == (uint64_t)((int64_t)low >> 63);
    int bytes = high_is_sign ? int64_bytes((int64_t)low) : 8 + int64_bytes((int64_t)high);
    *out++ = (char)(bytes * 2);
    if (bytes > 8)
        out = big_endian_write(out, high, bytes - 8);
    return big_endian_write(out, low, bytes > 8 ? 8 : bytes);
}

/* limbs (lowest first) = limbs * factor + add; returns the new count. */
static int limbs_multiply_add(uint64_t *limbs, int n, uint64_t factor, uint64_t add) {
    uint64_t carry = add;
    for (int i = 0; i < n; i++) {
        unsigned __int128 product = (unsigned __int128)limbs[i] * factor + carry;
        limbs[i] = (uint64_t)product;
        carry = (uint64_t)(product >> 64);
    }
    if (carry)
        limbs[n++] = carry;
    return n;
}

static void limbs_negate(uint64_t *limbs, int n) {
    uint64_t carry = 1;
    for (int i = 0; i < n; i++) {
        limbs[i] = ~limbs[i] + carry;
        carry = carry && limbs[i] == 0;
    }
}

/* Bytes of the shortest two's complement of n limbs: leading bytes that only repeat the sign bit after them
 * go. */
static int limbs_bytes(const uint64_t *limbs, int n) {
    uint64_t sign = (uint64_t)((int64_t)limbs[n - 1] >> 63);
    while (n > 1 && limbs[n - 1] == sign && (uint64_t)((int64_t)limbs[n - 2] >> 63) == sign)
        n--;
    return (n - 1) * 8 + int64_bytes((int64_t)limbs[n - 1]);
}

/* Digits of an integer; the only thing between them may be a point. */
struct digits {
    const char *text, *end;
};

/* The next at most `limit` digits as a number; *factor = 10 to their count. */
static uint64_t digits_take(struct digits *digits, int limit, uint64_t *factor) {
    uint64_t number = 0;
    *factor = 1;
    for (int taken = 0; taken < limit && digits->text < digits->end; digits->text++) {
        if (*digits->text == '.')
            continue;
        number = number * 10 + (uint64_t)(*digits->text - '0');
        *factor *= 10;
        taken++;
    }
    return number;
}

static char *decimal_large(char *out, struct digits digits, bool negative) {
    uint64_t limbs[LIMBS_MAX] = {0};
    int n = 1;
    while (digits.text < digits.end) {
        uint64_t factor, number = digits_take(&digits, LIMB_DIGITS, &factor);
        n = limbs_multiply_add(limbs, n, factor, number);
    }
    assert(n < LIMBS_MAX);
    n++; /* room for the sign */
    if (negative)
        limbs_negate(limbs, n);
    int bytes = limbs_bytes(limbs, n);
    out = varint_write(out, bytes);
    int whole = (bytes - 1) / 8;
    out = big_endian_write(out, limbs[whole], bytes - whole * 8);
    for (int i = whole - 1; i >= 0; i--)
        out = big_endian_write(out, limbs[i], 8);
    return out;
}

/* The places of a number's parts inside its text: [-+] digits [. digits]. False if it is anything else. */
static bool decimal_parse(struct slice text, bool *ret_negative, struct digits *ret_whole, int *ret_scale) {
    const char *at = text.data, *end = text.data + text.len;
    *ret_negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    const char *whole = at;
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    if (at == whole)
        return false;
    const char *point = at;
    if (at < end && *at == '.') {
        at++;
        while (at < end && *at >= '0' && *at <= '9')
            at++;
        if (at == point + 1)
            return false;
    }
    *ret_whole = (struct digits){whole, point};
    *ret_scale = point < at ? (int)(at - point - 1) : 0;
    return at == end;
}

static const char *decimal_write(char **out, struct slice text, const struct column *column) {
    bool negative;
    struct digits digits;
    int scale;
    if (!decimal_parse(text, &negative, &digits, &scale))
        return "not a finite decimal number";
    if (scale != column->scale)
        return "the number of digits after the point is not the column's scale";
    while (digits.text < digits.end && *digits.text == '0')
        digits.text++;
    int64_t n = digits.end - digits.text + scale;
    if (n > column->precision)
        return "more digits than the column's precision";
    digits.end = text.data + text.len;
    uint64_t factor;
    if (n <= LIMB_DIGITS) {
        *out = decimal_small(*out, digits_take(&digits, LIMB_DIGITS, &factor), negative);
    } else if (n <= 38) {
        unsigned __int128 number = digits_take(&digits, LIMB_DIGITS, &factor);
        uint64_t middle = digits_take(&digits, LIMB_DIGITS, &factor);
        number = number * factor + middle;
        uint64_t last = digits_take(&digits, LIMB_DIGITS, &factor);
        *out = decimal_medium(*out, number * factor + last, negative);
    } else {
        *out = decimal_large(*out, digits, negative);
    }
    return NULL;
}

/* ---- the other kinds ---- */

static const char *string_write(char **out, struct slice text) {
    if (text.len && memchr(text.data, 0, text.len))
        return "a NUL byte in the text";
    *out = text_write(*out, text);
    return NULL;
}

/* The last character is bit 0 of byte 0. */
static const char *bits_write(char **out, struct slice text, int length) {
    if (text.len != (size_t)length)
        return "the number of bits is not the column's length";
    size_t bytes = (text.len + 7) / 8;
    char *to = varint_write(*out, (int64_t)bytes);
    memset(to, 0, bytes);
    for (size_t i = 0; i < text.len; i++) {
        unsigned bit = (unsigned char)text.data[text.len - 1 - i] - (unsigned)'0';
        if (bit > 1)
            return "a bit that is neither 0 nor 1";
        to[i / 8] = (char)((unsigned char)to[i / 8] | bit << (i % 8));
    }
    *out = to + bytes;
    return NULL;
}

static char *double_write(char *out, double number) {
    memcpy(out, &number, 8); /* Avro is little-endian, and so is every machine we build for */
    return out + 8;
}
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "floats are written as they lie in memory");

static const char *float_write(char **out, double number) {
    float narrow = (float)number;
    if ((double)narrow != number && !isnan(number))
        return "not a single-precision number";
    memcpy(*out, &narrow, 4);
    *out += 4;
    return NULL;
}

static char *point_write(char *out, const double *xy) {
    out = double_write(double_write(out, xy[0]), xy[1]);
    *out++ = 0; /* wkb: null */
    *out++ = 0; /* srid: null */
    return out;
}

static const char *int_write(char **out, int64_t number, int64_t min, int64_t max) {
    if (number < min || number > max)
        return "out of the range of the column's type";
    *out = varint_write(*out, number);
    return NULL;
}

static const char *bool_write(char **out, int64_t number) {
    if (number != 0 && number != 1)
        return "neither true nor false";
    *(*out)++ = (char)number;
    return NULL;
}

static const char *time_ms_write(char **out, int64_t micros) {
    if (micros % 1000)
        return "not whole milliseconds";
    return int_write(out, micros / 1000, INT32_MIN, INT32_MAX);
}

static const char *timestamp_ms_write(char **out, int64_t micros) {
    bool infinite = micros == TIMESTAMP_INFINITY || micros == TIMESTAMP_MINUS_INFINITY;
    if (!infinite && micros % 1000)
        return "not whole milliseconds";
    *out = varint_write(*out, infinite ? micros : micros / 1000);
    return NULL;
}

static const char *present_write(const struct column *column, const struct value *value, char **out) {
    switch (column->kind) {
    case KIND_BOOL:
        return bool_write(out, value->i);
    case KIND_INT16:
        return int_write(out, value->i, INT16_MIN, INT16_MAX);
    case KIND_INT32:
    case KIND_DATE:
        return int_write(out, value->i, INT32_MIN, INT32_MAX);
    case KIND_INT64:
    case KIND_TIME:
    case KIND_TIMESTAMP:
        *out = varint_write(*out, value->i);
        return NULL;
    case KIND_TIME_MS:
        return time_ms_write(out, value->i);
    case KIND_TIMESTAMP_MS:
        return timestamp_ms_write(out, value->i);
    case KIND_FLOAT32:
        return float_write(out, value->d);
    case KIND_FLOAT64:
        *out = double_write(*out, value->d);
        return NULL;
    case KIND_DECIMAL:
        return decimal_write(out, value->s, column);
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
        return string_write(out, value->s);
    case KIND_BYTES:
        *out = text_write(*out, value->s);
        return NULL;
    case KIND_BITS:
        return bits_write(out, value->s, column->length);
    case KIND_POINT:
        *out = point_write(*out, value->xy);
        return NULL;
    case KIND_COUNT:
        break;
    }
    assert(!"a kind of the table");
    return "unknown kind";
}

/* Room for a value that is there and `branch` bytes before it. */
static const char *room_and_write(const struct column *column, const struct value *value, bool branch,
                                  struct buf *out) {
    bool sized = value->tag == VALUE_TEXT || value->tag == VALUE_BYTES;
    size_t len = sized ? value->s.len : 0;
    if (len > TEXT_BYTES_MAX)
        return "larger than 1 GB";
    assert(value->tag == kind_tag(column->kind));
    char *at = buf_room(out, VALUE_ROOM + len);
    *at = 2; /* the union's second branch; overwritten where there is no union */
    at += branch;
    const char *reason = present_write(column, value, &at);
    if (!reason)
        out->len = (size_t)(at - out->data);
    return reason;
}

/* ---- absent values ---- */

static bool is_string(enum kind kind) {
    return kind_tag(kind) == VALUE_TEXT && kind != KIND_DECIMAL && kind != KIND_BITS;
}

/* The kind's zero as Avro: bytes that are all 0, except the length before a decimal (one byte) or bits. */
static void zero_write(const struct column *column, struct buf *out) {
    size_t bits_bytes = column->kind == KIND_BITS ? ((size_t)column->length + 7) / 8 : 0;
    char *at = buf_room(out, VALUE_ROOM + bits_bytes);
    memset(at, 0, VALUE_ROOM + bits_bytes);
    size_t len = 1; /* a long 0, false, or the length of an empty text */
    switch (column->kind) {
    case KIND_FLOAT32:
        len = 4;
        break;
    case KIND_FLOAT64:
        len = 8;
        break;
    case KIND_POINT:
        len = 18;
        break;
    case KIND_DECIMAL:
        *at = 2;
        len = 2;
        break;
    case KIND_BITS:
        len = (size_t)(varint_write(at, (int64_t)bits_bytes) - at) + bits_bytes;
        break;
    default:
        break;
    }
    out->len += len;
}

static void absent_write(const struct column *column, enum absent_form form, struct buf *out) {
    bool placeholder = form == ABSENT_PLACEHOLDER && (is_string(column->kind) || column->kind == KIND_BYTES);
    if (column->nullable && !placeholder) {
        buf_putc(out, 0);
    } else if (placeholder) {
        char *at = buf_room(out, VALUE_ROOM);
        *at = 2;
        at = text_write(at + column->nullable, slice_of(PLACEHOLDER));
        out->len = (size_t)(at - out->data);
    } else {
        zero_write(column, out);
    }
}

/* ----  ---- */

const char *value_write(const struct column *column, const struct value *value, enum absent_form form,
                        struct buf *out) {
    if (value->tag > VALUE_NULL)
        return room_and_write(column, value, column->nullable, out);
    if (value->tag == VALUE_ABSENT) {
        absent_write(column, form, out);
        return NULL;
    }
    if (!column->nullable)
        return "NULL in a column that is not nullable";
    buf_putc(out, 0);
    return NULL;
}

const char *value_write_key(const struct column *column, const struct value *value, struct buf *out) {
    if (value->tag == VALUE_NULL)
        return "NULL in a key column";
    if (value->tag == VALUE_ABSENT)
        return "a key column without a value";
    return room_and_write(column, value, false, out);
}
