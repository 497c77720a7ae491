#include "cli/pipeline.h"

#include <stdio.h>

#include "base/config.h"
#include "capture/source_table.h"
#include "journal/journal_table.h"
#include "sink/target_table.h"

static const char *const formats[] = {"logfmt", "json", NULL};
static const char *const levels[] = {"error", "warn", "info", "debug", NULL};
static const struct option log_rows[] = {
    {"format", OPT_ENUM, offsetof(struct pipeline_log, format), "logfmt", false, 0, 0, formats,
     "logfmt or one JSON object a line, on standard error."},
    {"level", OPT_ENUM, offsetof(struct pipeline_log, level), "info", false, 0, 0, levels,
     "error: someone must act. warn: we act. info: start, stop, state. debug: per batch."},
    {0},
};
const struct option_table log_options = {"log", "What is logged.", log_rows, sizeof(struct pipeline_log)};

static const struct option http_rows[] = {
    {"listen", OPT_TEXT, offsetof(struct pipeline_http, listen), NULL, false, 0, 0, NULL,
     "host:port of /metrics, /healthz, /readyz and /v1/status; none = off. Without authentication: keep it "
     "on loopback."},
    {0},
};
const struct option_table http_options = {"http", "The admin port.", http_rows, sizeof(struct pipeline_http)};

static enum code fill(struct pipeline *p, const struct option_table *table, const struct config_node *node,
                      void **ret, struct err *err) {
    *ret = arena_zalloc(&p->arena, table->size);
    return option_fill(table, node, *ret, &p->arena, err);
}

static enum code want_map(const struct config_node *node, const char *what, struct err *err) {
    if (node && node->type == NODE_MAP)
        return OK;
    return node ? config_error(node, err, "%s must be a mapping", what)
                : err_set(err, FATAL, ERR_CONFIG, "%s is missing", what);
}

