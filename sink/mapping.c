#include "sink/mapping.h"

#include <ctype.h>
#include <stdio.h>

enum comparison { IS_EQUAL, IS_DIFFERENT, IS_NULL, IS_NOT_NULL };

struct condition {
    char *column;
    int index; /* in the table's columns */
    enum comparison comparison;
    struct slice text;
};

struct mapping {
    const struct text_list *tables;
    const struct text_map *where, *rename;
    struct arena arena;
    struct mapped **known; /* open addressing by version */
    size_t n, cap;
};

static const char *lookup(const struct text_map *map, const char *key)
{
    for (size_t i = 0; i < map->n; i++)
        if (strcmp(map->keys[i], key) == 0) return map->values[i];
    return NULL;
}

static bool taken(const struct mapping *m, struct slice name)
{
    bool any = false, hit = false;
    for (size_t i = 0; i < m->tables->n; i++) {
        const char *pattern = m->tables->items[i];
        if (*pattern == '!') {
            if (slice_glob(slice_of(pattern + 1), name)) return false;
            continue;
        }
        any = true;
        hit |= slice_glob(slice_of(pattern), name);
    }
    return hit || !any;
}

/* ---- the filter's small language: column (= | != | <>) literal, column is [not] null, joined by `and` -------------- */

struct scanner {
    const char *at;
    struct arena *arena;
};

static void skip_space(struct scanner *s)
{
    while (isspace((unsigned char)*s->at)) s->at++;
}

static bool take_word(struct scanner *s, const char *word)
{
    skip_space(s);
    size_t n = strlen(word);
    if (strncasecmp(s->at, word, n) != 0) return false;
    if (isalpha((unsigned char)*word) && (isalnum((unsigned char)s->at[n]) || s->at[n] == '_')) return false;
    s->at += n;
    return true;
}

/* Text between `quote`s, doubled quotes inside meaning one. NULL: not closed. */
static char *take_quoted(struct scanner *s, char quote)
{
    char *out = arena_alloc(s->arena, strlen(s->at) + 1), *end = out;
    for (s->at++; *s->at; s->at++) {
        if (*s->at == quote && s->at[1] != quote) {
            s->at++;
            *end = 0;
            return out;
        }
        if (*s->at == quote) s->at++;
        *end++ = *s->at;
    }
    return NULL;
}

static char *take_plain(struct scanner *s)
{
    const char *begin = s->at;
    while (isalnum((unsigned char)*s->at) || *s->at == '_' || *s->at == '.' || *s->at == '-' || *s->at == '+' || (unsigned char)*s->at >= 0x80) s->at++;
    return s->at == begin ? NULL : arena_strndup(s->arena, begin, (size_t)(s->at - begin));
}

static char *take_operand(struct scanner *s, char quote)
{
    skip_space(s);
    return *s->at == quote ? take_quoted(s, quote) : take_plain(s);
}

static bool take_condition(struct scanner *s, struct condition *ret)
{
    ret->column = take_operand(s, '"');
    if (!ret->column) return false;
    if (take_word(s, "is")) {
        ret->comparison = take_word(s, "not") ? IS_NOT_NULL : IS_NULL;
        return take_word(s, "null");
    }
    if (take_word(s, "!=") || take_word(s, "<>"))
        ret->comparison = IS_DIFFERENT;
    else if (take_word(s, "="))
        ret->comparison = IS_EQUAL;
    else
        return false;
    char *literal = take_operand(s, '\'');
    ret->text = slice_of(literal);
    return literal != NULL;
}

enum { CONDITIONS_MAX = 16 };

static int parse_filter(const char *text, struct arena *arena, struct condition *out)
{
    struct scanner s = {text, arena};
    for (int n = 0; n < CONDITIONS_MAX; n++) {
        if (!take_condition(&s, &out[n])) return -1;
        skip_space(&s);
        if (!*s.at) return n + 1;
        if (!take_word(&s, "and")) return -1;
    }
    return -1;
}

/* ---- making and finding ------------------------------------------------------------------------------------------ */

/* The schema that a name "schema.table" of `rename` goes to: the part before its first dot has an entry of its own, or stays. */
static struct slice schema_to(const struct text_map *rename, const char *key)
{
    CLEANUP_FREE char *schema = xstrndup(key, strcspn(key, "."));
    const char *to = lookup(rename, schema);
    return to ? slice_of(to) : slice_make(key, strlen(schema));
}

static bool names_table(const char *key) { return strchr(key, '.') && strchr(key, '.') == strrchr(key, '.'); }

/* Two tables that become one would overwrite each other's rows. */
static enum code check_renames(const struct text_map *rename, struct err *err)
{
    for (size_t i = 0; i < rename->n; i++)
        for (size_t k = i + 1; k < rename->n; k++)
            if (names_table(rename->keys[i]) && names_table(rename->keys[k]) && strcmp(rename->values[i], rename->values[k]) == 0 &&
                slice_eq(schema_to(rename, rename->keys[i]), schema_to(rename, rename->keys[k])))
                return err_set(err, FATAL, ERR_CONFIG, "rename: %s and %s would both be table %s of the replica and overwrite each other's rows; give one of them another name",
                               rename->keys[i], rename->keys[k], rename->values[i]);
    return OK;
}

