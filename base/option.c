/* One leaf per option type; option_fill is the walk. No text of a secret, nor of what came from the
 * environment or a file, enters an error. */
#include "base/option.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>

#include "base/config.h"

/* What a leaf needs: the row, where its value stands, what to call it in errors. */
struct parse {
    const struct option_table *table;
    const struct option *option;
    struct arena *arena;
    struct err *err;
};

/* ---- numbers with units ---- */

struct unit {
    const char *name;
    int64_t factor;
};

static const struct unit units_bytes[] = {
    {"", 1},
    {"B", 1},
    {"kB", (int64_t)1 << 10},
    {"KB", (int64_t)1 << 10},
    {"KiB", (int64_t)1 << 10},
    {"MB", (int64_t)1 << 20},
    {"MiB", (int64_t)1 << 20},
    {"GB", (int64_t)1 << 30},
    {"GiB", (int64_t)1 << 30},
    {"TB", (int64_t)1 << 40},
    {"TiB", (int64_t)1 << 40},
    {NULL, 0},
};

static const struct unit units_duration[] = {
    {"ms", 1},      {"s", 1000},     {"m", 60000},     {"min", 60000},
    {"h", 3600000}, {"d", 86400000}, {"w", 604800000}, {NULL, 0},
};

/* Digits, at most one blank, a unit; exact or not at all. */
static bool parse_units(const char *text, const struct unit *units, int64_t *ret) {
    int64_t n = 0;
    const char *p = text;
    for (; *p >= '0' && *p <= '9'; p++)
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, *p - '0', &n))
            return false;
    if (p == text)
        return false;
    if (*p == ' ' && p[1])
        p++;
    for (; units->name; units++)
        if (!strcmp(p, units->name))
            return !__builtin_mul_overflow(n, units->factor, ret);
    return false;
}

bool option_parse_bytes(const char *text, int64_t *ret) {
    return parse_units(text, units_bytes, ret);
}

bool option_parse_duration(const char *text, int64_t *ret_ms) {
    if (!strcmp(text, "0")) {
        *ret_ms = 0;
        return true;
    }
    return parse_units(text, units_duration, ret_ms);
}

static bool parse_int(const char *text, int64_t *ret) {
    bool negative = *text == '-';
    const char *p = text + negative;
    int64_t n = 0;
    if (!*p)
        return false;
    for (; *p; p++) {
        if (*p < '0' || *p > '9')
            return false;
        int digit = negative ? -(*p - '0') : *p - '0';
        if (__builtin_mul_overflow(n, 10, &n) || __builtin_add_overflow(n, digit, &n))
            return false;
    }
    *ret = n;
    return true;
}

/* ---- errors ---- */

/* ", not 'abc'", or nothing where the value must not be shown. */
static const char *echo(const struct parse *p, const struct config_node *node) {
    if (p->option->type == OPT_SECRET || node->substituted || !*node->text)
        return "";
    return arena_printf(p->arena, ", not '%.64s'", node->text);
}

/* "file:line: postgres.port must be <what>, not 'abc'" */
static enum code wrong(const struct parse *p, const struct config_node *node, const char *what) {
    const char *shown = node->type == NODE_SCALAR ? echo(p, node) : "";
    return config_error(node, p->err, "%s.%s must be %s%s", p->table->name, p->option->name, what, shown);
}

/* "<what>, 1 to 65535" */
static enum code wrong_range(const struct parse *p, const struct config_node *node, const char *what) {
    CLEANUP_BUF text = {0};
    buf_puts(&text, what);
    buf_puts(&text, ", ");
    size_t before = text.len;
    option_print_range(p->option, &text);
    if (text.len == before)
        buf_puts(&text, "0 or more");
    return wrong(p, node, buf_cstr(&text));
}

/* ---- leaves ---- */

static enum code fill_text(const struct parse *p, const struct config_node *node, const char **into) {
    if (p->option->required && !*node->text)
        return config_error(node, p->err, "%s.%s must not be empty", p->table->name, p->option->name);
    *into = arena_strdup(p->arena, node->text);
    return OK;
}

static bool in_range(const struct option *o, int64_t n) {
    return n >= o->min && (o->max == 0 || n <= o->max);
}

static enum code fill_int(const struct parse *p, const struct config_node *node, int64_t *into) {
    int64_t n;
    if (!parse_int(node->text, &n) || !in_range(p->option, n))
        return wrong_range(p, node, "a whole number");
    *into = n;
    return OK;
}

static enum code fill_bytes(const struct parse *p, const struct config_node *node, int64_t *into) {
    int64_t n;
    if (!option_parse_bytes(node->text, &n) || !in_range(p->option, n))
        return wrong_range(p, node, "a size in bytes such as 64MB or 16kB");
    *into = n;
    return OK;
}

static enum code fill_duration(const struct parse *p, const struct config_node *node, int64_t *into) {
    int64_t n = -1;
    bool forever = p->option->min == -1 && !strcmp(node->text, "forever");
    if (!forever && (!option_parse_duration(node->text, &n) || !in_range(p->option, n)))
        return wrong_range(p, node, "a duration with its unit such as 10s, 5ms or 7d");
    *into = n;
    return OK;
}

static enum code fill_bool(const struct parse *p, const struct config_node *node, bool *into) {
    static const char *const words[] = {"false", "true", "no", "yes", "off", "on"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++) {
        if (strcmp(node->text, words[i]) != 0)
            continue;
        *into = i & 1;
        return OK;
    }
    return wrong(p, node, "true or false");
}

