#include "capture/postgres/tables.h"

#include <jansson.h>
#include <stdio.h>

#define TROUBLES_NAMED 8

/* ---- reading ---- */

static void put_query(struct buf *sql, int version, const char *publication) {
    bool narrow = version >= 150000;
    buf_puts(
        sql,
        "SELECT c.oid, n.nspname, c.relname, c.relkind, c.relreplident, c.relpersistence, "
        "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary), "
        "EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisreplident), "
        "has_table_privilege(c.oid, 'SELECT'), pg_has_role(c.relowner, 'USAGE'), c.relispartition, "
        "greatest(c.reltuples, 0), c.relpages, "
        "CASE WHEN c.relispartition THEN (SELECT json_agg(a.relid::oid::bigint) FROM "
        "pg_partition_ancestors(c.oid) a) END, "
        "(SELECT json_agg(a.attname) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT "
        "a.attisdropped AND a.attgenerated = '' AND a.attlen = -1 AND a.attstorage IN ('x', 'e', 'm') AND "
        "NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND CASE c.relreplident WHEN 'd' THEN "
        "i.indisprimary ELSE i.indisreplident END AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - "
        "1]))), ");
    CLEANUP_BUF name = {0};
    put_literal(&name, publication ? publication : "");
    buf_printf(sql, "p.tablename IS NOT NULL, %s, %s, ", narrow ? "p.rowfilter" : "NULL",
               narrow ? "(SELECT r.prattrs IS NOT NULL FROM pg_publication_rel r WHERE r.prrelid = c.oid AND "
                        "r.prpubid = b.oid)"
                      : "false");
    buf_puts(sql, "coalesce(b.puballtables, false) OR EXISTS (SELECT FROM pg_publication_rel r WHERE "
                  "r.prrelid = c.oid AND r.prpubid = b.oid)");
    if (narrow)
        buf_puts(sql, " OR EXISTS (SELECT FROM pg_publication_namespace r WHERE r.pnnspid = n.oid AND "
                      "r.pnpubid = b.oid)");
    buf_printf(
        sql,
        ", NOT EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = c.oid), row_security_active(c.oid), "
        "has_schema_privilege(n.oid, 'USAGE'), "
        "(SELECT json_agg(a.attname) FROM pg_attribute a JOIN pg_index i ON i.indrelid = a.attrelid AND "
        "a.attnum = ANY "
        "((i.indkey::int2[])[0:i.indnkeyatts - 1]) WHERE a.attrelid = c.oid AND CASE c.relreplident WHEN 'i' "
        "THEN "
        "i.indisreplident ELSE i.indisprimary END) "
        "FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace "
        "LEFT JOIN pg_publication b ON b.pubname = %s "
        "LEFT JOIN pg_publication_tables p ON p.pubname = b.pubname AND p.schemaname = n.nspname AND "
        "p.tablename = c.relname "
        "WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't' AND n.nspname !~ '^pg_' AND "
        "n.nspname <> 'information_schema' ORDER BY n.nspname, c.relname",
        buf_cstr(&name));
}

static void read_ancestors(struct pg_rel *rel, const char *text, struct arena *arena) {
    json_t *list = json_loads(text, 0, NULL);
    rel->n_ancestors = (int)json_array_size(list);
    rel->ancestors = arena_alloc(arena, sizeof *rel->ancestors * (size_t)rel->n_ancestors + 1);
    for (int i = 0; i < rel->n_ancestors; i++)
        rel->ancestors[i] = (uint32_t)json_integer_value(json_array_get(list, (size_t)i));
    json_decref(list);
}

static void read_toastable(const struct pg_options *options, struct pg_rel *rel, const char *text,
                           struct arena *arena) {
    json_t *list = json_loads(text, 0, NULL), *name;
    size_t i;
    rel->toastable = arena_alloc(arena, sizeof *rel->toastable * json_array_size(list) + 1);
    json_array_foreach(list, i, name) {
        const char *column = json_string_value(name);
        if (column &&
            selection_has_column(options, slice_of(rel->schema), slice_of(rel->name), slice_of(column)))
            rel->toastable[rel->n_toastable++] = arena_strdup(arena, column);
    }
    json_decref(list);
}

/* Sets the first column of the key that `columns` leaves out. */
static void read_key(const struct pg_options *options, struct pg_rel *rel, const char *text,
                     struct arena *arena) {
    json_t *list = json_loads(text, 0, NULL), *name;
    size_t i;
    json_array_foreach(list, i, name) {
        const char *column = json_string_value(name);
        if (column &&
            !selection_has_column(options, slice_of(rel->schema), slice_of(rel->name), slice_of(column)))
            rel->key_left_out = arena_strdup(arena, column);
    }
    json_decref(list);
}

