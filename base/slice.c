#include "base/slice.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <unistd.h>

/* Writes without stdio, which may want memory itself. */
static _Noreturn void no_memory(void) {
    static const char text[] = "millrace: out of memory\n";
    if (write(STDERR_FILENO, text, sizeof text - 1) < 0)
        abort();
    abort();
}

void *xmalloc(size_t size) {
    void *p = malloc(size ? size : 1);
    if (!p)
        no_memory();
    return p;
}

void *xcalloc(size_t count, size_t size) {
    void *p = calloc(count ? count : 1, size ? size : 1);
    if (!p)
        no_memory();
    return p;
}

void *xrealloc(void *old, size_t size) {
    void *p = realloc(old, size ? size : 1);
    if (!p)
        no_memory();
    return p;
}

char *xstrdup(const char *text) {
    return xstrndup(text, strlen(text));
}

char *xstrndup(const char *text, size_t len) {
    if (len == SIZE_MAX)
        no_memory();
    char *copy = xmalloc(len + 1);
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *xasprintf(const char *fmt, ...) {
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    int len = vasprintf(&text, fmt, args);
    va_end(args);
    if (len < 0 || !text)
        no_memory();
    return text;
}

/* A star that did not fit takes one character more; only the last one is ever tried again, so that the cost
 * is bounded by the product of the lengths. */
bool slice_glob(struct slice glob, struct slice text) {
    size_t g = 0, t = 0, star = SIZE_MAX, mark = 0;
    while (t < text.len) {
        if (g < glob.len && glob.data[g] == '*') {
            star = g++;
            mark = t;
        } else if (g < glob.len && (glob.data[g] == '?' || glob.data[g] == text.data[t])) {
            g++, t++;
        } else if (star != SIZE_MAX) {
            g = star + 1;
            t = ++mark;
        } else {
            return false;
        }
    }
    while (g < glob.len && glob.data[g] == '*')
        g++;
    return g == glob.len;
}

void cleanup_free(void *pointer_to_pointer) {
    free(*(void **)pointer_to_pointer);
}

void buf_free(struct buf *buf) {
    free(buf->data);
    *buf = (struct buf){0};
}

void buf_grow(struct buf *buf, size_t more) {
    enum { FIRST = 64 };
    assert(buf->len <= buf->cap);
    if (more > SIZE_MAX / 2 - buf->len)
        no_memory();
    size_t cap = buf->cap < FIRST ? FIRST : buf->cap;
    while (cap < buf->len + more)
        cap *= 2;
    if (cap == buf->cap)
        return;
    buf->data = xrealloc(buf->data, cap);
    buf->cap = cap;
}

void buf_printf(struct buf *buf, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    size_t room = buf->cap - buf->len;
    int len = vsnprintf(room ? buf->data + buf->len : NULL, room, fmt, args);
    assert(len >= 0);
    if ((size_t)len >= room)
        vsnprintf(buf_room(buf, (size_t)len + 1), (size_t)len + 1, fmt, again);
    buf->len += (size_t)len;
    va_end(again);
    va_end(args);
}

const char *buf_cstr(struct buf *buf) {
    *buf_room(buf, 1) = '\0';
    return buf->data;
}
