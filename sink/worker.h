/* What the files of a sink worker share: sink.c (the crank), take.c (changes become batches), place.c
 * (ownership and position). Nobody else includes this file. */
#pragma once

#include "base/metrics.h"
#include "schemas/decode.h"
#include "sink/applier.h"
#include "sink/mapping.h"
#include "sink/sink.h"
#include "sink/window.h"

#define SINK_ROOM "sink"
enum { OPEN_WAIT_MS = 15000, STAMPS = 1024, CLAIM_EVERY_US = 1000000 };

/* What is written to the replica at once, here or by the applier: the topics' `out`, and where that leaves
 * us. */
struct load {
    struct sink_topic **topics; /* whose `out` has rows */
    int n, cap;
    bool under_way, commit;
    struct sink_progress progress;
    struct arena arena;         /* of its offsets */
    struct sink_topic *refused; /* which of them was, after REJECT */
    size_t bytes;
    uint64_t seen_seq, taken, taken_bytes; /* as they were when it was filled */
    int64_t begun_us, stamps[STAMPS];
    int n_stamps;
};

struct sink_topic {
    char *name;
    bool mine, fresh; /* this worker's; never written by this sink before */
    bool applied;     /* committed at least once by this claim: no longer parked */
    struct stream *streams;
    int n_streams;
    const struct mapped *mapped; /* version that the batch holds; NULL: none yet */
    struct batch batch, out;     /* being filled; being written, the applier's while it is at work */
    struct position cleared;     /* of the newest truncate (it comes once per partition) */
    struct metric *m_changes;
};

struct sink {
    const struct sink_env *env;
    struct journal_env journal_env;
    struct target_env target_env;
    const struct journal_ops *journal;
    struct journal_reader *reader;
    struct schema_store *store;
    struct decoder *decoder;
    struct mapping *mapping;
    struct target *target; /* the applier's while it is at work */
    struct applier *applier;
    struct load load;
    struct arena claim_arena, record_arena, scratch, end_arena;
    struct sink_progress progress; /* as stored in the replica */
    char pipeline[64];             /* name of the journal, "" = not known yet */
    struct sink_topic **topics;
    int n_topics;
    struct window window;
    struct commit_record *record; /* whose window is open; NULL: none */
    int64_t record_offset;
    uint64_t seen_seq;  /* newest record whose window is done */
    int64_t seen_next;  /* offset after it in the commits topic */
    uint64_t until_seq; /* no commit before this record was applied */
    uint64_t end_seq;   /* of a sealed journal: nothing behind it is taken. 0: it goes on */
    uint64_t claim_seq; /* newest record there was at the claim */
    uint64_t
        generation; /* changes of older generations are of no more use: this one begins with a snapshot */
    struct position position;
    int64_t commit_us;
    bool claimed, dirty,
        pinned; /* dirty: changes taken and not committed. pinned: parked topics hold the cursor back */
    size_t batch_used;
    int64_t claim_us, renew_us, committed_us, first_us, progress_us;
    uint64_t taken, taken_bytes, progress_taken, progress_seq;
    int64_t stamps[STAMPS]; /* source commit times of what is not committed yet */
    int n_stamps;
    struct sink_progress_view view;
    enum code waited; /* what the last wait for the journal said, and why */
    struct err waited_err;
    struct metric *m_commits, *m_commit_seconds, *m_latency, *m_time, *m_seq_lag, *m_lag_seconds, *m_batch;
};

/* ---- take.c ---- */

/* The topic of that name, noted when it is first heard of. */
struct sink_topic *worker_topic(struct sink *s, const char *name);
/* A partition of it. Its address moves when a partition of a larger number is asked for. */
struct stream *topic_stream(struct sink_topic *t, int partition);
/* Empties the batch for the version that the topic speaks now. */
void worker_batch(const struct sink *s, struct sink_topic *t);
/* Takes the change at the stream's head into its batch; what cannot be coalesced is applied at once. */
MUST_CHECK enum code worker_take(struct sink *s, struct stream *stream, struct err *err);

/* ---- load.c ---- */

/* Writes all batches to the replica. `commit`: rows, offsets, position and epoch, at once. `wait`: OK means
 * done; otherwise the applier does it while the crank goes on, and the outcome shows in the next call of this
 * or of worker_settle. */
enum { LOAD_COMMIT = 1, LOAD_WAIT = 2 };
MUST_CHECK enum code worker_write(struct sink *s, unsigned how, struct err *err);
/* Waits for the applier: afterwards the crank may use the target. */
MUST_CHECK enum code worker_settle(struct sink *s, struct err *err);

/* ---- place.c ---- */

/* Becomes the owner and begins where the replica says. AGAIN: somebody else is, or it is too early to ask
 * again. */
MUST_CHECK enum code worker_claim(struct sink *s, struct err *err);
/* The journal must be the one that the replica was built from; the first one is. FATAL/JOURNAL_OTHER. */
MUST_CHECK enum code worker_same_journal(struct sink *s, const char *pipeline, struct err *err);
/* At the claim, before that: the journal that the replica was built from may have moved into this one; then
 * the place in it is found and noted in the replica. RETRY/JOURNAL_MOVED: the move is not finished.
 * FATAL/JOURNAL_OTHER: it began behind what the replica has. */
MUST_CHECK enum code worker_moved(struct sink *s, const struct commit_record *last, struct err *err);
/* In a sealed journal nothing can be waited for that lies behind its end. */
void worker_end_until(struct sink *s);
/* Notes a record that says that this journal is sealed. RETRY/JOURNAL_MOVED: what was taken cannot be
 * committed by itself. */
MUST_CHECK enum code worker_sealed(struct sink *s, const struct commit_record *record, struct err *err);
/* True for what a sealed journal holds of a transaction that is never completed in it. */
bool worker_behind_end(const struct sink *s, const struct commit_record *record);
/* FATAL/JOURNAL_MOVED when all that a sealed journal holds is in the replica, otherwise AGAIN. */
MUST_CHECK enum code worker_at_end(const struct sink *s, struct err *err);
/* Says "still here" when it is time to. */
MUST_CHECK enum code worker_renew(struct sink *s, struct err *err);
/* A table that cannot go on (t may be NULL). transaction: FATAL, the sink stops. key: RETRY, the table is
 * left standing. */
MUST_CHECK enum code worker_reject(struct sink *s, struct sink_topic *t, struct err *err);
