#include "capture/postgres/catalog.h"

#include <stdio.h>

#include "base/log.h"
#include "capture/postgres/labels.h"
#include "capture/postgres/silent.h"
#include "capture/postgres/today.h"
#include "capture/postgres/types.h"
#include "capture/postgres/visible.h"

enum { BUCKETS = 1024 };
struct named_type {
    uint32_t oid;
    char *text; /* schema.name */
    struct named_type *next;
};
struct version {
    const struct table *table;
    struct version *next;
};
struct catalog {
    PGconn *conn;
    catalog_settle_f *settle;
    void *settle_arg;
    const struct pg_options *options;
    const struct source_env *env;
    struct types *types;
    struct arena arena; /* all versions of all tables */
    struct relation *relations[BUCKETS];
    struct version *versions[BUCKETS]; /* by digest: a shape that comes back is the version it was */
    struct named_type *named;
    struct silent *silent;
    struct buf stale;
    uint32_t seen; /* transaction whose tables the catalog shows; 0 = none yet */
};

struct catalog *catalog_open(PGconn *conn, const struct pg_options *options, const struct source_env *env) {
    struct catalog *c = xcalloc(1, sizeof *c);
    c->conn = conn;
    c->options = options;
    c->env = env;
    c->types = types_open(env);
    c->silent = silent_open(env);
    return c;
}

void catalog_close(struct catalog *c) {
    if (!c)
        return;
    types_close(c->types);
    silent_close(c->silent);
    buf_free(&c->stale);
    arena_free(&c->arena);
    free(c);
}

void catalog_use(struct catalog *c, PGconn *conn) {
    c->conn = conn;
}

void catalog_settle_by(struct catalog *c, catalog_settle_f *settle, void *arg) {
    c->settle = settle;
    c->settle_arg = arg;
}

static enum code settle(struct catalog *c, struct err *err) {
    return c->settle ? c->settle(c->settle_arg, err) : OK;
}

enum code catalog_see(struct catalog *c, uint32_t xid, struct err *err) {
    if (xid == c->seen)
        return OK;
    enum code code = settle(c, err);
    if (code == OK)
        code = visible_wait(c->conn, c->env, xid, err);
    if (code == OK)
        c->seen = xid;
    return code;
}

const char *catalog_stale(const struct catalog *c) {
    return c->stale.len ? c->stale.data : "";
}

enum code catalog_begin(struct catalog *c, const struct pg_rels *rels, struct err *err) {
    return silent_begin(c->silent, c->conn, rels, err);
}

/* The version of this digest, made if it is new. `table` is scratch. */
static const struct table *version_of(struct catalog *c, const struct table *table) {
    struct version **bucket = &c->versions[table->digest % BUCKETS];
    for (struct version *v = *bucket; v; v = v->next)
        if (v->table->digest == table->digest)
            return v->table;
    struct version *v = arena_alloc(&c->arena, sizeof *v);
    *v = (struct version){table_copy(table, &c->arena), *bucket};
    *bucket = v;
    return v->table;
}

struct relation *catalog_find(struct catalog *c, uint32_t relid) {
    struct relation *r = c->relations[relid % BUCKETS];
    while (r && r->relid != relid)
        r = r->next;
    return r;
}

void catalog_name_type(struct catalog *c, uint32_t oid, struct slice schema, struct slice name) {
    struct named_type *t = c->named;
    while (t && t->oid != oid)
        t = t->next;
    CLEANUP_BUF text = {0};
    buf_printf(&text, "%.*s.%.*s", (int)schema.len, schema.data, (int)name.len, name.data);
    if (!t) {
        t = arena_alloc(&c->arena, sizeof *t);
        *t = (struct named_type){oid, NULL, c->named};
        c->named = t;
    }
    if (!t->text || strcmp(t->text, buf_cstr(&text)) != 0)
        t->text = arena_strdup(&c->arena, buf_cstr(&text));
}

