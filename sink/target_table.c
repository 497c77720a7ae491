#include "sink/target_table.h"

const struct target_ops *const target_table[] = {
    &postgres_target,
    &sqlite_target,
    NULL,
};
