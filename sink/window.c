#include "sink/window.h"

#include <assert.h>

#include "schemas/decode.h"

void window_init(struct window *w, const struct journal_ops *journal, struct journal_reader *reader) {
    *w = (struct window){.journal = journal, .reader = reader};
}

void window_free(struct window *w) {
    free(w->heap);
    free(w->waiting);
    *w = (struct window){0};
}

static bool before(const struct stream *a, const struct stream *b) {
    int order = position_cmp(a->head_position, b->head_position);
    return order < 0 || (order == 0 && a->partition < b->partition);
}

static void heap_push(struct window *w, struct stream *s) {
    int i = w->n_heap++;
    for (; i > 0 && before(s, w->heap[(i - 1) / 2]); i = (i - 1) / 2)
        w->heap[i] = w->heap[(i - 1) / 2];
    w->heap[i] = s;
}

static struct stream *heap_pop(struct window *w) {
    struct stream *least = w->heap[0], *s = w->heap[--w->n_heap];
    int i = 0;
    for (int child; (child = 2 * i + 1) < w->n_heap; i = child) {
        if (child + 1 < w->n_heap && before(w->heap[child + 1], w->heap[child]))
            child++;
        if (!before(w->heap[child], s))
            break;
        w->heap[i] = w->heap[child];
    }
    if (w->n_heap > 0)
        w->heap[i] = s;
    return least;
}

enum code window_add(struct window *w, const char *topic, struct stream *s, int64_t last, struct err *err) {
    if (s->next > last)
        return OK;
    if (w->n_heap + w->n_waiting == w->cap) {
        w->cap = w->cap ? w->cap * 2 : 16;
        w->heap = xrealloc(w->heap, (size_t)w->cap * sizeof(*w->heap));
        w->waiting = xrealloc(w->waiting, (size_t)w->cap * sizeof(*w->waiting));
    }
    if (s->id < 0) {
        enum code code = w->journal->stream_open(w->reader, topic, s->partition, s->next, &s->id, err);
        if (code != OK)
            return code;
    }
    s->last = last;
    w->waiting[w->n_waiting++] = s;
    return OK;
}

/* Fetches the stream's next head. OK: it is in the heap, or the stream is done. */
static enum code fetch_head(struct window *w, struct stream *s, struct err *err) {
    while (s->next <= s->last) {
        enum code code = w->journal->stream_next(w->reader, s->id, s->last, &s->head, err);
        if (code != OK)
            return code;
        if (s->head.offset > s->last) { /* the rest was compacted away or is the journal's own */
            s->next = s->last + 1;
            s->dirty = true;
            return OK;
        }
        if (s->head.value.data || s->head.header.len) {
            code = header_read(s->head.header, &s->head_position, &s->head_flags, err);
            if (code != OK)
                return code;
            heap_push(w, s);
            return OK;
        }
        s->next = s->head.offset + 1; /* a tombstone that is not ours */
        s->dirty = true;
    }
    return OK;
}

static enum code fetch_waiting(struct window *w, struct stream **ret, struct err *err) {
    while (w->n_waiting > 0) {
        *ret = w->waiting[w->n_waiting - 1];
        enum code code = fetch_head(w, *ret, err);
        if (code != OK)
            return code;
        w->n_waiting--;
    }
    return OK;
}

enum code window_next(struct window *w, struct stream **ret, struct err *err) {
    *ret = NULL;
    if (w->current) {
        w->waiting[w->n_waiting++] = w->current;
        w->current = NULL;
    }
    enum code code = fetch_waiting(w, ret, err);
    if (code != OK)
        return code;
    *ret = NULL;
    if (w->n_heap == 0)
        return OK;
    struct stream *s = heap_pop(w);
    assert(s->head.offset >= s->next && s->head.offset <= s->last);
    s->next = s->head.offset + 1;
    s->dirty = true;
    w->current = *ret = s;
    return OK;
}
