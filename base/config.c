/* Reads YAML 1.1 through libyaml's events into a tree. What a configuration does not need (anchors, tags,
 * several documents) is refused: each of them can make a file mean something else than it seems to. */
#include "base/config.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <yaml.h>

#include "base/log.h"

enum {
    FILE_BYTES_MAX = 1 << 20,
    SECRET_BYTES_MAX = 64 << 10,
    VALUE_BYTES_MAX = 1 << 20, /* a scalar after substitution */
    NESTING_MAX = 16,
    KEYS_MAX = 4096, /* of one mapping: each is compared with each */
};

struct reader {
    yaml_parser_t yaml;
    struct arena *arena;
    const char *file;
    struct err *err;
    int depth;
};

static enum code read_node(struct reader *r, const yaml_event_t *event, struct config_node **ret);

/* ---- errors ---- */

enum code config_error(const struct config_node *node, struct err *err, const char *fmt, ...) {
    char text[sizeof err->text];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (!node || !node->file)
        return err_set(err, FATAL, ERR_CONFIG, "%s", text);
    if (node->line <= 0)
        return err_set(err, FATAL, ERR_CONFIG, "%s: %s", node->file, text);
    return err_set(err, FATAL, ERR_CONFIG, "%s:%d: %s", node->file, node->line, text);
}

static struct config_node node_at(const struct reader *r, size_t line) {
    return (struct config_node){.file = r->file, .line = (int)line + 1};
}

static enum code yaml_error(const struct reader *r) {
    const yaml_parser_t *yaml = &r->yaml;
    size_t line =
        yaml->problem_mark.line > yaml->context_mark.line ? yaml->problem_mark.line : yaml->context_mark.line;
    struct config_node at = node_at(r, line);
    const char *problem = yaml->problem ? yaml->problem : "it cannot be read";
    return config_error(&at, r->err, "this is not YAML: %s%s%s", yaml->context ? yaml->context : "",
                        yaml->context ? ", " : "", problem);
}

static size_t least(size_t a, size_t b, size_t c) {
    size_t ab = a < b ? a : b;
    return ab < c ? ab : c;
}

/* How many letters must be put in, taken out, changed or swapped with their neighbour. Words beyond WORD_MAX
 * are far. */
static size_t edit_distance(const char *a, const char *b) {
    enum { WORD_MAX = 63 };
    size_t n = strlen(a), m = strlen(b), rows[3][WORD_MAX + 1];
    if (n > WORD_MAX || m > WORD_MAX)
        return WORD_MAX;
    for (size_t j = 0; j <= m; j++)
        rows[0][j] = j;
    for (size_t i = 1; i <= n; i++) {
        size_t *row = rows[i % 3], *above = rows[(i + 2) % 3], *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= m; j++) {
            bool same = tolower((unsigned char)a[i - 1]) == tolower((unsigned char)b[j - 1]);
            row[j] = least(row[j - 1] + 1, above[j] + 1, above[j - 1] + !same);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                row[j] = least(row[j], above2[j - 2] + 1, row[j]);
        }
    }
    return rows[n % 3][m];
}

/* The known word that was probably meant, or NULL. */
static const char *nearest(const char *word, const char *const *known) {
    const char *best = NULL;
    size_t best_far = strlen(word) / 3 + 2; /* first distance that is too far */
    for (; *known; known++) {
        size_t far = edit_distance(word, *known);
        if (far >= best_far || far >= strlen(*known))
            continue;
        best = *known;
        best_far = far;
    }
    return best;
}

enum code config_unknown(const struct config_node *map, size_t i, const char *where, const char *const *known,
                         struct err *err) {
    struct config_node at = {.file = map->file, .line = map->key_lines[i]};
    const char *key = map->keys[i], *meant = nearest(key, known);
    if (meant)
        return config_error(&at, err, "unknown key '%.64s' in %s; did you mean '%s'?", key, where, meant);
    CLEANUP_BUF all = {0};
    for (size_t k = 0; known[k]; k++)
        buf_printf(&all, "%s%s", k ? ", " : "", known[k]);
    if (!all.len)
        return config_error(&at, err, "unknown key '%.64s' in %s, which takes no keys", key, where);
    return config_error(&at, err, "unknown key '%.64s' in %s; it takes %s", key, where, buf_cstr(&all));
}