static void read_rel(const struct pg_options *options, const PGresult *res, int row, struct arena *arena,
                     struct pg_rel *rel) {
#define TEXT(i) pgsource_text(res, row, i)
#define FLAG(i) (pgsource_text(res, row, i)[0] == 't')
    *rel = (struct pg_rel){
        .oid = (uint32_t)strtoul(TEXT(0), NULL, 10),
        .schema = arena_strdup(arena, TEXT(1)),
        .name = arena_strdup(arena, TEXT(2)),
        .kind = TEXT(3)[0],
        .identity = TEXT(4)[0],
        .persistence = TEXT(5)[0],
        .has_key = FLAG(6),
        .has_identity_index = FLAG(7),
        .readable = FLAG(8),
        .owned = FLAG(9),
        .partition = FLAG(10),
        .rows = strtod(TEXT(11), NULL),
        .pages = strtoll(TEXT(12), NULL, 10),
        .published = FLAG(15),
        .filter = PQgetisnull(res, row, 16) ? NULL : arena_strdup(arena, TEXT(16)),
        .columns_narrowed = FLAG(17),
        .member = FLAG(18),
        .leafless = FLAG(19),
        .row_security = FLAG(20),
        .schema_usable = FLAG(21),
    };
    read_ancestors(rel, TEXT(13), arena);
    read_toastable(options, rel, TEXT(14), arena);
    read_key(options, rel, TEXT(22), arena);
#undef TEXT
#undef FLAG
}

struct pg_rel *rels_find(const struct pg_rels *rels, uint32_t oid) {
    for (int i = 0; i < rels->n; i++)
        if (rels->items[i].oid == oid)
            return &rels->items[i];
    return NULL;
}

/* A partition is taken by its own name or by that of any table above it; an exclusion anywhere wins. */
static void select_rel(const struct pg_options *options, const struct pg_rels *rels, struct pg_rel *rel) {
    rel->selected = selection_of_table(options, slice_of(rel->schema), slice_of(rel->name));
    rel->object = rel->selected == SELECTION_TAKEN;
    for (int i = 0; i < rel->n_ancestors; i++) {
        const struct pg_rel *above = rels_find(rels, rel->ancestors[i]);
        if (!above || above == rel)
            continue;
        enum selection s = selection_of_table(options, slice_of(above->schema), slice_of(above->name));
        if (s > rel->selected)
            rel->selected = s;
        if (s == SELECTION_TAKEN)
            rel->object = false;
    }
}

