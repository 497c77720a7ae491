/* Items from a feed: positions, the two halves of a key change, boundaries, what the journal has already.
 *
 * Inside one commit each row of the change table takes two ordinals, whether its table is selected or not and
 * whether its key changes or not: a position depends on the change table alone. */
#include "capture/trigger/trigger.h"

#include "base/log.h"
#include "capture/trigger/state.h"

#define MEND "take a new snapshot: millrace capture --config FILE --resnapshot"
enum { CONNECT_MS = 10000, LOOK_MS = 20000 };

struct trigger_source {
    struct source source;
    const struct feed_ops *ops;
    struct feed *feed;
    struct trigger_state state;
    uint64_t generation;
    struct position resumed; /* changes at or before it are dropped */
    bool resumed_boundary;
    bool snapshotting;
    uint64_t commit, ordinal; /* of the rows in hand */
    uint64_t ended;           /* every commit up to here was handed over as a whole */
    bool handed;              /* something, since the last boundary */
    bool passed;              /* rows of tables that are not selected, since the last item */
    bool stale_told;
    struct feed_item item; /* of the pending second half */
    bool pending;
    int64_t snapshot_us;
    const struct source_env *env;
    struct source_env env_copy;
};

static struct trigger_source *self(struct source *source) {
    return (struct trigger_source *)source;
}

/* ---- opening ---- */

static enum code stale_check(const struct trigger_state *state, struct err *err) {
    if (!state->stale || !*state->stale)
        return OK;
    return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT, "rows changed without change rows (%s); " MEND,
                   state->stale);
}

/* Whether the stream can go on from `after` in what was found. */
static enum code continuity_check(const struct trigger_state *state, uint64_t after,
                                  const struct feed_look *look, struct err *err) {
    enum code code = stale_check(state, err);
    if (code)
        return code;
    if (strcmp(state->identity, look->identity) != 0)
        return err_set(
            err, FATAL, ERR_NEEDS_RESNAPSHOT,
            "the installation in the source is another one than the stored position belongs to (%s, "
            "now %s): it was made anew after a gap, or the database was restored or failed over; " MEND,
            state->identity, look->identity);
    if (after > look->last_id)
        return err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the stored position %llu lies beyond the last change that the source ever recorded, "
                       "%llu: the database was set back; " MEND,
                       (unsigned long long)after, (unsigned long long)look->last_id);
    return OK;
}

static uint64_t resume_after(const struct trigger_state *state, const struct source_resume *resume) {
    uint64_t commit = resume->position.commit;
    uint64_t whole = resume->boundary || !commit ? commit : commit - 1;
    return whole > state->after ? whole : state->after;
}

static enum code begin(struct trigger_source *s, const struct source_resume *resume,
                       const struct feed_look *look, struct err *err) {
    enum code code = OK;
    bool stored = resume->found && !resume->resnapshot;
    if (stored)
        code = trigger_state_read(resume->state, &s->state, err);
    if (code)
        return code;
    if (stored && !s->state.found)
        return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                       "the journal holds a position of this source without its state");
    bool streaming = s->state.found && s->state.streaming;
    s->generation = resume->found ? resume->position.generation + !streaming : 1;
    if (!streaming) {
        trigger_state_free(&s->state);
        s->state = (struct trigger_state){.found = true};
        memcpy(s->state.identity, look->identity, sizeof s->state.identity);
        s->snapshotting = true;
        s->snapshot_us = clock_wall(s->env->clock);
        return s->ops->snapshot(s->feed, err);
    }
    s->resumed = resume->position;
    s->resumed_boundary = resume->boundary;
    s->commit = s->resumed.commit;
    s->ended = resume_after(&s->state, resume);
    code = continuity_check(&s->state, s->ended, look, err);
    if (code)
        return code;
    log_info("capture", "reading change table", F_STR("installation", look->identity),
             F_INT("after", s->ended), F_INT("last", look->last_id));
    return s->ops->stream(s->feed, s->state.start, s->ended, err);
}

static void log_findings(const struct feed_look *look) {
    for (const struct feed_finding *f = look->findings; f; f = f->next)
        if (f->level == FEED_WARN)
            log_warn("capture", "source", F_STR("finding", f->what), F_STR("mend", f->mend));
}

