/* Compaction: of the records that are older than compaction_lag, the newest of each key is kept, and of a
 * deleted row its delete for delete_retention more.
 *
 *   offset 0 ......... clean ........ upto ............ next
 *   |-- no key twice --|--- dirty ---|- too young yet -|
 *
 * A run learns the keys of the dirty part, and where each was seen last, as many as fit into memory; then it
 * copies everything up to there, chunk by chunk, without the records that a later one supersedes, in small
 * transactions, from the beginning. What remains keeps its offset. Then it notes how far it came, and when: a
 * delete may go when the rows before it have been gone for delete_retention, so that whoever read such a row
 * had the time to come to its delete. A run that ended in the middle is repeated from the beginning. */
#include <inttypes.h>

#include "base/log.h"
#include "journal/embedded/keys.h"
#include "journal/embedded/part.h"
#include "journal/embedded/upkeep.h"

#define KEY_BYTES_MAX  (16u << 20)
#define COPY_BYTES_MAX (256u << 10) /* in one transaction, and so how long a commit may have to wait */
#define COPY_CHUNKS    256

struct run {
    struct upkeep_pass *pass;
    const struct upkeep_part *part;
    int64_t clean, upto; /* see above */
    int64_t forget;      /* deletes below this offset have been known for long enough */
    struct keys keys;
    struct part_chunk chunk;
    int64_t dropped;
};

/* ---- learning ---- */

/* Into `keys`; false: they are full. */
static enum code learn_chunk(struct run *r, bool *ret_full, struct err *err) {
    struct chunk_cursor cursor;
    struct chunk_record record;
    enum code code =
        part_chunk_open(&r->chunk, r->pass->store, r->part->topic, r->part->partition, &cursor, err);
    *ret_full = false;
    while (code == OK && !*ret_full && (code = chunk_next(&cursor, &record)) == OK)
        if (record.key.data)
            *ret_full = !keys_put(&r->keys, record.key, record.offset);
    if (code == REJECT)
        return part_damaged(r->pass->store, r->part->topic, r->part->partition, r->chunk.head.first, err);
    return code == AGAIN ? OK : code;
}

static enum code learn(struct run *r, struct err *err) {
    int64_t at = r->clean;
    while (!upkeep_ends(r->pass)) {
        enum part_read what;
        bool full = false;
        enum code code = part_read_between(r->pass->store, r->part->id, at, r->upto, &r->chunk, &what, err);
        if (code == OK && what == PART_CHUNK)
            code = learn_chunk(r, &full, err);
        if (code != OK || what != PART_CHUNK)
            return code;
        if (full && at > r->clean) {
            r->upto =
                at; /* the rest with the next run; what was learned of this chunk already does no harm */
            return OK;
        }
        at = r->chunk.head.last + 1;
        if (full) {
            r->upto = at;
            return OK;
        }
    }
    return AGAIN;
}

/* ---- copying ---- */

struct copy { /* some chunks in a row, and what becomes of them */
    struct {
        int64_t id, last, crc;
    } old[COPY_CHUNKS];
    size_t n;
    size_t bytes;
    int64_t to; /* behind the last of them */
    struct chunk out;
    struct {
        struct chunk_head head;
        size_t from, len;
    } made[COPY_CHUNKS + 1];
    size_t n_made;
    struct buf made_bytes;
    int64_t dropped;
};

static void close_out(struct copy *c, const struct run *r) {
    if (chunk_empty(&c->out))
        return;
    c->made[c->n_made].head = (struct chunk_head){r->part->id, c->out.first, c->out.last, c->out.ts_us};
    c->made[c->n_made].from = c->made_bytes.len;
    c->made[c->n_made++].len = c->out.bytes.len;
    buf_put_slice(&c->made_bytes, buf_slice(&c->out.bytes));
    chunk_clear(&c->out);
}

static bool superseded(const struct run *r, const struct chunk_record *record) {
    if (!record->key.data)
        return false;
    if (!record->value.data && record->offset < r->forget)
        return true;
    return keys_get(&r->keys, record->key) > record->offset;
}

