/* See err.h. The text may quote a server, so it is made fit for one line of a terminal or a log before it is
 * kept. */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/utf8.h"

#undef err_set /* the analyzer's */

enum { TEXT_MAX = sizeof((struct err *)0)->text };

static const struct {
    const char *name, *meaning;
    int exit_code;
} table[] = {
#define X(id, name, exit_code, text) [ERR_##id] = {name, text, exit_code},
    ERR_TABLE(X)
#undef X
};

static bool is_newline(char c) {
    return c == '\n' || c == '\r';
}

static bool is_blank(char c) {
    return c == ' ' || c == '\t' || is_newline(c);
}

/* C0 and DEL; and C1, which UTF-8 writes as C2 80 .. C2 9F and terminals obey as well. Returns its length or
 * 0. */
static size_t control_length(const char *p) {
    unsigned char c = (unsigned char)p[0];
    if (c < 0x20 || c == 0x7F)
        return 1;
    unsigned char d = (unsigned char)p[1];
    return c == 0xC2 && d >= 0x80 && d <= 0x9F ? 2 : 0;
}

/* Length of `text` without the half of a UTF-8 character that a cut at `len` may have left at its end. */
static size_t whole_characters(const char *text, size_t len) {
    size_t lead = len;
    while (lead > 0 && len - lead < 4 && ((unsigned char)text[lead - 1] & 0xC0) == 0x80)
        lead--;
    if (lead == 0)
        return len;
    unsigned char c = (unsigned char)text[--lead];
    size_t need = c >= 0xF0 ? 4 : c >= 0xE0 ? 3 : c >= 0xC0 ? 2 : 1;
    return lead + need > len ? lead : len;
}

/* Copies `in` to `out` (TEXT_MAX bytes): a run of newlines and the blanks around it becomes "; ", or nothing
 * at the end; what is no text becomes '?', so that pages of JSON can show it. */
static void sanitise(char *out, const char *in) {
    size_t n = 0;
    while (*in && n < TEXT_MAX - 4) {
        size_t control = control_length(in), character = utf8_length(in);
        if (is_newline(*in)) {
            while (n > 0 && out[n - 1] == ' ')
                n--;
            while (is_blank(*in))
                in++;
            if (*in && n > 0) {
                out[n++] = ';';
                out[n++] = ' ';
            }
        } else if (control || !character) {
            out[n++] = '?';
            in += control ? control : 1;
        } else {
            memcpy(out + n, in, character);
            n += character;
            in += character;
        }
    }
    out[n] = '\0';
}

enum code err_set(struct err *err, enum code code, enum err_id id, const char *fmt, ...) {
    if (!err)
        return code;
    char raw[TEXT_MAX]; /* apart, because an argument may be the text that stands in err */
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(raw, sizeof raw, fmt, args);
    va_end(args);
    if (len < 0)
        raw[0] = '\0';
    if (len >= (int)sizeof raw)
        raw[whole_characters(raw, sizeof raw - 1)] = '\0';
    sanitise(err->text, raw);
    err->code = code;
    err->id = id;
    return code;
}

enum code err_prefix(struct err *err, const char *fmt, ...) {
    if (!err)
        return FATAL;
    char prefix[TEXT_MAX / 2];
    va_list args;
    va_start(args, fmt);
    int len = vsnprintf(prefix, sizeof prefix, fmt, args);
    va_end(args);
    if (len < 0)
        prefix[0] = '\0';
    if (len >= (int)sizeof prefix)
        prefix[whole_characters(prefix, sizeof prefix - 1)] = '\0';
    return err_set(err, err->code, err->id, "%s: %s", prefix, err->text);
}

const char *err_name(enum err_id id) {
    return (size_t)id < sizeof table / sizeof *table ? table[id].name : "unknown";
}

const char *err_meaning(enum err_id id) {
    return (size_t)id < sizeof table / sizeof *table ? table[id].meaning : "unknown error";
}

int err_exit(enum err_id id) {
    return (size_t)id < sizeof table / sizeof *table ? table[id].exit_code : 1;
}

const char *code_name(enum code code) {
    switch (code) {
    case OK:
        return "OK";
    case AGAIN:
        return "AGAIN";
    case RETRY:
        return "RETRY";
    case REJECT:
        return "REJECT";
    case FATAL:
        return "FATAL";
    }
    return "?";
}
