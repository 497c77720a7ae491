#include "capture/trigger/postgres/options.h"

static const char *const silent_choices[] = {"stop", "warn", NULL};
static const char *const numeric_choices[] = {"precise", "string", NULL};

#define AT(field) offsetof(struct pgtrigger_options, field)
static const struct option options[] = {
    {"url", OPT_SECRET, AT(pg.url), NULL, true, 0, 0, NULL,
     "Connection URL, postgres://user@host:port/database. Without sslmode, verify-full is used unless the "
     "host is local."},
    {"tables", OPT_LIST, AT(pg.tables), "[\"public.*\"]", false, 0, 0, NULL,
     "Tables to capture: patterns schema.table with * and ?; a leading '!' excludes. A partitioned table is "
     "one "
     "table. After a change here: millrace source install."},
    {"columns", OPT_MAP, AT(pg.columns), NULL, false, 0, 0, NULL,
     "Columns to capture, by \"schema.table\": \"a,b\" takes only these, \"!a,!b\" all but these. Key "
     "columns cannot be left out."},
    {"schema", OPT_TEXT, AT(schema), "millrace", false, 0, 0, NULL,
     "Schema of the source that holds change table and trigger functions; one per pipeline."},
    {"reader", OPT_TEXT, AT(reader), NULL, false, 0, 0, NULL,
     "Role that capture runs as, if it is not the one that installs: `source install` grants it what it "
     "needs."},
    {"snapshot_workers", OPT_INT, AT(pg.snapshot_workers), "2", false, 1, PG_WORKERS_MAX, NULL,
     "Connections that read the initial snapshot in parallel."},
    {"change_table_bytes", OPT_BYTES, AT(change_table_bytes), "1GB", false, 1 << 20, 0, NULL,
     "How large the change table is meant to grow: at 80 % and above doctor, status and the log warn. "
     "Nothing is "
     "refused at the source."},
    {"silent_changes", OPT_ENUM, AT(pg.silent_changes), "stop", false, 0, 0, silent_choices,
     "What to do when a command changed rows of a table without firing triggers (a volatile default, ALTER "
     "COLUMN TYPE ... USING, a renamed enum label): stop until a new snapshot, or warn."},
    {"numeric", OPT_ENUM, AT(pg.numeric), "precise", false, 0, 0, numeric_choices,
     "numeric(p,s) as an exact decimal (NaN stops), or every numeric as a string."},
    {0},
};

const struct option_table pgtrigger_options = {
    .name = "postgres_triggers",
    .summary = "PostgreSQL 14 to 18, from a change table that triggers fill: where logical decoding is not "
               "to be had. "
               "`millrace source install` sets it up",
    .options = options,
    .size = sizeof(struct pgtrigger_options),
};

const char *pgtrigger_database(const void *options_) {
    return pgsource_database(options_);
}
