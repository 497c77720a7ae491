/* The kinds of target there are. A new one is one folder and one line in target_table.c. */
#pragma once
#include "sink/target.h"
extern const struct target_ops *const target_table[]; /* NULL-terminated */
extern const struct target_ops postgres_target;       /* sink/postgres */
extern const struct target_ops sqlite_target;         /* sink/sqlite */