/* ---- files ---- */

/* Appends at most max + 1 bytes, so that the caller sees whether there were more than max. Returns 0 or
 * errno. */
static int read_fd(int fd, size_t max, struct buf *out) {
    while (out->len <= max) {
        ssize_t n = read(fd, buf_room(out, max + 1 - out->len), max + 1 - out->len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return errno;
        if (n == 0)
            break;
        out->len += (size_t)n;
    }
    return 0;
}

static int read_path(const char *path, size_t max, bool secret, struct buf *out) {
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return errno;
    struct stat about;
    if (secret && fstat(fd, &about) == 0 && S_ISREG(about.st_mode) && (about.st_mode & S_IRWXO))
        log_warn("config", "everybody on this machine can read this secret; mend: chmod o= FILE",
                 F_STR("file", path));
    int failed = read_fd(fd, max, out);
    close(fd);
    return failed;
}

/* ---- ${...} ---- */

static bool is_name(struct slice s) {
    if (!s.len || isdigit((unsigned char)s.data[0]))
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!isalnum((unsigned char)s.data[i]) && s.data[i] != '_')
            return false;
    return true;
}

static enum code put_file(const struct reader *r, const struct config_node *at, const char *path,
                          struct buf *out) {
    CLEANUP_BUF content = {0};
    int failed = read_path(path, SECRET_BYTES_MAX, true, &content);
    if (failed)
        return config_error(at, r->err, "cannot read '%.512s': %s", path, strerror(failed));
    if (content.len > SECRET_BYTES_MAX)
        return config_error(at, r->err, "'%.512s' is larger than %d kB", path, SECRET_BYTES_MAX >> 10);
    if (content.len && memchr(content.data, '\0', content.len))
        return config_error(at, r->err, "'%.512s' holds a zero byte", path);
    if (content.len && content.data[content.len - 1] == '\n')
        content.len--;
    if (content.len && content.data[content.len - 1] == '\r')
        content.len--;
    buf_put_slice(out, buf_slice(&content));
    return OK;
}

/* `inside` is what stands between ${ and }. */
static enum code put_substitute(const struct reader *r, const struct config_node *at, struct slice inside,
                                struct buf *out) {
    CLEANUP_FREE char *name = xstrndup(inside.data, inside.len);
    if (!strncmp(name, "file:/", 6))
        return put_file(r, at, name + 5, out);
    if (!is_name(inside))
        return config_error(at, r->err,
                            "${ must be followed by NAME} or file:/path}; write $${ for a plain ${");
    const char *value = getenv(name);
    if (!value)
        return config_error(at, r->err, "the environment variable %.128s is not set", name);
    buf_puts(out, value);
    return OK;
}

static enum code substitute(const struct reader *r, struct config_node *node) {
    CLEANUP_BUF out = {0};
    const char *p = node->text;
    for (const char *dollar; (dollar = strstr(p, "${"));) {
        buf_put(&out, p, (size_t)(dollar - p));
        if (dollar > p &&
            dollar[-1] == '$') { /* $${: the first $ stands in `out`, leave that one and the brace */
            buf_putc(&out, '{');
            p = dollar + 2;
            continue;
        }
        const char *brace = strchr(dollar, '}');
        if (!brace)
            return config_error(node, r->err, "${ without }; write $${ for a plain ${");
        enum code code = put_substitute(r, node, slice_make(dollar + 2, (size_t)(brace - dollar) - 2), &out);
        if (code != OK)
            return code;
        if (out.len > VALUE_BYTES_MAX)
            return config_error(node, r->err, "the value is larger than 1 MB");
        node->substituted = true;
        p = brace + 1;
    }
    buf_puts(&out, p);
    node->text = arena_strndup(r->arena, out.data, out.len);
    return OK;
}

/* ---- the tree ---- */

static struct config_node *node_new(const struct reader *r, enum node_type type, size_t line) {
    struct config_node *node = arena_zalloc(r->arena, sizeof *node);
    *node = node_at(r, line);
    node->type = type;
    return node;
}

