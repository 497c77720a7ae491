/* What is found when an installation is looked at. */
#pragma once

#include "capture/trigger/feed.h"
#include "capture/trigger/postgres/install.h"

/* As feed_look_f, on an SQL session. */
MUST_CHECK enum code pgtrigger_look(PGconn *sql, const struct pgtrigger_options *options,
                                    const struct source_env *env, int64_t wait_ms, struct feed_look *ret,
                                    struct err *err);
/* The part that is looked at while capture runs: triggers and names of the registered tables, and the size of
 * the change table. FATAL/SOURCE_TRIGGERS, SOURCE_TABLE; RETRY/SOURCE_UNREACHABLE. */
MUST_CHECK enum code pgtrigger_watch(PGconn *sql, const struct pgtrigger_options *options,
                                     const struct source_env *env, int64_t *ret_bytes, struct err *err);
/* OIDs of all registered tables, and whether each is to be captured still. The caller frees both. */
MUST_CHECK enum code pgtrigger_registered(PGconn *sql, const struct pgtrigger_options *options,
                                          const struct source_env *env, const struct pg_rels *rels,
                                          uint32_t **ret, int *ret_n, uint32_t **ret_dropped,
                                          int *ret_n_dropped, struct err *err);
