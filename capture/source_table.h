/* The kinds of source there are. A new one is one folder and one line in source_table.c. */
#pragma once
#include "capture/source.h"
extern const struct source_ops *const source_table[]; /* NULL-terminated */
extern const struct source_ops postgres_source; /* capture/postgres */