static enum code fill_enum(const struct parse *p, const struct config_node *node, int *into) {
    for (int i = 0; p->option->choices[i]; i++) {
        if (strcmp(node->text, p->option->choices[i]) != 0)
            continue;
        *into = i;
        return OK;
    }
    CLEANUP_BUF range = {0};
    option_print_range(p->option, &range);
    return wrong(p, node, buf_cstr(&range));
}

static bool is_nothing(const struct config_node *node) {
    return node->type == NODE_SCALAR && !*node->text;
}

static enum code fill_list(const struct parse *p, const struct config_node *node, struct text_list *into) {
    if (is_nothing(node))
        return OK;
    if (node->type == NODE_MAP)
        return wrong(p, node, "a list of texts");
    size_t n = node->type == NODE_LIST ? node->n : 1;
    const char **items = arena_alloc(p->arena, n * sizeof *items);
    for (size_t i = 0; i < n; i++) {
        const struct config_node *item = node->type == NODE_LIST ? node->items[i] : node;
        if (item->type != NODE_SCALAR)
            return wrong(p, item, "a list of texts, none of them a list or a mapping");
        if (!*item->text)
            return wrong(p, item, "a list of texts, none of them empty");
        items[i] = arena_strdup(p->arena, item->text);
    }
    *into = (struct text_list){.items = items, .n = n};
    return OK;
}

static enum code fill_map(const struct parse *p, const struct config_node *node, struct text_map *into) {
    if (is_nothing(node))
        return OK;
    if (node->type != NODE_MAP)
        return wrong(p, node, "a mapping of names to texts");
    struct text_map map = {.n = node->n};
    map.keys = arena_alloc(p->arena, node->n * sizeof *map.keys);
    map.values = arena_alloc(p->arena, node->n * sizeof *map.values);
    for (size_t i = 0; i < node->n; i++) {
        const struct config_node *item = node->items[i];
        if (item->type != NODE_SCALAR)
            return wrong(p, item, "a mapping of names to texts, none of them a list or a mapping");
        map.keys[i] = arena_strdup(p->arena, node->keys[i]);
        map.values[i] = arena_strdup(p->arena, item->text);
    }
    *into = map;
    return OK;
}

static enum code fill_one(const struct parse *p, const struct config_node *node, void *into) {
    enum option_type type = p->option->type;
    if (type != OPT_LIST && type != OPT_MAP && node->type != NODE_SCALAR)
        return wrong(p, node, "a single value");
    switch (type) {
    case OPT_TEXT:
    case OPT_SECRET:
        return fill_text(p, node, into);
    case OPT_INT:
        return fill_int(p, node, into);
    case OPT_BYTES:
        return fill_bytes(p, node, into);
    case OPT_DURATION:
        return fill_duration(p, node, into);
    case OPT_BOOL:
        return fill_bool(p, node, into);
    case OPT_ENUM:
        return fill_enum(p, node, into);
    case OPT_LIST:
        return fill_list(p, node, into);
    case OPT_MAP:
        return fill_map(p, node, into);
    }
    return wrong(p, node, "of a type that is known");
}

/* ---- the walk ---- */

/* A default is YAML where it looks like it (list, mapping, quotes), and else the bare text. */
static enum code fill_fallback(const struct parse *p, void *into) {
    const char *text = p->option->fallback;
    struct config_node bare = {.type = NODE_SCALAR, .file = "default", .text = text};
    if (!*text || !strchr("[{\"'", *text))
        return fill_one(p, &bare, into);
    struct config_node *root;
    char *yaml = arena_printf(p->arena, "x: %s", text);
    enum code code = config_read_text(slice_of(yaml), "default", p->arena, &root, p->err);
    return code == OK ? fill_one(p, root->items[0], into) : code;
}

static enum code check_keys(const struct option_table *table, const struct config_node *map,
                            struct arena *arena, struct err *err) {
    size_t n = 0;
    while (table->options[n].name)
        n++;
    const char **known = arena_alloc(arena, (n + 1) * sizeof *known);
    for (size_t i = 0; i <= n; i++)
        known[i] = table->options[i].name;
    for (size_t i = 0; i < map->n; i++) {
        size_t k = 0;
        while (known[k] && strcmp(known[k], map->keys[i]) != 0)
            k++;
        if (!known[k])
            return config_unknown(map, i, table->name, known, err);
    }
    return OK;
}

static enum code missing(const struct parse *p, const struct config_node *map) {
    return config_error(map, p->err, "%s.%s is required: %s", p->table->name, p->option->name,
                        p->option->help ? p->option->help : "");
}

static enum code fill_option(const struct parse *p, const struct config_node *map, void *into) {
    const struct option *o = p->option;
    const struct config_node *node = config_get(map, o->name);
    bool many = o->type == OPT_LIST || o->type == OPT_MAP;
    if (o->required && (!node || (many && (is_nothing(node) || (node->type != NODE_SCALAR && !node->n)))))
        return missing(p, node ? node : map);
    if (node)
        return fill_one(p, node, into);
    return o->fallback ? fill_fallback(p, into) : OK;
}

enum code option_fill(const struct option_table *table, const struct config_node *map, void *into,
                      struct arena *arena, struct err *err) {
    struct config_node empty = {
        .type = NODE_MAP, .file = map ? map->file : NULL, .line = map ? map->line : 0};
    if (!map || is_nothing(map))
        map = &empty;
    if (map->type != NODE_MAP)
        return config_error(map, err, "%s must be a mapping of options", table->name);
    enum code code = check_keys(table, map, arena, err);
    for (const struct option *o = table->options; o->name && code == OK; o++) {
        assert(o->offset < table->size);
        struct parse p = {.table = table, .option = o, .arena = arena, .err = err};
        code = fill_option(&p, map, (char *)into + o->offset);
    }
    return code;
}
