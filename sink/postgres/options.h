/* What an operator may say about a PostgreSQL replica. */
#pragma once

#include "base/option.h"

enum schema_change { SCHEMA_EVOLVE, SCHEMA_STOP, SCHEMA_IGNORE };
enum triggers { TRIGGERS_OFF, TRIGGERS_FIRE };
enum on_missing { MISSING_INSERT, MISSING_STOP };

struct postgres_options {
    const char *url;
    bool create_tables;
    int schema_change; /* enum schema_change */
    int triggers;      /* enum triggers */
    int on_missing;    /* enum on_missing */
    int64_t lock_timeout_ms, statement_timeout_ms;
};
extern const struct option_table postgres_options;