static enum code copy_chunk(struct run *r, struct copy *c, struct err *err) {
    struct chunk_cursor cursor;
    struct chunk_record record;
    enum code code =
        part_chunk_open(&r->chunk, r->pass->store, r->part->topic, r->part->partition, &cursor, err);
    while (code == OK && (code = chunk_next(&cursor, &record)) == OK) {
        if (record.offset < c->to) /* in two chunks */
            return part_damaged(r->pass->store, r->part->topic, r->part->partition, record.offset, err);
        if (superseded(r, &record)) {
            c->dropped++;
            continue;
        }
        if (!chunk_empty(&c->out) &&
            c->out.bytes.len + record.key.len + record.value.len > EMBEDDED_CHUNK_BYTES &&
            c->n_made < COPY_CHUNKS)
            close_out(c, r);
        chunk_put(&c->out, &record);
    }
    if (code == REJECT)
        return part_damaged(r->pass->store, r->part->topic, r->part->partition, r->chunk.head.first, err);
    c->old[c->n].id = r->chunk.id;
    c->old[c->n].last = r->chunk.head.last;
    c->old[c->n++].crc = r->chunk.crc;
    c->bytes += r->chunk.bytes.len;
    c->to = r->chunk.head.last + 1;
    return code == AGAIN ? OK : code;
}

static enum code write_rows(struct run *r, struct copy *c, struct err *err) {
    struct store *s = r->pass->store;
    enum code code = OK;
    for (size_t i = 0; i < c->n && code == OK; i++) {
        code = store_run(s, SQL_CHUNK_REPLACE, err, "iiii", c->old[i].id, r->part->id, c->old[i].last,
                         c->old[i].crc);
        if (code == OK && store_changed(s) != 1)
            code = err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                           "journal file '%s': somebody else deletes from it", s->journal->path);
    }
    for (size_t i = 0; i < c->n_made && code == OK; i++) {
        const struct chunk_head *h = &c->made[i].head;
        struct slice bytes = slice_make(c->made_bytes.data + c->made[i].from, c->made[i].len);
        code = store_run(s, SQL_CHUNK_ADD, err, "iiiiiib", h->part, h->first, h->last, h->ts_us,
                         (int64_t)bytes.len, (int64_t)chunk_crc(h, bytes), bytes);
    }
    return code;
}

static enum code write_copy(struct run *r, struct copy *c, struct err *err) {
    close_out(c, r);
    if (c->dropped == 0 && c->n_made >= c->n)
        return OK; /* as they were */
    enum code code = upkeep_begin(r->pass, err);
    if (code == OK)
        code = write_rows(r, c, err);
    if (code == OK)
        return store_commit(r->pass->store, err);
    store_rollback(r->pass->store);
    return code;
}

/* Some chunks from `at` on. *ret_more: there are others behind them. */
static enum code copy_some(struct run *r, struct copy *c, int64_t at, bool *ret_more, struct err *err) {
    c->n = c->n_made = c->bytes = 0;
    c->dropped = 0;
    c->to = at;
    buf_clear(&c->made_bytes);
    while (c->bytes < COPY_BYTES_MAX && c->n < COPY_CHUNKS) {
        enum part_read what;
        enum code code =
            part_read_between(r->pass->store, r->part->id, c->to, r->upto, &r->chunk, &what, err);
        *ret_more = what == PART_CHUNK;
        if (code == OK && what == PART_CHUNK)
            code = copy_chunk(r, c, err);
        if (code != OK)
            return code;
        if (what != PART_CHUNK)
            break;
    }
    enum code code = write_copy(r, c, err);
    r->dropped += c->dropped;
    return code;
}

static enum code copy_all(struct run *r, struct err *err) {
    struct copy *c = xcalloc(1, sizeof *c);
    enum code code = OK;
    int64_t at = 0;
    for (bool more = true; more && code == OK; at = c->to)
        code = upkeep_ends(r->pass) ? AGAIN : copy_some(r, c, at, &more, err);
    chunk_free(&c->out);
    buf_free(&c->made_bytes);
    free(c);
    return code;
}

/* ---- what is to be done ---- */

