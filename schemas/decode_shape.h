/* The first half of compiling a schema: its JSON attributes, and the tree of its types. Only decode_plan.c
 * uses it. */
#pragma once

#include <jansson.h>

#include "schemas/decode_plan.h"

enum { NAMED_TYPES_MAX = 4096 };

/* A named type: what it was defined as, for later references by name and for its annotations. */
struct named {
    const char *full;
    const struct shape *shape;
    const json_t *json;
};

struct compiler {
    struct plan *plan;
    struct arena *arena;
    struct named *named;
    int n_named;
    struct arena scratch; /* what only the compilation needs */
};

/* Keeps the first reason. */
#define REFUSE(k, ...) \
    ((k)->plan->refused = (k)->plan->refused ? (k)->plan->refused : arena_printf((k)->arena, __VA_ARGS__))

/* The text of a JSON string; NULL if it is none or holds a NUL. Borrowed from the JSON, as what follows. */
const char *json_text(const json_t *json);
const char *json_attribute(const json_t *object, const char *name);
/* A number that stands as an attribute, or as text among connect.parameters (Connect's parameters are
 * strings). INT32_MIN if it is there and no int. */
int json_attribute_int(const json_t *object, const char *name, const char *parameter, int fallback);
/* A JSON array of strings as a NULL-terminated list in the plan's arena; NULL if it is anything else. member:
 * -1 for strings, otherwise which member of each inner array. */
const char *const *json_text_list(struct compiler *k, const json_t *array, int member);

/* The shape of a type; NULL and refused if it is none. space: the enclosing namespace, "" at the outside. */
const struct shape *shape_of(struct compiler *k, const json_t *json, const char *space, int depth);
const char *shape_word_of(const struct shape *shape); /* "record" */
/* Where a named shape was defined; NULL for others. */
const struct named *shape_definition(const struct compiler *k, const struct shape *shape);
/* Splits a union of null and one other: the other, and null's branch. Not a union: the shape itself and -1.
 * NULL if it is any other union. */
const struct shape *shape_without_null(const struct shape *shape, int *ret_null_at);
