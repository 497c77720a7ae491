/* Whose the work is and how far it is: the claim, the commit, and tables that are left standing. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "sink/worker.h"

/* ---- claim ---- */

static void load_offsets(struct sink *s) {
    for (int i = 0; i < s->progress.n_offsets; i++) {
        const struct sink_offset *o = &s->progress.offsets[i];
        struct sink_topic *t = worker_topic(s, o->topic);
        struct stream *stream = topic_stream(t, o->partition);
        t->fresh = false;
        stream->next = o->next;
        stream->resumed = true;
        stream->position = o->position;
    }
}

enum code worker_same_journal(struct sink *s, const char *pipeline, struct err *err) {
    if (!pipeline || strcmp(pipeline, s->pipeline) == 0)
        return OK;
    if (!s->pipeline[0]) {
        snprintf(s->pipeline, sizeof s->pipeline, "%s", pipeline);
        return OK;
    }
    return err_set(
        err, FATAL, ERR_JOURNAL_OTHER,
        "the replica of sink %s was built from journal %s, and this is journal %.63s: the journal's "
        "place, its topic_prefix or the commits topic are others than before. Restore the settings as they "
        "were, or "
        "build the replica from this journal: millrace replay --sink %s",
        s->env->name, s->pipeline, pipeline, s->env->name);
}

/* Decides up to which record nothing may be committed. */
static enum code choose_frontier(struct sink *s, struct err *err) {
    struct commit_record *last = NULL;
    int64_t offset;
    arena_reset(&s->end_arena);
    enum code code = s->journal->commits_last(s->reader, OPEN_WAIT_MS, &s->end_arena, &last, &offset, err);
    if (code == OK && !last && s->progress.commit_seq > 0)
        return err_set(
            err, FATAL, ERR_JOURNAL_OTHER,
            "the replica of sink %s was built from %" PRIu64
            " commit records, and the journal holds none: the journal's place, its topic_prefix or the "
            "commits topic are others than before. Restore the settings as they were, or build the replica "
            "from this "
            "journal: millrace replay --sink %s",
            s->env->name, s->progress.commit_seq, s->env->name);
    if (code != OK || !last)
        return code == AGAIN ? OK : code;
    code = worker_moved(s, last, err);
    if (code == OK)
        code = worker_same_journal(s, last->pipeline, err);
    if (code != OK)
        return code;
    s->view.commit_seq_end = s->claim_seq = last->seq;
    s->generation = last->position.generation;
    bool newer = s->generation > s->position.generation;
    int64_t whole_us =
        s->journal->kept(s->env->journal).changes_us / 2; /* nothing is compacted away for twice as long */
    if (newer || s->progress.commit_seq == 0 || last->ts_us - s->progress.commit_us > whole_us)
        s->until_seq = last->seq;
    worker_end_until(s);
    if (s->until_seq > s->seen_seq)
        log_info(SINK_ROOM, "building the replica from the journal", F_STR("sink", s->env->name),
                 F_INT("worker", s->env->worker), F_INT("from_seq", s->seen_seq),
                 F_INT("to_seq", s->until_seq));
    return OK;
}

enum code worker_claim(struct sink *s, struct err *err) {
    int64_t now = clock_mono(s->env->clock);
    if (s->claim_us && now - s->claim_us < CLAIM_EVERY_US)
        return AGAIN;
    s->claim_us = now;
    arena_reset(&s->claim_arena);
    enum code code = s->env->target->claim(s->target, s->env->worker, s->env->workers,
                                           s->env->config->lease_ms, &s->claim_arena, &s->progress, err);
    if (code != OK)
        return code;
    load_offsets(s);
    snprintf(s->pipeline, sizeof s->pipeline, "%s", s->progress.pipeline ? s->progress.pipeline : "");
    s->pinned = s->env->parked->n > 0;
    s->seen_seq = s->progress.commit_seq;
    s->seen_next = s->progress.commits_next;
    s->position = s->progress.position;
    s->commit_us = s->progress.commit_us;
    code = choose_frontier(s, err);
    if (code == OK)
        code = s->journal->commits_seek(s->reader, s->progress.commits_next, err);
    if (code != OK)
        return code;
    s->claimed = s->view.owner = true;
    s->renew_us = s->committed_us = s->progress_us = now;
    log_info(SINK_ROOM, "owner", F_STR("sink", s->env->name), F_INT("worker", s->env->worker),
             F_INT("epoch", s->progress.epoch), F_INT("seq", s->seen_seq),
             F_LSN("position", s->position.commit));
    return OK;
}

enum code worker_renew(struct sink *s, struct err *err) {
    int64_t now = clock_mono(s->env->clock);
    if (now - s->renew_us < s->env->config->lease_ms * 1000 / 4)
        return OK;
    s->renew_us = now;
    if (applier_busy(s->applier))
        return OK; /* a session that runs statements is seen */
    enum code code = worker_settle(s, err);
    return code == OK ? s->env->target->renew(s->target, err) : code;
}

/* ---- reject ---- */

/* A table that cannot go on. transaction: the sink stops. key: the table is left standing, the others go
 * on. */
enum code worker_reject(struct sink *s, struct sink_topic *t, struct err *err) {
    if (s->env->config->consistency == CONSISTENCY_TRANSACTION || !t)
        return err->code = FATAL;
    s->env->target->rollback(s->target);
    struct err second = {0};
    const struct table *table = t->mapped && t->mapped->table ? t->mapped->table : NULL;
    enum code code = s->env->target->park(s->target, table ? table->schema : "",
                                          table ? table->name : t->name, err->text, &second);
    if (code != OK)
        log_warn(SINK_ROOM, "could not note the parked table", F_STR("topic", t->name),
                 F_STR("error", second.text));
    log_error(SINK_ROOM,
              "table parked: its changes wait in the journal, the other tables go on; mend it and restart or "
              "send SIGHUP",
              F_STR("sink", s->env->name), F_STR("topic", t->name), F_STR("name", err_name(err->id)),
              F_STR("error", err->text));
    struct sink_parked *parked = s->env->parked;
    parked->topics = xrealloc(parked->topics, (parked->n + 1) * sizeof *parked->topics);
    parked->topics[parked->n++] = xstrdup(t->name);
    return err->code = RETRY; /* the other tables of the lost transaction are read again */
}
