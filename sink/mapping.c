#include "sink/mapping.h"

#include "sink/filter.h"

struct mapping {
    const struct text_list *tables;
    const struct text_map *where, *rename;
    struct arena arena;
    struct mapped **known; /* open addressing by version */
    size_t n, cap;
};

static const char *lookup(const struct text_map *map, const char *key) {
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i], key) == 0)
            return map->values[i];
    return NULL;
}

static bool taken(const struct mapping *m, struct slice name) {
    bool any = false, hit = false;
    for (size_t i = 0; i < m->tables->n; i++) {
        const char *pattern = m->tables->items[i];
        if (*pattern == '!') {
            if (slice_glob(slice_of(pattern + 1), name))
                return false;
            continue;
        }
        any = true;
        hit |= slice_glob(slice_of(pattern), name);
    }
    return hit || !any;
}

/* ---- making and finding ---- */

/* The schema that a name "schema.table" of `rename` goes to: the part before its first dot has an entry of
 * its own, or stays. */
static struct slice schema_to(const struct text_map *rename, const char *key) {
    CLEANUP_FREE char *schema = xstrndup(key, strcspn(key, "."));
    const char *to = lookup(rename, schema);
    return to ? slice_of(to) : slice_make(key, strlen(schema));
}

static bool names_table(const char *key) {
    return strchr(key, '.') && strchr(key, '.') == strrchr(key, '.');
}

/* Two tables that become one would overwrite each other's rows. */
static enum code check_renames(const struct text_map *rename, struct err *err) {
    for (size_t i = 0; i < rename->n; i++)
        for (size_t k = i + 1; k < rename->n; k++)
            if (names_table(rename->keys[i]) && names_table(rename->keys[k]) &&
                strcmp(rename->values[i], rename->values[k]) == 0 &&
                slice_eq(schema_to(rename, rename->keys[i]), schema_to(rename, rename->keys[k])))
                return err_set(err, FATAL, ERR_CONFIG,
                               "rename: %s and %s would both be table %s of the replica and overwrite each "
                               "other's rows; give one of them another name",
                               rename->keys[i], rename->keys[k], rename->values[i]);
    return OK;
}

enum code mapping_new(const struct text_list *tables, const struct text_map *where,
                      const struct text_map *rename, struct mapping **ret, struct err *err) {
    enum code code = check_renames(rename, err);
    if (code != OK)
        return code;
    struct mapping *m = xcalloc(1, sizeof *m);
    *m = (struct mapping){.tables = tables, .where = where, .rename = rename};
    for (size_t i = 0; i < where->n; i++) {
        struct condition conditions[CONDITIONS_MAX];
        if (filter_parse(where->values[i], &m->arena, conditions) > 0)
            continue;
        err_set(err, FATAL, ERR_CONFIG,
                "where for table %s is not understood; write: column = 'text', column != 'text', column is "
                "null or column is not null, joined by \"and\"",
                where->keys[i]);
        mapping_free(m);
        return FATAL;
    }
    *ret = m;
    return OK;
}

void mapping_free(struct mapping *m) {
    if (!m)
        return;
    arena_free(&m->arena);
    free(m->known);
    free(m);
}

static const char *renamed(const struct mapping *m, const char *key, const char *fallback) {
    const char *to = lookup(m->rename, key);
    return to ? to : fallback;
}

static struct table *rename_table(struct mapping *m, const struct table *source, const char *full) {
    struct table *t = table_copy(source, &m->arena);
    t->schema = renamed(m, source->schema, source->schema);
    t->name = renamed(m, full, source->name);
    for (int i = 0; i < t->n_columns; i++) {
        CLEANUP_FREE char *key = xasprintf("%s.%s", full, source->columns[i].name);
        t->columns[i].name = renamed(m, key, t->columns[i].name);
    }
    t->digest = table_digest(t);
    return t;
}

static enum code resolve_filter(struct mapping *m, struct mapped *mapped, const char *full, struct err *err) {
    const char *text = mapped->filter = lookup(m->where, full);
    if (!text)
        return OK;
    struct condition found[CONDITIONS_MAX];
    mapped->n_where = filter_parse(text, &m->arena, found);
    mapped->where = arena_alloc(&m->arena, sizeof *found * (size_t)mapped->n_where);
    for (int i = 0; i < mapped->n_where; i++) {
        struct condition *c = &mapped->where[i];
        *c = found[i];
        const char *why = condition_bind(c, mapped->source);
        if (why)
            return err_set(
                err, REJECT, ERR_TARGET_TABLE,
                "table %s: the filter of this sink names column %s, %s; mend `where` in the configuration",
                full, c->column, why);
    }
    return OK;
}

static size_t slot_of(struct mapped *const *known, size_t cap, const struct table *source) {
    size_t i = ((uintptr_t)source >> 4) * UINT64_C(0x9E3779B97F4A7C15) & (cap - 1);
    while (known[i] && known[i]->source != source)
        i = (i + 1) & (cap - 1);
    return i;
}

static void remember(struct mapping *m, struct mapped *mapped) {
    if (m->n * 2 >= m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        struct mapped **known = xcalloc(cap, sizeof *known);
        for (size_t i = 0; i < m->cap; i++)
            if (m->known[i])
                known[slot_of(known, cap, m->known[i]->source)] = m->known[i];
        free(m->known);
        m->known = known;
        m->cap = cap;
    }
    m->known[slot_of(m->known, m->cap, mapped->source)] = mapped;
    m->n++;
}

enum code mapping_find(struct mapping *m, const struct table *source, const struct mapped **ret,
                       struct err *err) {
    if (m->cap) {
        *ret = m->known[slot_of(m->known, m->cap, source)];
        if (*ret)
            return OK;
    }
    struct mapped *mapped = arena_zalloc(&m->arena, sizeof *mapped);
    CLEANUP_FREE char *full = xasprintf("%s.%s", source->schema, source->name);
    mapped->source = source;
    bool take = taken(m, slice_of(full));
    enum code code = take ? resolve_filter(m, mapped, full, err) : OK;
    if (code != OK)
        return code;
    if (take)
        mapped->table = rename_table(m, source, full);
    remember(m, mapped);
    *ret = mapped;
    return OK;
}

enum code mapped_match(const struct mapped *mapped, const struct value *row, bool *ret, struct err *err) {
    *ret = true;
    for (int i = 0; i < mapped->n_where; i++) {
        const struct condition *c = &mapped->where[i];
        if (row[c->index].tag == VALUE_ABSENT)
            return err_set(err, REJECT, ERR_TARGET_VALUE,
                           "table %s.%s: column %s of this sink's filter was not sent by the source "
                           "(unchanged, stored out of line); set REPLICA IDENTITY FULL on the source table",
                           mapped->source->schema, mapped->source->name, c->column);
        *ret &= condition_holds(c, &row[c->index]);
    }
    return OK;
}