enum code catalog_shape(struct catalog *c, uint32_t relid, const char *published, struct arena *arena,
                        struct pgoutput_relation *ret, bool *ret_found, struct err *err) {
    CLEANUP_TODAY t = {0};
    enum code code = today_read(c->conn, c->env, relid, &t, err);
    if (code)
        return code;
    *ret_found = t.found;
    ret->relid = relid;
    today_shape(&t, published, PQserverVersion(c->conn), arena, ret);
    return OK;
}

/* ---- the table ---- */

static bool selected(struct catalog *c, const struct pgoutput_relation *shape, const struct today *t) {
    enum selection s = selection_of_table(c->options, shape->schema, shape->name);
    for (size_t i = 0; i < json_array_size(t->ancestors); i++) {
        json_t *above = json_array_get(t->ancestors, i);
        enum selection a =
            selection_of_table(c->options, slice_of(json_string_value(json_array_get(above, 0))),
                               slice_of(json_string_value(json_array_get(above, 1))));
        s = a > s ? a : s;
    }
    return s == SELECTION_TAKEN;
}

static enum code fill_column(struct catalog *c, const struct pgoutput_column *wire, const struct today *t,
                             struct arena *arena, struct column *ret, struct type_list *types,
                             struct err *err) {
    struct type_facts facts;
    enum code code = type_resolve(c->types, c->conn, wire->type, wire->typmod, arena, &facts, err);
    if (code)
        return code;
    if (!facts.type.oid) { /* dropped since: its exact text still travels */
        const struct named_type *named = c->named;
        while (named && named->oid != wire->type)
            named = named->next;
        const char *name = named ? named->text : "text";
        facts.type = (struct pg_type){.oid = wire->type,
                                      .typmod = -1,
                                      .typtype = 'b',
                                      .category = 'U',
                                      .schema = "",
                                      .name = name,
                                      .text = name};
    } else {
        code = type_collect(c->types, c->conn, &facts, arena, 0, types, err);
        if (code)
            return code;
    }
    json_t *column = today_column(t, wire->name);
    *ret = (struct column){.name = arena_strndup(arena, wire->name.data, wire->name.len), .length = -1};
    const struct pg_type_policy policy = {.numeric = c->options->numeric};
    struct pg_type *type = arena_alloc(arena, sizeof *type);
    *type = facts.type;
    pg_column_kind(type, &policy, ret);
    ret->nullable = !(json_is_true(json_array_get(column, 1)) || facts.not_null);
    const char *missing = json_string_value(json_array_get(json_array_get(column, 6), 0));
    ret->missing = missing ? arena_strdup(arena, missing) : NULL;
    return OK;
}

static int column_named(const struct table *table, struct slice name) {
    for (int i = 0; i < table->n_columns; i++)
        if (slice_is(name, table->columns[i].name))
            return i;
    return -1;
}

/* The key's columns: the frame's identity for DEFAULT and INDEX (in the index's order if that is still the
 * same), the catalog's primary key for FULL. *ret_lost is a key column that is not captured, or NULL. */
static void fill_key(const struct pgoutput_relation *shape, const struct today *t, struct table *table,
                     struct arena *arena, const char **ret_lost) {
    table->key = arena_alloc(arena, sizeof *table->key * (size_t)(shape->n + 1));
    const json_t *order = shape->identity == 'i' ? t->index : t->key;
    struct slice names[PGOUTPUT_COLUMNS_MAX];
    int n = 0;
    if (shape->identity == 'd' || shape->identity == 'i')
        for (int i = 0; i < shape->n; i++)
            if (shape->columns[i].identity)
                names[n++] = shape->columns[i].name;
    bool same = (int)json_array_size(order) == n;
    for (int i = 0; i < n; i++)
        same = same && today_names(order, names[i]);
    if (same || shape->identity == 'f' || shape->identity == 'n') {
        n = (int)json_array_size(order);
        for (int i = 0; i < n; i++)
            names[i] = slice_of(json_string_value(json_array_get(order, (size_t)i)));
    }
    *ret_lost = NULL;
    for (int i = 0; i < n; i++) {
        int column = column_named(table, names[i]);
        if (column < 0) {
            *ret_lost = arena_strndup(arena, names[i].data, names[i].len);
            continue;
        }
        table->columns[column].key = i + 1;
        table->key[table->n_key++] = column;
    }
}

