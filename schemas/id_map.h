/* Schema id to pointer: open addressing, a power of two of slots, at most half full. Nothing is ever
 * removed. */
#pragma once

#include "base/slice.h"

struct id_slot {
    void *item; /* NULL = empty */
    uint32_t id;
};
struct id_map { /* zero-initialised is empty */
    struct id_slot *slots;
    size_t n, cap;
};

static inline struct id_slot *id_map_slot(const struct id_map *map, uint32_t id) {
    size_t i = (id * UINT32_C(2654435769)) & (map->cap - 1);
    while (map->slots[i].item && map->slots[i].id != id)
        i = (i + 1) & (map->cap - 1);
    return &map->slots[i];
}

static inline void *id_map_get(const struct id_map *map, uint32_t id) {
    return map->cap ? id_map_slot(map, id)->item : NULL;
}

/* The id must not be in the map; item is not NULL and stays the caller's. */
static inline void id_map_put(struct id_map *map, uint32_t id, void *item) {
    if (map->n * 2 >= map->cap) {
        struct id_map larger = {.cap = map->cap ? map->cap * 2 : 16, .n = map->n};
        larger.slots = xcalloc(larger.cap, sizeof *larger.slots);
        for (size_t i = 0; i < map->cap; i++)
            if (map->slots[i].item)
                *id_map_slot(&larger, map->slots[i].id) = map->slots[i];
        free(map->slots);
        *map = larger;
    }
    *id_map_slot(map, id) = (struct id_slot){item, id};
    map->n++;
}

/* Frees the map and, if `item_free` is given, every item. */
static inline void id_map_free(struct id_map *map, void (*item_free)(void *item)) {
    for (size_t i = 0; item_free && i < map->cap; i++)
        if (map->slots[i].item)
            item_free(map->slots[i].item);
    free(map->slots);
    *map = (struct id_map){0};
}
