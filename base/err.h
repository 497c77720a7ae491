/* Errors: what the caller does next (enum code), which error it is (enum err_id), and the sentence for
 * people.
 *
 * The returned code is the decision; `struct err` carries the words. A function either logs or returns, never
 * both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#define MUST_CHECK             __attribute__((warn_unused_result))
#define PRINTF_LIKE(fmt, args) __attribute__((format(printf, fmt, args)))

/* What the caller does next. */
enum code {
    OK,     /* done */
    AGAIN,  /* nothing to do now: wait on the descriptors or the deadline, then call again */
    RETRY,  /* the peer failed in a way that can heal: throw the object away, back off, open it anew */
    REJECT, /* this change (or table) cannot be carried; others can */
    FATAL,  /* a person must decide; `err` names the state and the command that mends it */
};

/* One row per named error: id, name for scripts, exit code of the process, what it means. This table makes
 * the enum, the names, `docs/` and the exit codes. */
#define ERR_TABLE(X)                                                                                      \
    X(NONE, "none", 0, "no error")                                                                        \
    X(USAGE, "usage", 2, "the command line is wrong")                                                     \
    X(CONFIG, "config", 3, "the configuration is wrong")                                                  \
    X(NEEDS_RESNAPSHOT, "needs-resnapshot", 4,                                                            \
      "the stream cannot go on from the stored position without a gap")                                   \
    X(SOURCE_UNREACHABLE, "source-unreachable", 6, "the source database does not answer")                 \
    X(SOURCE_REFUSED, "source-refused", 5, "the source refused us: password, role, database or right")    \
    X(SOURCE_SETTING, "source-setting", 5, "a server setting of the source makes capture impossible")     \
    X(SOURCE_TABLE, "source-table", 5, "a table to capture is missing or not in the publication")         \
    X(SOURCE_TRIGGERS, "source-triggers", 5,                                                              \
      "the triggers or the change table of the source are missing, or were altered")                      \
    X(SLOT_ACTIVE, "slot-active", 6, "another process streams from the replication slot")                 \
    X(TABLE_WITHOUT_KEY, "table-without-key", 5, "the source would refuse updates of a published table")  \
    X(PARTIAL_ROWS, "partial-rows", 5,                                                                    \
      "the source does not log full rows, and a replica must be rebuildable")                             \
    X(VALUE_NOT_CARRIED, "value-not-carried", 5,                                                          \
      "a value cannot be carried exactly under the chosen option")                                        \
    X(ROW_TOO_LARGE, "row-too-large", 5, "a row is larger than the journal accepts")                      \
    X(SOURCE_PROTOCOL, "source-protocol", 5, "the source sent bytes we cannot read")                      \
    X(JOURNAL_UNREACHABLE, "journal-unreachable", 6, "the journal does not answer")                       \
    X(JOURNAL_REFUSED, "journal-refused", 5,                                                              \
      "the journal refused us: authentication, rights, or a file that is not a journal")                  \
    X(JOURNAL_FULL, "journal-full", 6, "the journal has reached its budget, or its disk is full")         \
    X(JOURNAL_FENCED, "journal-fenced", 5, "a newer capture agent of this pipeline has taken over")       \
    X(JOURNAL_TOPIC, "journal-topic", 5,                                                                  \
      "a topic differs from the configuration in a way that loses data or order")                         \
    X(JOURNAL_CORRUPT, "journal-corrupt", 5, "a record in the journal cannot be read")                    \
    X(JOURNAL_OTHER, "journal-other", 5, "the replica was built from another journal")                    \
    X(JOURNAL_GAP, "journal-gap", 5, "the journal no longer holds what this sink still needs")            \
    X(JOURNAL_MOVED, "journal-moved", 5,                                                                  \
      "the pipeline goes on in another journal, or is on its way into this one")                          \
    X(REGISTRY_UNREACHABLE, "registry-unreachable", 6, "the schema registry does not answer")             \
    X(REGISTRY_REFUSED, "registry-refused", 5, "the schema registry refused us or answered nonsense")     \
    X(SCHEMA_INCOMPATIBLE, "schema-incompatible", 5,                                                      \
      "the registry's compatibility rule forbids the new schema")                                         \
    X(SCHEMA_UNKNOWN, "schema-unknown", 5, "a record names a schema that nobody knows")                   \
    X(TARGET_UNREACHABLE, "target-unreachable", 6, "the replica does not answer")                         \
    X(TARGET_REFUSED, "target-refused", 5, "the replica refused us: password, role, database or right")   \
    X(TARGET_TABLE, "target-table", 5, "a replica table is missing or does not fit its source")           \
    X(TARGET_CONSTRAINT, "target-constraint", 5, "a row violates a constraint of the replica")            \
    X(TARGET_NOT_EMPTY, "target-not-empty", 5, "a replica table holds rows that this sink did not write") \
    X(TARGET_DIVERGED, "target-diverged", 5, "a row that must be in the replica is not there")            \
    X(TARGET_VALUE, "target-value", 5, "the replica cannot hold a value exactly")                         \
    X(TARGET_FULL, "target-full", 6, "the replica is out of disk, memory or connections, or read-only")   \
    X(TARGET_CORRUPT, "target-corrupt", 5, "the replica's file is damaged, or is no database")            \
    X(TARGET_OWNERSHIP, "target-ownership", 6, "another process owns this part of the sink")              \
    X(SYSTEM, "system", 7, "the operating system refused something")                                      \
    X(STOPPED, "stopped", 0, "asked to stop")

enum err_id {
#define X(id, name, exit_code, text) ERR_##id,
    ERR_TABLE(X)
#undef X
};

struct err {
    enum code code;
    enum err_id id;
    char text[2048]; /* one sentence or two: what, where, and the command that mends it; never row values of
                        non-key columns, never secrets */
};

/* Sets the error and returns `code`, so that `return err_set(...)` reads well. `err` may be NULL. Control
 * characters in the text (it may quote a server) are replaced by '?', newlines by "; ". Never blocks. */
enum code err_set(struct err *err, enum code code, enum err_id id, const char *fmt, ...) PRINTF_LIKE(4, 5);

#ifdef __clang_analyzer__ /* does not see into err.c */
static inline enum code err_code(enum code set, enum code code) {
    return (void)set, code;
}
#define err_set(err, code, ...) err_code(err_set(err, code, __VA_ARGS__), code)
#endif

/* Puts "prefix: " before the text that is there. Returns err->code. */
enum code err_prefix(struct err *err, const char *fmt, ...) PRINTF_LIKE(2, 3);

const char *err_name(enum err_id id);    /* "needs-resnapshot" */
const char *err_meaning(enum err_id id); /* the sentence of the table */
int err_exit(enum err_id id);            /* the exit code of a process that ends with this error */
const char *code_name(enum code code);   /* "RETRY" */
