/* The options of an SQLite source, and the tables they select. */
#pragma once

#include "base/option.h"
#include "base/slice.h"

struct lsource_options {
    const char *path;
    struct text_list tables;    /* patterns main.table with * and ?; a leading '!' excludes */
    int64_t change_table_bytes; /* above 80 % of it the change table is a finding */
    char database[64];          /* not an option: filled by the first call of lsource_database */
};
extern const struct option_table lsource_options;

/* The file's name without folder and ending. Lives as long as the options. */
const char *lsource_database(const void *options);
/* Whether some pattern takes the table and none excludes it. */
bool lsource_selects(const struct lsource_options *options, const char *table);
