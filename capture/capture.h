/* The crank of capture: read changes, hand them to the journal, learn what is durable, confirm it to the
 * source.
 *
 * One thread; owns none. Each step does a bounded amount of work and never sleeps. Any RETRY means:
 * capture_close, back off, capture_open; all state that matters is in the journal. */
#pragma once

#include "capture/source.h"
#include "journal/journal.h"

struct capture_config {
    int64_t batch_bytes; /* a journal transaction is ended when it holds this much */
    int64_t batch_ms;    /* ... or is this old */
};
extern const struct option_table capture_options; /* keys of the `capture:` mapping */

struct capture_env {
    const struct clock *clock;
    const struct stop *stop;
    const struct source_ops *source;
    const void *source_options;
    const char *source_name;
    struct journal *journal;
    /* Makes the schema store of the pipeline (registry or journal); called once per open. */
    enum code (*schemas)(void *arg, struct journal_writer *writer, struct schema_store **ret,
                         struct err *err);
    void *schemas_arg;
    const struct capture_config *config;
    bool resnapshot; /* take a new snapshot: until capture_committed, what the journal holds is not yet of the
                        new generation */
};

struct capture;
MUST_CHECK enum code capture_open(const struct capture_env *env, struct capture **ret, struct err *err);
/* OK: did something, call again at once. AGAIN: call capture_wait. Others as the sources and journals say. */
MUST_CHECK enum code capture_step(struct capture *capture, struct err *err);
/* Waits on the source's descriptors, the stop and the nearest deadline. */
void capture_wait(struct capture *capture);
/* Ends the open transaction at the newest complete point and commits it, at most wait_ms; then source is
 * confirmed. */
MUST_CHECK enum code capture_finish(struct capture *capture, int64_t wait_ms, struct err *err);
/* whether a journal transaction was committed since the open */
bool capture_committed(const struct capture *capture);
void capture_close(struct capture *capture);
