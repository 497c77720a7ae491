/* Which of the rows that were in the way of a statement did it replace?
 *
 *   'r' x N    x is in the way of N, which is to be inserted       'q' x N    the same of an update
 *   'i' N      N was inserted: x is gone                           'u' .. N
 *   'u' x ..   x is still there (an upsert updated it, or it came later): what was noted of it is void
 *   'd' x      the same (the application's connection has recursive_triggers on, or it came later)
 *   'r' x M    x is still there, in the way of M now
 *
 * A note stays until one of these comes: an insert that is ignored or fails leaves nothing else. It does no
 * harm: x can only go by one of the others. Notes are kept up to a number and a size, the oldest go first;
 * between a note and its insert lie at most the changes that triggers of the application's make in the same
 * table. */
#include <assert.h>

#include "capture/trigger/sqlite/sqlite.h"

enum { NOTES_MAX = 1024, NOTES_KEPT = 16, NOTES_BYTES_MAX = 16 << 20 };

struct note {
    struct note *next; /* the next older one */
    struct arena arena;
    const struct ltable *table;
    struct lrow row; /* cells: x, then N */
    size_t bytes;
};
struct lreplaced {
    struct note *notes; /* newest first */
    struct note *gone;  /* of the change that was seen last, newest first */
    struct note *told;
    int n;
    size_t bytes;
};

static void note_free(struct note *note) {
    if (!note)
        return;
    arena_free(&note->arena);
    free(note);
}

static void list_free(struct note *note) {
    for (struct note *next; note; note = next) {
        next = note->next;
        note_free(note);
    }
}

struct lreplaced *lreplaced_new(void) {
    return xcalloc(1, sizeof(struct lreplaced));
}

void lreplaced_free(struct lreplaced *r) {
    if (!r)
        return;
    list_free(r->notes);
    list_free(r->gone);
    note_free(r->told);
    free(r);
}

/* ---- matching ---- */

static bool same_row(const struct note *note, const struct ltable *t, const struct lrow *row) {
    if (note->table != t)
        return false;
    if (row->numbered)
        return note->row.number == row->number;
    for (int i = 0; i < t->n_columns; i++)
        if (!cell_same(&note->row.cells[i], &row->cells[i]))
            return false;
    return true;
}

/* N as it came, against what was to come: a NULL may have become the default, a row's number is not known
 * before. */
static bool came(const struct note *note, const struct ltable *t, const struct lrow *row) {
    const struct cell *coming = note->row.cells + t->n_columns;
    const struct cell *now = row->cells + (row->op == 'u' ? t->n_columns : 0);
    if (note->table != t || (note->row.op == 'q') != (row->op == 'u'))
        return false;
    if (row->op == 'i' && !note->row.at_ms && note->row.number != row->number)
        return false;
    for (int i = 0; i < t->n_columns; i++) {
        bool unknown =
            coming[i].type == SQLITE_NULL || (coming[i].type == SQLITE_INTEGER && coming[i].i == -1);
        if (!unknown && !cell_same(&coming[i], &now[i]))
            return false;
    }
    return true;
}

/* ---- notes ---- */

/* Takes a note out of the list; the place then holds the next one. */
static struct note *take(struct lreplaced *r, struct note **place) {
    struct note *note = *place;
    *place = note->next;
    note->next = NULL;
    r->n--;
    r->bytes -= note->bytes;
    return note;
}

static void forget_row(struct lreplaced *r, const struct ltable *t, const struct lrow *row) {
    for (struct note **place = &r->notes; *place;)
        if (same_row(*place, t, row))
            note_free(take(r, place));
        else
            place = &(*place)->next;
}

static void forget_oldest(struct lreplaced *r) {
    struct note **place = &r->notes;
    for (int i = 0; *place && (*place)->next; i++)
        place = &(*place)->next;
    if (*place)
        note_free(take(r, place));
}

static void note_row(struct lreplaced *r, const struct ltable *t, const struct lrow *row) {
    struct note *note = xcalloc(1, sizeof *note);
    size_t n = (size_t)t->n_columns * 2;
    note->table = t;
    note->row = *row;
    note->row.cells = arena_alloc(&note->arena, sizeof(struct cell) * (n + 1));
    for (size_t i = 0; i < n; i++) {
        struct cell *cell = &note->row.cells[i];
        *cell = row->cells[i];
        if (cell->s.data)
            cell->s.data = arena_strndup(&note->arena, cell->s.data, cell->s.len);
    }
    note->bytes = note->arena.used + sizeof *note;
    note->next = r->notes;
    r->notes = note;
    r->n++;
    r->bytes += note->bytes;
    while (r->n > NOTES_KEPT && (r->n > NOTES_MAX || r->bytes > NOTES_BYTES_MAX))
        forget_oldest(r);
}

void lreplaced_see(struct lreplaced *r, const struct ltable *t, const struct lrow *row) {
    assert(!r->gone);
    if (row->op == 'u' || row->op == 'd' || row->op == 'r' || row->op == 'q')
        forget_row(r, t, row);
    if (row->op == 'r' || row->op == 'q')
        note_row(r, t, row);
    if (row->op != 'i' && row->op != 'u')
        return;
    for (struct note **place = &r->notes; *place;) {
        if (!came(*place, t, row)) {
            place = &(*place)->next;
            continue;
        }
        struct note *note = take(r, place);
        note->next = r->gone;
        r->gone = note;
    }
}

const struct lrow *lreplaced_next(struct lreplaced *r) {
    note_free(r->told);
    r->told = r->gone;
    if (r->told)
        r->gone = r->told->next, r->told->next = NULL;
    return r->told ? &r->told->row : NULL;
}
