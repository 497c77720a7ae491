/* Numbers, booleans and points. */
#include <assert.h>
#include <math.h>
#include <stdio.h>

#include "sink/values/values_print.h"

/* ---- booleans and integers ---- */

const char *pg_print_bool(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    buf_putc(out, value->i ? 't' : 'f');
    return NULL;
}

/* As a cast to text prints it. */
const char *pg_print_bool_word(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    buf_puts(out, value->i ? "true" : "false");
    return NULL;
}

const char *pg_print_bit(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    buf_putc(out, value->i ? '1' : '0');
    return NULL;
}

static void put_int(struct buf *out, int64_t i) {
    char digits[20], *end = digits + sizeof digits, *p = end;
    uint64_t n = i < 0 ? 0 - (uint64_t)i : (uint64_t)i;
    do
        *--p = (char)('0' + n % 10);
    while ((n /= 10) > 0);
    if (i < 0)
        *--p = '-';
    buf_put(out, p, (size_t)(end - p));
}

const char *pg_print_int(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    put_int(out, value->i);
    return NULL;
}

/* ---- floats ---- */

/* Whole numbers that a float of either size holds digit by digit; -0 is not among them. */
static bool put_whole(struct buf *out, double d, double limit) {
    if (!(fabs(d) < limit) || d != trunc(d) || (d == 0 && signbit(d)))
        return false;
    put_int(out, (int64_t)d);
    return true;
}

static bool put_special(struct buf *out, double d) {
    if (isfinite(d))
        return false;
    buf_puts(out, isnan(d) ? "NaN" : d > 0 ? "Infinity" : "-Infinity");
    return true;
}

/* The process's locale may have printed another sign for the point. */
static void put_float_text(struct buf *out, const char *text) {
    bool point = false;
    for (const char *p = text; *p; p++) {
        bool known = (*p >= '0' && *p <= '9') || *p == '-' || *p == '+' || *p == 'e';
        if (known || !point)
            buf_putc(out, known ? *p : '.');
        point = point || !known;
    }
}

/* `digits` with the point before its last `places`. */
static void put_scaled(struct buf *out, bool minus, uint64_t digits, int places) {
    char chars[32], *end = chars + sizeof chars, *p = end;
    for (int i = 0; digits > 0 || i <= places; i++, digits /= 10) {
        if (i == places)
            *--p = '.';
        *--p = (char)('0' + digits % 10);
    }
    if (minus)
        *--p = '-';
    buf_put(out, p, (size_t)(end - p));
}

/* Short decimals, without printf: digits / 10^places rounds once if both are exact (Clinger 1990), so what
 * divides to the same number also reads back as it. Below 15 digits the multiplication cannot miss the
 * digits. */
static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,
                              1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19};
enum { PLACES_MAX = sizeof tens / sizeof *tens - 1 };

static bool put_short_double(struct buf *out, double d) {
    double size = fabs(d);
    for (int places = 1; places <= PLACES_MAX && size * tens[places] < 1e15; places++) {
        double digits = nearbyint(size * tens[places]);
        if (digits / tens[places] == size) {
            put_scaled(out, d < 0, (uint64_t)digits, places);
            return true;
        }
    }
    return false;
}

/* Whether a double (in the range of normal floats) lies in the very middle of two floats: only then does
 * rounding to double first and to float after differ from rounding once. */
static bool between_floats(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return (bits & 0x1fffffff) == 0x10000000;
}

static bool put_short_float(struct buf *out, float x) {
    double size = (double)fabsf(x);
    for (int places = 1; places <= PLACES_MAX && size * tens[places] < 1e10; places++) {
        double digits = nearbyint(size * tens[places]), read = digits / tens[places];
        if ((float)read == fabsf(x) && !between_floats(read)) {
            put_scaled(out, x < 0, (uint64_t)digits, places);
            return true;
        }
    }
    return false;
}

/* Below it PostgreSQL prints exponents; from it on every number of up to 15 digits is a short decimal. */
#define SHORT_MIN 1e-4

/* The fewest digits that read back as the same number. */
static void put_double(struct buf *out, double d) {
    char text[40];
    bool plain = fabs(d) >= SHORT_MIN && fabs(d) < 1e15;
    if (put_special(out, d) || put_whole(out, d, 1e15) || (plain && put_short_double(out, d)))
        return;
    for (int digits = plain ? 16 : 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, d);
        if (digits == 17 || strtod(text, NULL) == d)
            break;
    }
    put_float_text(out, text);
}

static void put_float(struct buf *out, float x) {
    char text[40];
    bool plain = fabsf(x) >= (float)SHORT_MIN && fabsf(x) < 1e6F;
    if (put_special(out, (double)x) || put_whole(out, (double)x, 1e6) || (plain && put_short_float(out, x)))
        return;
    for (int digits = 6; digits <= 9; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (digits == 9 || strtof(text, NULL) == x)
            break;
    }
    put_float_text(out, text);
}

const char *pg_print_float64(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_FLOAT);
    put_double(out, value->d);
    return NULL;
}

const char *pg_print_float32(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_FLOAT);
    float x = (float)value->d;
    if ((double)x != value->d && !isnan(value->d))
        return "not a float of 32 bits";
    put_float(out, x);
    return NULL;
}

/* (x,y) */
const char *pg_print_point(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_POINT);
    buf_putc(out, '(');
    put_double(out, value->xy[0]);
    buf_putc(out, ',');
    put_double(out, value->xy[1]);
    buf_putc(out, ')');
    return NULL;
}