/* The next event that may begin or end a node; the caller deletes it where OK was returned. */
static enum code next_event(struct reader *r, yaml_event_t *event) {
    return yaml_parser_parse(&r->yaml, event) ? OK : yaml_error(r);
}

static bool is_null(const yaml_event_t *event) {
    if (event->data.scalar.style != YAML_PLAIN_SCALAR_STYLE)
        return false;
    const char *text = (const char *)event->data.scalar.value;
    return !strcmp(text, "~") || !strcmp(text, "null") || !strcmp(text, "Null") || !strcmp(text, "NULL");
}

static enum code read_scalar(struct reader *r, const yaml_event_t *event, struct config_node **ret) {
    struct config_node *node = node_new(r, NODE_SCALAR, event->start_mark.line);
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (memchr(text, '\0', len))
        return config_error(node, r->err, "the text holds a zero byte");
    node->text = is_null(event) ? "" : arena_strndup(r->arena, text, len);
    *ret = node;
    return strstr(node->text, "${") ? substitute(r, node) : OK;
}

/* Room for one more, doubling in the arena: what is left behind there is at most as much as what stays. */
static void *grown(struct arena *arena, void *items, size_t n, size_t size) {
    if (n & (n - 1))
        return items; /* full only at 0, 1, 2, 4, 8 .. */
    void *more = arena_alloc(arena, (n ? n * 2 : 1) * size);
    if (n)
        memcpy(more, items, n * size);
    return more;
}

static void add_item(struct reader *r, struct config_node *node, struct config_node *item) {
    node->items = grown(r->arena, node->items, node->n, sizeof(struct config_node *));
    node->items[node->n++] = item;
}

static enum code read_list(struct reader *r, struct config_node *list) {
    for (;;) {
        yaml_event_t event;
        struct config_node *item = NULL;
        enum code code = next_event(r, &event);
        if (code != OK)
            return code;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end)
            code = read_node(r, &event, &item);
        yaml_event_delete(&event);
        if (end || code != OK)
            return code;
        add_item(r, list, item);
    }
}

static enum code check_key(struct reader *r, const struct config_node *map, const yaml_event_t *event) {
    struct config_node at = node_at(r, event->start_mark.line);
    if (event->type != YAML_SCALAR_EVENT)
        return config_error(&at, r->err, "a key must be a word");
    if (event->data.scalar.anchor || event->data.scalar.tag)
        return config_error(&at, r->err, "anchors and tags are not supported");
    const char *key = (const char *)event->data.scalar.value;
    if (strlen(key) != event->data.scalar.length)
        return config_error(&at, r->err, "the key holds a zero byte");
    if (map->n >= KEYS_MAX)
        return config_error(&at, r->err, "a mapping has more than %d keys", KEYS_MAX);
    for (size_t i = 0; i < map->n; i++)
        if (!strcmp(map->keys[i], key))
            return config_error(&at, r->err, "the key '%.64s' is there twice; the first is in line %d", key,
                                map->key_lines[i]);
    return OK;
}

static void add_key(struct reader *r, struct config_node *map, const yaml_event_t *event) {
    map->keys = grown(r->arena, map->keys, map->n, sizeof *map->keys);
    map->key_lines = grown(r->arena, map->key_lines, map->n, sizeof *map->key_lines);
    map->keys[map->n] = arena_strdup(r->arena, (const char *)event->data.scalar.value);
    map->key_lines[map->n] = (int)event->start_mark.line + 1;
}

static enum code read_pair(struct reader *r, struct config_node *map) {
    yaml_event_t event;
    struct config_node *item = NULL;
    enum code code = next_event(r, &event);
    if (code != OK)
        return code;
    code = read_node(r, &event, &item);
    yaml_event_delete(&event);
    if (code == OK)
        add_item(r, map, item);
    return code;
}

static enum code read_map(struct reader *r, struct config_node *map) {
    for (;;) {
        yaml_event_t event;
        enum code code = next_event(r, &event);
        if (code != OK)
            return code;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        if (!end)
            code = check_key(r, map, &event);
        if (!end && code == OK)
            add_key(r, map, &event);
        yaml_event_delete(&event);
        if (end || code != OK)
            return code;
        code = read_pair(r, map);
        if (code != OK)
            return code;
    }
}

