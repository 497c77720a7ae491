#include "schemas/schema_same.h"

#include <jansson.h>

bool json_depth_within(struct slice json, int depth) {
    int open = 0;
    bool quoted = false;
    for (size_t i = 0; i < json.len; i++) {
        char c = json.data[i];
        if (quoted && c == '\\')
            i++;
        else if (c == '"')
            quoted = !quoted;
        else if (!quoted && (c == '{' || c == '['))
            open++;
        else if (!quoted && (c == '}' || c == ']'))
            open--;
        if (open > depth)
            return false;
    }
    return true;
}

/* ---- one form for both texts: full names, no wrapping objects ---- */

static json_t *plain(const json_t *json, const char *space);

static bool is_primitive(const char *word) {
    static const char *const words[] = {"null",  "boolean", "int",   "long",
                                        "float", "double",  "bytes", "string"};
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (strcmp(words[i], word) == 0)
            return true;
    return false;
}

static json_t *full_name(const char *name, const char *space) {
    return *space && !strchr(name, '.') ? json_sprintf("%s.%s", space, name) : json_string(name);
}

static json_t *plain_array(const json_t *array, const char *space) {
    json_t *out = json_array();
    size_t i;
    const json_t *item;
    json_array_foreach(array, i, item) json_array_append_new(out, plain(item, space));
    return out;
}

/* A type, or a record's field: only the members that hold types are followed, all others are taken as they
 * stand. */
static json_t *plain_members(const json_t *object, const char *space) {
    static const char *const types[] = {"type", "items", "values", "fields"};
    json_t *out = json_object(), *value;
    const char *member;
    json_object_foreach((json_t *)object, member, value) json_object_set(out, member, value);
    for (size_t i = 0; i < sizeof types / sizeof *types; i++)
        if ((value = json_object_get(object, types[i])))
            json_object_set_new(out, types[i], plain(value, space));
    return out;
}

/* Fields of records have a name too, but none of these types. */
static bool is_definition(const json_t *object) {
    const char *type = json_string_value(json_object_get(object, "type"));
    return type && json_is_string(json_object_get(object, "name")) &&
           (!strcmp(type, "record") || !strcmp(type, "enum") || !strcmp(type, "fixed"));
}

/* The definition of a named type; what stands inside lives in its namespace. */
static json_t *plain_named(const json_t *object, const char *space) {
    const char *name = json_string_value(json_object_get(object, "name"));
    const char *own = json_string_value(json_object_get(object, "namespace"));
    const char *dot = strrchr(name, '.');
    CLEANUP_FREE char *inside = dot ? xstrndup(name, (size_t)(dot - name)) : xstrdup(own ? own : space);
    json_t *out = plain_members(object, inside);
    json_object_del(out, "namespace");
    json_object_set_new(out, "name", full_name(name, inside));
    json_object_set(out, "type", json_object_get(object, "type"));
    return out;
}

static json_t *plain(const json_t *json, const char *space) {
    if (json_is_array(json))
        return plain_array(json, space);
    const char *word = json_string_value(json);
    if (word)
        return is_primitive(word) ? json_string(word) : full_name(word, space);
    if (!json_is_object(json))
        return json_incref((json_t *)json);
    if (json_object_size(json) == 1 && json_object_get(json, "type"))
        return plain(json_object_get(json, "type"), space);
    return is_definition(json) ? plain_named(json, space) : plain_members(json, space);
}

static json_t *plain_text(struct slice text) {
    if (!json_depth_within(text, JSON_DEPTH_MAX))
        return NULL;
    json_t *json = json_loadb(text.data, text.len, JSON_ALLOW_NUL | JSON_DECODE_ANY, NULL);
    json_t *out = json ? plain(json, "") : NULL;
    json_decref(json);
    return out;
}

bool schema_same(struct slice a, struct slice b) {
    if (slice_eq(a, b))
        return true;
    json_t *left = plain_text(a), *right = plain_text(b);
    bool same = left && right && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return same;
}
