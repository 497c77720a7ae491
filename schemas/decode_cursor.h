/* A bounds-checked walk over Avro binary (specification 1.11, "Binary Encoding"). Every length is compared
 * with the bytes that are left before it is used; the first thing that is wrong is kept in `why` and
 * everything after it fails too. */
#pragma once

#include <endian.h>

#include "base/slice.h"

struct cursor {
    const char *p, *end;
    const char *why; /* what was wrong: constant text, never a value; NULL = nothing yet */
    size_t steps;    /* what skipping may still cost: a schema whose values take no bytes must not spin us */
};

static inline struct cursor cursor_of(struct slice bytes) {
    return (struct cursor){.p = bytes.data, .end = bytes.data + bytes.len, .steps = 65536 + 4 * bytes.len};
}

static inline size_t cursor_left(const struct cursor *c) {
    return (size_t)(c->end - c->p);
}

__attribute__((cold, noinline, unused)) static void cursor_blame(struct cursor *c, const char *why) {
    if (!c->why)
        c->why = why;
    c->p = c->end;
}

static inline bool cursor_fail(struct cursor *c,
                               const char *why) { /* inline, so that the compiler sees the false */
    cursor_blame(c, why);
    return false;
}

/* A varint byte by byte: at most ten, the tenth holds only bit 63. */
__attribute__((noinline, unused)) static bool cursor_long_slow(struct cursor *c, uint64_t *raw) {
    uint64_t value = 0;
    for (unsigned i = 0; i < 10; i++) {
        if (c->p == c->end)
            return cursor_fail(c, "truncated number");
        unsigned char byte = (unsigned char)*c->p++;
        if (i == 9 && byte > 1)
            return cursor_fail(c, "number longer than 64 bits");
        value |= (uint64_t)(byte & 0x7F) << (7 * i);
        if (byte < 0x80) {
            if (i > 0 && byte == 0)
                return cursor_fail(c, "number with needless bytes");
            *raw = value;
            return true;
        }
    }
    return cursor_fail(c, "number longer than 64 bits");
}

/* A varint of 2 to 9 bytes at once, the first eight from one word: the groups of seven bits move together in
 * three steps. */
static inline bool cursor_long_word(struct cursor *c, uint64_t *raw) {
    uint64_t word, stops, ninth = 0;
    if (cursor_left(c) < 9)
        return cursor_long_slow(c, raw);
    memcpy(&word, c->p, sizeof word);
    word = le64toh(word);
    stops = ~word & UINT64_C(0x8080808080808080);
    unsigned size = stops ? (unsigned)__builtin_ctzll(stops) / 8 + 1 : 9;
    if ((signed char)c->p[size - 1] <= 0)
        return cursor_long_slow(c, raw); /* longer, or needlessly long */
    if (size == 9)
        ninth = (uint64_t)(unsigned char)c->p[8] << 56;
    word &= (stops ^ (stops - 1)) & UINT64_C(0x7F7F7F7F7F7F7F7F);
    word = (word & UINT64_C(0x007F007F007F007F)) | (word & UINT64_C(0x7F007F007F007F00)) >> 1;
    word = (word & UINT64_C(0x00003FFF00003FFF)) | (word & UINT64_C(0x3FFF00003FFF0000)) >> 2;
    word = (word & UINT64_C(0x000000000FFFFFFF)) | (word & UINT64_C(0x0FFFFFFF00000000)) >> 4;
    c->p += size;
    *raw = word | ninth;
    return true;
}

static inline bool cursor_long(struct cursor *c, int64_t *ret) {
    uint64_t raw;
    if (c->p < c->end && (unsigned char)*c->p < 0x80)
        raw = (unsigned char)*c->p++;
    else if (!cursor_long_word(c, &raw))
        return false;
    *ret = (int64_t)(raw >> 1) ^ -(int64_t)(raw & 1);
    return true;
}

static inline bool cursor_int(struct cursor *c, int64_t *ret) {
    if (!cursor_long(c, ret))
        return false;
    return *ret >= INT32_MIN && *ret <= INT32_MAX ? true : cursor_fail(c, "int outside 32 bits");
}

/* `size` bytes, borrowed. */
static inline bool cursor_take(struct cursor *c, uint64_t size, const char **ret) {
    if (size > cursor_left(c))
        return cursor_fail(c, "length beyond the end of the record");
    *ret = c->p;
    c->p += size;
    return true;
}

/* bytes and string: a length and that many bytes, borrowed. */
static inline bool cursor_bytes(struct cursor *c, struct slice *ret) {
    int64_t len;
    if (!cursor_long(c, &len))
        return false;
    if (len < 0)
        return cursor_fail(c, "negative length");
    ret->len = (size_t)len;
    return cursor_take(c, (uint64_t)len, &ret->data);
}

/* Reads the branch of a union of null and one other: one byte, 0 or 2. null_at: -1 = not a union, otherwise
 * null's branch. */
static inline bool cursor_optional(struct cursor *c, int null_at, bool *ret_null) {
    *ret_null = false;
    if (null_at < 0)
        return true;
    if (c->p == c->end)
        return cursor_fail(c, "truncated union");
    unsigned char branch = (unsigned char)*c->p++;
    *ret_null = branch == null_at * 2;
    return (branch & ~2) == 0 ? true : cursor_fail(c, "union branch that is not in the schema");
}