static bool on_wire(const struct pgoutput_relation *shape, const char *name) {
    for (int i = 0; i < shape->n; i++)
        if (slice_is(shape->columns[i].name, name))
            return true;
    return false;
}

static enum code fill_table(struct catalog *c, const struct pgoutput_relation *shape, const struct today *t,
                            struct arena *arena, struct table *table, int *to, struct err *err) {
    struct type_list types = {0};
    table->schema = arena_strndup(arena, shape->schema.data, shape->schema.len);
    table->name = arena_strndup(arena, shape->name.data, shape->name.len);
    table->incarnation = shape->relid;
    table->columns = arena_zalloc(arena, sizeof *table->columns * (size_t)(shape->n + 1));
    for (int i = 0; i < shape->n; i++) {
        to[i] = -1;
        if (!selection_has_column(c->options, shape->schema, shape->name, shape->columns[i].name))
            continue;
        enum code code =
            fill_column(c, &shape->columns[i], t, arena, &table->columns[table->n_columns], &types, err);
        if (code)
            return code;
        to[i] = table->n_columns++;
    }
    table->types = types.items;
    table->n_types = types.n;
    const char *lost;
    fill_key(shape, t, table, arena, &lost);
    if (lost && on_wire(shape, lost))
        return err_set(err, FATAL, ERR_CONFIG,
                       "column %s of %s.%s is part of its key and cannot be left out in `columns`", lost,
                       table->schema, table->name);
    if (lost) { /* a primary key of today that the table did not have then */
        for (int i = 0; i < table->n_columns; i++)
            table->columns[i].key = 0;
        table->n_key = 0;
    }
    return OK;
}

/* Updates of such a table may leave large values out, both then and now; never those of its identity, which
 * the server logs when they are stored out of line. */
static enum code fill_partial(struct catalog *c, const struct pgoutput_relation *shape, const struct today *t,
                              struct table *table, struct err *err) {
    bool toastable = false;
    for (int i = 0; i < table->n_columns; i++)
        toastable |= !table->columns[i].key && today_toastable(t, &table->columns[i]);
    bool then = toastable && shape->identity != 'f' && shape->identity != 'n';
    table->partial = then && c->options->partial_rows == PG_PARTIAL_HISTORY;
    if (!then || table->partial || !t->found || t->identity == 'f' || t->identity == 'n')
        return OK;
    return err_set(
        err, FATAL, ERR_PARTIAL_ROWS,
        "updates of %s.%s may leave out large values, so that its topic could not rebuild a replica; either "
        "let the source log full rows: ALTER TABLE \"%s\".\"%s\" REPLICA IDENTITY FULL; or keep the whole "
        "history of such topics: partial_rows: history",
        table->schema, table->name, table->schema, table->name);
}

static struct relation *relation_new(struct catalog *c, const struct pgoutput_relation *shape,
                                     const struct table *table, const int *to) {
    struct relation *r = arena_zalloc(&c->arena, sizeof *r);
    r->relid = shape->relid;
    r->identity = shape->identity;
    r->n_wire = shape->n;
    r->table = table;
    if (!table)
        return r;
    size_t n = (size_t)shape->n + 1;
    r->to = arena_alloc(&c->arena, sizeof *r->to * n);
    r->in_identity = arena_zalloc(&c->arena, sizeof *r->in_identity * n);
    r->types = arena_zalloc(&c->arena, sizeof *r->types * n);
    r->read = arena_zalloc(&c->arena, sizeof(pg_read_f *) * n);
    for (int i = 0; i < shape->n; i++) {
        r->to[i] = to[i];
        if (to[i] < 0)
            continue;
        r->in_identity[to[i]] = shape->columns[i].identity;
        r->types[to[i]] = shape->columns[i].type;
    }
    for (int i = 0; i < table->n_columns; i++)
        r->read[i] = pg_reader(&table->columns[i]);
    return r;
}

