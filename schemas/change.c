/* Kinds and table shapes: their names, their digest, their copy. */
#include "schemas/change.h"

#include "schemas/hash.h"
#include <assert.h>

static const struct {
    const char *name;
    enum value_tag tag;
} kinds[KIND_COUNT] = {
#define X(id, tag, avro, connect_name, text) {#id, VALUE_##tag},
    KIND_TABLE(X)
#undef X
};

enum value_tag kind_tag(enum kind kind) {
    assert((unsigned)kind < KIND_COUNT);
    return kinds[kind].tag;
}

const char *kind_name(enum kind kind) {
    assert((unsigned)kind < KIND_COUNT);
    return kinds[kind].name;
}

const struct column *table_column(const struct table *table, const char *name) {
    for (int i = 0; i < table->n_columns; i++)
        if (strcmp(table->columns[i].name, name) == 0)
            return &table->columns[i];
    return NULL;
}

/* ---- digest ---- */

/* The digest of a table, by its canonical form.
 *
 * The fields of struct table in their order, depth first. A number is 8 bytes big-endian; a
 * text is its length as a number and its bytes; a text that is not there is the number 2^64-1; a list is its
 * count and its items. Kinds go in by name, so that the digest outlives a reordering of the enum. */

static uint64_t digest_text(uint64_t hash, const char *text) {
    if (!text)
        return fnv_u64(hash, UINT64_MAX);
    size_t len = strlen(text);
    return fnv_bytes(fnv_u64(hash, len), text, len);
}

static size_t list_count(const char *const *list) {
    size_t n = 0;
    while (list && list[n])
        n++;
    return n;
}

static uint64_t digest_list(uint64_t hash, const char *const *list) {
    size_t n = list_count(list);
    hash = fnv_u64(hash, n);
    for (size_t i = 0; i < n; i++)
        hash = digest_text(hash, list[i]);
    return hash;
}

static uint64_t digest_number(uint64_t hash, int number) {
    return fnv_u64(hash, (uint64_t)(int64_t)number);
}

static uint64_t digest_column(uint64_t hash, const struct column *column) {
    hash = digest_text(hash, column->name);
    hash = digest_text(hash, column->type);
    hash = digest_text(hash, kind_name(column->kind));
    hash = digest_number(hash, column->length);
    hash = digest_number(hash, column->precision);
    hash = digest_number(hash, column->scale);
    hash = digest_number(hash, column->nullable);
    hash = digest_number(hash, column->key);
    hash = digest_list(hash, column->labels);
    return column->missing ? digest_text(hash, column->missing) : hash;
}

static uint64_t digest_type(uint64_t hash, const struct user_type *type) {
    hash = digest_number(hash, (int)type->kind);
    hash = digest_text(hash, type->schema);
    hash = digest_text(hash, type->name);
    hash = digest_list(hash, type->labels);
    return digest_list(hash, type->label_types);
}

uint64_t table_digest(const struct table *table) {
    uint64_t hash = digest_text(digest_text(FNV_START, table->schema), table->name);
    hash = digest_number(hash, table->n_columns);
    for (int i = 0; i < table->n_columns; i++)
        hash = digest_column(hash, &table->columns[i]);
    hash = digest_number(hash, table->n_key);
    for (int i = 0; i < table->n_key; i++)
        hash = digest_number(hash, table->key[i]);
    hash = digest_number(hash, table->partial);
    if (table->incarnation)
        hash = fnv_u64(hash, table->incarnation);
    hash = digest_number(hash, table->n_types);
    for (int i = 0; i < table->n_types; i++)
        hash = digest_type(hash, &table->types[i]);
    return hash;
}

/* ---- copy ---- */

static const char *copy_text(struct arena *arena, const char *text) {
    return text ? arena_strdup(arena, text) : NULL;
}

static const char *const *copy_list(struct arena *arena, const char *const *list) {
    if (!list)
        return NULL;
    size_t n = list_count(list);
    const char **copy = arena_zalloc(arena, (n + 1) * sizeof *copy);
    for (size_t i = 0; i < n; i++)
        copy[i] = arena_strdup(arena, list[i]);
    return copy;
}

static struct column *copy_columns(struct arena *arena, const struct table *table) {
    struct column *copy = arena_zalloc(arena, (size_t)table->n_columns * sizeof *copy);
    for (int i = 0; i < table->n_columns; i++) {
        copy[i] = table->columns[i];
        copy[i].name = copy_text(arena, copy[i].name);
        copy[i].type = copy_text(arena, copy[i].type);
        copy[i].labels = copy_list(arena, copy[i].labels);
        copy[i].missing = copy_text(arena, copy[i].missing);
    }
    return copy;
}

static struct user_type *copy_types(struct arena *arena, const struct table *table) {
    struct user_type *copy = arena_zalloc(arena, (size_t)table->n_types * sizeof *copy);
    for (int i = 0; i < table->n_types; i++) {
        copy[i] = table->types[i];
        copy[i].schema = copy_text(arena, copy[i].schema);
        copy[i].name = copy_text(arena, copy[i].name);
        copy[i].labels = copy_list(arena, copy[i].labels);
        copy[i].label_types = copy_list(arena, copy[i].label_types);
    }
    return copy;
}

struct table *table_copy(const struct table *table, struct arena *arena) {
    struct table *copy = arena_alloc(arena, sizeof *copy);
    *copy = *table;
    copy->schema = copy_text(arena, table->schema);
    copy->name = copy_text(arena, table->name);
    copy->columns = copy_columns(arena, table);
    copy->key = arena_zalloc(arena, (size_t)table->n_key * sizeof *copy->key);
    for (int i = 0; i < table->n_key; i++)
        copy->key[i] = table->key[i];
    copy->types = copy_types(arena, table);
    return copy;
}
