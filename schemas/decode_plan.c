#include "schemas/decode_plan.h"

#include <avro.h>

#include "schemas/avro_schema.h"
#include "schemas/decode_shape.h"
#include "schemas/decode_value.h"

enum { BITS_LENGTH_MAX = 83886080, DECIMAL_PRECISION_MAX = 1000 };

/* ---- columns ---- */

static const struct {
    const char *avro, *connect_name;
} forms[KIND_COUNT] = {
#define X(id, tag, avro, connect_name, text) [KIND_##id] = {avro, connect_name},
    KIND_TABLE(X)
#undef X
};

static bool same_name(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

/* The kind whose wire form this is, KIND_COUNT if there is none. */
static enum kind kind_of(const struct shape *value, const json_t *annotations) {
    const char *connect_name = json_attribute(annotations, "connect.name"),
               *connect_type = json_attribute(annotations, "connect.type");
    const char *logical = json_attribute(annotations, "logicalType");
    if (!connect_name && value->type == SHAPE_BYTES && same_name(logical, "decimal"))
        return KIND_DECIMAL;
    for (int kind = 0; kind < KIND_COUNT; kind++) {
        if (strcmp(forms[kind].avro, shape_word_of(value)) != 0 ||
            !same_name(forms[kind].connect_name, connect_name))
            continue;
        if (kind == KIND_INT16 && !same_name(connect_type, "int16") && !same_name(connect_type, "int8"))
            continue;
        return (enum kind)kind;
    }
    return KIND_COUNT;
}

/* The JSON that carries a column's annotations: the branch of its union, or where its named type was
 * defined. */
static const json_t *annotations_of(const struct compiler *k, const json_t *type, int null_at,
                                    const struct shape *value) {
    const struct named *named = shape_definition(k, value);
    if (named)
        return named->json;
    while (json_is_object(type) && !json_is_string(json_object_get(type, "type")))
        type = json_object_get(type, "type");
    if (json_is_array(type) && null_at >= 0)
        type = json_array_get(type, (size_t)(1 - null_at));
    while (json_is_object(type) && json_is_object(json_object_get(type, "type")))
        type = json_object_get(type, "type");
    return type;
}

static bool point_valid(const struct shape *record) {
    int doubles = 0;
    for (int i = 0; i < record->n; i++)
        if (strcmp(record->names[i], "x") == 0 || strcmp(record->names[i], "y") == 0) {
            if (record->items[i]->type != SHAPE_DOUBLE)
                return false;
            doubles++;
        }
    return doubles == 2;
}

/* What the kind alone does not say; false if it is missing or impossible. */
static bool column_details(struct plan_column *column, const json_t *annotations, int *ret_precision) {
    *ret_precision = 0;
    column->length = -1;
    switch (column->kind) {
    case KIND_DECIMAL:
        column->scale = json_attribute_int(annotations, "scale", "scale", 0);
        *ret_precision = json_attribute_int(annotations, "precision", "connect.decimal.precision", 0);
        return column->scale >= -DECIMAL_SCALE_MAX && column->scale <= DECIMAL_SCALE_MAX &&
               *ret_precision >= 0 && *ret_precision <= DECIMAL_PRECISION_MAX;
    case KIND_BITS:
        column->length = json_attribute_int(annotations, "", "length", 0);
        return column->length > 0 && column->length <= BITS_LENGTH_MAX;
    case KIND_POINT:
        return point_valid(column->value);
    default:
        return true;
    }
}

/* Fills one plan column; returns its annotations, NULL (and refused) if the field's form is not ours. */
static const json_t *column_compile(struct compiler *k, const json_t *field, const struct shape *shape,
                                    struct plan_column *column, int *ret_precision) {
    const char *name = json_attribute(field, "name");
    column->shape = shape;
    column->value = shape_without_null(shape, &column->null_at);
    if (!column->value)
        return REFUSE(k, "column '%.200s' is a union of more than null and one type", name), NULL;
    const json_t *annotations =
        annotations_of(k, json_object_get(field, "type"), column->null_at, column->value);
    column->kind = kind_of(column->value, annotations);
    if (column->kind == KIND_COUNT) {
        const char *connect_name = json_attribute(annotations, "connect.name");
        return REFUSE(
                   k,
                   "column '%.200s' has a form that this version does not know: Avro %s, connect.name %.200s",
                   name, shape_word_of(column->value), connect_name ? connect_name : "none"),
               NULL;
    }
    if (!column_details(column, annotations, ret_precision))
        return REFUSE(k, "column '%.200s': length, precision or scale is missing or impossible", name), NULL;
    return annotations;
}

/* ---- tables ---- */

/* True if `allowed` is exactly these labels joined by commas. */
static bool labels_are(const char *const *labels, const char *allowed) {
    for (; *labels; labels++) {
        size_t len = strlen(*labels);
        if (strncmp(allowed, *labels, len) != 0)
            return false;
        allowed += len;
        if (labels[1] && *allowed++ != ',')
            return false;
    }
    return *allowed == '\0';
}

/* An enum's labels from parameter `allowed`. A label may hold a comma: "millrace.types" then tells where the
 * cuts are. */
static const char *const *labels_of(struct compiler *k, const json_t *annotations,
                                    const struct table *table) {
    const char *allowed = json_attribute(json_object_get(annotations, "connect.parameters"), "allowed");
    if (!allowed)
        return NULL;
    for (int i = 0; i < table->n_types; i++)
        if (table->types[i].kind == USER_TYPE_ENUM && labels_are(table->types[i].labels, allowed))
            return table->types[i].labels;
    size_t n = 1, i = 0;
    for (const char *p = allowed; *p; p++)
        n += *p == ',';
    const char **labels = arena_alloc(k->arena, (n + 1) * sizeof *labels);
    for (const char *p = allowed; *p || i == 0;) {
        size_t len = strcspn(p, ",");
        labels[i++] = arena_strndup(k->arena, p, len);
        p += len;
        if (*p == ',' && *++p == '\0')
            labels[i++] = "";
    }
    labels[i] = NULL;
    return labels;
}

static bool column_describe(struct compiler *k, const json_t *field, struct plan_column *plan,
                            struct column *column) {
    int precision;
    const json_t *annotations = column_compile(k, field, plan->shape, plan, &precision);
    if (!annotations)
        return false;
    const char *name = json_attribute(field, "millrace.name"), *type = json_attribute(field, "millrace.type");
    const json_t *key = json_object_get(field, "millrace.key");
    column->name = arena_strdup(k->arena, name ? name : json_attribute(field, "name"));
    column->type = arena_strdup(k->arena, type ? type : "");
    const char *missing = json_attribute(field, "millrace.missing");
    column->missing = missing ? arena_strdup(k->arena, missing) : NULL;
    column->kind = plan->kind;
    column->length = plan->length;
    column->scale = plan->scale;
    column->precision = precision;
    column->nullable = plan->null_at >= 0;
    column->key =
        json_is_integer(key) && json_integer_value(key) > 0 && json_integer_value(key) <= PLAN_COLUMNS_MAX
            ? (int)json_integer_value(key)
            : 0;
    if (key && !column->key)
        return REFUSE(k, "column '%.200s' has an impossible place in the key", column->name), false;
    if (plan->kind == KIND_ENUM && !(column->labels = labels_of(k, annotations, k->plan->table)))
        return REFUSE(k, "column '%.200s' is an enum without labels", column->name), false;
    return true;
}

/* The key's columns in order; each place 1..n exactly once. */
static bool table_key(struct compiler *k, struct table *table) {
    for (int i = 0; i < table->n_columns; i++)
        table->n_key += table->columns[i].key > 0;
    table->key = arena_alloc(k->arena, ((size_t)table->n_key + 1) * sizeof *table->key);
    for (int i = 0; i < table->n_key; i++)
        table->key[i] = -1;
    for (int i = 0; i < table->n_columns; i++) {
        int place = table->columns[i].key;
        if (place == 0)
            continue;
        if (place > table->n_key || table->key[place - 1] >= 0)
            return REFUSE(k, "the places of the key's columns are not 1 to %d", table->n_key), false;
        table->key[place - 1] = i;
    }
    return true;
}

/* One of {"enum":[s,n],"labels":[..]}, {"composite":[s,n],"attributes":[[a,t],..]}, {"extension":n}. */
static bool user_type(struct compiler *k, const json_t *json, struct user_type *ret) {
    const json_t *of_enum = json_object_get(json, "enum"), *of_composite = json_object_get(json, "composite");
    const json_t *name = of_enum ? of_enum : of_composite;
    const char *extension = json_attribute(json, "extension");
    if (extension) {
        *ret = (struct user_type){.kind = USER_TYPE_EXTENSION, .name = arena_strdup(k->arena, extension)};
        return true;
    }
    const char *const *names = json_text_list(k, name, -1);
    if (!names || json_array_size(name) != 2)
        return false;
    ret->kind = of_enum ? USER_TYPE_ENUM : USER_TYPE_COMPOSITE;
    ret->schema = names[0];
    ret->name = names[1];
    if (of_enum)
        return (ret->labels = json_text_list(k, json_object_get(json, "labels"), -1)) != NULL;
    const json_t *attributes = json_object_get(json, "attributes");
    ret->labels = json_text_list(k, attributes, 0);
    ret->label_types = json_text_list(k, attributes, 1);
    return ret->labels && ret->label_types;
}

static bool table_types(struct compiler *k, const json_t *types, struct table *table) {
    size_t n = json_array_size(types);
    table->types = arena_zalloc(k->arena, (n + 1) * sizeof *table->types);
    for (size_t i = 0; i < n; i++)
        if (!user_type(k, json_array_get(types, i), &table->types[i]))
            return REFUSE(k, "a user type that this version does not know"), false;
    table->n_types = (int)n;
    return true;
}

/* Schema and table: exact in "millrace.table"; without it (Debezium's own records) the last two parts before
 * ".Value". */
static bool table_name(struct compiler *k, const struct named *row, struct table *table) {
    const json_t *exact = json_object_get(row->json, "millrace.table");
    const char *const *names = json_text_list(k, exact, -1);
    if (names && json_array_size(exact) == 2) {
        table->schema = names[0];
        table->name = names[1];
        return true;
    }
    char *full = arena_strdup(k->arena, row->full), *dot = strrchr(full, '.');
    if (dot)
        *dot = '\0';
    char *name = dot ? strrchr(full, '.') : NULL;
    if (!name)
        return REFUSE(k, "the schema does not tell its table"), false;
    *name = '\0';
    char *schema = strrchr(full, '.');
    table->schema = schema ? schema + 1 : full;
    table->name = name + 1;
    return true;
}

static bool names_differ(struct compiler *k, const struct table *table) {
    for (int i = 0; i < table->n_columns; i++)
        for (int j = 0; j < i; j++)
            if (strcmp(table->columns[i].name, table->columns[j].name) == 0)
                return REFUSE(k, "column '%.200s' is there twice", table->columns[i].name), false;
    return true;
}

static bool table_compile(struct compiler *k, const struct shape *row) {
    const struct named *named = shape_definition(k, row);
    const json_t *fields = json_object_get(named->json, "fields");
    if (row->n > PLAN_COLUMNS_MAX)
        return REFUSE(k, "more than %d columns", PLAN_COLUMNS_MAX), false;
    struct plan *plan = k->plan;
    struct table *table = plan->table = arena_zalloc(k->arena, sizeof *table);
    plan->n_columns = table->n_columns = row->n;
    plan->columns = arena_zalloc(k->arena, ((size_t)row->n + 1) * sizeof *plan->columns);
    table->columns = arena_zalloc(k->arena, ((size_t)row->n + 1) * sizeof *table->columns);
    table->partial = json_is_true(json_object_get(named->json, "millrace.partial"));
    json_int_t incarnation = json_integer_value(json_object_get(named->json, "millrace.incarnation"));
    table->incarnation = incarnation > 0 ? (uint64_t)incarnation : 0;
    if (!table_name(k, named, table) ||
        !table_types(k, json_object_get(named->json, "millrace.types"), table))
        return false;
    for (int i = 0; i < row->n; i++) {
        plan->columns[i].shape = row->items[i];
        if (!column_describe(k, json_array_get(fields, (size_t)i), &plan->columns[i], &table->columns[i]))
            return false;
    }
    if (!table_key(k, table) || !names_differ(k, table))
        return false;
    table->digest = table_digest(table);
    return true;
}

/* ---- envelopes ---- */

struct slot_name {
    const char *name;
    enum slot slot;
};
static const struct slot_name envelope_slots[] = {
    {"before", SLOT_BEFORE}, {"after", SLOT_AFTER}, {"source", SLOT_SOURCE},
    {"op", SLOT_OP},         {NULL, SLOT_SKIP},
};
static const struct slot_name source_slots[] = {
    {"ts_us", SLOT_TS_US}, {"ts_ms", SLOT_TS_MS}, {"txId", SLOT_XID}, {"lsn", SLOT_LSN}, {NULL, SLOT_SKIP},
};

/* A field with the right name but another type is none of ours: gone past like an unknown one. */
static bool slot_fits(enum slot slot, const struct shape *value) {
    switch (slot) {
    case SLOT_BEFORE:
    case SLOT_AFTER:
    case SLOT_SOURCE:
        return value->type == SHAPE_RECORD;
    case SLOT_OP:
        return value->type == SHAPE_STRING;
    case SLOT_TS_US:
    case SLOT_TS_MS:
    case SLOT_XID:
    case SLOT_LSN:
        return value->type == SHAPE_LONG || value->type == SHAPE_INT;
    case SLOT_SKIP:
        return true;
    }
    return false;
}

static void fields_compile(struct compiler *k, const struct shape *record, const struct slot_name *names,
                           struct plan_fields *ret) {
    ret->n = record->n;
    ret->fields = arena_zalloc(k->arena, ((size_t)record->n + 1) * sizeof *ret->fields);
    for (int i = 0; i < record->n; i++) {
        struct plan_field *field = &ret->fields[i];
        const struct slot_name *known = names;
        while (known->name && strcmp(known->name, record->names[i]) != 0)
            known++;
        const struct shape *value = shape_without_null(record->items[i], &field->null_at);
        if (!value)
            field->null_at = -1;
        field->value = value ? value : record->items[i];
        field->slot = slot_fits(known->slot, field->value) ? known->slot : SLOT_SKIP;
    }
}

/* The record behind a field of the envelope, NULL if it has none. */
static const struct shape *slot_record(const struct plan_fields *fields, enum slot slot) {
    for (int i = 0; i < fields->n; i++)
        if (fields->fields[i].slot == slot)
            return fields->fields[i].value;
    return NULL;
}

static void envelope_compile(struct compiler *k, const struct shape *root) {
    struct plan *plan = k->plan;
    if (root->type != SHAPE_RECORD) {
        REFUSE(k, "it is not an envelope");
        return;
    }
    fields_compile(k, root, envelope_slots, &plan->envelope);
    const struct shape *before = slot_record(&plan->envelope, SLOT_BEFORE),
                       *after = slot_record(&plan->envelope, SLOT_AFTER);
    const struct shape *source = slot_record(&plan->envelope, SLOT_SOURCE);
    if (!after || (before && before != after) || !slot_record(&plan->envelope, SLOT_OP)) {
        REFUSE(
            k,
            "it is not an envelope: 'op' or 'after' is missing, or 'before' is another record than 'after'");
        return;
    }
    if (source)
        fields_compile(k, source, source_slots, &plan->source);
    (void)table_compile(k, after);
}

static void key_compile(struct compiler *k, const struct shape *root) {
    struct plan *plan = k->plan;
    const struct named *named = shape_definition(k, root);
    if (root->type != SHAPE_RECORD || root->n > PLAN_COLUMNS_MAX) {
        REFUSE(k, "it is not a key");
        return;
    }
    plan->n_columns = root->n;
    plan->columns = arena_zalloc(k->arena, ((size_t)root->n + 1) * sizeof *plan->columns);
    for (int i = 0; i < root->n; i++) {
        int precision;
        const json_t *field = json_array_get(json_object_get(named->json, "fields"), (size_t)i);
        if (!column_compile(k, field, root->items[i], &plan->columns[i], &precision))
            return;
    }
}

/* ---- all of it ---- */

/* A second opinion: what Avro's own library does not accept, other readers will not either. */
static bool avro_accepts(struct compiler *k, struct slice json) {
    CLEANUP_BUF plain = {0};
    struct err err = {0};
    avro_schema_t schema = NULL;
    if (avro_schema_strip(json, &plain, &err) != OK)
        return REFUSE(k, "%.500s", err.text), false;
    if (avro_schema_from_json_length(plain.data, plain.len, &schema) != 0)
        return REFUSE(k, "it is not an Avro schema: %.500s", avro_strerror()), false;
    avro_schema_decref(schema);
    return true;
}

static struct plan *plan_new(struct slice json, void (*compile)(struct compiler *, const struct shape *)) {
    struct plan *plan = xcalloc(1, sizeof *plan);
    struct compiler k = {.plan = plan, .arena = &plan->arena};
    json_error_t error;
    if (json.len > PLAN_JSON_BYTES_MAX) {
        REFUSE(&k, "its schema is larger than %d bytes", PLAN_JSON_BYTES_MAX);
        return plan;
    }
    if (!avro_accepts(&k, json))
        return plan;
    json_t *root = json_loadb(json.data, json.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, &error);
    if (!root) {
        REFUSE(&k, "its schema is not JSON: %s", error.text);
        return plan;
    }
    k.named = arena_alloc(&k.scratch, NAMED_TYPES_MAX * sizeof *k.named);
    const struct shape *shape = shape_of(&k, root, "", 0);
    if (shape)
        compile(&k, shape);
    json_decref(root);
    arena_free(&k.scratch);
    return plan;
}

struct plan *plan_envelope(struct slice json) {
    return plan_new(json, envelope_compile);
}

struct plan *plan_key(struct slice json) {
    return plan_new(json, key_compile);
}

void plan_free(struct plan *plan) {
    if (!plan)
        return;
    arena_free(&plan->arena);
    free(plan);
}
