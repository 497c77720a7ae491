/* Numbers, booleans and points, as PostgreSQL prints them with extra_float_digits 3 and lc_monetary C. */
#include <errno.h>
#include <locale.h>
#include <math.h>
#include <pthread.h>

#include "capture/postgres/values_read.h"

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

/* ---- booleans and integers ---- */

/* boolean prints t and f, bit(1) prints 1 and 0. */
const char *pg_read_bool(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)column, (void)scratch;
    char c = text.len == 1 ? text.data[0] : 0;
    if (c != 't' && c != 'f' && c != '1' && c != '0')
        return "not a boolean";
    *ret = (struct value){VALUE_INT, {.i = c == 't' || c == '1'}};
    return NULL;
}

static inline const char *read_int(struct slice text, int64_t min, int64_t max, struct value *ret) {
    const char *p = text.data, *end = p + text.len;
    bool minus = p < end && *p == '-';
    p += minus;
    if (p == end || end - p > 19)
        return "not an integer";
    uint64_t n = 0; /* 19 digits fit */
    for (; p < end; p++) {
        if (!is_digit(*p))
            return "not an integer";
        n = n * 10 + (uint64_t)(*p - '0');
    }
    if (n > (minus ? (uint64_t)0 - (uint64_t)min : (uint64_t)max))
        return "outside the range of its integer type";
    *ret = (struct value){VALUE_INT, {.i = (int64_t)(minus ? 0 - n : n)}};
    return NULL;
}

const char *pg_read_int16(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    (void)column, (void)scratch;
    return read_int(text, INT16_MIN, INT16_MAX, ret);
}

const char *pg_read_int32(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    (void)column, (void)scratch;
    return read_int(text, INT32_MIN, INT32_MAX, ret);
}

const char *pg_read_int64(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    (void)column, (void)scratch;
    return read_int(text, INT64_MIN, INT64_MAX, ret);
}

/* ---- floats ---- */

static locale_t c_locale; /* never freed: strtod must read a point whatever the process's locale is */
static pthread_once_t c_locale_once = PTHREAD_ONCE_INIT;

static void c_locale_make(void) {
    c_locale = newlocale(LC_ALL_MASK, "C", (locale_t)0);
    if (!c_locale)
        abort();
}

enum { FLOAT_CHARS_MAX = 63 }; /* PostgreSQL prints at most 24 */

/* A float's text taken apart: (minus) mantissa * 10^exponent; the mantissa holds if there are at most 19
 * digits. */
struct decimal_float {
    bool minus;
    int digits;
    uint64_t mantissa;
    int exponent;
};

static const char *scan_exponent(const char *p, const char *end, int *ret) {
    bool minus = p < end && *p == '-';
    p += p < end && (*p == '-' || *p == '+');
    if (p == end || end - p > 4)
        return NULL;
    int n = 0;
    for (; p < end; p++) {
        if (!is_digit(*p))
            return NULL;
        n = n * 10 + (*p - '0');
    }
    *ret = minus ? -n : n;
    return p;
}

static bool scan_float(struct slice text, struct decimal_float *ret) {
    const char *p = text.data, *end = p + text.len;
    *ret = (struct decimal_float){.minus = p < end && *p == '-'};
    p += ret->minus;
    const char *point = NULL, *first = p;
    for (; p < end && (is_digit(*p) || (*p == '.' && !point && p > first)); p++) {
        if (*p == '.') {
            point = p;
            continue;
        }
        ret->mantissa = ret->mantissa * 10 + (uint64_t)(*p - '0');
        ret->digits += ret->mantissa != 0;
    }
    if (p == first || p[-1] == '.')
        return false;
    int fraction = point ? (int)(p - point) - 1 : 0, exponent = 0;
    if (p < end && (*p != 'e' || !(p = scan_exponent(p + 1, end, &exponent))))
        return false;
    ret->exponent = exponent - fraction;
    return p == end;
}

static bool read_special(struct slice text, double *ret) {
    if (slice_is(text, "NaN"))
        *ret = (double)NAN;
    else if (slice_is(text, "Infinity"))
        *ret = (double)INFINITY;
    else if (slice_is(text, "-Infinity"))
        *ret = -(double)INFINITY;
    else
        return false;
    return true;
}

static double strto_double(struct slice text) {
    char copy[FLOAT_CHARS_MAX + 1];
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    pthread_once(&c_locale_once, c_locale_make);
    return strtod_l(copy, NULL, c_locale);
}

static float strto_float(struct slice text) {
    char copy[FLOAT_CHARS_MAX + 1];
    memcpy(copy, text.data, text.len);
    copy[text.len] = 0;
    pthread_once(&c_locale_once, c_locale_make);
    return strtof_l(copy, NULL, c_locale);
}

static const char *check_range(const struct decimal_float *f, double d) {
    bool lost = isinf(d) || (d == 0 && f->digits > 0);
    return lost ? "outside the range of its float type" : NULL;
}

/* Up to 15 digits and a power of ten up to 22 are exact doubles, so one operation rounds correctly (Clinger
 * 1990). */