/* How far the last run came, and which deletes have been known for long enough. */
static enum code read_cleanings(struct run *r, struct err *err) {
    sqlite3_stmt *row;
    int64_t now_ms = r->pass->now_us / 1000, kept_ms = r->pass->store->journal->options->delete_retention_ms;
    enum code code = store_row(r->pass->store, SQL_CLEANED, &row, err, "i", r->part->id);
    while (code == OK) { /* from the newest on */
        int64_t upto = sqlite3_column_int64(row, 0), at_ms = sqlite3_column_int64(row, 1);
        if (upto > r->clean)
            r->clean = upto;
        if (at_ms <= now_ms - kept_ms && upto > r->forget)
            r->forget = upto;
        code = store_next(r->pass->store, row, err);
    }
    return code == AGAIN ? OK : code;
}

static enum code column(struct store *s, enum sql sql, int64_t part, int64_t from, int64_t to, int64_t *ret,
                        struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, sql, &row, err, "iii", part, from, to);
    if (code != OK)
        return code;
    *ret = sqlite3_column_int64(row, 0);
    store_end(row);
    return OK;
}

/* AGAIN: nothing, or not enough to be worth copying the rest. */
static enum code find_dirty(struct run *r, struct err *err) {
    struct store *s = r->pass->store;
    const struct upkeep_part *part = r->part;
    int64_t young = part->next, last, dirty, before;
    int64_t old_us = r->pass->now_us - s->journal->options->compaction_lag_ms * 1000;
    enum code code = column(s, SQL_FIRST_YOUNG, part->id, r->clean, old_us, &young, err);
    if (code != OK && code != AGAIN)
        return code;
    if (young > part->next)
        young = part->next;
    code = column(s, SQL_LAST_BEFORE, part->id, r->clean, young, &last, err);
    if (code != OK)
        return code;
    r->upto = last + 1;
    code = column(s, SQL_WEIGHT, part->id, r->clean, r->upto, &dirty, err);
    if (code == OK)
        code = column(s, SQL_WEIGHT, part->id, INT64_C(0), r->clean, &before, err);
    if (code != OK)
        return code;
    return r->pass->asked || dirty >= before / (r->pass->hurry ? 16 : 2) ? OK : AGAIN;
}

static enum code note_cleaning(struct run *r, struct err *err) {
    struct store *s = r->pass->store;
    enum code code = upkeep_begin(r->pass, err);
    if (code == OK)
        code = store_run(s, SQL_CLEANING_ADD, err, "iii", r->part->id, r->upto, r->pass->now_us / 1000);
    if (code == OK)
        code = store_run(s, SQL_CLEANING_TRIM, err, "ii", r->part->id, r->forget);
    if (code == OK)
        return store_commit(s, err);
    store_rollback(s);
    return code;
}

/* AGAIN: nothing is left to do. */
static enum code run_once(struct upkeep_pass *p, const struct upkeep_part *part, struct err *err) {
    struct run r = {.pass = p, .part = part};
    enum code code = read_cleanings(&r, err);
    if (code == OK)
        code = find_dirty(&r, err);
    if (code == OK) {
        keys_init(&r.keys, KEY_BYTES_MAX);
        code = learn(&r, err);
        if (code == OK)
            code = copy_all(&r, err);
        if (code == OK)
            code = note_cleaning(&r, err);
        if (code == OK)
            log_debug("journal", "compacted", F_STR("topic", part->topic),
                      F_INT("partition", part->partition), F_INT("upto", r.upto),
                      F_INT("dropped", r.dropped));
        keys_free(&r.keys);
    }
    part_chunk_free(&r.chunk);
    return code;
}

enum code upkeep_compact(struct upkeep_pass *p, struct err *err) {
    struct upkeep_part part = {0};
    enum code code = AGAIN, damaged = OK;
    while (!upkeep_ends(p) &&
           (code = upkeep_part_next(p->store, part.id, &part, damaged ? NULL : err)) == OK) {
        if (!part.compacted || !embedded_of_table(p->store->journal, part.topic))
            continue;
        while (!upkeep_ends(p) && (code = run_once(p, &part, damaged ? NULL : err)) == OK)
            ;
        if (code == FATAL)
            damaged = code;
        else if (code != OK && code != AGAIN)
            return code;
    }
    if (damaged)
        return damaged;
    return upkeep_ends(p) || code == AGAIN ? OK : code;
}
