#include "base/suggest.h"

#include "base/utf8.h"

enum { COMMENT_COLUMNS = 100 };

void suggestion_free(struct suggestion *s) {
    buf_free(&s->yaml);
    buf_free(&s->notes);
    buf_free(&s->before);
    arena_free(&s->arena);
    *s = (struct suggestion){0};
}

void suggest_put_text(struct buf *yaml, const char *text, bool references) {
    buf_putc(yaml, '"');
    for (const char *p = text; *p; p++) {
        if ((unsigned char)*p < 0x20 || *p == 0x7f) {
            buf_printf(yaml, "\\x%02x", *p);
            continue;
        }
        if (*p == '"' || *p == '\\')
            buf_putc(yaml, '\\');
        if (!references && *p == '$' && p[1] == '{')
            buf_putc(yaml, '$');
        buf_putc(yaml, *p);
    }
    buf_putc(yaml, '"');
}

/* The length of the next line: up to the last blank that fits, or to the first one. */
static size_t line_length(const char *text) {
    size_t n = strlen(text), fits = 0;
    if (n <= COMMENT_COLUMNS)
        return n;
    for (size_t i = 0; i < n; i++) {
        if (text[i] != ' ')
            continue;
        if (i > COMMENT_COLUMNS)
            return fits ? fits : i;
        fits = i;
    }
    return fits ? fits : n;
}

void suggest_put_comment(struct buf *yaml, const char *text) {
    CLEANUP_BUF clean = {0};
    for (const char *p = text; *p;) {
        size_t n = utf8_length(p);
        bool control = (unsigned char)*p < 0x20 || *p == 0x7f;
        buf_put(&clean, control ? " " : n ? p : "?", control || !n ? 1 : n);
        p += n ? n : 1;
    }
    const char *at = buf_cstr(&clean);
    do {
        size_t n = line_length(at);
        buf_printf(yaml, "# %.*s\n", (int)n, at);
        at += n;
        while (*at == ' ')
            at++;
    } while (*at);
}

void suggest_put_indented(struct buf *yaml, struct slice lines, int indent) {
    for (size_t i = 0; i < lines.len;) {
        const char *line = lines.data + i, *end = memchr(line, '\n', lines.len - i);
        size_t n = end ? (size_t)(end - line) : lines.len - i;
        buf_printf(yaml, "%*s%.*s\n", n ? indent : 0, "", (int)n, line);
        i += n + 1;
    }
}

static bool is_reference(struct slice text) {
    return text.len > 3 && strncmp(text.data, "${", 2) == 0 && text.data[text.len - 1] == '}';
}

/* A reference may hold what otherwise ends a part of the URL: ${file:/run/secrets/password} */
static size_t span_until(const char *text, const char *ends) {
    size_t n = 0;
    while (text[n] && !strchr(ends, text[n])) {
        const char *close = strncmp(text + n, "${", 2) == 0 ? strchr(text + n, '}') : NULL;
        n = close ? (size_t)(close - text) + 1 : n + 1;
    }
    return n;
}

static struct slice password_of_user(const char *url) {
    const char *user = strstr(url, "://");
    if (!user)
        return (struct slice){0};
    user += 3;
    size_t n = span_until(user, ":@/?#");
    if (user[n] != ':')
        return (struct slice){0};
    const char *password = user + n + 1;
    size_t length = span_until(password, "@/?#");
    return password[length] == '@' ? slice_make(password, length) : (struct slice){0};
}

/* The value of a query's parameter that begins at or after `from`; data NULL: there is none. */
static struct slice password_of_query(const char *from) {
    static const char *const names[] = {"password=", "sslpassword="};
    for (const char *p = from; p && *p; p = strpbrk(p + 1, "?&")) {
        for (size_t i = 0; i < sizeof names / sizeof *names && (*p == '?' || *p == '&'); i++) {
            size_t n = strlen(names[i]);
            if (strncmp(p + 1, names[i], n) == 0)
                return slice_make(p + 1 + n, span_until(p + 1 + n, "&#"));
        }
    }
    return (struct slice){0};
}

bool suggest_secret(const char *url, int i, struct slice *ret) {
    struct slice found = password_of_user(url);
    if (!found.data || !found.len || is_reference(found) || i-- > 0) {
        found = password_of_query(url);
        while (found.data && (!found.len || is_reference(found) || i-- > 0))
            found = password_of_query(found.data + found.len);
    }
    *ret = found;
    return found.data != NULL;
}