enum code rels_read(PGconn *conn, const struct pg_options *options, const struct source_env *env,
                    const char *publication, struct arena *arena, struct pg_rels *ret, struct err *err) {
    *ret = (struct pg_rels){0};
    CLEANUP_BUF sql = {0};
    put_query(&sql, PQserverVersion(conn), publication);
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_query(conn, env, 20000, "listing the source's tables", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    ret->n = PQntuples(res);
    ret->role = arena_strdup(arena, PQuser(conn));
    ret->items = arena_alloc(arena, sizeof *ret->items * (size_t)ret->n + 1);
    for (int i = 0; i < ret->n; i++)
        read_rel(options, res, i, arena, &ret->items[i]);
    for (int i = 0; i < ret->n; i++)
        select_rel(options, ret, &ret->items[i]);
    return OK;
}

bool rel_stores(const struct pg_rel *unit, const struct pg_rel *rel) {
    if (rel->kind != 'r')
        return false;
    if (rel == unit)
        return true;
    for (int i = 0; i < rel->n_ancestors; i++)
        if (rel->ancestors[i] == unit->oid)
            return true;
    return false;
}

bool rel_is_unit(const struct pg_options *options, const struct pg_rels *rels, const struct pg_rel *rel) {
    (void)rels;
    if (rel->selected != SELECTION_TAKEN)
        return false;
    return options->publish_via_root ? rel->object : rel->kind == 'r';
}

/* ---- troubles ---- */

void table_trouble_free(struct table_trouble *trouble) {
    buf_free(&trouble->names);
    buf_free(&trouble->sql);
}

static void trouble_add(struct table_trouble *t, const struct pg_rel *rel, const char *sql_before,
                        const char *sql_after) {
    if (t->n++ >= TROUBLES_NAMED)
        return;
    buf_printf(&t->names, "%s%s.%s", t->n > 1 ? ", " : "", rel->schema, rel->name);
    buf_puts(&t->sql, t->n > 1 ? "; " : "");
    buf_puts(&t->sql, sql_before);
    put_table(&t->sql, rel->schema, rel->name);
    buf_puts(&t->sql, sql_after);
}

static const char *trouble_names(struct table_trouble *t) {
    if (t->n > TROUBLES_NAMED)
        buf_printf(&t->names, " and %d more", t->n - TROUBLES_NAMED);
    return buf_cstr(&t->names);
}

/* Tables whose identity decides what the server logs: where the rows are stored. */
static bool stores_selected(const struct pg_rel *rel) {
    return rel->selected == SELECTION_TAKEN && rel->kind == 'r' && rel->persistence == 'p';
}

void rels_without_key(const struct pg_options *options, const struct pg_rels *rels,
                      struct table_trouble *ret) {
    (void)options;
    for (int i = 0; i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        bool broken_index = rel->identity == 'i' && !rel->has_identity_index;
        if (stores_selected(rel) && ((rel->identity == 'd' && !rel->has_key) || broken_index))
            trouble_add(ret, rel, "ALTER TABLE ", " REPLICA IDENTITY FULL");
    }
}

void rels_partial(const struct pg_options *options, const struct pg_rels *rels, struct table_trouble *ret) {
    for (int i = 0; i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        bool logs = stores_selected(rel) || (options->publish_via_root && rel->kind == 'p' && rel->object);
        if (logs && rel->identity != 'f' && rel->identity != 'n' && rel->n_toastable > 0)
            trouble_add(ret, rel, "ALTER TABLE ", " REPLICA IDENTITY FULL");
    }
}

void rels_unreadable(const struct pg_options *options, const struct pg_rels *rels,
                     struct table_trouble *ret) {
    (void)options;
    CLEANUP_BUF to = {0};
    buf_puts(&to, " TO ");
    put_identifier(&to, rels->role);
    for (int i = 0; i < rels->n; i++)
        if (stores_selected(&rels->items[i]) && !rels->items[i].readable)
            trouble_add(ret, &rels->items[i], "GRANT SELECT ON ", buf_cstr(&to));
}

/* Once per schema: the tables are ordered by it. */
void rels_schema_unusable(const struct pg_options *options, const struct pg_rels *rels,
                          struct table_trouble *ret) {
    (void)options;
    const char *last = "";
    for (int i = 0; i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        if (!stores_selected(rel) || rel->schema_usable || strcmp(last, rel->schema) == 0)
            continue;
        buf_printf(&ret->names, "%s%s", ret->n ? ", " : "", rel->schema);
        buf_puts(&ret->sql, ret->n++ ? "; GRANT USAGE ON SCHEMA " : "GRANT USAGE ON SCHEMA ");
        put_identifier(&ret->sql, rel->schema);
        buf_puts(&ret->sql, " TO ");
        put_identifier(&ret->sql, rels->role);
        last = rel->schema;
    }
}

void rels_row_security(const struct pg_options *options, const struct pg_rels *rels,
                       struct table_trouble *ret) {
    (void)options;
    for (int i = 0; i < rels->n; i++)
        if (stores_selected(&rels->items[i]) && rels->items[i].row_security && ret->n++ < TROUBLES_NAMED)
            buf_printf(&ret->names, "%s%s.%s", ret->n > 1 ? ", " : "", rels->items[i].schema,
                       rels->items[i].name);
    buf_puts(&ret->sql, "ALTER ROLE ");
    put_identifier(&ret->sql, rels->role);
    buf_puts(&ret->sql, " BYPASSRLS");
}

enum code rels_check_columns(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    (void)options;
    for (int i = 0; i < rels->n; i++)
        if (stores_selected(&rels->items[i]) && rels->items[i].key_left_out)
            return err_set(err, FATAL, ERR_CONFIG,
                           "column %s of %s.%s is part of its key and cannot be left out in `columns`",
                           rels->items[i].key_left_out, rels->items[i].schema, rels->items[i].name);
    return OK;
}

void rels_unlogged(const struct pg_options *options, const struct pg_rels *rels, struct table_trouble *ret) {
    (void)options;
    for (int i = 0; i < rels->n; i++)
        if (rels->items[i].selected == SELECTION_TAKEN && rels->items[i].persistence == 'u')
            trouble_add(ret, &rels->items[i], "ALTER TABLE ", " SET LOGGED");
}

/* Published as their root, partitions still log by their own identity, and the frames are marked by the
 * root's. */
void rels_identity_mixed(const struct pg_options *options, const struct pg_rels *rels,
                         struct table_trouble *ret) {
    for (int i = 0; options->publish_via_root && i < rels->n; i++) {
        const struct pg_rel *rel = &rels->items[i];
        if (!stores_selected(rel) || rel->object)
            continue;
        for (int k = 0; k < rel->n_ancestors; k++) {
            const struct pg_rel *root = rels_find(rels, rel->ancestors[k]);
            if (root && root->object && (root->identity == 'f') != (rel->identity == 'f'))
                trouble_add(ret, rel->identity == 'f' ? root : rel, "ALTER TABLE ", " REPLICA IDENTITY FULL");
        }
    }
}

static enum code check_key(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    CLEANUP_TROUBLE mixed = {0}, keyless = {0};
    rels_identity_mixed(options, rels, &mixed);
    if (mixed.n)
        return err_set(
            err, FATAL, ERR_SOURCE_TABLE,
            "partitions and their root differ in replica identity, so that old rows would be read wrongly: "
            "%s; mend with: %s",
            trouble_names(&mixed), buf_cstr(&mixed.sql));
    rels_without_key(options, rels, &keyless);
    if (keyless.n)
        return err_set(
            err, FATAL, ERR_TABLE_WITHOUT_KEY,
            "tables without a key, whose updates and deletes the source would refuse once they are "
            "published: %s; add a primary key, or exclude them in `tables` with '!', or: %s",
            trouble_names(&keyless), buf_cstr(&keyless.sql));
    return OK;
}

/* A table that may be read, and yet not all of it is seen. */
static enum code check_sight(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    CLEANUP_TROUBLE schemas = {0}, hidden = {0};
    rels_schema_unusable(options, rels, &schemas);
    if (schemas.n)
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "no right to use schema %s; as its owner: %s",
                       buf_cstr(&schemas.names), buf_cstr(&schemas.sql));
    rels_row_security(options, rels, &hidden);
    if (hidden.n)
        return err_set(
            err, FATAL, ERR_SOURCE_REFUSED,
            "row-level security hides rows of %s from us; as an administrator: %s; or exclude the table",
            trouble_names(&hidden), buf_cstr(&hidden.sql));
    return OK;
}

