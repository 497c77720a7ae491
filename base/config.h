/* The YAML file as a small tree that remembers lines. Parsed by libyaml. ${NAME} in a scalar is replaced from
 * the environment, ${file:/path} by the content of a file (trailing newline cut); both may hold secrets and
 * are never echoed. $${ stands for a plain ${. What was put in is not looked at again. Null (~, null,
 * nothing) is the empty text. An empty file is an empty mapping. */
#pragma once

#include "base/option.h"

enum node_type { NODE_SCALAR, NODE_MAP, NODE_LIST };
struct config_node {
    enum node_type type;
    int line;
    const char *file;
    const char *text;           /* NODE_SCALAR */
    struct config_node **items; /* NODE_LIST, NODE_MAP: the values */
    const char **keys;
    int *key_lines; /* NODE_MAP */
    size_t n;
    bool substituted; /* NODE_SCALAR: holds text of the environment or of a file: do not echo */
};

/* Reads a file ("-" = standard input; at most 1 MB, nesting at most 16, no anchors or aliases, no duplicate
 * keys). The tree lives in the arena. FATAL/ERR_CONFIG with file and line. */
MUST_CHECK enum code config_read(const char *path, struct arena *arena, struct config_node **ret,
                                 struct err *err);
/* The same from memory; `name` stands for the file in errors and is copied. */
MUST_CHECK enum code config_read_text(struct slice yaml, const char *name, struct arena *arena,
                                      struct config_node **ret, struct err *err);
const struct config_node *config_get(const struct config_node *map, const char *key); /* NULL if not there */
/* "unknown key 'tabels' in source.postgres; did you mean 'tables'?" Sets FATAL/ERR_CONFIG. `known` is
 * NULL-terminated. */
enum code config_unknown(const struct config_node *map, size_t i, const char *where, const char *const *known,
                         struct err *err);
enum code config_error(const struct config_node *node, struct err *err, const char *fmt, ...)
    PRINTF_LIKE(3, 4);
