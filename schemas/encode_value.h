/* One column's value as Avro binary. Private to the encoder. */
#pragma once

#include "schemas/change.h"

/* What a row writes in the place of a value that is not there. */
enum absent_form {
    ABSENT_PLACEHOLDER, /* `after`: Debezium's placeholder text where the kind is text or bytes */
    ABSENT_EMPTY,       /* `before`: null, or the kind's zero */
};

/* Appends the value of a row record's field: the union's branch if the column is nullable, then the value.
 * Returns NULL, or the reason why the value cannot be carried (a constant text); then nothing was
 * appended. */
MUST_CHECK const char *value_write(const struct column *column, const struct value *value,
                                   enum absent_form form, struct buf *out);
/* The same for a field of the key record: never a union, NULL and ABSENT are refused. */
MUST_CHECK const char *value_write_key(const struct column *column, const struct value *value,
                                       struct buf *out);

/* ---- Avro primitives ---- */

#define VARINT_BYTES_MAX 10

/* Avro's long (and int): zigzag, then 7 bits per byte, lowest first. Writes at most VARINT_BYTES_MAX bytes to
 * `out` and returns the place after them. */
static inline char *varint_write(char *out, int64_t number) {
    uint64_t bits = ((uint64_t)number << 1) ^ (uint64_t)(number >> 63);
    while (bits >= 0x80) {
        *out++ = (char)(bits | 0x80);
        bits >>= 7;
    }
    *out++ = (char)bits;
    return out;
}

/* Avro's string or bytes; needs room for VARINT_BYTES_MAX + text.len. */
static inline char *text_write(char *out, struct slice text) {
    out = varint_write(out, (int64_t)text.len);
    if (text.len)
        memcpy(out, text.data, text.len);
    return out + text.len;
}
