#include "journal/tell.h"

#include <stdio.h>

void tell_free(struct tell *t) {
    buf_free(&t->json);
}

static bool full_due(const struct tell *t, const struct ends *ends) {
    return t->full_bytes == 0 || t->delta_bytes > t->full_bytes || ends->n_touched == 0;
}

enum code tell_fill(struct tell *t, struct ends *ends, const struct commit_record *caller, bool foreseen,
                    struct err *err) {
    t->record = *caller;
    t->record.seq = t->seq + 1;
    t->record.full = full_due(t, ends);
    t->record.writer = process_name();
    t->record.pipeline = t->pipeline;
    ends_fill(ends, t->record.full, foreseen, &t->record);
    buf_clear(&t->json);
    commit_record_write(&t->record, &t->json);
    if (t->json.len <= COMMIT_RECORD_BYTES_MAX)
        return OK;
    return err_set(
        err, FATAL, ERR_JOURNAL_TOPIC,
        "the commit record of this pipeline would have %zu bytes, more than 8 MB: use fewer tables or "
        "partitions per topic_prefix",
        t->json.len);
}

void tell_done(struct tell *t, struct commit_record *caller) {
    const struct commit_record *r = &t->record;
    caller->seq = r->seq;
    caller->full = r->full;
    caller->writer = r->writer;
    caller->pipeline = r->pipeline;
    caller->topics = r->topics;
    caller->n_topics = r->n_topics;
    caller->ends = r->ends;
    caller->n_ends = r->n_ends;

    t->seq = r->seq;
    if (r->full) {
        t->full_bytes = t->json.len;
        t->delta_bytes = 0;
    } else {
        t->delta_bytes += t->json.len;
    }
    process_note(t->pipeline, t->seq);
}

uint64_t tell_resume(struct tell *t, const struct commit_record *last, bool resnapshot, bool *ret_anew) {
    bool copying = last->move == MOVE_COPYING; /* topics come with all generations that they hold */
    *ret_anew = resnapshot || (!copying && last->position.commit == 0 && !last->boundary);
    t->seq = last->seq;
    if (last->pipeline)
        snprintf(t->pipeline, sizeof t->pipeline, "%s", last->pipeline);
    return copying ? 1 : last->position.generation + *ret_anew;
}

void recall_restart(struct recall *r) {
    ends_reset(r->ends);
    r->seq = 0;
    r->whole = false;
}

enum code recall_record(struct recall *r, const struct commit_record *record, struct err *err) {
    if (record->full || record->seq == 1) {
        r->whole = true;
        ends_reset(r->ends);
    } else if (record->seq != r->seq + 1) {
        r->whole = false; /* records before it were compacted away, or we came in too late */
    }
    r->seq = record->seq;
    return ends_apply(r->ends, record, err);
}
