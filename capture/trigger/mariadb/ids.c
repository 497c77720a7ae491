#include "capture/trigger/mariadb/ids.h"

#include <inttypes.h>

enum { RUNS_PER_STATEMENT = 500 };

void ids_free(struct id_set *set) {
    free(set->runs);
    *set = (struct id_set){0};
}

static void put_run(struct id_set *set, uint64_t first, uint64_t last) {
    set->count += last - first + 1;
    if (set->n && set->runs[set->n - 1].last + 1 == first) {
        set->runs[set->n - 1].last = last;
        return;
    }
    if (set->n == set->cap) {
        set->cap = set->cap ? set->cap * 2 : 8;
        set->runs = xrealloc(set->runs, sizeof *set->runs * set->cap);
    }
    set->runs[set->n++] = (struct id_run){first, last};
}

void ids_append(struct id_set *set, uint64_t id) {
    put_run(set, id, id);
}

bool ids_has(const struct id_set *set, uint64_t id) {
    size_t low = 0, high = set->n;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (set->runs[mid].last < id)
            low = mid + 1;
        else
            high = mid;
    }
    return low < set->n && set->runs[low].first <= id;
}

/* Both are disjoint. */
void ids_unite(struct id_set *set, const struct id_set *more) {
    struct id_set out = {0};
    size_t i = 0, j = 0;
    while (i < set->n || j < more->n) {
        bool ours = j == more->n || (i < set->n && set->runs[i].first < more->runs[j].first);
        struct id_run run = ours ? set->runs[i++] : more->runs[j++];
        put_run(&out, run.first, run.last);
    }
    ids_free(set);
    *set = out;
}

void ids_subtract(struct id_set *set, const struct id_set *less) {
    struct id_set out = {0};
    size_t j = 0;
    for (size_t i = 0; i < set->n; i++) {
        uint64_t first = set->runs[i].first, last = set->runs[i].last;
        while (j < less->n && less->runs[j].last < first)
            j++;
        for (size_t k = j; k < less->n && less->runs[k].first <= last && first <= last; k++) {
            if (less->runs[k].first > first)
                put_run(&out, first, less->runs[k].first - 1);
            first = less->runs[k].last + 1;
        }
        if (first <= last)
            put_run(&out, first, last);
    }
    ids_free(set);
    *set = out;
}

void ids_print(const struct id_set *set, struct buf *out) {
    for (size_t i = 0; i < set->n; i++) {
        buf_printf(out, "%s%" PRIu64, i ? "," : "", set->runs[i].first);
        if (set->runs[i].last != set->runs[i].first)
            buf_printf(out, "-%" PRIu64, set->runs[i].last);
    }
}

static bool take_number(struct slice *text, uint64_t *ret) {
    size_t n = 0;
    *ret = 0;
    for (; n < text->len && n < 19 && text->data[n] >= '0' && text->data[n] <= '9'; n++)
        *ret = *ret * 10 + (uint64_t)(text->data[n] - '0');
    text->data += n, text->len -= n;
    return n > 0;
}

static bool take_char(struct slice *text, char c) {
    if (!text->len || text->data[0] != c)
        return false;
    text->data++, text->len--;
    return true;
}

bool ids_parse(struct slice text, struct id_set *ret) {
    uint64_t above = 0;
    while (text.len) {
        uint64_t first, last;
        if (!take_number(&text, &first))
            return false;
        last = first;
        if (take_char(&text, '-') && !take_number(&text, &last))
            return false;
        if (first <= above || last < first || (text.len && (!take_char(&text, ',') || !text.len)))
            return false;
        put_run(ret, first, last);
        above = last;
    }
    return true;
}

uint64_t ids_put_condition(const struct id_set *set, size_t *run, uint64_t *from, uint64_t ids_max,
                           struct buf *sql) {
    uint64_t count = 0;
    for (int n = 0; *run < set->n && count < ids_max && n < RUNS_PER_STATEMENT; n++) {
        const struct id_run *r = &set->runs[*run];
        uint64_t first = *from ? *from : r->first, last = r->last;
        if (last - first >= ids_max - count)
            last = first + (ids_max - count) - 1;
        buf_puts(sql, n ? " OR " : "");
        buf_printf(sql, "id BETWEEN %" PRIu64 " AND %" PRIu64, first, last);
        count += last - first + 1;
        *from = last == r->last ? 0 : last + 1;
        *run += last == r->last;
    }
    return count;
}
