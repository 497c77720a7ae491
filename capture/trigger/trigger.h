/* A source that is fed by triggers, for every kind of database with a feed (feed.h): what is the same for all
 * of them. It gives positions and their ordinals, splits a change of key into its two halves, drops what the
 * journal has, keeps the state text, and answers status, doctor and `millrace source`.
 *
 * A kind makes its row of source_table.c with TRIGGER_SOURCE in a file of its own. */
#pragma once

#include "capture/trigger/feed.h"

MUST_CHECK enum code trigger_vacant(const struct feed_ops *feed, const void *options,
                                    const struct source_env *env, struct err *err);
MUST_CHECK enum code trigger_open(const struct source_ops *ops, const struct feed_ops *feed,
                                  const void *options, const struct source_env *env,
                                  const struct source_resume *resume, struct source **ret, struct err *err);
MUST_CHECK enum code trigger_status(const struct feed_ops *feed, const void *options,
                                    const struct source_env *env, const struct source_resume *resume,
                                    int64_t wait_ms, struct buf *json, struct err *err);
MUST_CHECK enum code trigger_check(const struct feed_ops *feed, const void *options,
                                   const struct source_env *env, const struct source_resume *resume,
                                   int64_t wait_ms, struct buf *findings, struct err *err);
MUST_CHECK enum code trigger_setup(const struct feed_ops *feed, const void *options,
                                   const struct source_env *env, enum source_setup what, bool print,
                                   struct buf *out, struct err *err);
source_next_f trigger_next;
source_fds_f trigger_fds;
source_service_f trigger_service;
source_mark_f trigger_mark;
source_confirm_f trigger_confirm;
source_close_f trigger_close;
struct source_progress trigger_progress(struct source *source);
uint64_t trigger_lag_bytes(struct source *source);
uint64_t trigger_held_bytes(struct source *source);

/* const struct source_ops NAME, over `feed` (struct feed_ops, an lvalue). */
#define TRIGGER_SOURCE(name, feed_, options_, connector_, database_, ...)                                    \
    static enum code name##_vacant(const void *o, const struct source_env *env, struct err *err) {           \
        return trigger_vacant(&(feed_), o, env, err);                                                        \
    }                                                                                                        \
    static enum code name##_open(const void *o, const struct source_env *env,                                \
                                 const struct source_resume *resume, struct source **ret, struct err *err) { \
        return trigger_open(&name, &(feed_), o, env, resume, ret, err);                                      \
    }                                                                                                        \
    static enum code name##_status(const void *o, const struct source_env *env,                              \
                                   const struct source_resume *resume, int64_t wait_ms, struct buf *json,    \
                                   struct err *err) {                                                        \
        return trigger_status(&(feed_), o, env, resume, wait_ms, json, err);                                 \
    }                                                                                                        \
    static enum code name##_check(const void *o, const struct source_env *env,                               \
                                  const struct source_resume *resume, int64_t wait_ms, struct buf *findings, \
                                  struct err *err) {                                                         \
        return trigger_check(&(feed_), o, env, resume, wait_ms, findings, err);                              \
    }                                                                                                        \
    static enum code name##_setup(const void *o, const struct source_env *env, enum source_setup what,       \
                                  bool print, struct buf *out, struct err *err) {                            \
        return trigger_setup(&(feed_), o, env, what, print, out, err);                                       \
    }                                                                                                        \
    const struct source_ops name = {.options = &(options_),                                                  \
                                    .connector = (connector_),                                               \
                                    .database = (database_),                                                 \
                                    .vacant = name##_vacant,                                                 \
                                    .open = name##_open,                                                     \
                                    .next = trigger_next,                                                    \
                                    .fds = trigger_fds,                                                      \
                                    .service = trigger_service,                                              \
                                    .mark = trigger_mark,                                                    \
                                    .confirm = trigger_confirm,                                              \
                                    .close = trigger_close,                                                  \
                                    .status = name##_status,                                                 \
                                    .check = name##_check,                                                   \
                                    .setup = name##_setup,                                                   \
                                    .progress = trigger_progress,                                            \
                                    .lag_bytes = trigger_lag_bytes,                                          \
                                    .held_bytes = trigger_held_bytes,                                        \
                                    __VA_ARGS__}