static bool relation_same(const struct relation *r, const struct pgoutput_relation *shape,
                          const struct table *table, const int *to) {
    if (r->table != table || r->identity != shape->identity || r->n_wire != shape->n)
        return false;
    for (int i = 0; table && i < shape->n; i++)
        if (r->to[i] != to[i] || (to[i] >= 0 && (r->in_identity[to[i]] != shape->columns[i].identity ||
                                                 r->types[to[i]] != shape->columns[i].type)))
            return false;
    return true;
}

static void relation_put(struct catalog *c, struct relation *r) {
    struct relation **at = &c->relations[r->relid % BUCKETS];
    while (*at && (*at)->relid != r->relid)
        at = &(*at)->next;
    r->next = *at ? (*at)->next : NULL;
    *at = r;
}

/* A table that was dropped since. Its key is in the frame unless its identity is FULL: then it is that of the
 * version we know, and without one the changes, whose rows are gone from the source, are left out rather than
 * keyed wrongly. */
static bool dropped(struct catalog *c, const struct pgoutput_relation *shape, struct today *t) {
    if (t->found || shape->identity != 'f')
        return false;
    const struct relation *old = catalog_find(c, shape->relid);
    if (old && old->table && old->table->n_key) {
        t->key = json_array();
        for (int i = 0; i < old->table->n_key; i++)
            json_array_append_new(t->key, json_string(old->table->columns[old->table->key[i]].name));
    }
    if (old && old->table)
        return false;
    CLEANUP_BUF name = {0};
    buf_printf(&name, "%.*s.%.*s", (int)shape->schema.len, shape->schema.data, (int)shape->name.len,
               shape->name.data);
    log_warn("capture", "a table was dropped before its last changes were read; they are left out",
             F_STR("table", buf_cstr(&name)));
    return true;
}

/* ---- rows that changed without events ---- */

static bool renamed_label(const struct relation *old, const struct pgoutput_relation *shape, const int *to,
                          const struct table *now) {
    for (int i = 0; i < shape->n; i++) {
        if (to[i] < 0 || now->columns[to[i]].kind != KIND_ENUM)
            continue;
        for (int k = 0; k < old->table->n_columns; k++)
            if (old->types[k] == shape->columns[i].type && old->table->columns[k].kind == KIND_ENUM &&
                labels_lost(old->table->columns[k].labels, now->columns[to[i]].labels))
                return true;
    }
    return false;
}

static void note(struct catalog *c, const struct table *table, bool certain, const char *what) {
    CLEANUP_FREE char *name = xasprintf("%s.%s", table->schema, table->name);
    if (certain && c->options->silent_changes == PG_SILENT_STOP) {
        buf_printf(&c->stale, "%s%s: %s", c->stale.len ? "; " : "", name, what);
        return;
    }
    log_warn("capture",
             certain
                 ? "rows were changed without an event in the log; millrace capture --resnapshot brings them"
                 : "a table was rewritten without events in the log; if USING computed other values, "
                   "millrace capture "
                   "--resnapshot brings them",
             F_STR("table", name), F_STR("what", what));
}

static enum code look_for_silent(struct catalog *c, const struct pgoutput_relation *shape, const int *to,
                                 const struct table *now, struct err *err) {
    const struct relation *old = catalog_find(c, shape->relid);
    if (old && old->table && renamed_label(old, shape, to, now))
        note(c, now, true, "a label of an enum was renamed");
    enum silent_change change;
    const char *what;
    enum code code = silent_look(c->silent, c->conn, shape->relid, &change, &what, err);
    if (code == OK && change != SILENT_NONE)
        note(c, now, change == SILENT_CERTAIN, what);
    return code;
}

