#include "schemas/decode_shape.h"

/* ---- JSON ---- */

const char *json_text(const json_t *json) {
    const char *text = json_string_value(json);
    return text && strlen(text) == json_string_length(json) ? text : NULL;
}

const char *json_attribute(const json_t *object, const char *name) {
    return json_text(json_object_get(object, name));
}

int json_attribute_int(const json_t *object, const char *name, const char *parameter, int fallback) {
    const json_t *number = json_object_get(object, name);
    if (json_is_integer(number)) {
        json_int_t n = json_integer_value(number);
        return n >= INT32_MIN && n <= INT32_MAX ? (int)n : INT32_MIN;
    }
    const char *text = json_attribute(json_object_get(object, "connect.parameters"), parameter);
    if (!text)
        return fallback;
    char *end;
    long n = strtol(text, &end, 10);
    return *end == '\0' && end != text && n >= INT32_MIN && n <= INT32_MAX ? (int)n : INT32_MIN;
}

const char *const *json_text_list(struct compiler *k, const json_t *array, int member) {
    if (!json_is_array(array))
        return NULL;
    size_t n = json_array_size(array);
    const char **list = arena_alloc(k->arena, (n + 1) * sizeof *list);
    for (size_t i = 0; i < n; i++) {
        const json_t *item = json_array_get(array, i);
        const char *text = json_text(member < 0 ? item : json_array_get(item, (size_t)member));
        if (!text)
            return NULL;
        list[i] = arena_strdup(k->arena, text);
    }
    list[n] = NULL;
    return list;
}

/* ---- shapes ---- */

static const char *const type_names[] = {
    [SHAPE_NULL] = "null",   [SHAPE_BOOLEAN] = "boolean", [SHAPE_INT] = "int",
    [SHAPE_LONG] = "long",   [SHAPE_FLOAT] = "float",     [SHAPE_DOUBLE] = "double",
    [SHAPE_BYTES] = "bytes", [SHAPE_STRING] = "string",   [SHAPE_RECORD] = "record",
    [SHAPE_ENUM] = "enum",   [SHAPE_ARRAY] = "array",     [SHAPE_MAP] = "map",
    [SHAPE_UNION] = "union", [SHAPE_FIXED] = "fixed",
};

const char *shape_word_of(const struct shape *shape) {
    return type_names[shape->type];
}

static const struct shape primitives[] = {
    {SHAPE_NULL},  {SHAPE_BOOLEAN}, {SHAPE_INT},   {SHAPE_LONG},
    {SHAPE_FLOAT}, {SHAPE_DOUBLE},  {SHAPE_BYTES}, {SHAPE_STRING},
};

static const struct shape *named_find(const struct compiler *k, const char *full) {
    for (int i = 0; i < k->n_named; i++)
        if (strcmp(k->named[i].full, full) == 0)
            return k->named[i].shape;
    return NULL;
}

/* A type given as a word: a primitive, or a name seen before (in the enclosing namespace first). */
static const struct shape *shape_word(struct compiler *k, const char *word, const char *space) {
    for (size_t i = 0; i < sizeof primitives / sizeof *primitives; i++)
        if (strcmp(type_names[i], word) == 0)
            return &primitives[i];
    const struct shape *found = NULL;
    if (*space && !strchr(word, '.'))
        found = named_find(k, arena_printf(&k->scratch, "%s.%s", space, word));
    if (!found)
        found = named_find(k, word);
    if (!found)
        REFUSE(k, "type '%.200s' is not defined", word);
    return found;
}

/* Enters a record, enum or fixed under its full name before its fields are read, for it may refer to itself.
 * *space becomes the namespace of what stands inside. */
static struct shape *named_new(struct compiler *k, enum shape_type type, const json_t *json,
                               const char **space) {
    const char *name = json_attribute(json, "name"), *own = json_attribute(json, "namespace");
    if (!name)
        return REFUSE(k, "a %s without a name", type_names[type]), NULL;
    if (k->n_named == NAMED_TYPES_MAX)
        return REFUSE(k, "more than %d named types", NAMED_TYPES_MAX), NULL;
    const char *dot = strrchr(name, '.');
    if (dot)
        own = arena_strndup(&k->scratch, name, (size_t)(dot - name));
    if (!own)
        own = *space;
    const char *full = dot || !*own ? name : arena_printf(&k->scratch, "%s.%s", own, name);
    if (named_find(k, full))
        return REFUSE(k, "type '%.200s' is defined twice", full), NULL;
    struct shape *shape = arena_zalloc(k->arena, sizeof *shape);
    shape->type = type;
    k->named[k->n_named++] = (struct named){arena_strdup(&k->scratch, full), shape, json};
    *space = own;
    return shape;
}

