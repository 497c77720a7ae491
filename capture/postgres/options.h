/* The options of a PostgreSQL source, and the tables and columns they select. */
#pragma once

#include "base/option.h"
#include "capture/source.h"

enum pg_partial { PG_PARTIAL_REFUSE, PG_PARTIAL_HISTORY };
enum pg_silent { PG_SILENT_STOP, PG_SILENT_WARN };

struct pg_options {
    const char *url;
    struct text_list tables; /* patterns schema.table with * and ?; a leading '!' excludes */
    struct text_map columns; /* "schema.table" -> "a,b" or "!a,!b" */
    const char *publication; /* NULL = from the source's name */
    const char *slot;        /* NULL = from the source's name */
    bool publish_via_root;
    int64_t snapshot_workers; /* 1..PG_WORKERS_MAX */
    int partial_rows;         /* enum pg_partial */
    int silent_changes;       /* enum pg_silent */
    int numeric;              /* enum pg_numeric */
    bool create;
    char database[64]; /* not an option: filled by the first call of pgsource_database */
};
enum { PG_WORKERS_MAX = 16, PG_NAME_MAX = 64 }; /* identifiers are at most 63 bytes */

extern const struct option_table pgsource_options;

/* The publication and slot in force; `ret` holds PG_NAME_MAX bytes. Longer names are cut as the server
 * would. */
void pgsource_publication(const struct pg_options *options, const char *source_name, char *ret);
void pgsource_slot(const struct pg_options *options, const char *source_name, char *ret);

/* Database named by the URL (or the environment, or the user), "" if none. Lives as long as the options. */
const char *pgsource_database(const void *options);

/* Whether some pattern takes the table and none excludes it. */
enum selection { SELECTION_NONE, SELECTION_TAKEN, SELECTION_EXCLUDED };
enum selection selection_of_table(const struct pg_options *options, struct slice schema, struct slice name);
/* True if the column is to be captured. */
bool selection_has_column(const struct pg_options *options, struct slice schema, struct slice name,
                          struct slice column);
/* The i-th name of a column list "!a, b" without its '!'; false when there is none. */
bool selection_column_at(const char *list, int i, struct slice *ret);
