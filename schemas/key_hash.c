/* Which partition a key belongs to, whatever the text of its values looks like.
 *
 * FNV-1a 64 over, for each key column in key order, the length of its canonical bytes as 8 bytes big-endian
 * and those bytes; then the 64-bit finaliser of MurmurHash3 (fmix64), because FNV's low bits mix badly.
 * Canonical bytes: integers, dates, times (tag INT)  8 bytes big-endian, two's complement floats IEEE 754
 * double, big-endian; -0 as 0; every NaN as 0x7ff8000000000000 DECIMAL, TEXT of "numeric..."
 * [-]digits[.digits] without '+', leading zeros, trailing zeros after the point, a point without digits, or a
 * minus before zero; any other text (NaN) as it is every other text, bytes           its bytes points two
 * doubles as above A NULL or absent key column (the encoder refuses both) counts as the length 2^64-1 without
 * bytes. This places keys in partitions, so it may never change. */
#include "schemas/encode.h"

#include "schemas/hash.h"
#include <math.h>

static uint64_t double_bits(double number) {
    if (isnan(number))
        return UINT64_C(0x7ff8000000000000);
    if (number == 0)
        return 0;
    uint64_t bits;
    memcpy(&bits, &number, sizeof bits);
    return bits;
}

static const char *skip_digits(const char *at, const char *end) {
    while (at < end && *at >= '0' && *at <= '9')
        at++;
    return at;
}

static uint64_t hash_bytes(uint64_t hash, struct slice bytes) {
    return fnv_bytes(fnv_u64(hash, bytes.len), bytes.data, bytes.len);
}

static uint64_t hash_decimal(uint64_t hash, struct slice text) {
    const char *at = text.data, *end = text.data + text.len;
    bool negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        at++;
    const char *whole = at, *whole_end = skip_digits(at, end);
    const char *part = whole_end < end && *whole_end == '.' ? whole_end + 1 : whole_end;
    const char *part_end = skip_digits(part, end);
    if (part_end != end || (whole == whole_end && part == part_end))
        return hash_bytes(hash, text);
    while (whole < whole_end && *whole == '0')
        whole++;
    while (part_end > part && part_end[-1] == '0')
        part_end--;
    struct slice integer = slice_make(whole, (size_t)(whole_end - whole));
    struct slice fraction = slice_make(part, (size_t)(part_end - part));
    if (integer.len == 0 && fraction.len == 0)
        negative = false;
    if (integer.len == 0)
        integer = slice_make("0", 1);
    hash = fnv_u64(hash, negative + integer.len + (fraction.len ? 1 + fraction.len : 0));
    if (negative)
        hash = fnv_byte(hash, '-');
    hash = fnv_bytes(hash, integer.data, integer.len);
    if (fraction.len == 0)
        return hash;
    return fnv_bytes(fnv_byte(hash, '.'), fraction.data, fraction.len);
}

static uint64_t hash_value(uint64_t hash, const struct column *column, const struct value *value) {
    switch (value->tag) {
    case VALUE_INT:
        return fnv_u64(fnv_u64(hash, 8), (uint64_t)value->i);
    case VALUE_FLOAT:
        return fnv_u64(fnv_u64(hash, 8), double_bits(value->d));
    case VALUE_TEXT:
        if (column->kind == KIND_DECIMAL ||
            (column->kind == KIND_TEXT && strncmp(column->type, "numeric", 7) == 0))
            return hash_decimal(hash, value->s);
        return hash_bytes(hash, value->s);
    case VALUE_BYTES:
        return hash_bytes(hash, value->s);
    case VALUE_POINT:
        hash = fnv_u64(fnv_u64(hash, 16), double_bits(value->xy[0]));
        return fnv_u64(hash, double_bits(value->xy[1]));
    case VALUE_ABSENT:
    case VALUE_NULL:
        break;
    }
    return fnv_u64(hash, UINT64_MAX);
}

static uint64_t fmix64(uint64_t hash) {
    hash = (hash ^ hash >> 33) * UINT64_C(0xff51afd7ed558ccd);
    hash = (hash ^ hash >> 33) * UINT64_C(0xc4ceb9fe1a85ec53);
    return hash ^ hash >> 33;
}

uint64_t key_hash(const struct table *table, const struct value *row) {
    if (table->n_key == 0)
        return 0;
    uint64_t hash = FNV_START;
    for (int i = 0; i < table->n_key; i++)
        hash = hash_value(hash, &table->columns[table->key[i]], &row[table->key[i]]);
    return fmix64(hash);
}
