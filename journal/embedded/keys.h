/* Keys and the offset where each was seen last, in bounded memory. Keys are compared whole: no hash decides
 * what is deleted. */
#pragma once

#include "base/arena.h"

struct keys_slot;
struct keys {
    struct keys_slot *slots; /* a power of two, at most three quarters full */
    size_t n, n_slots;
    size_t bytes_max; /* of slots and keys */
    uint64_t seed;    /* of the hash: who chooses keys does not choose their slots */
    struct arena arena;
};

void keys_init(struct keys *k, size_t bytes_max);
void keys_free(struct keys *k);
/* The larger offset stays. False: there is no room for another key. */
bool keys_put(struct keys *k, struct slice key, int64_t offset);
int64_t keys_get(const struct keys *k, struct slice key); /* -1: not there */
