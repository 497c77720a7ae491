/* Deleting what is older, or more, than is to be kept: whole chunks, from the beginning, a few in a
 * transaction. */
#include "journal/embedded/upkeep.h"

#include <string.h>

#define BYTES_AT_ONCE 262144 /* then another partition may be the oldest */

struct span { /* the oldest chunks of a partition that go together */
    int64_t ids[64], lasts[64];
    int n;
    int64_t last, bytes; /* of the newest of them; of all */
};

/* At most 64, each with a time before `before_us`; and `bytes_max` of them, but one at least. */
static enum code oldest(struct store *s, const struct upkeep_part *part, int64_t to, int64_t before_us,
                        int64_t bytes_max, struct span *ret, struct err *err) {
    sqlite3_stmt *row;
    *ret = (struct span){0};
    enum code code = store_row(s, SQL_CHUNKS_FROM, &row, err, "ii", part->id, to);
    while (code == OK && ret->n < 64 && sqlite3_column_int64(row, 2) < before_us &&
           (!ret->n || ret->bytes < bytes_max)) {
        ret->ids[ret->n] = sqlite3_column_int64(row, 0);
        ret->last = ret->lasts[ret->n++] = sqlite3_column_int64(row, 1);
        ret->bytes += sqlite3_column_int64(row, 3);
        code = store_next(s, row, err);
    }
    if (code == OK)
        store_end(row);
    return code == AGAIN ? OK : code;
}

/* `forget`: a reader that still needs them is told so, by a gap. */
static enum code delete_span(struct upkeep_pass *p, const struct upkeep_part *part, const struct span *span,
                             bool forget, struct err *err) {
    enum code code = upkeep_begin(p, err);
    for (int i = 0; i < span->n && code == OK; i++)
        code = store_run(p->store, SQL_CHUNK_DELETE, err, "iii", span->ids[i], part->id, span->lasts[i]);
    if (code == OK && forget)
        code = store_run(p->store, SQL_LOW, err, "ii", part->id, span->last + 1);
    if (code == OK)
        return store_commit(p->store, err);
    store_rollback(p->store);
    return code;
}

static enum code delete_before(struct upkeep_pass *p, const struct upkeep_part *part, int64_t to,
                               int64_t before_us, bool forget, struct err *err) {
    while (!upkeep_ends(p)) {
        struct span span;
        enum code code = oldest(p->store, part, to, before_us, INT64_MAX, &span, err);
        if (code == OK && span.n)
            code = delete_span(p, part, &span, forget, err);
        if (code != OK || !span.n)
            return code;
    }
    return OK;
}

static bool is_history(const struct embedded_journal *j, const struct upkeep_part *part) {
    return !part->compacted && embedded_of_table(j, part->topic);
}

/* Of commit records those from the newest full one on are kept whatever their age. Who comes later than that
 * goes on there: nothing is missing for it but the boundaries between. */
static enum code by_age(struct upkeep_pass *p, const struct upkeep_part *part, struct err *err) {
    const struct embedded_journal *j = p->store->journal;
    const struct embedded_options *o = j->options;
    if (is_history(j, part) && o->retention_ms >= 0)
        return delete_before(p, part, part->next, p->now_us - o->retention_ms * 1000, true, err);
    if (strcmp(part->topic, j->commits) == 0 && p->full_at > 0)
        return delete_before(p, part, p->full_at, p->now_us - o->compaction_lag_ms * 1000, false, err);
    return OK;
}

/* ---- by size ---- */

struct histories {
    int64_t bytes;
    struct upkeep_part oldest;
    int64_t oldest_us;
};

static enum code number(struct store *s, sqlite3_stmt *row, enum code code, int64_t *ret) {
    (void)s;
    if (code != OK)
        return code;
    *ret = sqlite3_column_int64(row, 0);
    store_end(row);
    return OK;
}

static enum code weigh(struct store *s, const struct upkeep_part *part, struct histories *h,
                       struct err *err) {
    sqlite3_stmt *row;
    int64_t bytes = 0, first_us = INT64_MAX;
    enum code code = store_row(s, SQL_WEIGHT, &row, err, "iii", part->id, INT64_C(0), part->next);
    code = number(s, row, code, &bytes);
    if (code == OK) {
        code = store_row(s, SQL_FIRST, &row, err, "ii", part->id, part->next);
        code = number(s, row, code, &first_us);
    }
    h->bytes += bytes;
    if (code == OK && first_us < h->oldest_us) {
        h->oldest = *part;
        h->oldest_us = first_us;
    }
    return code == AGAIN ? OK : code;
}

/* Deletes the oldest chunks of the oldest partition, of those that are too much; *ret_bytes: how many
 * bytes. */
static enum code by_size_once(struct upkeep_pass *p, int64_t *ret_bytes, struct err *err) {
    struct histories h = {.oldest_us = INT64_MAX};
    struct upkeep_part part = {0};
    struct span span;
    int64_t limit = p->store->journal->options->retention_bytes;
    enum code code = AGAIN;
    *ret_bytes = 0;
    while ((code = upkeep_part_next(p->store, part.id, &part, err)) == OK) {
        if (is_history(p->store->journal, &part))
            code = weigh(p->store, &part, &h, err);
        if (code != OK)
            return code;
    }
    if (code != AGAIN || h.bytes <= limit || h.oldest_us == INT64_MAX)
        return code == AGAIN ? OK : code;
    int64_t excess = h.bytes - limit;
    code = oldest(p->store, &h.oldest, h.oldest.next, INT64_MAX,
                  excess < BYTES_AT_ONCE ? excess : BYTES_AT_ONCE, &span, err);
    if (code == OK && span.n)
        code = delete_span(p, &h.oldest, &span, true, err);
    *ret_bytes = code == OK ? span.bytes : 0;
    return code;
}

enum code upkeep_retain(struct upkeep_pass *p, struct err *err) {
    struct upkeep_part part = {0};
    enum code code = AGAIN;
    while (!upkeep_ends(p) && (code = upkeep_part_next(p->store, part.id, &part, err)) == OK) {
        code = by_age(p, &part, err);
        if (code != OK)
            return code;
    }
    if (upkeep_ends(p) || code != AGAIN)
        return upkeep_ends(p) ? OK : code;
    int64_t bytes = p->store->journal->options->retention_bytes ? 1 : 0;
    code = OK;
    while (bytes > 0 && code == OK && !upkeep_ends(p))
        code = by_size_once(p, &bytes, err);
    return code;
}