static enum code want_name(const struct config_node *map, const char *what, const char **ret,
                           struct err *err) {
    const struct config_node *name = config_get(map, "name");
    if (!name || name->type != NODE_SCALAR || !*name->text)
        return config_error(name ? name : map, err, "%s needs a name", what);
    for (const char *c = name->text; *c; c++)
        if (!((*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') || *c == '_' ||
              *c == '-') ||
            c - name->text >= 48)
            return config_error(name, err, "the name of %s may hold at most 48 letters, digits, '_' and '-'",
                                what);
    *ret = name->text;
    return OK;
}

/* A mapping copy without some keys, so that the rest can be parsed by a table. */
static struct config_node *without(struct arena *arena, const struct config_node *map,
                                   const char *const *keys) {
    struct config_node *copy = arena_alloc(arena, sizeof *copy);
    *copy = *map;
    copy->n = 0;
    copy->items = arena_alloc(arena, map->n * sizeof(*copy->items) + 1);
    copy->keys = arena_alloc(arena, map->n * sizeof(*copy->keys) + 1);
    copy->key_lines = arena_alloc(arena, map->n * sizeof(*copy->key_lines) + 1);
    for (size_t i = 0; i < map->n; i++) {
        bool leave = false;
        for (const char *const *k = keys; *k; k++)
            leave |= strcmp(map->keys[i], *k) == 0;
        if (leave)
            continue;
        copy->items[copy->n] = map->items[i];
        copy->keys[copy->n] = map->keys[i];
        copy->key_lines[copy->n++] = map->key_lines[i];
    }
    return copy;
}

static enum code read_source(struct pipeline *p, const struct config_node *node, struct err *err) {
    if (!node)
        return OK;
    enum code code = want_map(node, "source", err);
    if (code == OK)
        code = want_name(node, "source", &p->source_name, err);
    if (code != OK)
        return code;
    const char *known[16] = {"name"};
    int n = 1;
    for (int i = 0; source_table[i]; i++) {
        known[n++] = source_table[i]->options->name;
        const struct config_node *kind = config_get(node, source_table[i]->options->name);
        if (!kind)
            continue;
        if (p->source)
            return config_error(kind, err, "source: only one kind of source can be given");
        p->source = source_table[i];
        code = fill(p, p->source->options, kind, &p->source_options, err);
        if (code != OK)
            return code;
    }
    for (size_t i = 0; i < node->n; i++) {
        bool found = false;
        for (int k = 0; k < n; k++)
            found |= strcmp(known[k], node->keys[i]) == 0;
        if (!found)
            return config_unknown(node, i, "source", known, err);
    }
    return p->source
               ? OK
               : config_error(node, err, "source: which kind? write for example postgres: { url: ... }");
}

static enum code open_journal(struct pipeline *p, const struct journal_ops *ops,
                              const struct config_node *node, struct err *err) {
    p->journal_ops = ops;
    enum code code = fill(p, ops->options, node, &p->journal_options, err);
    return code == OK ? ops->open(p->journal_options, p->source_name, &p->journal, err) : code;
}

static enum code read_journal(struct pipeline *p, const struct config_node *node, struct err *err) {
    if (!node)
        return open_journal(p, journal_table[0], NULL, err);
    enum code code = want_map(node, "journal", err);
    if (code != OK)
        return code;
    const char *known[16] = {0};
    for (int i = 0; journal_table[i]; i++)
        known[i] = journal_table[i]->options->name;
    for (size_t k = 0; k < node->n; k++) {
        int i = 0;
        while (journal_table[i] && strcmp(journal_table[i]->options->name, node->keys[k]) != 0)
            i++;
        if (!journal_table[i])
            return config_unknown(node, k, "journal", known, err);
        if (p->journal_ops)
            return config_error(node->items[k], err, "journal: only one kind of journal can be given");
        code = open_journal(p, journal_table[i], node->items[k], err);
        if (code != OK)
            return code;
    }
    return p->journal
               ? OK
               : config_error(node, err, "journal: which kind? write for example embedded: { path: ... }");
}

static enum code read_schemas(struct pipeline *p, const struct config_node *node, struct err *err) {
    enum code code = option_fill(&registry_options, node, &p->registry, &p->arena, err);
    p->has_registry = p->registry.url && *p->registry.url;
    return code;
}

static void put_text(struct buf *out, const struct config_node *node) {
    if (node->type == NODE_SCALAR) {
        buf_printf(out, "\"%s\"", node->text);
        return;
    }
    buf_putc(out, '(');
    for (size_t i = 0; i < node->n; i++) {
        if (node->type == NODE_MAP)
            buf_printf(out, "%s:", node->keys[i]);
        put_text(out, node->items[i]);
        buf_putc(out, ',');
    }
    buf_putc(out, ')');
}

static enum code sink_workers(const struct config_node *node, struct sink_config *config, struct err *err) {
    bool transaction = config->consistency == CONSISTENCY_TRANSACTION;
    if (config->workers == 0)
        config->workers = transaction ? 1 : 4;
    if (transaction && config->workers != 1)
        return config_error(node, err,
                            "consistency: transaction applies whole source transactions in order and has one "
                            "worker; remove workers, or choose consistency: key");
    return OK;
}

static enum code read_sink(struct pipeline *p, const struct config_node *node, struct pipeline_sink *sink,
                           struct err *err) {
    enum code code = want_map(node, "an entry of sinks", err);
    if (code == OK)
        code = want_name(node, "a sink", &sink->name, err);
    if (code != OK)
        return code;
    if (pipeline_find_sink(p, sink->name))
        return config_error(node, err, "two sinks are named %s", sink->name);
    const char *own[16] = {"name"};
    int n = 1;
    for (int i = 0; target_table[i]; i++) {
        own[n++] = target_table[i]->options->name;
        const struct config_node *kind = config_get(node, target_table[i]->options->name);
        if (!kind)
            continue;
        if (sink->target)
            return config_error(kind, err, "sink %s: only one kind of target can be given", sink->name);
        sink->target = target_table[i];
        code = fill(p, sink->target->options, kind, &sink->target_options, err);
        if (code != OK)
            return code;
    }
    code = option_fill(&sink_options, without(&p->arena, node, own), &sink->config, &p->arena, err);
    if (code == OK && !sink->target)
        code = config_error(
            node, err, "sink %s: which kind of target? write for example postgres: { url: ... }", sink->name);
    if (code == OK)
        code = sink_workers(node, &sink->config, err);
    CLEANUP_BUF text = {0};
    put_text(&text, node);
    sink->text = arena_strdup(&p->arena, buf_cstr(&text));
    return code;
}

static enum code read_sinks(struct pipeline *p, const struct config_node *node, struct err *err) {
    if (!node)
        return OK;
    if (node->type != NODE_LIST)
        return config_error(node, err, "sinks must be a list");
    p->sinks = arena_zalloc(&p->arena, (node->n + 1) * sizeof *p->sinks);
    for (size_t i = 0; i < node->n; i++) {
        enum code code = read_sink(p, node->items[i], &p->sinks[i], err);
        if (code != OK)
            return code;
        p->n_sinks++;
    }
    return OK;
}

static const char *const top_keys[] = {"source", "journal", "schemas", "capture",
                                       "sinks",  "http",    "log",     NULL};

static enum code read_all(struct pipeline *p, const char *path, struct err *err) {
    struct config_node *root;
    enum code code = config_read(path, &p->arena, &root, err);
    if (code == OK)
        code = want_map(root, "the configuration", err);
    if (code != OK)
        return code;
    for (size_t i = 0; i < root->n; i++) {
        bool found = false;
        for (const char *const *k = top_keys; *k; k++)
            found |= strcmp(*k, root->keys[i]) == 0;
        if (!found)
            return config_unknown(root, i, "the configuration", top_keys, err);
    }
    code = read_source(p, config_get(root, "source"), err);
    if (code == OK)
        code = read_journal(p, config_get(root, "journal"), err);
    if (code == OK)
        code = read_schemas(p, config_get(root, "schemas"), err);
    if (code == OK)
        code = option_fill(&capture_options, config_get(root, "capture"), &p->capture, &p->arena, err);
    if (code == OK)
        code = read_sinks(p, config_get(root, "sinks"), err);
    if (code == OK)
        code = option_fill(&http_options, config_get(root, "http"), &p->http, &p->arena, err);
    if (code == OK)
        code = option_fill(&log_options, config_get(root, "log"), &p->log, &p->arena, err);
    return code;
}

enum code pipeline_read(const char *path, struct pipeline **ret, struct err *err) {
    struct pipeline *p = xcalloc(1, sizeof *p);
    p->path = arena_strdup(&p->arena, path);
    enum code code = read_all(p, path, err);
    if (code != OK) {
        pipeline_free(p);
        return code;
    }
    *ret = p;
    return OK;
}

void pipeline_free(struct pipeline *p) {
    if (!p)
        return;
    if (p->journal)
        p->journal_ops->close(p->journal);
    arena_free(&p->arena);
    free(p);
}

const struct pipeline_sink *pipeline_find_sink(const struct pipeline *p, const char *name) {
    for (int i = 0; i < p->n_sinks; i++)
        if (strcmp(p->sinks[i].name, name) == 0)
            return &p->sinks[i];
    return NULL;
}

enum code pipeline_schemas(void *arg, struct journal_writer *writer, struct schema_store **ret,
                           struct err *err) {
    struct pipeline_schemas *s = arg;
    if (s->pipeline->has_registry)
        return registry_open(&s->pipeline->registry, ret, err);
    return s->pipeline->journal_ops->schemas(s->pipeline->journal, &s->env, writer, ret, err);
}

enum code pipeline_last_commit(struct pipeline *p, const struct stop *stop, int64_t wait_ms,
                               struct arena *arena, struct commit_record **ret, struct err *err) {
    struct journal_env env = {&clock_system, stop};
    struct journal_reader *reader;
    int64_t offset;
    *ret = NULL;
    enum code code = p->journal_ops->reader_open(p->journal, &env, wait_ms, &reader, err);
    if (code != OK)
        return code;
    code = p->journal_ops->commits_last(reader, wait_ms, arena, ret, &offset, err);
    p->journal_ops->reader_close(reader);
    return code == AGAIN ? OK : code;
}

void pipeline_resume(const struct commit_record *last, struct source_resume *ret) {
    *ret = (struct source_resume){0};
    if (!last)
        return;
    *ret = (struct source_resume){
        .found = true, .position = last->position, .boundary = last->boundary, .state = last->state};
}
