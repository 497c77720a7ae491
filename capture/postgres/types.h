/* Types by OID: what the source's SQL calls them, and what a replica must have before it can have such a
 * column. */
#pragma once

#include "capture/postgres/connect.h"
#include "capture/postgres/values.h"

struct types;
struct types *types_open(const struct source_env *env);
void types_close(struct types *types);

/* One type as a column has it: domains resolved to their base, arrays of domains to arrays of the base. */
struct type_facts {
    struct pg_type type;
    bool not_null;           /* of a domain */
    uint32_t element, range; /* array: its element; range, multirange: the subtype; else 0 */
    uint32_t composite;      /* pg_class of a composite's attributes, else 0 */
    const char *extension;   /* or NULL */
};

/* Resolves a type; built-in ones are kept, others are asked each time, for they can change. Strings live in
 * the arena (built-in ones: until types_close). ret->type.oid is 0 if there is no such type any more. */
MUST_CHECK enum code type_resolve(struct types *types, PGconn *conn, uint32_t oid, int32_t typmod,
                                  struct arena *arena, struct type_facts *ret, struct err *err);

/* The user types that a set of columns needs, in an order in which they can be created. */
struct type_list {
    struct user_type *items;
    int n, cap;
};
MUST_CHECK enum code type_collect(struct types *types, PGconn *conn, const struct type_facts *facts,
                                  struct arena *arena, int depth, struct type_list *list, struct err *err);
