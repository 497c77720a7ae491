#include "journal/kafka/parcel.h"

#include <assert.h>
#include <stdalign.h>

static size_t aligned(size_t bytes) {
    return (bytes + alignof(struct parcel) - 1) & ~(alignof(struct parcel) - 1);
}

static struct parcel_block *block_make(struct parcels *all, size_t size) {
    struct parcel_block *b = size == PARCEL_BLOCK_BYTES ? all->spare : NULL;
    if (b)
        all->spare = NULL;
    else
        b = xmalloc(sizeof *b + size);
    *b = (struct parcel_block){.next = all->blocks, .size = size};
    if (b->next)
        b->next->previous = b;
    all->blocks = b;
    return b;
}

static void block_drop(struct parcels *all, struct parcel_block *b) {
    if (b->next)
        b->next->previous = b->previous;
    if (b->previous)
        b->previous->next = b->next;
    else
        all->blocks = b->next;
    if (all->spare || b->size != PARCEL_BLOCK_BYTES)
        free(b);
    else
        all->spare = b;
}

struct parcel *parcel_new(struct parcels *all, int topic, uint32_t charge, struct slice payload) {
    size_t bytes = aligned(sizeof(struct parcel) + payload.len);
    struct parcel_block *b = all->blocks;
    if (!b || b->size - b->used < bytes)
        b = block_make(all, bytes > PARCEL_BLOCK_BYTES ? bytes : PARCEL_BLOCK_BYTES);
    struct parcel *p = (struct parcel *)(void *)(b->bytes + b->used);
    b->used += bytes;
    b->live++;
    *p = (struct parcel){.block = b, .topic = topic, .charge = charge};
    if (payload.len)
        memcpy(p->payload, payload.data, payload.len);
    return p;
}

void parcel_free(struct parcels *all, struct parcel *parcel) {
    struct parcel_block *b = parcel->block;
    assert(b->live > 0);
    if (--b->live > 0)
        return;
    if (b == all->blocks && b->size == PARCEL_BLOCK_BYTES)
        b->used = 0; /* being filled: begin again */
    else
        block_drop(all, b);
}

void parcels_free(struct parcels *all) {
    while (all->blocks) {
        assert(!all->blocks->previous);
        block_drop(all, all->blocks);
    }
    free(all->spare);
    *all = (struct parcels){0};
}
