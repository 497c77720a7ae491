#include "journal/embedded/keys.h"

#include <sys/random.h>

#include "schemas/hash.h"

#define SLOTS_FIRST 1024

struct keys_slot {
    const char *key; /* NULL: empty; 8 bytes of length, then the key */
    uint32_t hash;
    int64_t offset;
};

void keys_init(struct keys *k, size_t bytes_max) {
    *k = (struct keys){.bytes_max = bytes_max, .n_slots = SLOTS_FIRST};
    if (getrandom(&k->seed, sizeof k->seed, 0) != (ssize_t)sizeof k->seed)
        abort();
    k->slots = xcalloc(k->n_slots, sizeof *k->slots);
}

void keys_free(struct keys *k) {
    free(k->slots);
    arena_free(&k->arena);
    *k = (struct keys){0};
}

static struct slice key_of(const struct keys_slot *slot) {
    uint64_t len;
    memcpy(&len, slot->key, sizeof len);
    return slice_make(slot->key + sizeof len, (size_t)len);
}

static uint32_t hash_of(const struct keys *k, struct slice key) {
    uint64_t h = fnv_bytes(fnv_u64(FNV_START, k->seed), key.data, key.len);
    return (uint32_t)(h ^ h >> 32);
}

/* The slot of the key, or the empty one where it belongs. */
static struct keys_slot *slot_of(const struct keys *k, struct slice key, uint32_t hash) {
    size_t i = hash & (k->n_slots - 1);
    while (k->slots[i].key && (k->slots[i].hash != hash || !slice_eq(key_of(&k->slots[i]), key)))
        i = (i + 1) & (k->n_slots - 1);
    return &k->slots[i];
}

static void grow(struct keys *k) {
    struct keys old = *k;
    k->n_slots *= 2;
    k->slots = xcalloc(k->n_slots, sizeof *k->slots);
    for (size_t i = 0; i < old.n_slots; i++)
        if (old.slots[i].key)
            *slot_of(k, key_of(&old.slots[i]), old.slots[i].hash) = old.slots[i];
    free(old.slots);
}

bool keys_put(struct keys *k, struct slice key, int64_t offset) {
    uint32_t hash = hash_of(k, key);
    struct keys_slot *slot = slot_of(k, key, hash);
    if (slot->key) {
        if (offset > slot->offset)
            slot->offset = offset;
        return true;
    }
    bool tight = (k->n + 1) * 4 > k->n_slots * 3;
    size_t slots = k->n_slots * sizeof *slot * (tight ? 3 : 1); /* old and new ones at a time */
    if (k->n && slots + k->arena.used + key.len + 16 > k->bytes_max)
        return false;
    if (tight) {
        grow(k);
        slot = slot_of(k, key, hash);
    }
    uint64_t len = key.len;
    char *copy = arena_alloc(&k->arena, sizeof len + key.len);
    memcpy(copy, &len, sizeof len);
    memcpy(copy + sizeof len, key.data, key.len);
    *slot = (struct keys_slot){copy, hash, offset};
    k->n++;
    return true;
}

int64_t keys_get(const struct keys *k, struct slice key) {
    const struct keys_slot *slot = slot_of(k, key, hash_of(k, key));
    return slot->key ? slot->offset : -1;
}
