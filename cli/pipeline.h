/* The configuration file as the rooms need it: each room's table parsed its own part (base/option.h). */
#pragma once

#include "capture/capture.h"
#include "journal/journal.h"
#include "schemas/registry.h"
#include "sink/sink.h"

struct pipeline_sink {
    const char *name;
    const struct target_ops *target;
    void *target_options;
    struct sink_config config;
    const char *text; /* canonical text of its part of the file: tells whether a reload changed it */
};

struct pipeline_log {
    int format, level;
};
struct pipeline_http {
    const char *listen;
};

struct pipeline {
    struct arena arena;
    const char *path;
    const char *source_name;
    const struct source_ops *source; /* NULL: no source: in the file */
    void *source_options;
    const struct journal_ops *journal_ops;
    void *journal_options;
    struct journal *journal;
    bool has_registry;
    struct registry_config registry;
    struct capture_config capture;
    struct pipeline_sink *sinks;
    int n_sinks;
    struct pipeline_log log;
    struct pipeline_http http;
};

extern const struct option_table log_options, http_options;

/* Reads and checks the whole file; connects nowhere. "-" = standard input. FATAL/CONFIG. */
MUST_CHECK enum code pipeline_read(const char *path, struct pipeline **ret, struct err *err);
void pipeline_free(struct pipeline *p);
const struct pipeline_sink *pipeline_find_sink(const struct pipeline *p, const char *name);

/* Makes the schema store of a crank. */
struct pipeline_schemas {
    struct pipeline *pipeline;
    struct journal_env env;
};
enum code pipeline_schemas(void *pipeline_schemas, struct journal_writer *writer, struct schema_store **ret,
                           struct err *err);

/* The newest commit record, for commands that look from outside. *ret NULL: the journal is empty. */
MUST_CHECK enum code pipeline_last_commit(struct pipeline *p, const struct stop *stop, int64_t wait_ms,
                                          struct arena *arena, struct commit_record **ret, struct err *err);
void pipeline_resume(const struct commit_record *last, struct source_resume *ret);