enum code trigger_open(const struct source_ops *ops, const struct feed_ops *feed, const void *options,
                       const struct source_env *env, const struct source_resume *resume, struct source **ret,
                       struct err *err) {
    struct trigger_source *s = xcalloc(1, sizeof *s);
    s->source.ops = ops;
    s->ops = feed;
    s->env_copy = *env;
    s->env = &s->env_copy;
    struct feed_look look = {0};
    enum code code = feed->connect(options, s->env, CONNECT_MS, &s->feed, err);
    if (code == OK)
        code = feed->claim(s->feed, err);
    if (code == OK)
        code = feed->look(s->feed, LOOK_MS, &look, err);
    if (code == OK)
        code = feed_look_judge(&look, err);
    if (code == OK) {
        log_findings(&look);
        code = begin(s, resume, &look, err);
    }
    feed_look_free(&look);
    if (code) {
        trigger_close(&s->source);
        return code;
    }
    *ret = &s->source;
    return OK;
}

enum code trigger_vacant(const struct feed_ops *feed, const void *options, const struct source_env *env,
                         struct err *err) {
    struct feed *f = NULL;
    enum code code = feed->connect(options, env, CONNECT_MS, &f, err);
    if (code == OK)
        code = feed->claim(f, err);
    feed->close(f);
    return code;
}

void trigger_close(struct source *source) {
    struct trigger_source *s = self(source);
    if (!s)
        return;
    s->ops->close(s->feed);
    trigger_state_free(&s->state);
    free(s);
}

/* ---- items ---- */

static bool same_value(const struct value *a, const struct value *b) {
    if (a->tag != b->tag)
        return false;
    switch (a->tag) {
    case VALUE_INT:
    case VALUE_FLOAT: /* by its bits: -0 and 0 are two keys to a topic */
        return a->i == b->i;
    case VALUE_TEXT:
    case VALUE_BYTES:
        return slice_eq(a->s, b->s);
    case VALUE_POINT:
        return a->xy[0] == b->xy[0] && a->xy[1] == b->xy[1];
    default:
        return true;
    }
}

static bool key_changed(const struct feed_item *f) {
    for (int i = 0; i < f->table->n_key; i++)
        if (!same_value(&f->before[f->table->key[i]], &f->after[f->table->key[i]]))
            return true;
    return false;
}

static struct position position_of(const struct trigger_source *s, uint64_t ordinal) {
    return (struct position){s->generation, s->snapshotting ? 0 : s->commit, ordinal};
}

/* False: it was handed over before we were resumed. */
static bool make_change(struct trigger_source *s, const struct feed_item *f, enum op op, uint64_t ordinal,
                        struct source_item *ret) {
    struct position position = position_of(s, ordinal);
    if (position_cmp(position, s->resumed) <= 0)
        return false;
    int64_t us = s->snapshotting ? s->snapshot_us : f->commit_us;
    *ret = (struct source_item){.type = ITEM_CHANGE, .position = position, .commit_us = us};
    ret->change = (struct change){
        .op = op,
        .table = f->table,
        .position = position,
        .before = f->before,
        .after = f->after,
        .snapshot = s->snapshotting,
        .restart_identity = f->restart_identity,
        .commit_us = us,
        .lsn = f->id,
        .xid = f->xid,
    };
    s->handed = true;
    return true;
}

static bool second_half(struct trigger_source *s, struct source_item *ret) {
    s->pending = false;
    if (!make_change(s, &s->item, OP_CREATE, s->ordinal, ret))
        return false;
    ret->change.before = NULL;
    ret->change.other = s->item.before;
    return true;
}

/* Delete of the old key, then create of the new one. */
static bool first_half(struct trigger_source *s, const struct feed_item *f, struct source_item *ret) {
    s->item = *f;
    s->pending = true;
    if (!make_change(s, f, OP_DELETE, s->ordinal - 1, ret))
        return second_half(s, ret);
    ret->change.after = NULL;
    ret->change.other = f->after;
    return true;
}

static bool on_change(struct trigger_source *s, const struct feed_item *f, struct source_item *ret) {
    if (f->commit != s->commit && !s->snapshotting) {
        s->commit = f->commit;
        s->ordinal = 0;
    }
    s->ordinal += s->snapshotting ? 1 : 2;
    if (!f->table) {
        s->passed = true;
        return false;
    }
    if (f->op == OP_UPDATE && f->before && key_changed(f))
        return first_half(s, f, ret);
    return make_change(s, f, f->op, s->ordinal, ret);
}

