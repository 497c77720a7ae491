/* Borrowed bytes (slice) and growing bytes (buf). */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* Borrowed bytes; whoever made it says how long they live. Not NUL-terminated. */
struct slice {
    const char *data;
    size_t len;
};

static inline struct slice slice_of(const char *text) {
    return (struct slice){text, text ? strlen(text) : 0};
}
static inline struct slice slice_make(const void *data, size_t len) {
    return (struct slice){data, len};
}
static inline bool slice_eq(struct slice a, struct slice b) {
    return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}
static inline bool slice_is(struct slice a, const char *text) {
    return slice_eq(a, slice_of(text));
}
/* True if the pattern takes the whole text: '*' any run of bytes, '?' one byte, nothing else is special. */
bool slice_glob(struct slice pattern, struct slice text);

/* Growing bytes, owned. Growth beyond memory aborts (as every allocation in Millrace does: queues are bounded
 * in bytes where bytes come in, so this is a bug of ours). Zero-initialised is empty and valid. */
struct buf {
    char *data;
    size_t len, cap;
};

void buf_free(struct buf *buf);              /* frees the bytes; the struct is empty after */
void buf_grow(struct buf *buf, size_t more); /* makes room for `more` bytes past len (slow path) */
void buf_printf(struct buf *buf, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

static inline void buf_clear(struct buf *buf) {
    buf->len = 0;
}
static inline char *buf_room(struct buf *buf,
                             size_t more) /* room for `more` bytes; caller adds to len what it wrote */
{
    if (buf->cap - buf->len < more)
        buf_grow(buf, more);
    return buf->data + buf->len;
}
static inline void buf_put(struct buf *buf, const void *data, size_t len) {
    if (!len)
        return;
    memcpy(buf_room(buf, len), data, len);
    buf->len += len;
}
static inline void buf_putc(struct buf *buf, char c) {
    *buf_room(buf, 1) = c;
    buf->len++;
}
static inline void buf_puts(struct buf *buf, const char *text) {
    buf_put(buf, text, strlen(text));
}
static inline void buf_put_slice(struct buf *buf, struct slice s) {
    buf_put(buf, s.data, s.len);
}
static inline struct slice buf_slice(const struct buf *buf) {
    return (struct slice){buf->data, buf->len};
}
const char *buf_cstr(struct buf *buf); /* NUL-terminates (NUL not counted in len) and returns data */

#define CLEANUP_BUF __attribute__((cleanup(buf_free))) struct buf

/* malloc, realloc, strdup that abort with a clear message when memory ends. */
void *xmalloc(size_t size) __attribute__((malloc, returns_nonnull));
void *xcalloc(size_t count, size_t size) __attribute__((malloc, returns_nonnull));
void *xrealloc(void *old, size_t size) __attribute__((returns_nonnull));
char *xstrdup(const char *text) __attribute__((malloc, returns_nonnull));
char *xstrndup(const char *text, size_t len)
    __attribute__((malloc, returns_nonnull)); /* copies exactly len bytes + NUL */
char *xasprintf(const char *fmt, ...) __attribute__((malloc, returns_nonnull, format(printf, 1, 2)));

void cleanup_free(void *pointer_to_pointer); /* for CLEANUP_FREE char *x */
#define CLEANUP_FREE __attribute__((cleanup(cleanup_free)))