enum code catalog_watch(struct catalog *c, struct err *err) {
    enum code code = OK;
    for (int i = 0; i < BUCKETS; i++) {
        for (const struct relation *r = c->relations[i]; r && code == OK; r = r->next) {
            enum silent_change change = SILENT_NONE;
            const char *what;
            if (r->table && !c->stale.len)
                code = silent_look(c->silent, c->conn, r->relid, &change, &what, err);
            if (change != SILENT_NONE)
                note(c, r->table, change == SILENT_CERTAIN, what);
        }
    }
    return code;
}

enum code catalog_take(struct catalog *c, const struct pgoutput_relation *shape, struct relation **ret,
                       struct err *err) {
    CLEANUP_TODAY t = {0};
    enum code code = settle(c, err);
    if (code == OK)
        code = today_read(c->conn, c->env, shape->relid, &t, err);
    if (code)
        return code;
    const struct table *kept = NULL;
    int *to = NULL;
    struct arena scratch = {0};
    if (selected(c, shape, &t) && !dropped(c, shape, &t)) {
        struct table table = {0};
        to = arena_alloc(&scratch, sizeof *to * (size_t)(shape->n + 1));
        code = fill_table(c, shape, &t, &scratch, &table, to, err);
        if (code == OK)
            code = fill_partial(c, shape, &t, &table, err);
        if (code == OK)
            code = look_for_silent(c, shape, to, &table, err);
        if (code == OK && shape->identity == 'd' && !table.n_key && !catalog_find(c, shape->relid))
            log_warn("capture",
                     "a table without a key is published: the source refuses updates and deletes of it; add "
                     "a primary key, or ALTER TABLE "
                     "... REPLICA IDENTITY FULL",
                     F_STR("schema", table.schema), F_STR("table", table.name));
        if (code == OK) {
            table.digest = table_digest(&table);
            kept = version_of(c, &table);
        }
    }
    if (code == OK) {
        *ret = catalog_find(c, shape->relid);
        if (!*ret || !relation_same(*ret, shape, kept, to)) { /* frames come again after every ANALYZE */
            *ret = relation_new(c, shape, kept, to);
            relation_put(c, *ret);
        }
    }
    arena_free(&scratch);
    return code;
}

/* ---- new versions for what the data says ---- */

static void replace_table(struct catalog *c, struct relation *r, struct table *scratch) {
    scratch->digest = table_digest(scratch);
    r->table = version_of(c, scratch);
    for (int i = 0; i < r->table->n_columns; i++)
        r->read[i] = pg_reader(&r->table->columns[i]);
}

void catalog_make_nullable(struct catalog *c, struct relation *r, int column) {
    struct arena scratch = {0};
    struct table *table = table_copy(r->table, &scratch);
    table->columns[column].nullable = true;
    replace_table(c, r, table);
    arena_free(&scratch);
}

enum code catalog_add_label(struct catalog *c, struct relation *r, int column, struct slice label,
                            struct err *err) {
    struct arena scratch = {0};
    struct type_facts facts = {0};
    enum code code = settle(c, err);
    if (code == OK)
        code = type_resolve(c->types, c->conn, r->types[column], -1, &scratch, &facts, err);
    if (code == OK) {
        struct table *table = table_copy(r->table, &scratch);
        const char *const *old = table->columns[column].labels;
        if (facts.type.labels && labels_lost(old, facts.type.labels))
            note(c, table, true, "a label of an enum was renamed");
        const char *text = arena_strndup(&scratch, label.data, label.len);
        const char *const *labels = labels_join(facts.type.labels, old, text, &scratch);
        for (int i = 0; i < table->n_types; i++)
            if (table->types[i].kind == USER_TYPE_ENUM && labels_same(table->types[i].labels, old))
                table->types[i].labels = labels;
        for (int i = 0; i < table->n_columns; i++)
            if (i == column || (table->columns[i].kind == KIND_ENUM && r->types[i] == r->types[column]))
                table->columns[i].labels = labels;
        replace_table(c, r, table);
    }
    arena_free(&scratch);
    return code;
}
