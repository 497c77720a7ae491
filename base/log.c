/* Crosses threads: the level is atomic, and a line is one write(2), so lines of several threads do not mix.
 *
 * Strings may come from a server: control characters are escaped, bytes that are not UTF-8 become U+FFFD, and
 * what is longer than STRING_MAX is cut. */
#include "base/log.h"

#include <errno.h>
#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"

enum { STRING_MAX = 4096 };

static atomic_int level_on = LOG_INFO;
static atomic_bool as_json;

void log_setup(enum log_level level, bool json) {
    atomic_store_explicit(&level_on, (int)level, memory_order_relaxed);
    atomic_store_explicit(&as_json, json, memory_order_relaxed);
}

bool log_on(enum log_level level) {
    return (int)level <= atomic_load_explicit(&level_on, memory_order_relaxed);
}

static const char *level_name(enum log_level level) {
    switch (level) {
    case LOG_ERROR:
        return "error";
    case LOG_WARN:
        return "warn";
    case LOG_INFO:
        return "info";
    case LOG_DEBUG:
        return "debug";
    }
    return "error";
}

static void put_time(struct buf *out) {
    int64_t us = clock_wall(&clock_system);
    time_t seconds = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&seconds, &tm);
    char text[32];
    strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%S", &tm);
    buf_printf(out, "%s.%03dZ", text, (int)(us / 1000 % 1000));
}

/* Length of the UTF-8 character at `p`, 0 if there is none (overlong forms and surrogates are none). */
static size_t utf8_length(const unsigned char *p, size_t left) {
    if (p[0] < 0x80)
        return 1;
    size_t n = p[0] >= 0xC2 && p[0] < 0xE0   ? 2
               : (p[0] & 0xF0) == 0xE0       ? 3
               : p[0] >= 0xF0 && p[0] < 0xF5 ? 4
                                             : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    if (p[0] == 0xE0 && p[1] < 0xA0)
        return 0;
    if (p[0] == 0xED && p[1] > 0x9F)
        return 0;
    if (p[0] == 0xF0 && p[1] < 0x90)
        return 0;
    return p[0] == 0xF4 && p[1] > 0x8F ? 0 : n;
}

static void put_escaped_ascii(struct buf *out, unsigned char c) {
    switch (c) {
    case '"':
        buf_puts(out, "\\\"");
        break;
    case '\\':
        buf_puts(out, "\\\\");
        break;
    case '\n':
        buf_puts(out, "\\n");
        break;
    case '\r':
        buf_puts(out, "\\r");
        break;
    case '\t':
        buf_puts(out, "\\t");
        break;
    default:
        if (c < 0x20 || c == 0x7F)
            buf_printf(out, "\\u%04x", c);
        else
            buf_putc(out, (char)c);
    }
}

/* Both formats quote as JSON does. */
static void put_quoted(struct buf *out, const char *text) {
    size_t len = strnlen(text, STRING_MAX + 1), end = len > STRING_MAX ? STRING_MAX : len;
    buf_putc(out, '"');
    for (size_t i = 0; i < end;) {
        const unsigned char *p = (const unsigned char *)text + i;
        size_t n = utf8_length(p, end - i);
        if (n == 1)
            put_escaped_ascii(out, *p);
        else if (n == 2 && p[0] == 0xC2 && p[1] < 0xA0) /* C1 controls: terminals obey them */
            buf_printf(out, "\\u%04x", p[1]);
        else if (n)
            buf_put(out, p, n);
        else
            buf_puts(out, "\xEF\xBF\xBD");
        i += n ? n : 1;
    }
    if (len > end)
        buf_puts(out, "...");
    buf_putc(out, '"');
}

/* Letters, digits and what stands in names, numbers and paths needs no quotes; everything else gets them. */
static bool is_bare(const char *text) {
    if (!*text)
        return false;
    size_t len = strspn(
        text, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./:,@*%#~^!?;()[]{}<>&$|'");
    return text[len] == '\0' && len <= STRING_MAX;
}

static void put_string(struct buf *out, const char *text, bool json) {
    if (json && !text)
        buf_puts(out, "null");
    else if (!json && text && is_bare(text))
        buf_puts(out, text);
    else
        put_quoted(out, text ? text : "");
}

static void put_value(struct buf *out, const struct log_field *field, bool json) {
    char text[32];
    switch (field->type) {
    case FIELD_STR:
        put_string(out, field->str, json);
        break;
    case FIELD_I64:
        buf_printf(out, "%lld", (long long)field->i64);
        break;
    case FIELD_F64:
        if (json && !isfinite(field->f64))
            buf_puts(out, "null");
        else
            buf_printf(out, "%.9g", field->f64);
        break;
    case FIELD_LSN:
        snprintf(text, sizeof text, LSN_FMT, LSN_ARGS(field->i64));
        put_string(out, text, json);
        break;
    case FIELD_BOOL:
        buf_puts(out, field->i64 ? "true" : "false");
        break;
    }
}

static void put_logfmt(struct buf *out, enum log_level level, const char *room, const char *message,
                       const struct log_field *fields, size_t n) {
    buf_puts(out, "ts=");
    put_time(out);
    buf_printf(out, " level=%s room=", level_name(level));
    put_string(out, room, false);
    buf_puts(out, " msg=");
    put_string(out, message, false);
    for (size_t i = 0; i < n; i++) {
        buf_printf(out, " %s=", fields[i].name);
        put_value(out, &fields[i], false);
    }
}

static void put_json(struct buf *out, enum log_level level, const char *room, const char *message,
                     const struct log_field *fields, size_t n) {
    buf_puts(out, "{\"ts\":\"");
    put_time(out);
    buf_printf(out, "\",\"level\":\"%s\",\"room\":", level_name(level));
    put_quoted(out, room);
    buf_puts(out, ",\"msg\":");
    put_quoted(out, message);
    for (size_t i = 0; i < n; i++) {
        buf_putc(out, ',');
        put_quoted(out, fields[i].name);
        buf_putc(out, ':');
        put_value(out, &fields[i], true);
    }
    buf_putc(out, '}');
}

/* A line is lost when stderr is: there is no other place to say so. */
static void write_all(const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = write(STDERR_FILENO, data, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

void log_write(enum log_level level, const char *room, const char *message, const struct log_field *fields,
               size_t n) {
    int saved = errno;
    CLEANUP_BUF line = {0};
    buf_room(&line, 512);
    bool json = atomic_load_explicit(&as_json, memory_order_relaxed);
    (json ? put_json : put_logfmt)(&line, level, room ? room : "", message ? message : "", fields, n);
    buf_putc(&line, '\n');
    write_all(line.data, line.len);
    errno = saved;
}
