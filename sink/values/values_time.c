/* Dates and times in DateStyle ISO: years of four digits or more, " BC" at the end for years before 1. */
#include <assert.h>

#include "sink/values/values_print.h"

enum { CHARS_MAX = 48 };

struct civil {
    int64_t year; /* astronomical: 0 is 1 BC */
    int month, day;
};

/* Days since 1970-01-01 to the proleptic Gregorian calendar. A year begins in March here, so that the leap
 * day is its last; an era has 400 of them and 146097 days. */
static struct civil days_civil(int64_t days) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097;
    int64_t day_of_era = days - era * 146097;
    int64_t year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36524 - day_of_era / 146096) / 365;
    int64_t day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    int64_t month = (5 * day_of_year + 2) / 153; /* 0 = March */
    struct civil date = {.month = (int)(month < 10 ? month + 3 : month - 9)};
    date.day = (int)(day_of_year - (153 * month + 2) / 5 + 1);
    date.year = year_of_era + era * 400 + (date.month <= 2);
    return date;
}

static char *put_digits(char *p, int64_t n, int digits) {
    for (int i = digits - 1; i >= 0; i--, n /= 10)
        p[i] = (char)('0' + n % 10);
    return p + digits;
}

/* At least four digits; year 0 and before as BC counts them. */
static char *put_year(char *p, int64_t year) {
    int64_t printed = year > 0 ? year : 1 - year;
    int digits = 4;
    for (int64_t rest = printed / 10000; rest > 0; rest /= 10)
        digits++;
    return put_digits(p, printed, digits);
}

static char *put_date(char *p, const struct civil *date) {
    p = put_year(p, date->year);
    *p++ = '-';
    p = put_digits(p, date->month, 2);
    *p++ = '-';
    return put_digits(p, date->day, 2);
}

static char *put_era(char *p, int64_t year) {
    if (year > 0)
        return p;
    memcpy(p, " BC", 3);
    return p + 3;
}

/* hh:mm:ss[.ffffff] without zeros at its end */
static char *put_clock(char *p, int64_t us) {
    int64_t s = us / 1000000, fraction = us % 1000000;
    p = put_digits(p, s / 3600, 2);
    *p++ = ':';
    p = put_digits(p, s / 60 % 60, 2);
    *p++ = ':';
    p = put_digits(p, s % 60, 2);
    if (fraction == 0)
        return p;
    *p++ = '.';
    p = put_digits(p, fraction, 6);
    while (p[-1] == '0')
        p--;
    return p;
}

static void put_chars(struct buf *out, const char *chars, const char *end) {
    buf_put(out, chars, (size_t)(end - chars));
}

const char *pg_print_date(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    if (value->i == DATE_INFINITY || value->i == DATE_MINUS_INFINITY) {
        buf_puts(out, value->i == DATE_INFINITY ? "infinity" : "-infinity");
        return NULL;
    }
    if (value->i < DATE_MIN || value->i > DATE_MAX)
        return "a date that PostgreSQL does not have";
    char chars[CHARS_MAX];
    struct civil date = days_civil(value->i);
    put_chars(out, chars, put_era(put_date(chars, &date), date.year));
    return NULL;
}

const char *pg_print_time(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    if (value->i < 0 || value->i > DAY_US)
        return "not a time of day";
    char chars[CHARS_MAX];
    put_chars(out, chars, put_clock(chars, value->i));
    return NULL;
}

const char *pg_print_timestamp(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_INT);
    if (value->i == TIMESTAMP_INFINITY || value->i == TIMESTAMP_MINUS_INFINITY) {
        buf_puts(out, value->i == TIMESTAMP_INFINITY ? "infinity" : "-infinity");
        return NULL;
    }
    if (value->i < TIMESTAMP_MIN)
        return "a timestamp that PostgreSQL does not have";
    int64_t days = value->i / DAY_US, us = value->i % DAY_US;
    if (us < 0) {
        us += DAY_US;
        days--;
    }
    char chars[CHARS_MAX];
    struct civil date = days_civil(days);
    char *p = put_date(chars, &date);
    *p++ = ' ';
    p = put_era(put_clock(p, us), date.year);
    put_chars(out, chars, p);
    return NULL;
}

/* The sign and digits of an ISO year; how many characters they are, 0 if it is none. */
static size_t take_iso_year(struct slice text, int64_t *ret) {
    size_t i = 0, start;
    bool minus = text.len > 0 && text.data[0] == '-';
    i += text.len > 0 && (text.data[0] == '-' || text.data[0] == '+');
    start = i;
    int64_t year = 0;
    for (; i < text.len && text.data[i] >= '0' && text.data[i] <= '9' && i - start < 7; i++)
        year = year * 10 + (text.data[i] - '0');
    *ret = minus ? -year : year;
    return i - start < 4 ? 0 : i;
}

