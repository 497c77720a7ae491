/* Options of the embedded journal. */
#include <stdio.h>

#include "journal/embedded/embedded.h"
#include "journal/journal_table.h"

#define FIELD(name) offsetof(struct embedded_options, name)
static const struct option options[] = {
    {"path", OPT_TEXT, FIELD(path),
     .help = "The journal's file, one for each pipeline; without it "
             "/var/lib/millrace/<topic_prefix>.journal, or in $STATE_DIRECTORY, which systemd sets. Its "
             "directory must exist, on a local disk; files beside it begin with the same name."},
    {"topic_prefix", OPT_TEXT, FIELD(topic_prefix),
     .help =
         "Every topic of the pipeline begins with it: <prefix>.<schema>.<table>, <prefix>.commits; without "
         "it the name of the source. At most 150 of a-z A-Z 0-9 . _ -"},
    {"partitions", OPT_INT, FIELD(partitions), "1", .min = 1, .max = 1000,
     .help = "Partitions of a new topic of a table with a key. Sinks of millrace gain nothing from more than "
             "one. A "
             "topic that exists keeps its own."},
    {"compaction_lag", OPT_DURATION, FIELD(compaction_lag_ms), "7d",
     .help = "How long every change is kept before only the newest one per key is. A sink may be away for "
             "that long "
             "and still see each transaction."},
    {"delete_retention", OPT_DURATION, FIELD(delete_retention_ms), "7d",
     .help = "How long deleted rows are remembered after compaction_lag. A sink that takes longer to build, "
             "or was "
             "away for longer than both, stops with journal-gap."},
    {"retention", OPT_DURATION, FIELD(retention_ms), "forever", .min = -1,
     .help = "How long changes of tables that keep their whole history (those without a key, or without full "
             "rows) "
             "are kept. A sink that needs older ones stops with journal-gap, and so does one that is built "
             "anew."},
    {"retention_bytes", OPT_BYTES, FIELD(retention_bytes), "0",
     .help = "The oldest changes of such tables are deleted when all of them together hold more than this; "
             "0: never."},
    {"budget", OPT_BYTES, FIELD(budget_bytes), "20GB", .min = 1 << 20,
     .help = "Bytes of disk that the journal may hold (and some 64 MB beside them). When it is reached "
             "capture stops "
             "taking changes (journal-full), the source holds them, and capture goes on when there is room."},
    {"record_bytes", OPT_BYTES, FIELD(record_bytes), "16MB", .min = 65536, .max = 256 << 20,
     .help = "The largest row that is taken, in bytes of its change; it is held in memory as a whole."},
    {0},
};
const struct option_table embedded_option_table = {"embedded",
                                                   "One file on this host: nothing else to install or run",
                                                   options, sizeof(struct embedded_options)};

static enum code no_prefix(struct err *err) {
    return err_set(
        err, FATAL, ERR_CONFIG,
        "the file has no source, whose name tells which journal it is: write journal: { embedded: { "
        "topic_prefix: NAME } }, with the name that the source has where capture runs");
}

static enum code check_prefix(const char *prefix, struct err *err) {
    size_t n = strlen(prefix);
    for (const char *p = prefix; *p; p++)
        if (!((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9') ||
              strchr("._-", *p)))
            n = 0;
    if (n > 0 && n <= 150)
        return OK;
    return err_set(err, FATAL, ERR_CONFIG,
                   "journal.embedded.topic_prefix: '%s' must be 1 to 150 of a-z A-Z 0-9 . _ -", prefix);
}

/* systemd.exec(5), StateDirectory=: several are separated by ':'. */
static char *path_of(const char *prefix) {
    const char *given = getenv("STATE_DIRECTORY");
    size_t n = given ? strcspn(given, ":") : 0;
    return n ? xasprintf("%.*s/%s.journal", (int)n, given, prefix)
             : xasprintf("/var/lib/millrace/%s.journal", prefix);
}

enum code embedded_open(const void *filled, const char *pipeline, struct journal **ret, struct err *err) {
    const struct embedded_options *o = filled;
    const char *prefix = o->topic_prefix ? o->topic_prefix : pipeline;
    enum code code = prefix ? check_prefix(prefix, err) : no_prefix(err);
    if (code == OK && o->path && (!*o->path || o->path[strlen(o->path) - 1] == '/'))
        code =
            err_set(err, FATAL, ERR_CONFIG, "journal.embedded.path: '%s' is not the name of a file", o->path);
    if (code == OK && o->budget_bytes < 4 * o->record_bytes)
        code = err_set(err, FATAL, ERR_CONFIG,
                       "journal.embedded.budget must be at least four times journal.embedded.record_bytes");
    if (code != OK)
        return code;
    struct embedded_journal *j = xcalloc(1, sizeof *j);
    j->base.ops = &embedded_journal;
    j->options = o;
    j->prefix = xstrdup(prefix);
    j->path = o->path ? xstrdup(o->path) : path_of(prefix);
    j->tick = xasprintf("%s-tick", j->path);
    j->commits = xasprintf("%s.commits", prefix);
    j->schemas = xasprintf("%s.schemas", prefix);
    atomic_init(&j->changes_us, o->compaction_lag_ms * 1000);
    atomic_init(&j->deletes_us, o->delete_retention_ms * 1000);
    *ret = &j->base;
    return OK;
}

void embedded_close(struct journal *journal) {
    struct embedded_journal *j = embedded_of(journal);
    free(j->prefix);
    free(j->path);
    free(j->tick);
    free(j->commits);
    free(j->schemas);
    free(j);
}

bool embedded_of_table(const struct embedded_journal *j, const char *topic) {
    size_t n = strlen(j->prefix);
    return strncmp(topic, j->prefix, n) == 0 && topic[n] == '.' && strcmp(topic, j->commits) != 0 &&
           strcmp(topic, j->schemas) != 0;
}