static bool short_double(const struct decimal_float *f, double *ret) {
    static const double tens[] = {1e0,  1e1,  1e2,  1e3,  1e4,  1e5,  1e6,  1e7,  1e8,  1e9,  1e10, 1e11,
                                  1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18, 1e19, 1e20, 1e21, 1e22};
    if (f->digits > 15 || f->exponent < -22 || f->exponent > 22)
        return false;
    double d = (double)f->mantissa;
    d = f->exponent < 0 ? d / tens[-f->exponent] : d * tens[f->exponent];
    *ret = f->minus ? -d : d;
    return true;
}

/* Whether a double (in the range of normal floats) lies in the very middle of two floats: only then does
 * rounding to double first and to float after differ from rounding once. */
static bool between_floats(double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    return (bits & 0x1fffffff) == 0x10000000;
}

static const char *read_double(struct slice text, double *ret) {
    struct decimal_float f;
    if (text.len > FLOAT_CHARS_MAX)
        return "not a float";
    if (!scan_float(text, &f))
        return read_special(text, ret) ? NULL : "not a float";
    if (short_double(&f, ret))
        return NULL;
    *ret = strto_double(text);
    return check_range(&f, *ret);
}

static const char *read_float(struct slice text, double *ret) {
    struct decimal_float f;
    if (text.len > FLOAT_CHARS_MAX)
        return "not a float";
    if (!scan_float(text, &f))
        return read_special(text, ret) ? NULL : "not a float";
    if (short_double(&f, ret) && !between_floats(*ret)) {
        *ret = (double)(float)*ret;
        return NULL;
    }
    *ret = (double)strto_float(text);
    return check_range(&f, *ret);
}

const char *pg_read_float64(const struct column *column, struct slice text, struct arena *scratch,
                            struct value *ret) {
    (void)column, (void)scratch;
    ret->tag = VALUE_FLOAT;
    return read_double(text, &ret->d);
}

const char *pg_read_float32(const struct column *column, struct slice text, struct arena *scratch,
                            struct value *ret) {
    (void)column, (void)scratch;
    ret->tag = VALUE_FLOAT;
    return read_float(text, &ret->d);
}

/* (x,y) */
const char *pg_read_point(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    (void)column, (void)scratch;
    if (text.len < 2 || text.data[0] != '(' || text.data[text.len - 1] != ')')
        return "not a point";
    const char *x = text.data + 1, *end = text.data + text.len - 1;
    const char *comma = memchr(x, ',', (size_t)(end - x));
    if (!comma)
        return "not a point";
    ret->tag = VALUE_POINT;
    const char *reason = read_double(slice_make(x, (size_t)(comma - x)), &ret->xy[0]);
    if (reason)
        return reason;
    return read_double(slice_make(comma + 1, (size_t)(end - comma - 1)), &ret->xy[1]);
}

/* ---- decimals ---- */

static size_t count_digits(const char *p, const char *end) {
    const char *start = p;
    while (p < end && is_digit(*p))
        p++;
    return (size_t)(p - start);
}

static bool all_zero(const char *p, const char *end) {
    while (p < end && (*p == '0' || *p == '.'))
        p++;
    return p == end;
}

/* Whether the text is a decimal as the server prints it, with exactly `scale` digits after the point and no
 * more than the precision before it. Each number has one text only: its bytes make the key and the
 * partition. */
static const char *check_decimal(struct slice text, int precision, int scale) {
    const char *p = text.data, *end = p + text.len;
    p += p < end && *p == '-';
    size_t whole = count_digits(p, end);
    if (whole == 0 || (whole > 1 && *p == '0') || (*text.data == '-' && all_zero(p, end)))
        return "not a decimal";
    size_t counted = *p == '0' ? whole - 1 : whole; /* 0.5 in numeric(1,1) */
    if (counted > (size_t)(precision - scale))
        return "more digits than its numeric's precision";
    p += whole;
    if (scale > 0) {
        if (p == end || *p++ != '.')
            return "not a decimal of its numeric's scale";
        if (count_digits(p, end) != (size_t)scale)
            return "not a decimal of its numeric's scale";
        p += scale;
    }
    return p == end ? NULL : "not a decimal of its numeric's scale";
}

const char *pg_read_decimal(const struct column *column, struct slice text, struct arena *scratch,
                            struct value *ret) {
    (void)scratch;
    if (slice_is(text, "NaN"))
        return "NaN is not a decimal; numerics as strings carry it";
    const char *reason = check_decimal(text, column->precision, column->scale);
    if (reason)
        return reason;
    *ret = (struct value){VALUE_TEXT, {.s = text}};
    return NULL;
}

/* $1,234.56 and -$1,234.56 */
const char *pg_read_money(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    const char *p = text.data, *end = p + text.len;
    char *start = arena_alloc(scratch, text.len + 1), *out = start;
    if (p < end && *p == '-')
        *out++ = *p++;
    if (p == end || *p++ != '$')
        return "not money under lc_monetary C";
    for (; p < end; p++)
        if (*p != ',')
            *out++ = *p;
    struct slice decimal = slice_make(start, (size_t)(out - start));
    if (check_decimal(decimal, column->precision, column->scale))
        return "not money under lc_monetary C";
    *ret = (struct value){VALUE_TEXT, {.s = decimal}};
    return NULL;
}
