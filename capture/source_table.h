/* The kinds of source there are. A new one is one folder and one line in source_table.c. */
#pragma once
#include "capture/source.h"
extern const struct source_ops *const source_table[];   /* NULL-terminated */
extern const struct source_ops postgres_source;         /* capture/postgres */
extern const struct source_ops postgres_trigger_source; /* capture/trigger/postgres */
extern const struct source_ops sqlite_source;           /* capture/trigger/sqlite */
extern const struct source_ops mariadb_trigger_source;  /* capture/trigger/mariadb */
