/* A source: a database that tells its changes in order.
 *
 *   opened at a stored position -> stream
 *   opened without one          -> snapshot (`t` for each table, then `r` rows), then stream from there
 *
 * Everything handed over by source_next counts as *taken*; only source_confirm makes it *durable*, and only
 * then may the database forget it:
 *
 *      confirmed          mark()ed, in the journal's hands       taken
 *   ------|--------------------------|------------------------------|----> positions
 *
 * A kind of source is one row of source_table.c. One thread. */
#pragma once

#include <poll.h>

#include "base/clock.h"
#include "base/option.h"
#include "base/stop.h"
#include "base/suggest.h"
#include "schemas/change.h"

struct source;

struct source_env {
    const struct clock *clock;
    const struct stop *stop;
    const char *name; /* of the pipeline's source, from the configuration */
};

/* What is known from the journal when a source is opened. */
struct source_resume {
    bool found;               /* false: nothing is stored, begin with a snapshot */
    bool resnapshot;          /* the operator asked for a new snapshot: recreate what is lost */
    struct position position; /* newest safe position; its generation is the one in force */
    bool boundary;
    const char *state; /* what source_mark wrote with it */
};

enum source_item_type {
    ITEM_CHANGE, /* .change; position below is its own */
    ITEM_COMMIT, /* a source transaction (or the snapshot) is complete: `position` is a boundary */
    ITEM_IDLE,   /* nothing of ours happened, but the log has moved: worth a mark when nothing is in flight */
};
struct source_item {
    enum source_item_type type;
    struct change change;     /* borrowed until the next source_next */
    struct position position; /* COMMIT, IDLE: newest position at or below which all was handed over */
    int64_t commit_us;
    bool urgent; /* IDLE: the server waits for our confirmation (fast shutdown): do it at once */
};

/* Whether our place in the source's log is free, without taking it. Blocks at most 10 s. RETRY/SLOT_ACTIVE:
 * another session reads from it or takes a snapshot for it, such as an older capture of this pipeline that is
 * to be left in peace; else as source_open. */
typedef enum code source_vacant_f(const void *options, const struct source_env *env, struct err *err);
/* Connects, checks identity (never jumps) and prepares snapshot or stream. Blocks at most 30 s.
 * RETRY/SOURCE_UNREACHABLE, RETRY/SLOT_ACTIVE; FATAL/NEEDS_RESNAPSHOT, SOURCE_REFUSED, SOURCE_SETTING,
 * SOURCE_TABLE, TABLE_WITHOUT_KEY, PARTIAL_ROWS; each text names the command or SQL that mends it. */
typedef enum code source_open_f(const void *options, const struct source_env *env,
                                const struct source_resume *resume, struct source **ret, struct err *err);
/* The next item; never blocks. AGAIN: wait on source_fds. REJECT/VALUE_NOT_CARRIED, FATAL/...,
 * RETRY/SOURCE_UNREACHABLE. */
typedef enum code source_next_f(struct source *source, struct source_item *ret, struct err *err);
/* Fills at most n pollfds to wait on; returns how many. *deadline_us lowered to when service is due. */
typedef int source_fds_f(struct source *source, struct pollfd *fds, int n, int64_t *deadline_us);
/* Keeps the connection alive while the caller cannot take changes; call once a second. Never blocks. */
typedef enum code source_service_f(struct source *source, struct err *err);
/* Ticket for everything handed over so far, and the state text to store with it. */
typedef uint64_t source_mark_f(struct source *source, struct buf *ret_state);
/* Everything up to `mark` is durable in the journal. Never blocks for long. */
typedef enum code source_confirm_f(struct source *source, uint64_t mark, struct err *err);
typedef void source_close_f(struct source *source); /* NULL is fine; the database keeps our place */

/* Where the source stands, for status and metrics: JSON object text
 * {"state":"streaming","lag_bytes":..,"slot_bytes_behind":..,"position":"0/16B3748", ...}. Opens its own
 * short connection; blocks at most wait_ms. */
typedef enum code source_status_f(const void *options, const struct source_env *env,
                                  const struct source_resume *resume, int64_t wait_ms, struct buf *json,
                                  struct err *err);
/* doctor: appends findings as JSON objects separated by ',' :
 * {"level":"error|warn|ok","id":"...","what":"...","mend":"..."}. */
typedef enum code source_check_f(const void *options, const struct source_env *env,
                                 const struct source_resume *resume, int64_t wait_ms, struct buf *findings,
                                 struct err *err);

/* What has to be installed in the source's database, for kinds that need it (triggers). Appends to `out` the
 * SQL (print: nothing is changed), or a line per step that was taken. Blocks as long as the database's locks
 * take. Codes as source_open. */
enum source_setup { SETUP_INSTALL, SETUP_UNINSTALL };
typedef enum code source_setup_f(const void *options, const struct source_env *env, enum source_setup what,
                                 bool print, struct buf *out, struct err *err);

/* quickstart: looks at the database behind a URL and suggests this kind's part of the configuration. Changes
 * nothing; blocks at most wait_ms per question. AGAIN: the URL is not for this kind. REJECT: it is, and this
 * database cannot be captured so; `err` says why and what mends it, and the suggestion is whole. RETRY,
 * FATAL: it could not be looked at. */
typedef enum code source_suggest_f(const struct suggest_ask *ask, const struct source_env *env,
                                   int64_t wait_ms, struct suggestion *ret, struct err *err);

struct source_progress { /* of the snapshot; for metrics and logs */
    bool snapshotting;
    uint64_t rows_done, rows_estimate;
    int tables_done, tables;
};

struct source_ops {
    const struct option_table *options;
    const char *connector; /* Debezium's name: "postgresql" */
    /* name of the database, for the envelope; lives as long as options */
    const char *(*database)(const void *options);
    source_vacant_f *vacant;
    source_open_f *open;
    source_next_f *next;
    source_fds_f *fds;
    source_service_f *service;
    source_mark_f *mark;
    source_confirm_f *confirm;
    source_close_f *close;
    source_status_f *status;
    source_check_f *check;
    source_suggest_f *suggest; /* NULL: quickstart does not know the kind */
    source_setup_f *setup;     /* NULL: nothing to install */
    struct source_progress (*progress)(struct source *source);
    /* log written by the server but not yet taken, as last told by it */
    uint64_t (*lag_bytes)(struct source *source);
    /* log the server keeps for us: written and not yet confirmed durable */
    uint64_t (*held_bytes)(struct source *source);
};
struct source {
    const struct source_ops *ops;
};
