/* What an operator may say about a PostgreSQL replica. */
#pragma once

#include "base/option.h"
#include "sink/policy.h"

struct postgres_options {
    const char *url;
    bool create_tables;
    int schema_change; /* enum schema_change */
    int triggers;      /* enum triggers */
    int on_missing;    /* enum on_missing */
    int64_t lock_timeout_ms, statement_timeout_ms;
};
extern const struct option_table postgres_options;