static const struct shape *shape_record(struct compiler *k, const json_t *json, const char *space,
                                        int depth) {
    struct shape *shape = named_new(k, SHAPE_RECORD, json, &space);
    const json_t *fields = json_object_get(json, "fields");
    if (!shape)
        return NULL;
    size_t n = json_array_size(fields);
    shape->items = arena_zalloc(k->arena, (n + 1) * sizeof(void *));
    shape->names = arena_zalloc(k->arena, (n + 1) * sizeof(void *));
    for (size_t i = 0; i < n; i++) {
        const json_t *field = json_array_get(fields, i);
        const char *name = json_attribute(field, "name");
        shape->items[i] = name ? shape_of(k, json_object_get(field, "type"), space, depth + 1) : NULL;
        if (!shape->items[i])
            return REFUSE(k, "a field without a name"), NULL;
        shape->names[i] = arena_strdup(k->arena, name);
    }
    shape->n = (int)n;
    return shape;
}

static const struct shape *shape_enum_or_fixed(struct compiler *k, enum shape_type type, const json_t *json,
                                               const char *space) {
    struct shape *shape = named_new(k, type, json, &space);
    if (!shape)
        return NULL;
    json_int_t n = type == SHAPE_ENUM ? (json_int_t)json_array_size(json_object_get(json, "symbols"))
                                      : json_integer_value(json_object_get(json, "size"));
    if (n < 0 || n > PLAN_JSON_BYTES_MAX)
        return REFUSE(k, "a fixed type of an impossible size"), NULL;
    shape->n = (int)n;
    return shape;
}

/* An array, a map (one item) or a union (its branches). */
static const struct shape *shape_of_items(struct compiler *k, enum shape_type type, const json_t *items,
                                          const char *space, int depth) {
    struct shape *shape = arena_zalloc(k->arena, sizeof *shape);
    size_t n = type == SHAPE_UNION ? json_array_size(items) : 1;
    shape->type = type;
    shape->n = (int)n;
    shape->items = arena_zalloc(k->arena, (n + 1) * sizeof(void *));
    for (size_t i = 0; i < n; i++) {
        shape->items[i] =
            shape_of(k, type == SHAPE_UNION ? json_array_get(items, i) : items, space, depth + 1);
        if (!shape->items[i])
            return NULL;
    }
    return shape;
}

static const struct shape *shape_object(struct compiler *k, const json_t *json, const char *space,
                                        int depth) {
    const json_t *type = json_object_get(json, "type");
    const char *word = json_text(type);
    if (!word)
        return shape_of(k, type, space, depth + 1);
    if (strcmp(word, "record") == 0)
        return shape_record(k, json, space, depth);
    if (strcmp(word, "enum") == 0)
        return shape_enum_or_fixed(k, SHAPE_ENUM, json, space);
    if (strcmp(word, "fixed") == 0)
        return shape_enum_or_fixed(k, SHAPE_FIXED, json, space);
    if (strcmp(word, "array") == 0)
        return shape_of_items(k, SHAPE_ARRAY, json_object_get(json, "items"), space, depth);
    if (strcmp(word, "map") == 0)
        return shape_of_items(k, SHAPE_MAP, json_object_get(json, "values"), space, depth);
    return shape_word(k, word, space);
}

const struct shape *shape_of(struct compiler *k, const json_t *json, const char *space, int depth) {
    if (depth > PLAN_DEPTH_MAX)
        return REFUSE(k, "types nested deeper than %d", PLAN_DEPTH_MAX), NULL;
    if (json_is_array(json))
        return shape_of_items(k, SHAPE_UNION, json, space, depth);
    if (json_is_object(json))
        return shape_object(k, json, space, depth);
    const char *word = json_text(json);
    return word ? shape_word(k, word, space)
                : (REFUSE(k, "a type that is neither a name, an object nor a union"), NULL);
}

const struct named *shape_definition(const struct compiler *k, const struct shape *shape) {
    for (int i = 0; i < k->n_named; i++)
        if (k->named[i].shape == shape)
            return &k->named[i];
    return NULL;
}

const struct shape *shape_without_null(const struct shape *shape, int *ret_null_at) {
    *ret_null_at = -1;
    if (shape->type != SHAPE_UNION)
        return shape;
    if (shape->n != 2)
        return NULL;
    *ret_null_at = shape->items[0]->type == SHAPE_NULL ? 0 : 1;
    if (shape->items[*ret_null_at]->type != SHAPE_NULL)
        return NULL;
    return shape->items[1 - *ret_null_at];
}
