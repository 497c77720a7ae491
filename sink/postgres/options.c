#include "sink/postgres/options.h"

#define AT(field) .offset = offsetof(struct postgres_options, field)

static const char *const schema_change_choices[] = {"evolve", "stop", "ignore", NULL};
static const char *const triggers_choices[] = {"off", "fire", NULL};
static const char *const on_missing_choices[] = {"insert", "stop", NULL};

static const struct option rows[] = {
    {.name = "url",
     .type = OPT_SECRET,
     AT(url),
     .required = true,
     .help =
         "Connection string of the replica (postgres://user@host:port/db or key=value). Hosts that are not "
         "local are verified by TLS (sslmode=verify-full) unless sslmode says otherwise. The session commits "
         "with synchronous_commit=off: rows and position are lost or kept together, and the journal has "
         "both."},
    {.name = "create_tables",
     .type = OPT_BOOL,
     AT(create_tables),
     .fallback = "true",
     .help = "Create schemas, types and tables that the replica lacks, with the source's exact types."},
    {.name = "schema_change",
     .type = OPT_ENUM,
     AT(schema_change),
     .fallback = "evolve",
     .choices = schema_change_choices,
     .help = "When the source's table changes: evolve adds and widens columns of the replica; stop stops "
             "with the "
             "SQL that mends it; ignore leaves out columns that the replica lacks."},
    {.name = "triggers",
     .type = OPT_ENUM,
     AT(triggers),
     .fallback = "off",
     .choices = triggers_choices,
     .help = "off applies rows with session_replication_role=replica: neither triggers nor foreign keys act. "
             "fire "
             "lets both act on applied rows."},
    {.name = "on_missing",
     .type = OPT_ENUM,
     AT(on_missing),
     .fallback = "insert",
     .choices = on_missing_choices,
     .help = "When a row to change is not in the replica: insert writes the full row and counts it (a "
             "partial row "
             "always stops); stop names table and key."},
    {.name = "lock_timeout",
     .type = OPT_DURATION,
     AT(lock_timeout_ms),
     .fallback = "10s",
     .help = "Longest wait for a lock on the replica, then the transaction is tried again. 0: for ever."},
    {.name = "statement_timeout",
     .type = OPT_DURATION,
     AT(statement_timeout_ms),
     .fallback = "10m",
     .help =
         "Longest run of one statement on the replica, then the transaction is tried again. 0: for ever."},
    {.name = NULL},
};

const struct option_table postgres_options = {
    .name = "postgres",
    .summary = "A PostgreSQL replica (14 to 18): rows and position move in one transaction.",
    .options = rows,
    .size = sizeof(struct postgres_options),
};