enum code mapping_new(const struct text_list *tables, const struct text_map *where, const struct text_map *rename, struct mapping **ret, struct err *err)
{
    enum code code = check_renames(rename, err);
    if (code != OK) return code;
    struct mapping *m = xcalloc(1, sizeof *m);
    *m = (struct mapping){.tables = tables, .where = where, .rename = rename};
    for (size_t i = 0; i < where->n; i++) {
        struct condition conditions[CONDITIONS_MAX];
        if (parse_filter(where->values[i], &m->arena, conditions) > 0) continue;
        err_set(err, FATAL, ERR_CONFIG, "where for table %s is not understood; write: column = 'text', column != 'text', column is null or column is not null, joined by \"and\"", where->keys[i]);
        mapping_free(m);
        return FATAL;
    }
    *ret = m;
    return OK;
}

void mapping_free(struct mapping *m)
{
    if (!m) return;
    arena_free(&m->arena);
    free(m->known);
    free(m);
}

static const char *renamed(const struct mapping *m, const char *key, const char *fallback)
{
    const char *to = lookup(m->rename, key);
    return to ? to : fallback;
}

static struct table *rename_table(struct mapping *m, const struct table *source, const char *full)
{
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

static enum code resolve_filter(struct mapping *m, struct mapped *mapped, const char *full, struct err *err)
{
    const char *text = mapped->filter = lookup(m->where, full);
    if (!text) return OK;
    struct condition found[CONDITIONS_MAX];
    mapped->n_where = parse_filter(text, &m->arena, found);
    mapped->where = arena_alloc(&m->arena, sizeof *found * (size_t)mapped->n_where);
    for (int i = 0; i < mapped->n_where; i++) {
        mapped->where[i] = found[i];
        const struct column *c = table_column(mapped->source, found[i].column);
        if (!c) return err_set(err, REJECT, ERR_TARGET_TABLE, "table %s: the filter of this sink names column %s, which is not there; mend `where` in the configuration", full, found[i].column);
        mapped->where[i].index = (int)(c - mapped->source->columns);
    }
    return OK;
}

static size_t slot_of(struct mapped *const *known, size_t cap, const struct table *source)
{
    size_t i = ((uintptr_t)source >> 4) * UINT64_C(0x9E3779B97F4A7C15) & (cap - 1);
    while (known[i] && known[i]->source != source) i = (i + 1) & (cap - 1);
    return i;
}

static void remember(struct mapping *m, struct mapped *mapped)
{
    if (m->n * 2 >= m->cap) {
        size_t cap = m->cap ? m->cap * 2 : 64;
        struct mapped **known = xcalloc(cap, sizeof *known);
        for (size_t i = 0; i < m->cap; i++)
            if (m->known[i]) known[slot_of(known, cap, m->known[i]->source)] = m->known[i];
        free(m->known);
        m->known = known;
        m->cap = cap;
    }
    m->known[slot_of(m->known, m->cap, mapped->source)] = mapped;
    m->n++;
}

enum code mapping_find(struct mapping *m, const struct table *source, const struct mapped **ret, struct err *err)
{
    if (m->cap) {
        *ret = m->known[slot_of(m->known, m->cap, source)];
        if (*ret) return OK;
    }
    struct mapped *mapped = arena_zalloc(&m->arena, sizeof *mapped);
    CLEANUP_FREE char *full = xasprintf("%s.%s", source->schema, source->name);
    mapped->source = source;
    bool take = taken(m, slice_of(full));
    enum code code = take ? resolve_filter(m, mapped, full, err) : OK;
    if (code != OK) return code;
    if (take) mapped->table = rename_table(m, source, full);
    remember(m, mapped);
    *ret = mapped;
    return OK;
}

static bool value_is(const struct value *v, struct slice text)
{
    char number[40];
    switch (v->tag) {
    case VALUE_TEXT:
    case VALUE_BYTES: return slice_eq(v->s, text);
    case VALUE_INT: return slice_eq(slice_make(number, (size_t)snprintf(number, sizeof number, "%lld", (long long)v->i)), text) ||
                           (v->i == 1 && slice_is(text, "true")) || (v->i == 0 && slice_is(text, "false"));
    case VALUE_FLOAT: return slice_eq(slice_make(number, (size_t)snprintf(number, sizeof number, "%.17g", v->d)), text);
    default: return false;
    }
}

static bool condition_holds(const struct condition *c, const struct value *v)
{
    bool null = v->tag == VALUE_NULL;
    switch (c->comparison) {
    case IS_NULL: return null;
    case IS_NOT_NULL: return !null;
    case IS_EQUAL: return !null && value_is(v, c->text);
    case IS_DIFFERENT: return !null && !value_is(v, c->text);
    }
    return false;
}

enum code mapped_match(const struct mapped *mapped, const struct value *row, bool *ret, struct err *err)
{
    *ret = true;
    for (int i = 0; i < mapped->n_where; i++) {
        const struct condition *c = &mapped->where[i];
        if (row[c->index].tag == VALUE_ABSENT)
            return err_set(err, REJECT, ERR_TARGET_VALUE, "table %s.%s: column %s of this sink's filter was not sent by the source (unchanged, stored out of line); set REPLICA IDENTITY FULL on the source table", mapped->source->schema, mapped->source->name, c->column);
        *ret &= condition_holds(c, &row[c->index]);
    }
    return OK;
}