static bool has_anchor_or_tag(const yaml_event_t *event) {
    switch (event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor || event->data.scalar.tag;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor || event->data.sequence_start.tag;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor || event->data.mapping_start.tag;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

static enum code read_node(struct reader *r, const yaml_event_t *event, struct config_node **ret) {
    struct config_node at = node_at(r, event->start_mark.line);
    if (has_anchor_or_tag(event))
        return config_error(
            &at, r->err,
            "anchors, aliases and tags are not supported; quote a text that begins with & * or !");
    if (event->type == YAML_SCALAR_EVENT)
        return read_scalar(r, event, ret);
    if (r->depth >= NESTING_MAX)
        return config_error(&at, r->err, "nested more than %d deep", NESTING_MAX);

    bool list = event->type == YAML_SEQUENCE_START_EVENT;
    struct config_node *node = node_new(r, list ? NODE_LIST : NODE_MAP, event->start_mark.line);
    r->depth++;
    enum code code = list ? read_list(r, node) : read_map(r, node);
    r->depth--;
    *ret = node;
    return code;
}

/* An empty document, or none, is an empty mapping; any other must be a mapping. */
static enum code check_root(struct reader *r, struct config_node **root) {
    if (!*root)
        *root = node_new(r, NODE_MAP, 0);
    if ((*root)->type == NODE_SCALAR && !*(*root)->text)
        (*root)->type = NODE_MAP;
    if ((*root)->type != NODE_MAP)
        return config_error(*root, r->err, "expected 'key: value' lines");
    return OK;
}

/* stream start, document start, the root, document end, stream end */
static enum code read_document(struct reader *r, struct config_node **root) {
    for (;;) {
        yaml_event_t event;
        enum code code = next_event(r, &event);
        if (code != OK)
            return code;
        struct config_node at = node_at(r, event.start_mark.line);
        bool end = event.type == YAML_STREAM_END_EVENT;
        bool frame = end || event.type == YAML_STREAM_START_EVENT || event.type == YAML_DOCUMENT_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT) {
            if (*root)
                code = config_error(&at, r->err, "a second document begins; only one is read");
        } else if (!frame) {
            code = read_node(r, &event, root);
        }
        yaml_event_delete(&event);
        if (end || code != OK)
            return code;
    }
}

static enum code read_yaml(struct slice yaml, const char *name, struct arena *arena,
                           struct config_node **root, struct err *err) {
    struct reader r = {.arena = arena, .file = arena_strdup(arena, name), .err = err};
    if (!yaml_parser_initialize(&r.yaml))
        return err_set(err, FATAL, ERR_SYSTEM, "no memory to read YAML");
    yaml_parser_set_input_string(&r.yaml, (const unsigned char *)(yaml.len ? yaml.data : ""), yaml.len);
    enum code code = read_document(&r, root);
    if (code == OK)
        code = check_root(&r, root);
    yaml_parser_delete(&r.yaml);
    return code;
}

enum code config_read_text(struct slice yaml, const char *name, struct arena *arena, struct config_node **ret,
                           struct err *err) {
    struct config_node *root = NULL;
    *ret = NULL;
    if (yaml.len > FILE_BYTES_MAX)
        return err_set(err, FATAL, ERR_CONFIG, "%s: larger than 1 MB", name);
    enum code code = read_yaml(yaml, name, arena, &root, err);
    if (code == OK)
        *ret = root;
    return code;
}

enum code config_read(const char *path, struct arena *arena, struct config_node **ret, struct err *err) {
    CLEANUP_BUF content = {0};
    bool is_stdin = !strcmp(path, "-");
    *ret = NULL;
    int failed = is_stdin ? read_fd(STDIN_FILENO, FILE_BYTES_MAX, &content)
                          : read_path(path, FILE_BYTES_MAX, false, &content);
    const char *name = is_stdin ? "standard input" : path;
    if (failed)
        return err_set(err, FATAL, ERR_CONFIG, "cannot read %s: %s", name, strerror(failed));
    return config_read_text(buf_slice(&content), name, arena, ret, err);
}

const struct config_node *config_get(const struct config_node *map, const char *key) {
    if (!map || map->type != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < map->n; i++)
        if (!strcmp(map->keys[i], key))
            return map->items[i];
    return NULL;
}
