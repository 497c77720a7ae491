/* Blocks in a list; the first is the one that is filled. They double from 16 kB to 1 MB. Something large gets
 * a block of its own behind the first, so that the room left in the first is not lost. */
#include "base/arena.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>

#define BLOCK_MIN ((size_t)16 << 10)
#define BLOCK_MAX ((size_t)1 << 20)

struct arena_block {
    struct arena_block *next;
    size_t size; /* of data */
    _Alignas(8) char data[];
};

static struct arena_block *block_new(size_t size) {
    struct arena_block *block = xmalloc(sizeof *block + size);
    block->size = size;
    block->next = NULL;
    return block;
}

static void block_fill(struct arena *arena, struct arena_block *block) {
    arena->next = block->data;
    arena->end = block->data + block->size;
}

static void *alloc_large(struct arena *arena, size_t size) {
    struct arena_block *block = block_new(size);
    if (arena->blocks) {
        block->next = arena->blocks->next;
        arena->blocks->next = block;
    } else { /* the first: it is full, so next = end = NULL stays true */
        arena->blocks = block;
    }
    arena->used += size;
    return block->data;
}

void *arena_alloc_slow(struct arena *arena, size_t size) {
    assert(size <= SIZE_MAX / 2);
    size = size ? (size + 7) & ~(size_t)7 : 8;
    if (size > BLOCK_MAX / 4)
        return alloc_large(arena, size);
    if ((size_t)(arena->end - arena->next) < size) {
        size_t want = arena->blocks && arena->blocks->size <= BLOCK_MAX ? arena->blocks->size * 2 : BLOCK_MIN;
        if (want > BLOCK_MAX)
            want = BLOCK_MAX;
        if (want < size)
            want = BLOCK_MAX;
        struct arena_block *block = block_new(want);
        block->next = arena->blocks;
        arena->blocks = block;
        block_fill(arena, block);
    }
    char *p = arena->next;
    arena->next += size;
    arena->used += size;
    return p;
}

void *arena_zalloc(struct arena *arena, size_t size) {
    return memset(arena_alloc(arena, size), 0, size);
}

struct slice arena_copy(struct arena *arena, struct slice bytes) {
    char *copy = arena_alloc(arena, bytes.len);
    if (bytes.len)
        memcpy(copy, bytes.data, bytes.len);
    return slice_make(copy, bytes.len);
}

char *arena_strdup(struct arena *arena, const char *text) {
    return arena_strndup(arena, text, strlen(text));
}

char *arena_strndup(struct arena *arena, const char *text, size_t len) {
    assert(len < SIZE_MAX / 2);
    char *copy = arena_alloc(arena, len + 1);
    if (len)
        memcpy(copy, text, len);
    copy[len] = '\0';
    return copy;
}

char *arena_printf(struct arena *arena, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    int len = vsnprintf(NULL, 0, fmt, args);
    assert(len >= 0);
    char *text = arena_alloc(arena, (size_t)len + 1);
    vsnprintf(text, (size_t)len + 1, fmt, again);
    va_end(again);
    va_end(args);
    return text;
}

/* The largest block that may stay. */
static struct arena_block *block_to_keep(const struct arena *arena) {
    struct arena_block *keep = NULL;
    for (struct arena_block *b = arena->blocks; b; b = b->next)
        if (b->size <= BLOCK_MAX && (!keep || b->size > keep->size))
            keep = b;
    return keep;
}

static void free_all_but(struct arena *arena, const struct arena_block *keep) {
    for (struct arena_block *b = arena->blocks, *next; b; b = next) {
        next = b->next;
        if (b != keep)
            free(b);
    }
    *arena = (struct arena){0};
}

void arena_reset(struct arena *arena) {
    struct arena_block *keep = block_to_keep(arena);
    free_all_but(arena, keep);
    if (!keep)
        return;
    keep->next = NULL;
    arena->blocks = keep;
    block_fill(arena, keep);
}

void arena_free(struct arena *arena) {
    free_all_but(arena, NULL);
}
