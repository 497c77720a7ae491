/* Records on their way: librdkafka sends payloads from where they stand here, so that a record costs no
 * allocation of its own. They stand in blocks, one behind the other; a block goes when its last record was
 * acknowledged.
 *
 *   block | parcel, payload | parcel, payload | ... used | free |
 *
 * One thread: that of the writer's handle. */
#pragma once

#include "base/slice.h"

#define PARCEL_BLOCK_BYTES (256u << 10)

struct parcel_block {
    struct parcel_block *next, *previous;
    size_t size, used; /* bytes */
    size_t live;       /* parcels not given back */
    char bytes[];
};

struct parcel {
    struct parcel_block *block;
    int topic;
    uint32_t charge; /* what it takes of the queue's bytes */
    char payload[];
};

/* Zero-initialised is empty and valid. Holds at most the parcels that are out, and one block for each 256 KiB
 * of them. */
struct parcels {
    struct parcel_block *blocks; /* all; the first is being filled */
    struct parcel_block *spare;  /* one block that waits for work */
};

/* A parcel with a copy of the payload; valid until parcel_free or parcels_free. */
struct parcel *parcel_new(struct parcels *all, int topic, uint32_t charge, struct slice payload);
void parcel_free(struct parcels *all, struct parcel *parcel);
/* Frees all, whoever still points at them. */
void parcels_free(struct parcels *all);
