#include "capture/trigger/mariadb/times.h"

#include <stdio.h>

static const char ZERO[] =
    "is a zero or incomplete date, which no date of a replica can be; `dates: string` carries it";
static const char BROKEN[] = "is no date or time";

enum { DAY_S = 86400 };

/* Days since 1970-01-01 in the proleptic Gregorian calendar: eras of 400 years that begin on a 1 March. */
static int64_t days_of(int64_t year, int64_t month, int64_t day) {
    year -= month <= 2;
    int64_t era = (year >= 0 ? year : year - 399) / 400, of_era = year - era * 400;
    int64_t of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    return era * 146097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719468;
}

static void date_of(int64_t days, int *year, int *month, int *day) {
    days += 719468;
    int64_t era = (days >= 0 ? days : days - 146096) / 146097, of_era = days - era * 146097;
    int64_t y = (of_era - of_era / 1460 + of_era / 36524 - of_era / 146096) / 365;
    int64_t of_year = of_era - (365 * y + y / 4 - y / 100), m = (5 * of_year + 2) / 153;
    *day = (int)(of_year - (153 * m + 2) / 5 + 1);
    *month = (int)(m < 10 ? m + 3 : m - 9);
    *year = (int)(y + era * 400 + (*month <= 2));
}

static bool take_number(struct slice *text, int *ret) {
    size_t n = 0;
    *ret = 0;
    for (; n < text->len && n < 9 && text->data[n] >= '0' && text->data[n] <= '9'; n++)
        *ret = *ret * 10 + (text->data[n] - '0');
    text->data += n, text->len -= n;
    return n > 0;
}

static bool take_char(struct slice *text, char c) {
    if (!text->len || text->data[0] != c)
        return false;
    text->data++, text->len--;
    return true;
}

/* ".123" as microseconds; nothing is 0. */
static bool take_fraction(struct slice *text, int *ret_us) {
    *ret_us = 0;
    if (!take_char(text, '.'))
        return true;
    int digits = 0;
    for (; text->len && text->data[0] >= '0' && text->data[0] <= '9' && digits < 6; digits++)
        *ret_us = *ret_us * 10 + (text->data[0] - '0'), text->data++, text->len--;
    for (int i = digits; i < 6; i++)
        *ret_us *= 10;
    return digits > 0;
}

static const char *take_date(struct slice *text, int64_t *ret_days) {
    int year, month, day;
    if (!take_number(text, &year) || !take_char(text, '-') || !take_number(text, &month) ||
        !take_char(text, '-') || !take_number(text, &day) || month > 12 || day > 31)
        return BROKEN;
    *ret_days = days_of(year, month, day);
    if (!month || !day)
        return ZERO;
    int y, m, d; /* ALLOW_INVALID_DATES lets a 31 February in */
    date_of(*ret_days, &y, &m, &d);
    return m == month && d == day ? NULL : ZERO;
}

static bool take_clock(struct slice *text, int *hours, int *minutes, int *seconds, int *us) {
    return take_number(text, hours) && take_char(text, ':') && take_number(text, minutes) &&
           take_char(text, ':') && take_number(text, seconds) && take_fraction(text, us) && !text->len &&
           *minutes < 60 && *seconds < 60;
}

const char *maria_read_date(struct slice text, struct value *ret) {
    *ret = (struct value){VALUE_INT};
    const char *why = take_date(&text, &ret->i);
    return why ? why : text.len ? BROKEN : NULL;
}

const char *maria_read_datetime(struct slice text, struct value *ret) {
    int64_t days;
    int hours, minutes, seconds, us;
    const char *why = take_date(&text, &days);
    if (why)
        return why;
    if (!take_char(&text, ' ') || !take_clock(&text, &hours, &minutes, &seconds, &us) || hours > 23)
        return BROKEN;
    *ret =
        (struct value){VALUE_INT, .i = ((days * 24 + hours) * 3600 + minutes * 60 + seconds) * 1000000 + us};
    return NULL;
}

/* The parts of "1704164645.123456"; *digits: of the fraction. */
static bool take_instant(struct slice text, int64_t *seconds, struct slice *fraction) {
    size_t n = 0;
    *seconds = 0;
    for (; n < text.len && n < 12 && text.data[n] >= '0' && text.data[n] <= '9'; n++)
        *seconds = *seconds * 10 + (text.data[n] - '0');
    *fraction = slice_make(text.data + n, text.len - n);
    return n > 0 && (n == text.len || (text.data[n] == '.' && text.len - n <= 7));
}

static struct slice print_instant(int64_t s, struct slice fraction, char between, const char *end,
                                  struct arena *arena) {
    int year, month, day;
    date_of(s / DAY_S, &year, &month, &day);
    int of_day = (int)(s % DAY_S);
    return slice_of(arena_printf(arena, "%04d-%02d-%02d%c%02d:%02d:%02d%.*s%s", year, month, day, between,
                                 of_day / 3600, of_day / 60 % 60, of_day % 60, (int)fraction.len,
                                 fraction.data, end));
}

static bool all_zero(struct slice fraction) {
    for (size_t i = 1; i < fraction.len; i++)
        if (fraction.data[i] != '0')
            return false;
    return true;
}

const char *maria_read_instant(struct slice text, struct arena *arena, struct value *ret) {
    int64_t seconds;
    struct slice fraction;
    if (!take_instant(text, &seconds, &fraction))
        return BROKEN;
    if (seconds == 0 && all_zero(fraction))
        return ZERO;
    while (fraction.len && fraction.data[fraction.len - 1] == '0')
        fraction.len--;
    if (fraction.len == 1)
        fraction.len = 0;
    *ret = (struct value){VALUE_TEXT, .s = print_instant(seconds, fraction, 'T', "Z", arena)};
    return NULL;
}

const char *maria_read_instant_text(struct slice text, struct arena *arena, struct value *ret) {
    int64_t seconds;
    struct slice fraction;
    if (!take_instant(text, &seconds, &fraction))
        return BROKEN;
    struct slice zero = slice_of("0000-00-00 00:00:00");
    bool none = seconds == 0 && all_zero(fraction);
    *ret = (struct value){VALUE_TEXT, .s = none ? zero : print_instant(seconds, fraction, ' ', "", arena)};
    return NULL;
}

/* A time of MariaDB is a span from -838:59:59 to 838:59:59. */
const char *maria_read_time(struct slice text, struct arena *arena, struct value *ret) {
    bool minus = take_char(&text, '-');
    int hours, minutes, seconds, us;
    if (!take_clock(&text, &hours, &minutes, &seconds, &us))
        return BROKEN;
    const char *sign = minus ? "-" : "";
    char *out = arena_alloc(arena, 64), *p = out + sprintf(out, "PT");
    if (hours)
        p += sprintf(p, "%s%dH", sign, hours);
    if (minutes)
        p += sprintf(p, "%s%dM", sign, minutes);
    if (us) {
        p += sprintf(p, "%s%d.%06d", sign, seconds, us);
        while (p[-1] == '0')
            p--;
        p += sprintf(p, "S");
    } else if (seconds || (!hours && !minutes))
        p += sprintf(p, "%s%dS", seconds ? sign : "", seconds);
    *ret = (struct value){VALUE_TEXT, .s = slice_make(out, (size_t)(p - out))};
    return NULL;
}
