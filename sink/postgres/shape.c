/* Source: PostgreSQL manual, chapter 53 (system catalogs). */
#include "sink/postgres/shape.h"

#include <stdio.h>

#include "sink/postgres/sql.h"

static const char table_sql[] =
    "SELECT c.oid, c.relkind,"
    " EXISTS (SELECT FROM pg_catalog.pg_trigger t WHERE t.tgrelid = c.oid AND t.tgenabled <> 'D'),"
    " EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid AND "
    "f.conrelid <> c.oid),"
    " EXISTS (SELECT FROM pg_catalog.pg_constraint f WHERE f.contype = 'f' AND f.confrelid = c.oid),"
    " pg_catalog.has_table_privilege(c.oid, 'TRUNCATE')"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE n.nspname = $1::pg_catalog.name AND c.relname = $2::pg_catalog.name";

/* A domain is resolved step by step to the type below it, whose modifier is the domain's. */
static const char columns_sql[] =
    "SELECT a.attname, pg_catalog.format_type(b.oid, b.mod), b.oid, a.attnotnull, a.atthasdef,"
    " a.attgenerated <> '', a.attidentity, b.depth > 0,"
    " EXISTS (SELECT FROM pg_catalog.pg_index i WHERE i.indrelid = a.attrelid AND i.indisprimary AND "
    "a.attnum = ANY (i.indkey))"
    " FROM pg_catalog.pg_attribute a CROSS JOIN LATERAL ("
    "  WITH RECURSIVE d (oid, mod, depth) AS ("
    "   SELECT a.atttypid, a.atttypmod, 0 UNION ALL"
    "   SELECT t.typbasetype, t.typtypmod, d.depth + 1 FROM d JOIN pg_catalog.pg_type t ON t.oid = d.oid"
    "   WHERE t.typtype = 'd')"
    "  SELECT * FROM d ORDER BY depth DESC LIMIT 1) b"
    " WHERE a.attrelid = $1::pg_catalog.oid AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";

/* Whether the index covers exactly the columns of $2, and ON CONFLICT can use it. */
static const char indexes_sql[] =
    "SELECT i.indexrelid, i.indisunique AND i.indimmediate AND i.indisvalid AND i.indpred IS NULL"
    "  AND i.indexprs IS NULL AND i.indnkeyatts = pg_catalog.cardinality($2::text[]) AND NOT EXISTS ("
    "   SELECT FROM pg_catalog.pg_attribute a WHERE a.attrelid = i.indrelid"
    "   AND a.attnum = ANY ((i.indkey::int2[])[0:i.indnkeyatts - 1]) AND a.attname <> ALL ($2::text[])) AS "
    "usable"
    " FROM pg_catalog.pg_index i WHERE i.indrelid = $1::pg_catalog.oid AND (i.indisunique OR "
    "i.indisexclusion)"
    " ORDER BY usable DESC, i.indisprimary DESC, i.indexrelid";

/* The equality that the index itself uses: with an empty search_path "=" would not find citext's. */
static const char equal_sql[] =
    "SELECT a.attname, 'OPERATOR(' || pg_catalog.quote_ident(n.nspname) || '.' || o.oprname || ')'"
    " FROM pg_catalog.pg_index i CROSS JOIN pg_catalog.generate_series(0, i.indnkeyatts - 1) k"
    " JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[k]"
    " JOIN pg_catalog.pg_opclass c ON c.oid = i.indclass[k]"
    " JOIN pg_catalog.pg_amop m ON m.amopfamily = c.opcfamily AND m.amopstrategy = 3"
    "  AND m.amoplefttype = c.opcintype AND m.amoprighttype = c.opcintype"
    " JOIN pg_catalog.pg_operator o ON o.oid = m.amopopr"
    " JOIN pg_catalog.pg_namespace n ON n.oid = o.oprnamespace"
    " WHERE i.indexrelid = $1::pg_catalog.oid";

static enum code read_table(struct session *s, const struct table *table, struct shape *ret,
                            struct err *err) {
    CLEANUP_RESULT *result = NULL;
    const char *params[] = {table->schema, table->name};
    enum code code = session_run(s, table_sql, 2, params, &result, err);
    if (code != OK || PQntuples(result) == 0)
        return code;
    ret->oid = (Oid)result_int(result, 0, 0);
    ret->kind = result_name(result, 0, 1)[0];
    ret->triggers = result_bool(result, 0, 2);
    ret->referenced = result_bool(result, 0, 3);
    ret->referenced_at_all = result_bool(result, 0, 4);
    ret->can_truncate = result_bool(result, 0, 5);
    return OK;
}

