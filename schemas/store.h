/* Where Avro schemas are kept under small ids: a schema registry, or the journal itself. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

struct schema_store;

/* Registers `json` (Avro schema text) under `subject` and returns its id; the same text gives the same id.
 * Cached: a repeated call costs a hash look-up. Blocks at most until the store's own timeout (5 s).
 * RETRY/REGISTRY_UNREACHABLE; FATAL/SCHEMA_INCOMPATIBLE (HTTP 409, names subject and remedy);
 * FATAL/REGISTRY_REFUSED. */
typedef enum code schema_put_f(struct schema_store *store, const char *subject, struct slice json,
                               uint32_t *ret_id, struct err *err);
/* The text of schema `id`; borrowed, lives as long as the store. Cached for ever (ids are immutable).
 * RETRY/REGISTRY_UNREACHABLE; REJECT/SCHEMA_UNKNOWN (404); FATAL/REGISTRY_REFUSED (rubbish, larger than 4
 * MB). */
typedef enum code schema_get_f(struct schema_store *store, uint32_t id, struct slice *ret_json,
                               struct err *err);
typedef void schema_store_free_f(struct schema_store *store);

/* First member of every store. Not thread-safe: one store per crank. */
struct schema_store {
    schema_put_f *put;
    schema_get_f *get;
    schema_store_free_f *free;
};

MUST_CHECK static inline enum code schema_put(struct schema_store *s, const char *subject, struct slice json,
                                              uint32_t *ret_id, struct err *err) {
    return s->put(s, subject, json, ret_id, err);
}
MUST_CHECK static inline enum code schema_get(struct schema_store *s, uint32_t id, struct slice *ret_json,
                                              struct err *err) {
    return s->get(s, id, ret_json, err);
}
static inline void schema_store_free(struct schema_store *s) {
    if (s)
        s->free(s);
}
