/* What is written to the file: chunks, and with the last of a transaction where every partition ends now. */
#include <assert.h>
#include <inttypes.h>

#include "base/log.h"
#include "journal/embedded/tick.h"
#include "journal/embedded/upkeep.h"
#include "journal/embedded/writer.h"

#define LOCKED_US_MAX  60000000   /* locked by somebody for so long: say so */
#define KEPT_BYTES_MAX (1u << 20) /* of buffers that wait for the next transaction */

static enum code write_chunk(struct store *s, const struct chunk_head *head, struct slice bytes,
                             struct err *err) {
    return store_run(s, SQL_CHUNK_ADD, err, "iiiiiib", head->part, head->first, head->last, head->ts_us,
                     (int64_t)bytes.len, (int64_t)chunk_crc(head, bytes), bytes);
}

static enum code write_chunks(struct embedded_writer *w, struct err *err) {
    enum code code = OK;
    for (size_t i = 0; i < w->n_sealed && code == OK; i++)
        code = write_chunk(&w->store, &w->sealed[i].head,
                           slice_make(w->sealed_bytes.data + w->sealed[i].from, w->sealed[i].len), err);
    for (size_t i = 0; i < w->n_touched && code == OK; i++) {
        const struct lane *l = w->touched[i];
        struct chunk_head head = {l->part, l->chunk.first, l->chunk.last, l->chunk.ts_us};
        if (!chunk_empty(&l->chunk))
            code = write_chunk(&w->store, &head, buf_slice(&l->chunk.bytes), err);
    }
    return code;
}

/* They are in the file: memory is free for the next ones. */
static void clear_chunks(struct embedded_writer *w) {
    bool large = w->sealed_bytes.cap > KEPT_BYTES_MAX;
    for (size_t i = 0; i < w->n_touched; i++) {
        if (w->n_touched > 16 || w->touched[i]->chunk.bytes.cap > 2 * EMBEDDED_CHUNK_BYTES)
            chunk_free(&w->touched[i]->chunk);
        else
            chunk_clear(&w->touched[i]->chunk);
    }
    w->n_sealed = 0;
    buf_clear(&w->sealed_bytes);
    if (large && w->step == WRITER_IDLE)
        buf_free(&w->sealed_bytes);
    w->queued_bytes = 0;
}

/* What is only a commit record always finds room, so that an idle pipeline goes on. */
static enum code check_budget(struct embedded_writer *w, struct err *err) {
    int64_t used, budget = w->journal->options->budget_bytes;
    if (w->ends.n_touched == 0)
        return OK;
    enum code code = store_used(&w->store, &used, err);
    if (code != OK)
        return code;
    upkeep_used(w->upkeep, used);
    return used + (int64_t)w->queued_bytes <= budget ? OK : upkeep_full(w->journal, used, err);
}

/* Others may have rung the bell of this file, or taken it away. */
static enum code begin(struct embedded_writer *w, bool full_sync, struct err *err) {
    upkeep_relieve(w->upkeep, &w->store);
    enum code code = store_begin(&w->store, full_sync, w->epoch, err);
    if (code != OK)
        return code;
    code = check_budget(w, err);
    if (code == OK)
        code = write_chunks(w, err);
    if (code != OK)
        store_rollback(&w->store);
    return code;
}

enum code writer_stage(struct embedded_writer *w, struct err *err) {
    enum code code = begin(w, false, err);
    if (code == AGAIN)
        return AGAIN;
    if (code == OK)
        code = store_commit(&w->store, err);
    if (code != OK)
        return writer_fail(w, code, err);
    w->staged_bytes += w->queued_bytes;
    clear_chunks(w);
    return OK;
}

/* ---- the end of a transaction ---- */

/* The record is an append like any other, and the last one. */
static enum code tell(struct embedded_writer *w, const struct commit_record *record, struct err *err) {
    enum code code = tell_fill(&w->tell, &w->ends, record, false, err);
    if (code != OK)
        return writer_fail(w, code, err);
    writer_put(w, &(struct journal_append){
                      .topic = w->commits, .key = slice_of(w->source), .value = buf_slice(&w->tell.json)});
    w->step = WRITER_ENDING;
    return OK;
}

static enum code move_ends(struct embedded_writer *w, struct err *err) {
    for (size_t i = 0; i < w->n_touched; i++) {
        const struct lane *l = w->touched[i];
        enum code code = store_run(&w->store, SQL_NEXT, err, "iii", l->part, l->at, l->next);
        if (code != OK)
            return code;
        if (store_changed(&w->store) != 1)
            return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                           "journal file '%s': somebody else has written to partition %" PRId64
                           " of the file, or removed it; again from the start",
                           w->journal->path, l->part);
    }
    return OK;
}

static enum code write_all(struct embedded_writer *w, struct err *err) {
    enum code code = begin(w, true, err);
    if (code != OK)
        return code;
    code = move_ends(w, err);
    if (code == OK)
        return store_commit(&w->store, err);
    store_rollback(&w->store);
    return code;
}

static void ended(struct embedded_writer *w, struct commit_record *record) {
    int64_t offset = w->ends.topics[w->commits].ends[0];
    tell_done(&w->tell, record);
    upkeep_committed(w->upkeep, record->full ? offset : -1);
    ends_committed(&w->ends, 0);
    w->step = WRITER_IDLE;
    clear_chunks(w);
    for (size_t i = 0; i < w->n_touched; i++) {
        w->touched[i]->touched = false;
        w->touched[i]->next = w->touched[i]->at;
    }
    w->n_touched = 0;
    w->staged_bytes = 0;
}

static enum code check_locked(struct embedded_writer *w, struct err *err) {
    if (clock_mono(w->env->clock) - w->commit_began_us < LOCKED_US_MAX)
        return AGAIN;
    return writer_fail(w, store_error(&w->store, SQLITE_BUSY, "commit", err), err);
}

enum code embedded_commit(struct journal_writer *jw, struct commit_record *record, int64_t wait_ms,
                          struct err *err) {
    struct embedded_writer *w = embedded_writer_of(jw);
    if (w->failed.code != OK)
        return err_set(err, w->failed.code, w->failed.id, "%s", w->failed.text);
    enum code code = OK;
    w->store.deadline_us = embedded_deadline(w->env, wait_ms);
    if (w->step != WRITER_ENDING) {
        w->commit_began_us = clock_mono(w->env->clock);
        code = tell(w, record, err);
    }
    if (code == OK)
        code = write_all(w, err);
    if (code == AGAIN)
        return check_locked(w, err);
    if (code == OK)
        code = store_same_file(&w->store, err);
    if (code != OK)
        return writer_fail(w, code, err);
    ended(w, record);
    tick_ring(w->journal->tick);
    return OK;
}
