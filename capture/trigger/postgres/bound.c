#include "capture/trigger/postgres/bound.h"

#include <assert.h>
#include <stdio.h>

void bound_start(struct bound *b, uint64_t resolved) {
    b->bound = b->last = b->next = resolved;
    b->polled = false;
    b->n = 0;
}

void bound_free(struct bound *b) {
    free(b->writers);
}

void bound_last(struct bound *b, uint64_t last) {
    b->next = last > b->last ? last : b->last;
    for (int i = 0; i < b->n; i++)
        b->writers[i].here = false;
}

/* A prepared transaction goes on under another name ("-1/..."): its ids are as old as those of any writer. */
static uint64_t floor_of_new(const struct bound *b, const char *who) {
    return b->polled && strncmp(who, "-1/", 3) != 0 ? b->last : b->bound;
}

void bound_writer(struct bound *b, const char *who) {
    for (int i = 0; i < b->n; i++) {
        if (strcmp(b->writers[i].who, who) == 0) {
            b->writers[i].here = true;
            return;
        }
    }
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->writers = xrealloc(b->writers, sizeof *b->writers * (size_t)b->cap);
    }
    struct bound_writer *w = &b->writers[b->n++];
    *w = (struct bound_writer){.floor = floor_of_new(b, who), .here = true};
    snprintf(w->who, sizeof w->who, "%s", who);
}

uint64_t bound_end(struct bound *b) {
    uint64_t least = b->next;
    int kept = 0;
    for (int i = 0; i < b->n; i++) {
        if (!b->writers[i].here)
            continue;
        if (b->writers[i].floor < least)
            least = b->writers[i].floor;
        b->writers[kept++] = b->writers[i];
    }
    b->n = kept;
    b->last = b->next;
    b->polled = true;
    assert(least >= b->bound);
    return b->bound = least;
}
