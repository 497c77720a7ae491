/* A store of schemas in memory: id i is the i-th schema put. */
#pragma once

#include "schemas/store.h"

enum { MEMORY_SCHEMAS_MAX = 256 };
struct memory_store {
    struct schema_store store; /* schema_store_free() empties it */
    struct buf texts[MEMORY_SCHEMAS_MAX];
    uint32_t n;
    int gets; /* how often a schema was asked for */
};

void memory_init(struct memory_store *m);
/* The id of a schema, put if it was not there; UINT32_MAX if there are too many. */
uint32_t memory_add(struct memory_store *m, const char *json);
