#include "capture/source_table.h"

const struct source_ops *const source_table[] = {
    &postgres_source, &postgres_trigger_source, &sqlite_source, &mariadb_trigger_source, NULL,
};
