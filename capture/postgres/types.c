/* (PostgreSQL manual, "pg_type", "pg_enum", "pg_depend".) */
#include "capture/postgres/types.h"

#include <stdio.h>

#define OID_FIRST_USER 16384
#define TYPE_DEPTH_MAX 16

struct cached {
    uint32_t oid;
    int32_t typmod;
    struct type_facts facts;
    struct cached *next;
};
enum { BUCKETS = 256 };
struct types {
    const struct source_env *env;
    struct arena arena;
    struct cached *buckets[BUCKETS];
};

struct types *types_open(const struct source_env *env) {
    struct types *t = xcalloc(1, sizeof *t);
    t->env = env;
    return t;
}

void types_close(struct types *t) {
    if (!t)
        return;
    arena_free(&t->arena);
    free(t);
}

/* ---- asking ---- */

static const char type_sql[] =
    "WITH RECURSIVE b(oid, typmod, not_null) AS ("
    " SELECT t.oid, (%d)::int, t.typnotnull FROM pg_type t WHERE t.oid = %u"
    " UNION ALL SELECT u.oid, t.typtypmod, b.not_null OR u.typnotnull"
    "  FROM b JOIN pg_type t ON t.oid = b.oid AND t.typtype = 'd' JOIN pg_type u ON u.oid = t.typbasetype) "
    "SELECT t.oid, b.typmod, t.typtype, t.typcategory, n.nspname, t.typname, format_type(t.oid, b.typmod), "
    "b.not_null, "
    "CASE WHEN t.typcategory = 'A' AND t.typlen = -1 THEN t.typelem ELSE 0 END, "
    "coalesce((SELECT r.rngsubtype FROM pg_range r WHERE t.oid IN (r.rngtypid, r.rngmultitypid)), 0), "
    "CASE WHEN t.typtype = 'c' THEN t.typrelid ELSE 0 END, "
    "(SELECT e.extname FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid WHERE d.classid = "
    "'pg_type'::regclass "
    " AND d.objid = t.oid AND d.deptype = 'e' AND d.refclassid = 'pg_extension'::regclass), "
    "(SELECT e.typtype FROM pg_type e WHERE e.oid = t.typelem) "
    "FROM b JOIN pg_type t ON t.oid = b.oid AND t.typtype <> 'd' JOIN pg_namespace n ON n.oid = "
    "t.typnamespace";

/* One column of one row per name, NULL-terminated. */
static const char *const *read_names(const PGresult *res, int column, struct arena *arena) {
    int n = PQntuples(res);
    const char **names = arena_alloc(arena, sizeof *names * ((size_t)n + 1));
    for (int i = 0; i < n; i++)
        names[i] = arena_strdup(arena, pgsource_text(res, i, column));
    names[n] = NULL;
    return names;
}

static enum code read_labels(struct types *t, PGconn *conn, uint32_t oid, struct arena *arena,
                             const char *const **ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "SELECT enumlabel FROM pg_enum WHERE enumtypid = %u ORDER BY enumsortorder", oid);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, t->env, 10000, "reading an enum's labels", buf_cstr(&sql), &res, err);
    if (code == OK)
        *ret = read_names(res, 0, arena);
    return code;
}

/* Sets *ret_domain_element: the array's elements are of a domain, so that the array of its base is what we
 * want. */
static enum code ask(struct types *t, PGconn *conn, uint32_t oid, int32_t typmod, struct arena *arena,
                     struct type_facts *ret, bool *ret_domain_element, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, type_sql, typmod, oid);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(conn, t->env, 10000, "reading a type", buf_cstr(&sql), &res, err);
    *ret = (struct type_facts){0};
    *ret_domain_element = false;
    if (code || PQntuples(res) != 1)
        return code;
    ret->type = (struct pg_type){
        .oid = (uint32_t)strtoul(pgsource_text(res, 0, 0), NULL, 10),
        .typmod = (int32_t)pgsource_number(res, 0, 1),
        .typtype = pgsource_text(res, 0, 2)[0],
        .category = pgsource_text(res, 0, 3)[0],
        .schema = arena_strdup(arena, pgsource_text(res, 0, 4)),
        .name = arena_strdup(arena, pgsource_text(res, 0, 5)),
        .text = arena_strdup(arena, pgsource_text(res, 0, 6)),
    };
    ret->not_null = pgsource_text(res, 0, 7)[0] == 't';
    ret->element = (uint32_t)strtoul(pgsource_text(res, 0, 8), NULL, 10);
    ret->range = (uint32_t)strtoul(pgsource_text(res, 0, 9), NULL, 10);
    ret->composite = (uint32_t)strtoul(pgsource_text(res, 0, 10), NULL, 10);
    ret->extension = PQgetisnull(res, 0, 11) ? NULL : arena_strdup(arena, pgsource_text(res, 0, 11));
    *ret_domain_element = ret->element && pgsource_text(res, 0, 12)[0] == 'd';
    if (ret->type.typtype == 'e')
        return read_labels(t, conn, ret->type.oid, arena, &ret->type.labels, err);
    return OK;
}

