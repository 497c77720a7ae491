/* Dates and times as PostgreSQL prints them with DateStyle ISO, IntervalStyle iso_8601 and TimeZone UTC
 * (src/backend/utils/adt/datetime.c, EncodeDateTime): years of four digits or more, " BC" at the very end. */
#include "capture/postgres/values_read.h"

#define DAY_US   INT64_C(86400000000)
#define YEAR_MAX 5874897    /* PostgreSQL's last date */
#define DAYS_MIN (-2440588) /* its first: 4714-11-24 BC, Julian day 0 */

struct cursor {
    const char *p, *end;
};

struct civil {
    int64_t year; /* as printed, from 1 */
    int month, day;
    bool bc;
};

static inline bool is_digit(char c) {
    return (unsigned char)(c - '0') <= 9;
}

static inline bool take_char(struct cursor *in, char c) {
    if (in->p == in->end || *in->p != c)
        return false;
    in->p++;
    return true;
}

static inline bool take_two(struct cursor *in, int *ret) {
    if (in->end - in->p < 2 || !is_digit(in->p[0]) || !is_digit(in->p[1]))
        return false;
    *ret = (in->p[0] - '0') * 10 + (in->p[1] - '0');
    in->p += 2;
    return true;
}

/* At the end of a date or timestamp: nothing, or " BC". */
static bool take_era(struct cursor *in, bool *ret_bc) {
    *ret_bc = in->end - in->p == 3 && memcmp(in->p, " BC", 3) == 0;
    return *ret_bc || in->p == in->end;
}

static bool take_year(struct cursor *in, int64_t *ret) {
    const char *start = in->p;
    int64_t year = 0;
    for (; in->p < in->end && is_digit(*in->p) && in->p - start < 7; in->p++)
        year = year * 10 + (*in->p - '0');
    *ret = year;
    return in->p - start >= 4 && year >= 1 && year <= YEAR_MAX;
}

static bool take_date(struct cursor *in, struct civil *ret) {
    return take_year(in, &ret->year) && take_char(in, '-') && take_two(in, &ret->month) &&
           take_char(in, '-') && take_two(in, &ret->day);
}

/* Microseconds of the digits after the point. */
static bool take_fraction(struct cursor *in, int64_t *ret) {
    int64_t us = 0;
    int digits = 0;
    for (; digits < 6 && in->p < in->end && is_digit(*in->p); digits++)
        us = us * 10 + (*in->p++ - '0');
    for (int i = digits; i < 6; i++)
        us *= 10;
    *ret = us;
    return digits > 0;
}

/* hh:mm:ss[.ffffff], at most 24:00:00 */
static bool take_clock(struct cursor *in, int64_t *ret_us) {
    int h, m, s;
    int64_t fraction = 0;
    if (!take_two(in, &h) || !take_char(in, ':') || !take_two(in, &m) || !take_char(in, ':') ||
        !take_two(in, &s))
        return false;
    if (take_char(in, '.') && !take_fraction(in, &fraction))
        return false;
    *ret_us = ((int64_t)h * 3600 + m * 60 + s) * 1000000 + fraction;
    return m < 60 && s < 60 && *ret_us <= DAY_US;
}

/* Astronomical: 1 BC is year 0. */
static inline int64_t civil_year(const struct civil *date) {
    return date->bc ? 1 - date->year : date->year;
}

/* Days since 1970-01-01 in the proleptic Gregorian calendar. A year begins in March here, so that the leap
 * day is its last; an era has 400 of them and 146097 days. */
static int64_t civil_days(const struct civil *date) {
    int64_t year = civil_year(date) - (date->month <= 2);
    int64_t era = (year >= 0 ? year : year - 399) / 400;
    int64_t year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (date->month + (date->month > 2 ? -3 : 9)) + 2) / 5 + date->day - 1;
    int64_t day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return era * 146097 + day_of_era - 719468;
}

static bool civil_valid(const struct civil *date) {
    static const int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    if (date->month < 1 || date->month > 12 || date->day < 1)
        return false;
    int64_t year = civil_year(date);
    bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return date->day <= days[date->month - 1] + (leap && date->month == 2) && civil_days(date) >= DAYS_MIN;
}

static inline bool is_infinity(struct slice text, bool *ret_minus) {
    *ret_minus = slice_is(text, "-infinity");
    return *ret_minus || slice_is(text, "infinity");
}

const char *pg_read_date(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)column, (void)scratch;
    struct cursor in = {text.data, text.data + text.len};
    struct civil date = {0};
    bool minus;
    ret->tag = VALUE_INT;
    if (take_date(&in, &date) && take_era(&in, &date.bc) && civil_valid(&date))
        ret->i = civil_days(&date);
    else if (is_infinity(text, &minus))
        ret->i = minus ? DATE_MINUS_INFINITY : DATE_INFINITY;
    else
        return "not a date in DateStyle ISO";
    return NULL;
}

const char *pg_read_time(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)column, (void)scratch;
    struct cursor in = {text.data, text.data + text.len};
    int64_t us;
    if (!take_clock(&in, &us) || in.p != in.end)
        return "not a time of day";
    *ret = (struct value){VALUE_INT, {.i = us}};
    return NULL;
}

const char *pg_read_time_ms(const struct column *column, struct slice text, struct arena *scratch,
                            struct value *ret) {
    const char *reason = pg_read_time(column, text, scratch, ret);
    if (reason)
        return reason;
    return ret->i % 1000 ? "finer than milliseconds" : NULL;
}

