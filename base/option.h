/* Options: one table row per setting. The row parses the YAML key, checks its range, fills the struct, and
 * prints itself into --help and the configuration reference. A room declares its struct and its table; nobody
 * else reads YAML. */
#pragma once

#include "base/arena.h"
#include "base/err.h"

enum option_type {
    OPT_TEXT,     /* const char *                      */
    OPT_SECRET,   /* const char *; never printed; a URL may be one because it may carry a password */
    OPT_INT,      /* int64_t, min..max                 */
    OPT_BYTES,    /* int64_t; 64MB, 16kB, plain number */
    OPT_DURATION, /* int64_t milliseconds; 10s, 5ms, 7d; "forever" = -1 where min is -1 */
    OPT_BOOL,     /* bool                              */
    OPT_ENUM,     /* int, index in choices             */
    OPT_LIST,     /* struct text_list                  */
    OPT_MAP,      /* struct text_map                   */
};

struct text_list {
    const char **items;
    size_t n;
};
struct text_map {
    const char **keys, **values;
    size_t n;
};

struct option {
    const char *name; /* YAML key */
    enum option_type type;
    size_t offset;        /* offsetof in the room's struct */
    const char *fallback; /* default as it would be written in YAML; NULL = none */
    bool required;
    int64_t min, max; /* OPT_INT, OPT_BYTES, OPT_DURATION; both 0 = any >= 0; max 0 = no upper end */
    const char *const *choices; /* OPT_ENUM: NULL-terminated */
    const char *help;           /* one or two sentences, unit included */
};

struct option_table {
    const char *name; /* "postgres" */
    const char *summary;
    const struct option *options; /* ends with .name = NULL */
    size_t size;                  /* sizeof the struct that the options fill */
};

struct config_node; /* base/config.h */

/* Fills a zeroed struct of table->size bytes from a YAML mapping (NULL = empty), defaults included; strings
 * are copied to the arena. FATAL/ERR_CONFIG with "file:line: ..." and a suggestion for an unknown key. */
MUST_CHECK enum code option_fill(const struct option_table *table, const struct config_node *map, void *into,
                                 struct arena *arena, struct err *err);

/* "64MB" => 67108864: B, kB, MB, GB, TB (1024 each, as PostgreSQL counts; KiB, MiB.. are the same). False:
 * not a size, or too large. */
MUST_CHECK bool option_parse_bytes(const char *text, int64_t *ret);
/* "10s" => 10000: ms, s, m or min, h, d, w; a plain 0 needs no unit. False: not a duration, or too large. */
MUST_CHECK bool option_parse_duration(const char *text, int64_t *ret_ms);

/* "1 to 65535", "at least 100ms", "one of key, transaction"; nothing where every value is right. */
void option_print_range(const struct option *option, struct buf *out);
/* The table as a section of the configuration reference: heading, summary, one row per option. */
void option_print_markdown(const struct option_table *table, struct buf *out);
/* The table as text for a terminal, at most 79 columns wide. */
void option_print_help(const struct option_table *table, struct buf *out);
