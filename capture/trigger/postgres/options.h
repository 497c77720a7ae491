/* The options of a PostgreSQL source that is fed by triggers. */
#pragma once

#include "capture/postgres/options.h"

struct pgtrigger_options {
    struct pg_options
        pg;             /* first: what is shared with the source that reads the log takes it by its address */
    const char *schema; /* of the installation */
    const char *reader; /* role that install lets read; NULL = the one that installs */
    int64_t change_table_bytes;
};
extern const struct option_table pgtrigger_options;

const char *pgtrigger_database(const void *options);