/* Only rows that are not ours lay before the end: they may be deleted when nothing else happens, too. */
static bool on_passed(struct trigger_source *s, struct source_item *ret) {
    if (!s->passed)
        return false;
    s->passed = false;
    *ret = (struct source_item){
        .type = ITEM_IDLE, .position = position_of(s, s->ordinal), .commit_us = clock_wall(s->env->clock)};
    return true;
}

static bool on_end(struct trigger_source *s, const struct feed_item *f, struct source_item *ret) {
    bool completes = !s->resumed_boundary && s->resumed.commit && s->resumed.commit == s->commit;
    s->ended = f->commit;
    if (!s->handed && !completes)
        return on_passed(s, ret);
    s->handed = s->passed = false;
    s->resumed_boundary = true;
    *ret = (struct source_item){
        .type = ITEM_COMMIT, .position = position_of(s, s->ordinal), .commit_us = f->commit_us};
    return true;
}

static bool on_snapshot_end(struct trigger_source *s, const struct feed_item *f, struct source_item *ret) {
    *ret = (struct source_item){
        .type = ITEM_COMMIT, .position = position_of(s, s->ordinal), .commit_us = s->snapshot_us};
    s->state.streaming = true;
    s->state.after = s->ended = s->commit = f->commit;
    free(s->state.start);
    s->state.start = xstrdup(f->text ? f->text : "");
    s->snapshotting = s->handed = false;
    s->resumed_boundary = true;
    s->ordinal = 0;
    log_info("capture", "snapshot read", F_INT("stream_after", f->commit));
    return true;
}

/* First the journal is told, so that no later start can miss it; the next item is the stop. */
static bool on_stale(struct trigger_source *s, const struct feed_item *f, struct source_item *ret) {
    s->stale_told = true;
    free(s->state.stale);
    s->state.stale = xstrdup(f->text);
    *ret = (struct source_item){.type = ITEM_IDLE,
                                .position = position_of(s, s->ordinal),
                                .commit_us = clock_wall(s->env->clock),
                                .urgent = true};
    return true;
}

enum code trigger_next(struct source *source, struct source_item *ret, struct err *err) {
    struct trigger_source *s = self(source);
    if (s->pending && second_half(s, ret))
        return OK;
    if (s->stale_told)
        return stale_check(&s->state, err);
    for (;;) {
        struct feed_item f = {0};
        enum code code = s->ops->next(s->feed, &f, err);
        if (code)
            return code;
        bool made = false;
        switch (f.type) {
        case FEED_CHANGE:
            made = on_change(s, &f, ret);
            break;
        case FEED_END:
            made = on_end(s, &f, ret);
            break;
        case FEED_SNAPSHOT:
            made = on_snapshot_end(s, &f, ret);
            break;
        case FEED_STALE:
            made = on_stale(s, &f, ret);
            break;
        }
        if (made)
            return OK;
    }
}

/* ---- the rest ---- */

int trigger_fds(struct source *source, struct pollfd *fds, int n, int64_t *deadline_us) {
    struct trigger_source *s = self(source);
    return s->ops->fds(s->feed, fds, n, deadline_us);
}

enum code trigger_service(struct source *source, struct err *err) {
    struct trigger_source *s = self(source);
    return s->ops->service(s->feed, err);
}

static void renew_start(struct trigger_source *s) {
    struct buf start = {0};
    s->ops->start(s->feed, &start);
    free(s->state.start);
    s->state.start = xstrdup(buf_cstr(&start));
    buf_free(&start);
}

uint64_t trigger_mark(struct source *source, struct buf *ret_state) {
    struct trigger_source *s = self(source);
    if (s->ops->start && s->state.streaming)
        renew_start(s);
    trigger_state_put(&s->state, ret_state);
    return s->state.streaming ? s->ended : 0;
}

enum code trigger_confirm(struct source *source, uint64_t mark, struct err *err) {
    struct trigger_source *s = self(source);
    return mark ? s->ops->forget(s->feed, mark, err) : OK;
}

struct source_progress trigger_progress(struct source *source) {
    struct trigger_source *s = self(source);
    return s->ops->gauge(s->feed).progress;
}

uint64_t trigger_lag_bytes(struct source *source) {
    struct trigger_source *s = self(source);
    return s->ops->gauge(s->feed).lag_bytes;
}

uint64_t trigger_held_bytes(struct source *source) {
    struct trigger_source *s = self(source);
    return s->ops->gauge(s->feed).held_bytes;
}
