#include "sink/sqlite/options.h"

#define AT(field) .offset = offsetof(struct sqlite_options, field)

static const char *const schema_change_choices[] = {"evolve", "stop", "ignore", NULL};
static const char *const triggers_choices[] = {"off", "fire", NULL};
static const char *const on_missing_choices[] = {"insert", "stop", NULL};

static const struct option rows[] = {
    {.name = "path",
     .type = OPT_TEXT,
     AT(path),
     .required = true,
     .help = "The replica's file, on a disk of this host; it is created if it is not there (its directory is "
             "not). Beside it SQLite keeps two files more, -wal and -shm. Commits are not synced one by one "
             "(synchronous=NORMAL): when the power fails, the newest rows and their position are lost "
             "together, and the journal has both."},
    {.name = "create_tables",
     .type = OPT_BOOL,
     AT(create_tables),
     .fallback = "true",
     .help = "Create tables that the replica lacks."},
    {.name = "schema_change",
     .type = OPT_ENUM,
     AT(schema_change),
     .fallback = "evolve",
     .choices = schema_change_choices,
     .help =
         "When the source's table changes: evolve adds and widens columns of the replica; stop stops with "
         "what mends it; ignore leaves out columns that the replica lacks."},
    {.name = "triggers",
     .type = OPT_ENUM,
     AT(triggers),
     .fallback = "off",
     .choices = triggers_choices,
     .help = "off: neither triggers nor foreign keys of the file act on applied rows. fire: both do."},
    {.name = "on_missing",
     .type = OPT_ENUM,
     AT(on_missing),
     .fallback = "insert",
     .choices = on_missing_choices,
     .help =
         "When a row to change is not in the replica: insert writes the full row and counts it (a partial "
         "row always stops); stop names table and key."},
    {.name = "lock_timeout",
     .type = OPT_DURATION,
     AT(lock_timeout_ms),
     .fallback = "10s",
     .help = "Longest wait while another program writes to the file, then the transaction is tried again. "
             "Readers are never waited for. 0: for ever."},
    {.name = NULL},
};

const struct option_table sqlite_options = {
    .name = "sqlite",
    .summary = "An SQLite file that applications may read while it is written: rows and position move in one "
               "transaction.",
    .options = rows,
    .size = sizeof(struct sqlite_options),
};
