/* Frames become changes: positions, key changes, truncates. Every frame of a change takes an ordinal, whether
 * its table is selected or not, and an update takes two, whether its key changes or not: a position depends
 * on the log alone, not on the selection or on the keys that the catalog of the day tells. */
#include "capture/postgres/source.h"

#include "base/log.h"

/* Position of the next change; false if it was handed over before we were resumed. */
static bool position_take(struct pg_source *s, struct position *ret) {
    *ret = (struct position){s->generation, s->tx_lsn, ++s->ordinal};
    if (position_cmp(*ret, s->resumed) <= 0)
        return false;
    s->tx_handed = true;
    s->last = *ret;
    return true;
}

static void make_change(struct pg_source *s, struct position position, uint64_t lsn, enum op op,
                        const struct relation *r, struct source_item *ret) {
    *ret = (struct source_item){.type = ITEM_CHANGE, .position = position, .commit_us = s->tx_us};
    ret->change = (struct change){
        .op = op,
        .table = r->table,
        .position = position,
        .commit_us = s->tx_us,
        .lsn = lsn,
        .xid = s->tx_xid,
    };
}

/* The relation of a change: OK, AGAIN (not selected), FATAL. */
static enum code find(struct pg_source *s, uint32_t relid, struct relation **ret, struct err *err) {
    if (!s->in_tx)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "the server sent a change outside of a transaction");
    *ret = catalog_find(s->catalog, relid);
    if (!*ret)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "the server sent a change of relation %u without describing it", relid);
    return (*ret)->table ? OK : AGAIN;
}

/* ---- the kinds of frames ---- */

static enum code on_begin(struct pg_source *s, struct err *err) {
    if (s->in_tx)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "the server began a transaction inside another");
    s->in_tx = true;
    s->tx_handed = false;
    s->tx_lsn = s->frame->commit_lsn;
    s->tx_us = s->frame->commit_us;
    s->tx_xid = s->frame->xid;
    s->ordinal = 0;
    return AGAIN;
}

static enum code on_commit(struct pg_source *s, struct source_item *ret, struct err *err) {
    if (!s->in_tx || s->frame->commit_lsn != s->tx_lsn)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "the server committed a transaction that it had not begun");
    s->in_tx = false;
    struct position position = {s->generation, s->tx_lsn, s->ordinal};
    /* Stored in mid-transaction, just before this commit: all its changes are known, the boundary is not. */
    bool completes = !s->resumed_boundary && s->ordinal && s->resumed.commit == s->tx_lsn &&
                     s->resumed.generation == s->generation;
    if (!s->tx_handed && !completes) {
        if (s->stream.keepalive < s->frame->end_lsn)
            s->stream.keepalive = s->frame->end_lsn; /* nothing of ours in it: as good as a keepalive */
        return AGAIN;
    }
    s->last = position;
    s->taken = s->committed = s->frame->end_lsn;
    *ret = (struct source_item){.type = ITEM_COMMIT, .position = position, .commit_us = s->tx_us};
    return OK;
}

static enum code on_insert(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    struct relation *r;
    struct position position;
    enum code code = find(s, s->frame->relid, &r, err);
    if (code == FATAL)
        return code;
    bool fresh = false;
    if (code == AGAIN)
        s->ordinal++;
    else
        fresh = position_take(s, &position);
    if (!fresh)
        return AGAIN;
    code = decode_row(&s->decoder, r, &s->frame->new, 0, s->decoder.after, err);
    if (code)
        return code;
    make_change(s, position, lsn, OP_CREATE, r, ret);
    ret->change.after = s->decoder.after;
    return OK;
}

static enum code pending_create(struct pg_source *s, struct source_item *ret) {
    struct position position;
    s->pending = PENDING_NONE;
    if (!position_take(s, &position))
        return AGAIN;
    make_change(s, position, s->pending_lsn, OP_CREATE, s->relation, ret);
    ret->change.after = s->decoder.after;
    ret->change.other = s->decoder.before;
    ret->change.moved_partial = s->pending_partial;
    return OK;
}

/* Delete of the old key, then create of the new one; both rows are decoded, the second half waits. */
static enum code key_change(struct pg_source *s, struct relation *r, uint64_t lsn, struct source_item *ret) {
    struct position position;
    bool fresh = position_take(s, &position);
    s->pending = PENDING_CREATE;
    s->relation = r;
    s->pending_lsn = lsn;
    s->pending_partial = !row_full(s->decoder.after, r->table->n_columns);
    if (!fresh)
        return pending_create(s, ret);
    make_change(s, position, lsn, OP_DELETE, r, ret);
    ret->change.before = s->decoder.before;
    ret->change.other = s->decoder.after;
    ret->change.moved_partial = s->pending_partial;
    return OK;
}

