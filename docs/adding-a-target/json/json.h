/* A target that is one JSON document; a toy, for it writes all of it with every commit.
 *
 *   { "sinks":  { "report": { "epoch": 3, "owner": .., "seen_us": .., "commit_seq": .., "offsets": [..], .. }
 * }, "tables": { "shop.items": { "columns": {"id": "integer", ..}, "key": ["id"], "sink": "report", ..,
 *                                 "rows": { "[\"1\"]": [1, {"id": "1", "note": null}] } } } }
 *
 * Values are the texts that the source prints. A row stands under its key; without a key under all of its
 * columns, and the number before it says how many rows are equal to it. */
#pragma once

#include "base/metrics.h"
#include "sink/json/file.h"
#include "sink/policy.h"
#include "sink/target.h"

struct json_options {
    const char *path;
    int on_missing; /* enum on_missing */
};

struct json_target {
    struct target base;
    struct target_env env;
    const struct json_options *options;
    struct file file; /* what is changed in it and not yet written is the open transaction */
    bool open;        /* there is one */
    uint64_t epoch;   /* 0: nothing is claimed */
    bool rebuild;     /* claimed with it */
    struct metric *missing;
};

static inline struct json_target *json_of(struct target *t) {
    return (struct json_target *)(void *)t;
}

/* ---- target.c ---- */
/* The transaction is open afterwards. */
MUST_CHECK enum code json_begin(struct json_target *t, struct err *err);
/* Rolls it back; returns `code`. */
enum code json_undo(struct json_target *t, enum code code);
/* A member that is an object, made if it is not there. Borrowed. */
json_t *json_member(json_t *object, const char *name);

/* ---- table.c ---- */
target_prepare_f json_prepare;
target_clear_f json_clear;
/* The table as json_prepare left it; prepares it if need be. Borrowed from the document. */
MUST_CHECK enum code json_table(struct json_target *t, const struct table *table, json_t **ret,
                                struct err *err);
/* Tables that were to be built anew and that nothing came for. */
void json_clear_stale(struct json_target *t);

/* ---- rows.c ---- */
target_apply_f json_apply;
/* The name of a row: the texts of these columns. To be freed. */
char *json_row_name(json_t *row, json_t *columns);
