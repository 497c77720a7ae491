#include "journal/embedded/chunk.h"

#include <assert.h>
#include <zlib.h>

enum { KEY = 1, VALUE = 2, HEADERS = 4 };

/* Numbers that stand for the names that nearly every record has; for ever. */
static const char *const names[] = {NULL, "millrace", "__debezium.oldkey", "__debezium.newkey"};
enum { NAMES = sizeof names / sizeof *names };

/* ---- numbers ---- */

static char *put_varint(char *p, uint64_t n) {
    while (n >= 0x80) {
        *p++ = (char)(n | 0x80);
        n >>= 7;
    }
    *p++ = (char)n;
    return p;
}

static uint64_t zigzag(int64_t n) {
    return ((uint64_t)n << 1) ^ (uint64_t)(n >> 63);
}
static int64_t unzigzag(uint64_t n) {
    return (int64_t)(n >> 1) ^ -(int64_t)(n & 1);
}

static bool get_varint(const char **p, const char *end, uint64_t *ret) {
    uint64_t n = 0;
    for (int shift = 0; shift < 64; shift += 7) {
        if (*p == end)
            return false;
        uint8_t byte = (uint8_t) * (*p)++;
        if (shift == 63 && byte > 1)
            return false;
        n |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            *ret = n;
            return true;
        }
    }
    return false;
}

static bool get_bytes(const char **p, const char *end, struct slice *ret) {
    uint64_t n;
    if (!get_varint(p, end, &n) || n > (uint64_t)(end - *p))
        return false;
    *ret = slice_make(*p, (size_t)n);
    *p += n;
    return true;
}

/* ---- writing ---- */

void chunk_free(struct chunk *c) {
    buf_free(&c->bytes);
}

static char *put_bytes(char *p, struct slice s) {
    p = put_varint(p, s.len);
    memcpy(p, s.data, s.len);
    return p + s.len;
}

void chunk_put(struct chunk *c, const struct chunk_record *r) {
    if (chunk_empty(c)) {
        c->first = r->offset;
        c->last = r->offset - 1;
        c->ts_us = r->ts_us;
        c->previous_us = 0;
    }
    assert(r->offset > c->last);
    char *start = buf_room(&c->bytes, 64 + r->key.len + r->value.len + r->headers.len), *p = start;
    *p++ = (char)((r->key.data ? KEY : 0) | (r->value.data ? VALUE : 0) | (r->headers.data ? HEADERS : 0));
    p = put_varint(p, (uint64_t)(r->offset - c->last));
    p = put_varint(p, zigzag((int64_t)((uint64_t)r->ts_us - (uint64_t)c->previous_us)));
    if (r->key.data)
        p = put_bytes(p, r->key);
    if (r->value.data)
        p = put_bytes(p, r->value);
    if (r->headers.data)
        p = put_bytes(p, r->headers);
    c->bytes.len += (size_t)(p - start);
    c->last = r->offset;
    c->previous_us = r->ts_us;
    if (r->ts_us > c->ts_us)
        c->ts_us = r->ts_us;
}

static int number_of(const char *name) {
    for (int i = 1; i < NAMES; i++)
        if (strcmp(names[i], name) == 0)
            return i;
    return 0;
}

void chunk_headers(struct buf *out, const struct journal_header *headers, int n) {
    char number[10];
    buf_put(out, number, (size_t)(put_varint(number, (uint64_t)n) - number));
    for (int i = 0; i < n; i++) {
        const struct journal_header *h = &headers[i];
        int known = number_of(h->name);
        buf_putc(out, (char)known);
        if (!known) {
            buf_put(out, number, (size_t)(put_varint(number, strlen(h->name)) - number));
            buf_puts(out, h->name);
        }
        buf_put(out, number, (size_t)(put_varint(number, h->value.data ? h->value.len + 1 : 0) - number));
        if (h->value.data)
            buf_put_slice(out, h->value);
    }
}

/* ---- reading ---- */

uint32_t chunk_crc(const struct chunk_head *h, struct slice bytes) {
    uint64_t numbers[] = {(uint64_t)h->part, (uint64_t)h->first, (uint64_t)h->last, (uint64_t)h->ts_us};
    unsigned char head[sizeof numbers];
    for (size_t i = 0; i < sizeof head; i++)
        head[i] = (unsigned char)(numbers[i / 8] >> (i % 8 * 8));
    uLong crc = crc32_z(crc32_z(0, NULL, 0), head, sizeof head);
    return (uint32_t)crc32_z(crc, (const unsigned char *)bytes.data, bytes.len);
}

bool chunk_open(struct chunk_cursor *c, const struct chunk_head *head, uint32_t crc, struct slice bytes) {
    if (bytes.len == 0)
        return false;
    *c = (struct chunk_cursor){.head = *head, .p = bytes.data, .end = bytes.data + bytes.len};
    c->offset = head->first - 1;
    return head->first >= 0 && head->first <= head->last && chunk_crc(head, bytes) == crc;
}

enum code chunk_next(struct chunk_cursor *c, struct chunk_record *ret) {
    uint64_t step, time;
    *ret = (struct chunk_record){0};
    if (c->p == c->end)
        return AGAIN;
    int flags = (unsigned char)*c->p++;
    if (flags > (KEY | VALUE | HEADERS) || !get_varint(&c->p, c->end, &step) ||
        !get_varint(&c->p, c->end, &time))
        return REJECT;
    if (step == 0 || step > (uint64_t)(c->head.last - c->offset))
        return REJECT;
    if ((flags & KEY && !get_bytes(&c->p, c->end, &ret->key)) ||
        (flags & VALUE && !get_bytes(&c->p, c->end, &ret->value)) ||
        (flags & HEADERS && !get_bytes(&c->p, c->end, &ret->headers)))
        return REJECT;
    ret->offset = c->offset += (int64_t)step;
    ret->ts_us = c->ts_us = (int64_t)((uint64_t)c->ts_us + (uint64_t)unzigzag(time));
    return OK;
}

static bool next_header(const char **p, const char *end, struct slice *name, struct slice *value) {
    uint64_t n;
    if (*p == end)
        return false;
    int known = (unsigned char)*(*p)++;
    if (known >= NAMES || (!known && !get_bytes(p, end, name)) || !get_varint(p, end, &n))
        return false;
    if (known)
        *name = slice_of(names[known]);
    *value = (struct slice){0};
    if (n == 0)
        return true;
    if (n - 1 > (uint64_t)(end - *p))
        return false;
    *value = slice_make(*p, (size_t)n - 1);
    *p += n - 1;
    return true;
}

struct slice chunk_header(struct slice headers, const char *wanted) {
    struct slice name, value;
    uint64_t n;
    if (!headers.data)
        return (struct slice){0};
    const char *p = headers.data, *end = headers.data + headers.len;
    if (!get_varint(&p, end, &n))
        return (struct slice){0};
    while (n-- > 0 && next_header(&p, end, &name, &value))
        if (slice_is(name, wanted))
            return value;
    return (struct slice){0};
}
