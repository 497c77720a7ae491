/* FNV-1a 64, for digests and key hashes that must be the same on every machine and for ever. */
#pragma once

#include "base/slice.h"
#include <stdint.h>

#define FNV_START UINT64_C(0xcbf29ce484222325)

static inline uint64_t fnv_byte(uint64_t hash, uint8_t byte) {
    return (hash ^ byte) * UINT64_C(0x100000001b3);
}

static inline uint64_t fnv_bytes(uint64_t hash, const void *data, size_t len) {
    const uint8_t *bytes = data;
    for (size_t i = 0; i < len; i++)
        hash = fnv_byte(hash, bytes[i]);
    return hash;
}

/* A number as 8 bytes, big-endian. */
static inline uint64_t fnv_u64(uint64_t hash, uint64_t number) {
    for (int shift = 56; shift >= 0; shift -= 8)
        hash = fnv_byte(hash, (uint8_t)(number >> shift));
    return hash;
}