const char *pg_read_timestamp(const struct column *column, struct slice text, struct arena *scratch,
                              struct value *ret) {
    (void)column, (void)scratch;
    struct cursor in = {text.data, text.data + text.len};
    struct civil date = {0};
    int64_t clock;
    bool minus;
    ret->tag = VALUE_INT;
    if (is_infinity(text, &minus)) {
        ret->i = minus ? TIMESTAMP_MINUS_INFINITY : TIMESTAMP_INFINITY;
        return NULL;
    }
    if (!take_date(&in, &date) || !take_char(&in, ' ') || !take_clock(&in, &clock) ||
        !take_era(&in, &date.bc) || !civil_valid(&date))
        return "not a timestamp in DateStyle ISO";
    if (__builtin_mul_overflow(civil_days(&date), DAY_US, &ret->i) ||
        __builtin_add_overflow(ret->i, clock, &ret->i))
        return "outside the range of microseconds since 1970";
    if (ret->i == TIMESTAMP_INFINITY || ret->i == TIMESTAMP_MINUS_INFINITY)
        return "the very microsecond that means infinity on the wire";
    return NULL;
}

const char *pg_read_timestamp_ms(const struct column *column, struct slice text, struct arena *scratch,
                                 struct value *ret) {
    const char *reason = pg_read_timestamp(column, text, scratch, ret);
    if (reason)
        return reason;
    return ret->i % 1000 ? "finer than milliseconds" : NULL;
}

/* Years 0..9999 have four digits and no sign, others a sign and at least four digits. */
static char *put_iso_year(char *out, int64_t year) {
    char digits[8];
    int n = 0;
    for (int64_t rest = year < 0 ? -year : year; rest > 0 || n < 4; rest /= 10)
        digits[n++] = (char)('0' + rest % 10);
    if (year < 0 || year > 9999)
        *out++ = year < 0 ? '-' : '+';
    while (n > 0)
        *out++ = digits[--n];
    return out;
}

/* 2024-01-02 03:04:05.123456+00[ BC] becomes 2024-01-02T03:04:05.123456Z; the digits of the fraction stay as
 * they are. */
const char *pg_read_zoned_timestamp(const struct column *column, struct slice text, struct arena *scratch,
                                    struct value *ret) {
    (void)column;
    struct cursor in = {text.data, text.data + text.len};
    struct civil date = {0};
    int64_t us;
    bool minus;
    if (is_infinity(text, &minus)) {
        *ret = (struct value){VALUE_TEXT, {.s = text}};
        return NULL;
    }
    if (!take_date(&in, &date) || !take_char(&in, ' '))
        return "not a timestamp in DateStyle ISO";
    const char *clock = in.p;
    if (!take_clock(&in, &us))
        return "not a timestamp in DateStyle ISO";
    size_t clock_len = (size_t)(in.p - clock);
    if (in.end - in.p < 3 || memcmp(in.p, "+00", 3) != 0)
        return "a timestamp that is not in UTC";
    in.p += 3;
    if (!take_era(&in, &date.bc) || !civil_valid(&date))
        return "not a timestamp in DateStyle ISO";
    char *start = arena_alloc(scratch, text.len + 2), *out = put_iso_year(start, civil_year(&date));
    memcpy(out, clock - 7, 6); /* -mm-dd */
    out[6] = 'T';
    memcpy(out + 7, clock, clock_len);
    out[7 + clock_len] = 'Z';
    *ret = (struct value){VALUE_TEXT, {.s = slice_make(start, (size_t)(out - start) + clock_len + 8)}};
    return NULL;
}

/* +hh[:mm[:ss]], at most 15:59:59; written as +hh:mm[:ss] */
static bool take_offset(struct cursor *in, char **out) {
    const char *start = in->p;
    int h, m = 0, s = 0;
    if ((!take_char(in, '+') && !take_char(in, '-')) || !take_two(in, &h))
        return false;
    if (take_char(in, ':') && !take_two(in, &m))
        return false;
    if (take_char(in, ':') && !take_two(in, &s))
        return false;
    size_t len = (size_t)(in->p - start);
    memcpy(*out, start, len);
    if (len == 3)
        memcpy(*out + 3, ":00", 3);
    *out += len == 3 ? 6 : len;
    return h <= 15 && m < 60 && s < 60 && in->p == in->end;
}

const char *pg_read_zoned_time(const struct column *column, struct slice text, struct arena *scratch,
                               struct value *ret) {
    (void)column;
    struct cursor in = {text.data, text.data + text.len};
    int64_t us;
    if (!take_clock(&in, &us))
        return "not a time of day with a time zone";
    size_t clock_len = (size_t)(in.p - text.data);
    char *start = arena_alloc(scratch, text.len + 3), *out = start + clock_len;
    memcpy(start, text.data, clock_len);
    if (!take_offset(&in, &out))
        return "not a time of day with a time zone";
    *ret = (struct value){VALUE_TEXT, {.s = slice_make(start, (size_t)(out - start))}};
    return NULL;
}

/* ISO 8601 as it stands; from 17 on an interval can be infinite. */
const char *pg_read_interval(const struct column *column, struct slice text, struct arena *scratch,
                             struct value *ret) {
    bool minus;
    if ((text.len < 3 || text.data[0] != 'P') && !is_infinity(text, &minus))
        return "not an interval in IntervalStyle iso_8601";
    return pg_read_text(column, text, scratch, ret);
}
