/* Avro bytes by hand, and schemas kept in memory: what the decoder's tests are made of. */
#pragma once

#include "base/err.h"
#include "base/slice.h"
#include "schemas/decode_plan.h"
#include "schemas/store.h"

/* ---- Avro binary, unchecked: tests write wrong bytes with it too
 * ------------------------------------------------- */

static inline void put_raw(struct buf *out, uint64_t raw) {
    for (; raw >= 0x80; raw >>= 7)
        buf_putc(out, (char)(raw | 0x80));
    buf_putc(out, (char)raw);
}

static inline void put_long(struct buf *out, int64_t n) {
    put_raw(out, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

static inline void put_bytes(struct buf *out, const void *data, size_t len) {
    put_long(out, (int64_t)len);
    buf_put(out, data, len);
}

static inline void put_text(struct buf *out, const char *text) {
    put_bytes(out, text, strlen(text));
}

static inline void put_double(struct buf *out, double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    for (int i = 0; i < 8; i++)
        buf_putc(out, (char)(bits >> (8 * i)));
}

static inline void put_float(struct buf *out, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    for (int i = 0; i < 4; i++)
        buf_putc(out, (char)(bits >> (8 * i)));
}

static inline void put_frame(struct buf *out, uint32_t id) {
    char frame[5] = {0, (char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id};
    buf_put(out, frame, sizeof frame);
}

/* The low four bytes of the digest of the table that an envelope's schema describes; 0 if it describes none. */
static inline uint32_t shape_of(const char *schema) {
    struct plan *plan = plan_envelope(slice_of(schema));
    uint32_t shape = plan->table ? (uint32_t)plan->table->digest : 0;
    plan_free(plan);
    return shape;
}

/* The "millrace" header without bitmap. */
static inline void put_header(struct buf *out, uint8_t flags, uint64_t generation, uint64_t commit,
                              uint64_t ordinal, uint32_t shape) {
    const uint64_t numbers[] = {generation, commit, ordinal};
    buf_putc(out, 2);
    buf_putc(out, (char)flags);
    for (int n = 0; n < 3; n++)
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_putc(out, (char)(numbers[n] >> shift));
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(out, (char)(shape >> shift));
}

/* ---- a store in memory: id i is the i-th schema put
 * ---------------------------------------------------------------- */

enum { MEMORY_SCHEMAS_MAX = 256 };
struct memory_store {
    struct schema_store store;
    struct buf texts[MEMORY_SCHEMAS_MAX];
    uint32_t n;
    int gets;
};

static inline enum code memory_put(struct schema_store *store, const char *subject, struct slice json,
                                   uint32_t *ret_id, struct err *err) {
    struct memory_store *m = (struct memory_store *)store;
    (void)subject;
    for (uint32_t i = 0; i < m->n; i++)
        if (slice_eq(buf_slice(&m->texts[i]), json))
            return *ret_id = i, OK;
    if (m->n == MEMORY_SCHEMAS_MAX)
        return err_set(err, FATAL, ERR_SYSTEM, "the test has too many schemas");
    buf_put_slice(&m->texts[m->n], json);
    *ret_id = m->n++;
    return OK;
}

static inline enum code memory_get(struct schema_store *store, uint32_t id, struct slice *ret_json,
                                   struct err *err) {
    struct memory_store *m = (struct memory_store *)store;
    m->gets++;
    if (id >= m->n)
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "nobody knows schema %u", id);
    *ret_json = buf_slice(&m->texts[id]);
    return OK;
}

static inline void memory_free(struct schema_store *store) {
    struct memory_store *m = (struct memory_store *)store;
    for (uint32_t i = 0; i < m->n; i++)
        buf_free(&m->texts[i]);
    m->n = 0;
}

#define MEMORY_STORE                                                          \
    {                                                                         \
        .store = {.put = memory_put, .get = memory_get, .free = memory_free } \
    }

static inline uint32_t memory_add(struct memory_store *m, const char *json) {
    uint32_t id = 0;
    return memory_put(&m->store, "", slice_of(json), &id, NULL) == OK ? id : UINT32_MAX;
}
