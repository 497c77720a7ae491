/* Sets of ids as runs of successive ones, ascending. */
#pragma once

#include "base/slice.h"

struct id_run {
    uint64_t first, last;
};
struct id_set {
    struct id_run *runs;
    size_t n, cap;
    uint64_t count; /* of ids */
};

void ids_free(struct id_set *set);
void ids_append(struct id_set *set, uint64_t id); /* greater than all that are in it */
bool ids_has(const struct id_set *set, uint64_t id);
void ids_unite(struct id_set *set, const struct id_set *more);
void ids_subtract(struct id_set *set, const struct id_set *less);
/* "10-15,17" and back; false: no such text. */
void ids_print(const struct id_set *set, struct buf *out);
bool ids_parse(struct slice text, struct id_set *ret);
/* Appends "id BETWEEN 10 AND 15 OR id BETWEEN 17 AND 17" for at most `ids_max` ids and 500 runs, beginning
 * at run *run, id *from (0: its first). Moves both behind what was put and returns how many ids that is; 0:
 * nothing is left. */
uint64_t ids_put_condition(const struct id_set *set, size_t *run, uint64_t *from, uint64_t ids_max,
                           struct buf *sql);
