#include "capture/source_table.h"

const struct source_ops *const source_table[] = {
    &postgres_source,
    NULL,
};
