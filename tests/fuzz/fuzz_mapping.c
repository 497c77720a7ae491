/* Which tables and rows a sink takes: patterns, renames and filters, against tables of any shape; and the
 * patterns and column lists of a source.
 *
 *   tape = counts (1 byte) pattern* (key value)* (key value)* schema name column* value*     all chunks */
#include "capture/postgres/options.h"
#include "fuzz.h"
#include "sink/mapping.h"

enum { LIST_MAX = 3, COLUMNS_MAX = 4 };

static void read_list(struct tape *tape, struct text_list *list, const char **items, unsigned n) {
    list->items = items;
    for (list->n = 0; list->n < n; list->n++)
        items[list->n] = tape_text(tape);
}

static void read_map(struct tape *tape, struct text_map *map, const char **keys, const char **values,
                     unsigned n) {
    map->keys = keys;
    map->values = values;
    for (map->n = 0; map->n < n; map->n++) {
        keys[map->n] = tape_text(tape);
        values[map->n] = tape_text(tape);
    }
}

/* A filter on one text column, written with its quotes doubled, takes exactly the rows with this text. */
static void filter_is_exact(const struct table *table, const char *wanted, struct slice got) {
    static const struct text_list every = {0};
    static const struct text_map none = {0};
    struct buf filter = {0}, full = {0};
    struct err err;
    buf_puts(&filter, "\"c\" = '");
    for (const char *p = wanted; *p; p++) {
        if (*p == '\'')
            buf_putc(&filter, '\'');
        buf_putc(&filter, *p);
    }
    buf_putc(&filter, '\'');
    buf_printf(&full, "%s.%s", table->schema, table->name);
    const char *keys[] = {buf_cstr(&full)}, *values[] = {buf_cstr(&filter)};
    const struct text_map where = {keys, values, 1};
    struct mapping *mapping;
    const struct mapped *mapped;
    struct column column = {.name = "c", .type = "text", .kind = KIND_TEXT, .length = -1};
    struct table one = {.schema = table->schema, .name = table->name, .columns = &column, .n_columns = 1};
    const struct value row = {VALUE_TEXT, {.s = got}};
    bool passes = false;
    HOLDS(mapping_new(&every, &where, &none, &mapping, &err) == OK, "%s", err.text);
    HOLDS(mapping_find(mapping, &one, &mapped, &err) == OK && mapped->table, "%s", err.text);
    HOLDS(mapped_match(mapped, &row, &passes, &err) == OK, "%s", err.text);
    HOLDS(passes == slice_is(got, wanted), "a filter for '%s'", wanted);
    mapping_free(mapping);
    buf_free(&filter);
    buf_free(&full);
}

static struct value read_value(struct tape *tape, enum kind *kind) {
    switch (tape_number(tape, 1) % 6) {
    case 0:
        *kind = KIND_INT64;
        return (struct value){VALUE_INT, {.i = (int64_t)tape_number(tape, 8)}};
    case 1: {
        uint64_t bits = tape_number(tape, 8);
        struct value value = {.tag = VALUE_FLOAT};
        memcpy(&value.d, &bits, sizeof bits);
        *kind = KIND_FLOAT64;
        return value;
    }
    case 2:
        *kind = KIND_BYTES;
        return (struct value){VALUE_BYTES, {.s = tape_chunk(tape)}};
    case 3:
        *kind = KIND_TEXT;
        return (struct value){.tag = VALUE_NULL};
    case 4:
        *kind = KIND_TEXT;
        return (struct value){.tag = VALUE_ABSENT};
    default:
        *kind = KIND_TEXT;
        return (struct value){VALUE_TEXT, {.s = tape_chunk(tape)}};
    }
}

static void use_mapping(struct mapping *mapping, const struct table *table, const struct value *row) {
    const struct mapped *mapped, *again;
    struct err err;
    bool passes;
    if (mapping_find(mapping, table, &mapped, &err) != OK)
        return;
    HOLDS(mapping_find(mapping, table, &again, &err) == OK && again == mapped, "a version is mapped twice");
    if (!mapped->table)
        return;
    HOLDS(mapped->table->n_columns == table->n_columns && mapped->table->n_key == table->n_key, "columns");
    (void)!mapped_match(mapped, row, &passes, &err);
}

static void use_selection(const struct text_list *tables, const struct text_map *columns,
                          const struct table *table) {
    const struct pg_options options = {.tables = *tables, .columns = *columns};
    struct slice schema = slice_of(table->schema), name = slice_of(table->name);
    (void)selection_of_table(&options, schema, name);
    for (int i = 0; i < table->n_columns; i++)
        (void)selection_has_column(&options, schema, name, slice_of(table->columns[i].name));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *patterns[LIST_MAX], *where_keys[LIST_MAX], *where_values[LIST_MAX], *from[LIST_MAX],
        *to[LIST_MAX];
    struct text_list tables;
    struct text_map where, rename;
    struct tape tape;
    struct err err;
    tape_init(&tape, data, size);
    unsigned counts = (unsigned)tape_number(&tape, 1);
    read_list(&tape, &tables, patterns, counts & 3);
    read_map(&tape, &where, where_keys, where_values, counts >> 2 & 3);
    read_map(&tape, &rename, from, to, counts >> 4 & 3);
    struct column columns[COLUMNS_MAX] = {0};
    struct value row[COLUMNS_MAX];
    int key = 0;
    struct table table = {.columns = columns, .n_columns = COLUMNS_MAX, .key = &key, .n_key = 1};
    table.schema = tape_text(&tape);
    table.name = tape_text(&tape);
    for (int i = 0; i < COLUMNS_MAX; i++)
        columns[i] = (struct column){.name = tape_text(&tape), .type = "text", .length = -1, .key = i == 0};
    for (int i = 0; i < COLUMNS_MAX; i++)
        row[i] = read_value(&tape, &columns[i].kind);
    struct mapping *mapping;
    if (mapping_new(&tables, &where, &rename, &mapping, &err) == OK) {
        use_mapping(mapping, &table, row);
        mapping_free(mapping);
    }
    use_selection(&tables, &where, &table);
    filter_is_exact(&table, columns[0].name, slice_of(columns[1].name));
    filter_is_exact(&table, columns[0].name, slice_of(columns[0].name));
    tape_free(&tape);
    return 0;
}