static enum code read_columns(struct session *s, const char *oid, struct arena *arena, struct shape *ret,
                              struct err *err) {
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(s, columns_sql, 1, &oid, &result, err);
    if (code != OK)
        return code;
    ret->n_columns = PQntuples(result);
    ret->columns = arena_zalloc(arena, (size_t)ret->n_columns * sizeof *ret->columns);
    for (int i = 0; i < ret->n_columns; i++)
        ret->columns[i] = (struct shape_column){
            .name = arena_strdup(arena, result_name(result, i, 0)),
            .type = arena_strdup(arena, result_name(result, i, 1)),
            .oid = (Oid)result_int(result, i, 2),
            .not_null = result_bool(result, i, 3),
            .has_default = result_bool(result, i, 4),
            .generated = result_bool(result, i, 5),
            .identity = result_name(result, i, 6)[0],
            .domain = result_bool(result, i, 7),
            .primary = result_bool(result, i, 8),
        };
    return OK;
}

static enum code read_equal(struct session *s, const struct table *table, struct arena *arena,
                            struct shape *ret, struct err *err) {
    CLEANUP_RESULT *result = NULL;
    char oid[16];
    snprintf(oid, sizeof oid, "%u", ret->key_index);
    const char *params[] = {oid};
    enum code code = session_run(s, equal_sql, 1, params, &result, err);
    if (code != OK)
        return code;
    ret->equal = arena_zalloc(arena, (size_t)table->n_key * sizeof *ret->equal);
    for (int k = 0; k < table->n_key; k++) {
        const char *name = table->columns[table->key[k]].name;
        for (int i = 0; i < PQntuples(result) && !ret->equal[k]; i++)
            if (strcmp(result_name(result, i, 0), name) == 0)
                ret->equal[k] = arena_strdup(arena, result_name(result, i, 1));
        if (!ret->equal[k])
            return err_set(err, REJECT, ERR_TARGET_TABLE,
                           "%s.%s: the index over the key has no equality for column %s", table->schema,
                           table->name, name);
    }
    return OK;
}

static enum code read_indexes(struct session *s, const char *oid, const struct table *table,
                              struct arena *arena, struct shape *ret, struct err *err) {
    CLEANUP_BUF key = {0};
    buf_putc(&key, '{');
    for (int k = 0; k < table->n_key; k++) {
        if (k)
            buf_putc(&key, ',');
        sql_array_element(&key, table->columns[table->key[k]].name);
    }
    buf_putc(&key, '}');
    CLEANUP_RESULT *result = NULL;
    const char *params[] = {oid, buf_cstr(&key)};
    enum code code = session_run(s, indexes_sql, 2, params, &result, err);
    if (code != OK)
        return code;
    ret->n_unique = PQntuples(result);
    if (table->n_key == 0 || ret->n_unique == 0 || !result_bool(result, 0, 1))
        return OK;
    ret->key_index = (Oid)result_int(result, 0, 0);
    ret->n_unique--;
    return read_equal(s, table, arena, ret, err);
}

enum code shape_read(struct session *s, const struct table *table, struct arena *arena, struct shape *ret,
                     struct err *err) {
    *ret = (struct shape){0};
    enum code code = read_table(s, table, ret, err);
    if (code != OK || ret->oid == 0)
        return code;
    if (ret->kind != 'r' && ret->kind != 'p')
        return err_set(err, REJECT, ERR_TARGET_TABLE, "%s.%s is not a table of the replica (relkind %c)",
                       table->schema, table->name, ret->kind);
    char oid[16];
    snprintf(oid, sizeof oid, "%u", ret->oid);
    code = read_columns(s, oid, arena, ret, err);
    if (code == OK)
        code = read_indexes(s, oid, table, arena, ret, err);
    return code;
}

enum code shape_read_empty(struct session *s, const struct table *table, bool *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT NOT EXISTS (SELECT FROM ");
    sql_qualified(&sql, table->schema, table->name);
    buf_putc(&sql, ')');
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(s, buf_cstr(&sql), 0, NULL, &result, err);
    if (code == OK)
        *ret = result_bool(result, 0, 0);
    return code;
}

const struct shape_column *shape_column(const struct shape *shape, const char *name) {
    for (int i = 0; i < shape->n_columns; i++)
        if (strcmp(shape->columns[i].name, name) == 0)
            return &shape->columns[i];
    return NULL;
}