static enum code array_type_of(struct types *t, PGconn *conn, uint32_t element, uint32_t *ret,
                               struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "SELECT typarray FROM pg_type WHERE oid = %u", element);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, t->env, 10000, "reading an array's type", buf_cstr(&sql), &res, err);
    *ret = code == OK && PQntuples(res) == 1 ? (uint32_t)strtoul(pgsource_text(res, 0, 0), NULL, 10) : 0;
    return code;
}

static enum code resolve_new(struct types *t, PGconn *conn, uint32_t oid, int32_t typmod, struct arena *arena,
                             struct type_facts *ret, struct err *err) {
    bool domain_element;
    enum code code = ask(t, conn, oid, typmod, arena, ret, &domain_element, err);
    if (code || !domain_element)
        return code;
    struct type_facts element, base;
    code = ask(t, conn, ret->element, -1, arena, &element, &domain_element, err);
    uint32_t array = 0;
    if (code == OK && element.type.oid)
        code = array_type_of(t, conn, element.type.oid, &array, err);
    if (code || !array)
        return code;
    code = ask(t, conn, array, element.type.typmod, arena, &base, &domain_element, err);
    if (code == OK && base.type.oid)
        *ret = base;
    return code;
}

enum code type_resolve(struct types *t, PGconn *conn, uint32_t oid, int32_t typmod, struct arena *arena,
                       struct type_facts *ret, struct err *err) {
    if (oid >= OID_FIRST_USER)
        return resolve_new(t, conn, oid, typmod, arena, ret, err);
    struct cached **bucket = &t->buckets[(oid * 31 + (uint32_t)typmod) % BUCKETS];
    for (struct cached *c = *bucket; c; c = c->next) {
        if (c->oid == oid && c->typmod == typmod) {
            *ret = c->facts;
            return OK;
        }
    }
    enum code code = resolve_new(t, conn, oid, typmod, &t->arena, ret, err);
    if (code)
        return code;
    struct cached *c = arena_alloc(&t->arena, sizeof *c);
    *c = (struct cached){oid, typmod, *ret, *bucket};
    *bucket = c;
    return OK;
}

/* ---- collecting ---- */

static bool same_text(const char *a, const char *b) {
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void list_add(struct type_list *list, struct arena *arena, struct user_type type) {
    for (int i = 0; i < list->n; i++)
        if (list->items[i].kind == type.kind && same_text(list->items[i].schema, type.schema) &&
            same_text(list->items[i].name, type.name))
            return;
    if (list->n == list->cap) {
        int cap = list->cap ? list->cap * 2 : 8;
        struct user_type *items = arena_alloc(arena, sizeof *items * (size_t)cap);
        if (list->n)
            memcpy(items, list->items, sizeof *items * (size_t)list->n);
        list->items = items;
        list->cap = cap;
    }
    list->items[list->n++] = type;
}

/* A composite's attributes come first, then itself. */
static enum code collect_composite(struct types *t, PGconn *conn, const struct type_facts *facts,
                                   struct arena *arena, int depth, struct type_list *list, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(
        &sql,
        "SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = %u AND attnum > 0 AND NOT "
        "attisdropped ORDER BY attnum",
        facts->composite);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, t->env, 10000, "reading a composite type", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    int n = PQntuples(res);
    const char **texts = arena_alloc(arena, sizeof *texts * ((size_t)n + 1));
    for (int i = 0; i < n && code == OK; i++) {
        struct type_facts attribute;
        code = type_resolve(t, conn, (uint32_t)strtoul(pgsource_text(res, i, 1), NULL, 10),
                            (int32_t)pgsource_number(res, i, 2), arena, &attribute, err);
        if (code == OK)
            code = type_collect(t, conn, &attribute, arena, depth + 1, list, err);
        texts[i] = code == OK && attribute.type.oid ? attribute.type.text : "text";
    }
    texts[n] = NULL;
    if (code == OK)
        list_add(list, arena,
                 (struct user_type){USER_TYPE_COMPOSITE, facts->type.schema, facts->type.name,
                                    read_names(res, 0, arena), texts});
    return code;
}

enum code type_collect(struct types *t, PGconn *conn, const struct type_facts *facts, struct arena *arena,
                       int depth, struct type_list *list, struct err *err) {
    if (facts->type.oid < OID_FIRST_USER && !facts->element && !facts->range)
        return OK;
    if (depth > TYPE_DEPTH_MAX)
        return OK; /* the server forbids a composite in itself; deeper nests are text to a replica */
    if (facts->extension) {
        list_add(list, arena, (struct user_type){.kind = USER_TYPE_EXTENSION, .name = facts->extension});
        return OK;
    }
    uint32_t inner = facts->element ? facts->element : facts->range;
    if (inner >= OID_FIRST_USER) {
        struct type_facts of;
        enum code code = type_resolve(t, conn, inner, -1, arena, &of, err);
        return code ? code : type_collect(t, conn, &of, arena, depth + 1, list, err);
    }
    if (facts->type.typtype == 'e')
        list_add(list, arena,
                 (struct user_type){USER_TYPE_ENUM, facts->type.schema, facts->type.name, facts->type.labels,
                                    NULL});
    if (facts->composite)
        return collect_composite(t, conn, facts, arena, depth, list, err);
    return OK;
}
