/* Memory that is freed all at once: one arena per batch, one per loaded schema. */
#pragma once

#include "base/slice.h"

struct arena_block;
struct arena {
    struct arena_block *blocks;
    char *next, *end;
    size_t used; /* bytes handed out since the last reset: the batch's size */
};

void *arena_alloc_slow(struct arena *arena, size_t size);
/* `size` bytes, 8-byte aligned, not zeroed, valid until arena_reset or arena_free. Aborts without memory. */
static inline void *arena_alloc(struct arena *arena, size_t size) {
    size_t rounded = (size + 7) & ~(size_t)7; /* 0 where size is 0 or overflows: both go the slow way */
    if (rounded - 1 >= (size_t)(arena->end - arena->next))
        return arena_alloc_slow(arena, size);
    char *p = arena->next;
    arena->next += rounded;
    arena->used += rounded;
    return p;
}
void *arena_zalloc(struct arena *arena, size_t size);
struct slice arena_copy(struct arena *arena, struct slice bytes);
char *arena_strdup(struct arena *arena, const char *text);
char *arena_strndup(struct arena *arena, const char *text, size_t len);
char *arena_printf(struct arena *arena, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* keeps one block of at most 1 MB for the next batch, frees the rest */
void arena_reset(struct arena *arena);
void arena_free(struct arena *arena);
