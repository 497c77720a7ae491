/* A sink and a pipeline that goes from one journal to another (journal/move.h): it applies the old one to its
 * end, and goes on in the new one behind the record that the copy ended with. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "sink/worker.h"

/* ---- the old journal ---- */

bool worker_behind_end(const struct sink *s, const struct commit_record *record) {
    return s->end_seq && record->seq > s->end_seq && !record->boundary;
}

void worker_end_until(struct sink *s) {
    if (s->end_seq && s->until_seq > s->end_seq)
        s->until_seq = s->end_seq;
}

enum code worker_sealed(struct sink *s, const struct commit_record *record, struct err *err) {
    if (record->move != MOVE_SEALED)
        return OK;
    s->end_seq = record->move_seq;
    worker_end_until(s);
    if (record->boundary || s->env->config->consistency == CONSISTENCY_KEY || s->seen_seq <= s->end_seq)
        return OK;
    /* A part of a transaction was taken: taken back, and not taken again. */
    return err_set(err, RETRY, ERR_JOURNAL_MOVED, "the journal was sealed in the middle of a transaction");
}

enum code worker_at_end(const struct sink *s, struct err *err) {
    if (!s->end_seq || s->progress.commit_seq < s->end_seq)
        return AGAIN;
    return err_set(err, FATAL, ERR_JOURNAL_MOVED,
                   "sink %s has applied everything in this journal, which was sealed when the pipeline "
                   "moved: start it with the "
                   "configuration of the new journal, it goes on there",
                   s->env->name);
}

/* ---- the new journal ---- */

static enum code not_arrived(struct err *err) {
    return err_set(err, RETRY, ERR_JOURNAL_MOVED,
                   "the pipeline is on its way into this journal: waiting for millrace migrate-journal");
}

/* The record at which the journal that the replica was built from arrived in this one. AGAIN: there is
 * none. */
static enum code find(struct sink *s, uint64_t last_seq, struct commit_record **ret, int64_t *ret_offset,
                      struct err *err) {
    enum code code = s->journal->commits_seek(s->reader, 0, err);
    uint64_t seq = 0;
    while ((code == OK || code == AGAIN) && seq < last_seq && !stop_asked(s->env->stop)) {
        arena_reset(&s->record_arena);
        code = s->journal->commits_next(s->reader, &s->record_arena, ret, ret_offset, err);
        if (code == AGAIN)
            code = s->journal->reader_wait(s->reader, 500, err);
        else if (code == OK)
            seq = (*ret)->seq;
        if (code == OK && seq && (*ret)->move == MOVE_MOVED && (*ret)->move_of &&
            strcmp((*ret)->move_of, s->pipeline) == 0)
            return OK;
    }
    return code == OK ? AGAIN : code;
}

/* Where the partitions that the replica has applied begin again: behind what was copied. */
static void place_streams(struct sink *s, const struct commit_record *moved) {
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams; p++)
            s->topics[i]->streams[p].next =
                0; /* offsets of the old journal mean nothing; positions tell what was applied */
    for (int i = 0; i < moved->n_ends; i++) {
        struct sink_topic *t = worker_topic(s, moved->topics[moved->ends[i].topic].name);
        int partition = moved->ends[i].partition;
        if (partition >= t->n_streams || !t->streams[partition].resumed)
            continue; /* never applied: it is read from its beginning */
        t->streams[partition].next = moved->ends[i].offset + 1;
    }
}

static enum code note(struct sink *s, const struct commit_record *moved, int64_t offset, struct err *err) {
    struct sink_progress progress = s->progress;
    int n = 0;
    for (int i = 0; i < s->n_topics; i++)
        n += s->topics[i]->n_streams;
    progress.offsets = arena_alloc(&s->claim_arena, ((size_t)n + 1) * sizeof *progress.offsets);
    progress.n_offsets = 0;
    for (int i = 0; i < s->n_topics; i++)
        for (int p = 0; p < s->topics[i]->n_streams; p++) {
            const struct stream *stream = &s->topics[i]->streams[p];
            if (stream->resumed)
                progress.offsets[progress.n_offsets++] =
                    (struct sink_offset){s->topics[i]->name, p, stream->next, stream->position};
        }
    progress.commit_seq = moved->seq;
    progress.commits_next = offset + 1;
    progress.pipeline = moved->pipeline;
    enum code code = s->env->target->commit(s->target, &progress, err);
    if (code != OK)
        return code;
    snprintf(s->pipeline, sizeof s->pipeline, "%s", moved->pipeline);
    s->progress.commit_seq = s->seen_seq = progress.commit_seq;
    s->progress.commits_next = s->seen_next = progress.commits_next;
    log_info(SINK_ROOM, "the pipeline has moved to another journal; going on there",
             F_STR("sink", s->env->name), F_INT("worker", s->env->worker), F_STR("journal", s->pipeline),
             F_INT("seq", moved->seq));
    return OK;
}

static enum code adopt(struct sink *s, const struct commit_record *last, struct err *err) {
    struct commit_record *moved = NULL;
    int64_t offset = 0;
    enum code code = find(s, last->seq, &moved, &offset, err);
    if (code != OK)
        return code == AGAIN ? OK : code; /* it is another journal, and worker_same_journal says so */
    if (s->progress.commit_seq < moved->move_seq || s->pinned)
        return err_set(
            err, FATAL, ERR_JOURNAL_OTHER,
            "the replica of sink %s had not applied everything when its journal moved: it has record %" PRIu64
            " of %" PRIu64
            ". Start it with the old configuration until it ends with journal-moved, then with this one; or "
            "build the replica anew: millrace replay --sink %s",
            s->env->name, s->progress.commit_seq, moved->move_seq, s->env->name);
    place_streams(s, moved);
    return note(s, moved, offset, err);
}

enum code worker_moved(struct sink *s, const struct commit_record *last, struct err *err) {
    s->end_seq = last->move == MOVE_SEALED ? last->move_seq : 0;
    if (last->move == MOVE_COPYING)
        return not_arrived(err);
    bool other = s->pipeline[0] && last->pipeline && strcmp(last->pipeline, s->pipeline) != 0;
    return other ? adopt(s, last, err) : OK;
}