enum code rels_check_readable(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    CLEANUP_TROUBLE unreadable = {0};
    rels_unreadable(options, rels, &unreadable);
    if (unreadable.n)
        return err_set(err, FATAL, ERR_SOURCE_REFUSED, "no right to read %s; as their owner: %s",
                       trouble_names(&unreadable), buf_cstr(&unreadable.sql));
    return check_sight(options, rels, err);
}

enum code rels_check(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    enum code code = check_key(options, rels, err);
    if (code == OK)
        code = rels_check_columns(options, rels, err);
    if (code)
        return code;
    CLEANUP_TROUBLE partial = {0};
    rels_partial(options, rels, &partial);
    if (partial.n && options->partial_rows == PG_PARTIAL_REFUSE)
        return err_set(
            err, FATAL, ERR_PARTIAL_ROWS,
            "updates of these tables may leave out large values, so that their topics could not rebuild a "
            "replica: %s; either let the source log full rows: %s; or keep the whole history of such "
            "topics: partial_rows: history",
            trouble_names(&partial), buf_cstr(&partial.sql));
    return rels_check_readable(options, rels, err);
}

enum code rels_check_named(const struct pg_options *options, const struct pg_rels *rels, struct err *err) {
    int selected = 0;
    for (int i = 0; i < rels->n; i++)
        selected += rels->items[i].selected == SELECTION_TAKEN;
    for (size_t k = 0; k < options->tables.n; k++) {
        const char *pattern = options->tables.items[k];
        if (*pattern == '!' || strpbrk(pattern, "*?"))
            continue;
        struct pg_options one = {.tables = {.items = &pattern, .n = 1}};
        bool there = false;
        for (int i = 0; i < rels->n && !there; i++)
            there = selection_of_table(&one, slice_of(rels->items[i].schema),
                                       slice_of(rels->items[i].name)) == SELECTION_TAKEN;
        if (!there)
            return err_set(
                err, FATAL, ERR_SOURCE_TABLE,
                "table %s, named in `tables`, does not exist in database '%s' (patterns are schema.table)",
                pattern, pgsource_database(options));
    }
    if (!selected)
        return err_set(err, FATAL, ERR_SOURCE_TABLE, "no table of database '%s' matches `tables`",
                       pgsource_database(options));
    return OK;
}