/* -mm-ddThh:mm:ss[.f...]Z: the shape; PostgreSQL judges the numbers. */
static bool rest_has_shape(struct slice rest) {
    static const char shape[] = "-00-00T00:00:00";
    size_t n = sizeof shape - 1;
    if (rest.len < n + 1 || rest.data[rest.len - 1] != 'Z')
        return false;
    for (size_t i = 0; i < n; i++) {
        bool digit = rest.data[i] >= '0' && rest.data[i] <= '9';
        if (shape[i] == '0' ? !digit : rest.data[i] != shape[i])
            return false;
    }
    if (rest.len > n + 1 && (rest.data[n] != '.' || rest.len < n + 3 || rest.len > n + 8))
        return false;
    for (size_t i = n + 1; i + 1 < rest.len; i++)
        if (rest.data[i] < '0' || rest.data[i] > '9')
            return false;
    return true;
}

/* 2024-01-02T03:04:05.123456Z becomes 2024-01-02 03:04:05.123456+00[ BC]. */
const char *pg_print_zoned_timestamp(const struct column *column, const struct value *value,
                                     struct buf *out) {
    enum { DATE_LEN = 6 }; /* -mm-dd */
    assert(value->tag == VALUE_TEXT);
    if (slice_is(value->s, "infinity") || slice_is(value->s, "-infinity"))
        return pg_print_text(column, value, out);
    int64_t year;
    size_t year_len = take_iso_year(value->s, &year);
    struct slice rest = slice_make(value->s.data + year_len, value->s.len - year_len);
    if (year_len == 0 || !rest_has_shape(rest))
        return "not an ISO 8601 timestamp in UTC";
    char chars[CHARS_MAX], *p = put_year(chars, year);
    memcpy(p, rest.data, rest.len - 1);
    p[DATE_LEN] = ' ';
    p += rest.len - 1;
    memcpy(p, "+00", 3);
    put_chars(out, chars, put_era(p + 3, year));
    return NULL;
}

/* ---- as a number ---- */

/* The inverse of days_civil. */
static int64_t civil_days(int64_t year, int month, int day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, year_of_era = year - era * 400;
    int64_t day_of_year = (153 * (month > 2 ? month - 3 : month + 9) + 2) / 5 + day - 1;
    return era * 146097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719468;
}

static int two_digits(const char *p) {
    return (p[0] - '0') * 10 + (p[1] - '0');
}

/* Whether there is such a day, and its number. */
static bool day_of(int64_t year, int month, int day, int64_t *ret) {
    if (month < 1 || month > 12 || day < 1)
        return false;
    int64_t next = month == 12 ? civil_days(year + 1, 1, 1) : civil_days(year, month + 1, 1);
    *ret = civil_days(year, month, 1) + day - 1;
    return *ret < next && *ret >= DATE_MIN && *ret < TIMESTAMP_DAY_END;
}

const char *pg_zoned_timestamp_us(struct slice text, int64_t *ret) {
    enum {
        MONTH = 1,
        DAY = 4,
        HOUR = 7,
        MINUTE = 10,
        SECOND = 13,
        FRACTION = 16,
        DIGITS = 6
    }; /* -mm-ddThh:mm:ss.ffffffZ */
    int64_t year, days, fraction = 0;
    size_t year_len = take_iso_year(text, &year);
    struct slice rest = slice_make(text.data + year_len, text.len - year_len);
    if (year_len == 0 || !rest_has_shape(rest))
        return "not an ISO 8601 timestamp in UTC";
    int hour = two_digits(rest.data + HOUR), minute = two_digits(rest.data + MINUTE),
        second = two_digits(rest.data + SECOND);
    bool there = day_of(year, two_digits(rest.data + MONTH), two_digits(rest.data + DAY), &days);
    if (!there || hour > 23 || minute > 59 || second > 59)
        return "a timestamp that PostgreSQL does not have";
    for (size_t i = FRACTION; i < FRACTION + DIGITS; i++)
        fraction = fraction * 10 + (i + 1 < rest.len ? rest.data[i] - '0' : 0);
    int64_t seconds = (hour * 60 + minute) * INT64_C(60) + second;
    *ret = (days - EPOCH_DAYS) * DAY_US + seconds * 1000000 + fraction;
    return NULL;
}
