/* Writing: what was taken goes to the replica in loads, one after another; the applier writes one while the
 * crank fills the next. */
#include "base/log.h"
#include "sink/worker.h"

/* ---- filling ---- */

/* A table that `tables` leaves out keeps no place in the journal: taken in later, it is read from its
 * beginning. */
static bool passed_over(const struct sink_topic *t) {
    return t->mapped && !t->mapped->table;
}

static int moved_offsets(struct sink *s, struct arena *arena, struct sink_offset **ret) {
    int n = 0, k = 0;
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams && !passed_over(s->topics[i]); p++)
            n += s->topics[i]->streams[p].dirty;
    *ret = arena_alloc(arena, (size_t)n * sizeof(**ret));
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams && !passed_over(s->topics[i]); p++) {
            const struct stream *stream = &s->topics[i]->streams[p];
            if (stream->dirty)
                (*ret)[k++] = (struct sink_offset){s->topics[i]->name, p, stream->next, stream->position};
        }
    return n;
}

static void fill_progress(struct sink *s, struct load *load) {
    load->progress = s->progress;
    if (!s->pinned) { /* a parked table keeps the cursor: it is read again from there once it is mended */
        load->progress.commit_seq = s->seen_seq;
        load->progress.commits_next = s->seen_next;
    }
    load->progress.position = s->position;
    load->progress.commit_us = s->commit_us;
    load->progress.rebuild = false;
    load->progress.pipeline = s->pipeline[0] ? s->pipeline : NULL;
    arena_reset(&load->arena);
    load->progress.n_offsets = moved_offsets(s, &load->arena, &load->progress.offsets);
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams; p++)
            s->topics[i]->streams[p].dirty = false;
    memcpy(load->stamps, s->stamps, (size_t)s->n_stamps * sizeof *s->stamps);
    load->n_stamps = s->n_stamps;
    s->n_stamps = 0;
    s->dirty = false;
}

static void add_topic(struct load *load, struct sink_topic *t) {
    if (load->n == load->cap) {
        load->cap = load->cap ? load->cap * 2 : 16;
        load->topics = xrealloc(load->topics, (size_t)load->cap * sizeof(*load->topics));
    }
    load->topics[load->n++] = t;
}

/* Takes all batches over: what was written last time is the next to be filled. */
static void fill(struct sink *s, bool commit) {
    struct load *load = &s->load;
    load->n = 0;
    load->commit = commit;
    load->begun_us = clock_mono(s->env->clock);
    for (int i = 0; i < s->n_topics; i++) {
        struct sink_topic *t = s->topics[i];
        if (t->batch.n == 0)
            continue;
        struct batch out = t->batch;
        t->batch = t->out;
        t->out = out;
        worker_batch(s, t);
        add_topic(load, t);
    }
    s->batch_used = 0;
    load->seen_seq = s->seen_seq;
    load->taken = s->taken;
    load->taken_bytes = s->taken_bytes;
    if (commit)
        fill_progress(s, load);
}

/* ---- writing ---- */

/* @threads the crank's or the applier's: only the load, its topics' `out`, and the target are touched. */
static enum code write_load(void *sink_arg, struct err *err) {
    struct sink *s = sink_arg;
    struct load *load = &s->load;
    load->refused = NULL;
    for (int i = 0; i < load->n; i++) {
        enum code code = s->env->target->apply(s->target, &load->topics[i]->out, err);
        if (code == REJECT)
            load->refused = load->topics[i];
        if (code != OK)
            return code;
        batch_reset(&load->topics[i]->out, load->topics[i]->out.table);
    }
    return load->commit ? s->env->target->commit(s->target, &load->progress, err) : OK;
}

/* Tables that were parked and go on again: the replica is told, once for each claim. */
static enum code unpark(struct sink *s, struct err *err) {
    for (int i = 0; i < s->n_topics && s->env->config->consistency == CONSISTENCY_KEY; i++) {
        struct sink_topic *t = s->topics[i];
        if (t->applied || !t->mapped || !t->mapped->table)
            continue;
        enum code code =
            s->env->target->park(s->target, t->mapped->table->schema, t->mapped->table->name, NULL, err);
        if (code == OK) /* its first change may have been one that nobody could read */
            code = s->env->target->park(s->target, "", t->name, NULL, err);
        if (code != OK)
            return code;
        t->applied = true;
    }
    return OK;
}

static enum code committed(struct sink *s, const struct load *load, struct err *err) {
    int64_t now = clock_mono(s->env->clock);
    for (int i = 0; i < load->n_stamps; i++)
        metric_observe(s->m_latency, clock_age_s(s->env->clock, load->stamps[i]));
    s->progress.commit_seq = load->progress.commit_seq;
    s->progress.commits_next = load->progress.commits_next;
    s->progress.rebuild = false;
    s->committed_us = s->renew_us = now;
    s->view.commit_seq = load->seen_seq;
    s->view.commit_us = load->progress.commit_us;
    metric_set(s->m_batch, (double)(load->taken - s->view.changes));
    s->view.changes = load->taken;
    s->view.bytes = load->taken_bytes;
    metric_add(s->m_commits, 1);
    metric_observe(s->m_commit_seconds, (double)(now - load->begun_us) / 1e6);
    if (s->view.commit_us)
        metric_set(s->m_time, (double)s->view.commit_us / 1e6);
    bool behind = s->view.commit_seq_end > load->seen_seq;
    metric_set(s->m_seq_lag, behind ? (double)(s->view.commit_seq_end - load->seen_seq) : 0);
    log_debug(SINK_ROOM, "committed", F_STR("sink", s->env->name), F_INT("worker", s->env->worker),
              F_INT("seq", load->seen_seq), F_LSN("position", load->progress.position.commit),
              F_INT("us", now - load->begun_us));
    return unpark(s, err);
}

static enum code outcome(struct sink *s, enum code code, struct err *err) {
    s->load.under_way = false;
    if (code == REJECT)
        return worker_reject(s, s->load.refused, err);
    return code == OK && s->load.commit ? committed(s, &s->load, err) : code;
}

enum code worker_settle(struct sink *s, struct err *err) {
    if (!s->load.under_way)
        return OK;
    return outcome(s, applier_wait(s->applier, err), err);
}

enum code worker_write(struct sink *s, unsigned how, struct err *err) {
    enum code code = worker_settle(s, err);
    if (code != OK)
        return code;
    fill(s, how & LOAD_COMMIT);
    s->load.under_way = true;
    if (how & LOAD_WAIT)
        return outcome(s, write_load(s, err), err);
    applier_hand(s->applier, write_load, s);
    return OK;
}
