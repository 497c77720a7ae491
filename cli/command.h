/* The commands: one row each; the table makes the dispatch, --help and the reference. */
#pragma once

#include "cli/pipeline.h"

struct arguments {
    const char *config;        /* --config FILE, default $MILLRACE_CONFIG or millrace.yaml */
    const char *sink;          /* --sink NAME */
    const char *to;            /* --to FILE */
    const char *output;        /* --output FILE */
    const char *table;         /* --table PATTERN */
    const char *topic;         /* --topic NAME */
    int64_t partition, offset; /* --partition N, --offset N */
    int64_t count;             /* --count N, 0 = no end */
    bool json, resnapshot, from_start, follow, print, force;
    const char **rest; /* words after the options */
    int n_rest;
};

enum {
    ARG_CONFIG = 1,
    ARG_SINK = 2,
    ARG_TABLE = 4,
    ARG_COUNT = 8,
    ARG_JSON = 16,
    ARG_RESNAPSHOT = 32,
    ARG_FROM_START = 64,
    ARG_PRINT = 128,
    ARG_TO = 256,
    ARG_TOPIC = 512,
    ARG_OUTPUT = 1024,
    ARG_FORCE = 2048
};

/* Returns the exit code; prints for people itself. */
typedef int command_f(const struct arguments *args);

struct command {
    const char *name, *summary;
    unsigned takes; /* ARG_... */
    command_f *run;
    const char *more; /* printed by `millrace NAME --help` */
};
extern const struct command commands[]; /* ends with name NULL */

command_f command_run, command_capture, command_sink, command_doctor, command_status, command_tail,
    command_replay, command_migrate, command_source, command_journal, command_config, command_reference,
    command_quickstart;

/* Prints the findings of one part (base/finding.h), or the error that kept it from looking, for people or as
 * JSON; doctor's exit code. */
int doctor_print(const struct arguments *args, const char *kind, const char *name, enum code code,
                 const struct err *err, struct buf *findings);
/* What doctor says of the source alone; the exit code is doctor's. */
int doctor_source(const struct arguments *args);
/* Prints "millrace: needs-resnapshot: ..." on stderr and returns the error's exit code. */
int command_fail(const struct err *err);
/* Reads the configuration or prints why not. NULL: *ret_exit is set. */
struct pipeline *command_pipeline(const struct arguments *args, int *ret_exit);