static enum code decode_update(struct pg_source *s, struct relation *r, struct err *err) {
    struct pgoutput *f = s->frame;
    enum code code = OK;
    if (f->old_kind)
        decode_fill_unchanged(r, &f->old, f->old_kind, &f->new);
    if (f->old_kind)
        code = decode_row(&s->decoder, r, &f->old, f->old_kind, s->decoder.before, err);
    if (code == OK)
        code = decode_row(&s->decoder, r, &f->new, 0, s->decoder.after, err);
    return code ? code : decode_check_after(r, s->decoder.after, err);
}

static enum code on_update(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    struct pgoutput *f = s->frame;
    struct relation *r;
    struct position position;
    enum code code = find(s, f->relid, &r, err);
    if (code == FATAL)
        return code;
    struct position newest = {s->generation, s->tx_lsn, s->ordinal + 2};
    if (code == AGAIN || position_cmp(newest, s->resumed) <= 0) {
        s->ordinal = newest.ordinal;
        return AGAIN;
    }
    bool moved = f->old_kind && decode_key_changed(r, &f->old, &f->new);
    code = decode_update(s, r, err);
    if (code)
        return code;
    if (moved)
        return key_change(s, r, lsn, ret);
    s->ordinal++; /* it has the second of the two */
    if (!position_take(s, &position))
        return AGAIN;
    make_change(s, position, lsn, OP_UPDATE, r, ret);
    ret->change.before = f->old_kind ? s->decoder.before : NULL;
    ret->change.after = s->decoder.after;
    return OK;
}

static enum code on_delete(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    struct pgoutput *f = s->frame;
    struct relation *r;
    struct position position;
    enum code code = find(s, f->relid, &r, err);
    if (code == FATAL)
        return code;
    bool fresh = false;
    if (code == AGAIN)
        s->ordinal++;
    else
        fresh = position_take(s, &position);
    if (!fresh)
        return AGAIN;
    code = decode_row(&s->decoder, r, &f->old, f->old_kind, s->decoder.before, err);
    if (code)
        return code;
    make_change(s, position, lsn, OP_DELETE, r, ret);
    ret->change.before = s->decoder.before;
    return OK;
}

/* One item per selected relation, from pending_at on. */
static enum code pending_truncate(struct pg_source *s, struct source_item *ret, struct err *err) {
    while (s->pending_at < s->frame->n_relids) {
        struct relation *r;
        struct position position;
        enum code code = find(s, pgoutput_relid(s->frame, s->pending_at++), &r, err);
        if (code == FATAL)
            return code;
        if (code == AGAIN) {
            s->ordinal++;
            continue;
        }
        if (!position_take(s, &position))
            continue;
        make_change(s, position, s->pending_lsn, OP_TRUNCATE, r, ret);
        ret->change.restart_identity = s->frame->restart;
        return OK;
    }
    s->pending = PENDING_NONE;
    return AGAIN;
}

static enum code on_truncate(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    s->pending = PENDING_TRUNCATE;
    s->pending_at = 0;
    s->pending_lsn = lsn;
    return pending_truncate(s, ret, err);
}

static enum code on_relation(struct pg_source *s, struct err *err) {
    struct relation *r;
    enum code code = s->in_tx ? catalog_see(s->catalog, (uint32_t)s->tx_xid, err) : OK;
    if (code == OK)
        code = catalog_take(s->catalog, &s->frame->relation, &r, err);
    return code == OK ? AGAIN : code;
}

/* ---- dispatch ---- */

enum code source_pending(struct pg_source *s, struct source_item *ret, struct err *err) {
    switch (s->pending) {
    case PENDING_CREATE:
        return pending_create(s, ret);
    case PENDING_TRUNCATE:
        return pending_truncate(s, ret, err);
    case PENDING_NONE:
        break;
    }
    return AGAIN;
}

static enum code frame(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    switch (s->frame->type) {
    case 'B':
        return on_begin(s, err);
    case 'C':
        return on_commit(s, ret, err);
    case 'I':
        return on_insert(s, lsn, ret, err);
    case 'U':
        return on_update(s, lsn, ret, err);
    case 'D':
        return on_delete(s, lsn, ret, err);
    case 'T':
        return on_truncate(s, lsn, ret, err);
    case 'R':
        return on_relation(s, err);
    case 'Y':
        catalog_name_type(s->catalog, s->frame->relid, s->frame->schema, s->frame->name);
        return AGAIN;
    default:
        return AGAIN; /* O: where it came from; M: a message, never a position */
    }
}

/* Rows changed without an event: first the journal is told, so that no later start can miss it; the next item
 * is the stop. The change that came with it is not handed over. */
static enum code tell_stale(struct pg_source *s, struct source_item *ret) {
    s->stale_told = true;
    *ret = (struct source_item){
        .type = ITEM_IDLE, .position = s->last, .commit_us = clock_wall(s->env.clock), .urgent = true};
    return OK;
}

enum code source_frame(struct pg_source *s, uint64_t lsn, struct source_item *ret, struct err *err) {
    enum code code = frame(s, lsn, ret, err);
    return (code == OK || code == AGAIN) && *catalog_stale(s->catalog) ? tell_stale(s, ret) : code;
}
