#include "sink/postgres/user_types.h"

#include <string.h>

#include "base/log.h"
#include "sink/postgres/sql.h"
#include "sink/values/type_name.h"

#define TYPES_LOCK "4733218904127105" /* advisory lock: one process at a time creates types */

static const char type_sql[] = "SELECT t.typtype, t.oid FROM pg_catalog.pg_type t JOIN "
                               "pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
                               " WHERE n.nspname = $1::pg_catalog.name AND t.typname = $2::pg_catalog.name";
static const char label_sql[] =
    "SELECT FROM pg_catalog.pg_enum WHERE enumtypid = $1::pg_catalog.oid AND enumlabel = $2::pg_catalog.name";

/* ---- resolving ---- */

enum code user_types_resolve(struct session *s, const char *type, struct err *err) {
    struct type_name parsed;
    if (!type_parse(type, &parsed))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "type name '%.200s' of the source is not one that PostgreSQL prints", type);
    /* format_type prints 'character' for an unknown length and 'bpchar' for none: either is the same type */
    static const char sql[] = "SELECT t.oid IS NOT NULL AND $1::text IN (pg_catalog.format_type(t.oid, NULL),"
                              " pg_catalog.format_type(t.oid, -1)) FROM (SELECT "
                              "pg_catalog.to_regtype($1::text)::pg_catalog.oid) t (oid)";
    CLEANUP_BUF plain = {0};
    bool interval = strncmp(parsed.base, "interval ", 9) == 0; /* its fields are a modifier, too */
    buf_printf(&plain, "%s%s", interval ? "interval" : parsed.base, parsed.array ? "[]" : "");
    const char *params[] = {buf_cstr(&plain)};
    CLEANUP_RESULT *result = NULL;
    enum code code = session_run(s, sql, 1, params, &result, err);
    if (code != OK)
        return code;
    if (result_bool(result, 0, 0))
        return OK;
    return err_set(err, REJECT, ERR_TARGET_TABLE, "the replica has no type %.200s; create it there", type);
}

/* ---- creating ---- */

static enum code lacking(const struct user_type *type, const char *sql, struct err *err) {
    return err_set(err, REJECT, ERR_TARGET_TABLE, "the replica lacks a type; run there: %.1500s%s", sql,
                   type->kind == USER_TYPE_EXTENSION ? " (the extension's files must be installed)" : "");
}

static bool create_enum(struct session *s, const struct user_type *type, struct buf *sql) {
    buf_puts(sql, "CREATE TYPE ");
    sql_qualified(sql, type->schema, type->name);
    buf_puts(sql, " AS ENUM (");
    for (int i = 0; type->labels && type->labels[i]; i++) {
        if (i)
            buf_puts(sql, ", ");
        if (strlen(type->labels[i]) > 63 || !sql_literal(s, sql, type->labels[i]))
            return false;
    }
    buf_putc(sql, ')');
    return true;
}

static enum code create_composite(struct session *s, const struct user_type *type, struct buf *sql,
                                  struct err *err) {
    buf_puts(sql, "CREATE TYPE ");
    sql_qualified(sql, type->schema, type->name);
    buf_puts(sql, " AS (");
    for (int i = 0; type->labels && type->labels[i]; i++) {
        enum code code = OK;
        if (!sql_name_ok(s, type->labels[i]))
            code = err_set(err, REJECT, ERR_TARGET_TABLE, "an attribute name of type %s cannot be used",
                           type->name);
        if (code == OK)
            code = user_types_resolve(s, type->label_types[i], err);
        if (code != OK)
            return code;
        if (i)
            buf_puts(sql, ", ");
        sql_ident(sql, type->labels[i]);
        buf_printf(sql, " %s", type->label_types[i]);
    }
    buf_putc(sql, ')');
    return OK;
}

static enum code create_type(struct session *s, const struct user_type *type, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_ident(&sql, type->schema);
    enum code code = session_run(s, buf_cstr(&sql), 0, NULL, NULL, err);
    buf_clear(&sql);
    if (code == OK && type->kind == USER_TYPE_COMPOSITE)
        code = create_composite(s, type, &sql, err);
    if (code == OK && type->kind == USER_TYPE_ENUM && !create_enum(s, type, &sql))
        code = err_set(err, REJECT, ERR_TARGET_TABLE, "a label of enum %s.%s cannot be used", type->schema,
                       type->name);
    if (code != OK)
        return code;
    log_info("sink/postgres", "type created", F_STR("schema", type->schema), F_STR("type", type->name));
    return session_run(s, buf_cstr(&sql), 0, NULL, NULL, err);
}

/* The first label after the i-th that the replica has, or NULL. */
static enum code next_label(struct session *s, const struct user_type *type, const char *oid, int i,
                            const char **ret, struct err *err) {
    *ret = NULL;
    for (i++; type->labels[i] && !*ret; i++) {
        CLEANUP_RESULT *result = NULL;
        const char *params[] = {oid, type->labels[i]};
        enum code code = session_run(s, label_sql, 2, params, &result, err);
        if (code != OK)
            return code;
        if (PQntuples(result) > 0)
            *ret = type->labels[i];
    }
    return OK;
}

/* The label goes behind its predecessor of the source, or the first one before its successor, so that the
 * order of the labels is the same. */
static enum code add_label(struct session *s, const struct user_type *type, const char *oid, int i,
                           int policy, struct err *err) {
    CLEANUP_BUF sql = {0};
    const char *other = i > 0 ? type->labels[i - 1] : NULL;
    enum code code = i > 0 ? OK : next_label(s, type, oid, i, &other, err);
    if (code != OK)
        return code;
    buf_puts(&sql, "ALTER TYPE ");
    sql_qualified(&sql, type->schema, type->name);
    buf_puts(&sql, " ADD VALUE IF NOT EXISTS ");
    bool ok = strlen(type->labels[i]) <= 63 && sql_literal(s, &sql, type->labels[i]);
    if (other)
        buf_puts(&sql, i > 0 ? " AFTER " : " BEFORE ");
    if (ok && other)
        ok = sql_literal(s, &sql, other);
    if (!ok)
        return err_set(err, REJECT, ERR_TARGET_TABLE, "a label of enum %s.%s cannot be used", type->schema,
                       type->name);
    if (policy == SCHEMA_STOP)
        return lacking(type, buf_cstr(&sql), err);
    log_info("sink/postgres", "enum label added", F_STR("schema", type->schema), F_STR("type", type->name));
    return session_run(s, buf_cstr(&sql), 0, NULL, NULL, err);
}

static enum code ensure_labels(struct session *s, const struct user_type *type, const char *oid, int policy,
                               struct err *err) {
    for (int i = 0; type->labels && type->labels[i]; i++) {
        CLEANUP_RESULT *result = NULL;
        const char *params[] = {oid, type->labels[i]};
        enum code code = session_run(s, label_sql, 2, params, &result, err);
        if (code == OK && PQntuples(result) == 0)
            code = add_label(s, type, oid, i, policy, err);
        if (code != OK)
            return code;
    }
    return OK;
}

/* The schema in which the source keeps an extension's types: that of a column's type which nothing else
 * explains. */
static void extension_schema(struct session *s, const struct table *table, struct buf *ret) {
    for (int i = 0; i < table->n_columns; i++) {
        struct err ignored;
        struct type_name parsed;
        if (!type_parse(table->columns[i].type, &parsed) || parsed.base[0] == '"')
            continue;
        char *dot = strchr(parsed.base, '.');
        if (!dot || user_types_resolve(s, table->columns[i].type, &ignored) == OK)
            continue;
        buf_put(ret, parsed.base, (size_t)(dot - parsed.base));
        return;
    }
    buf_puts(ret, "public");
}

static enum code ensure_extension(struct session *s, const struct table *table, const struct user_type *type,
                                  struct err *err) {
    CLEANUP_RESULT *result = NULL;
    static const char sql_have[] = "SELECT FROM pg_catalog.pg_extension WHERE extname = $1::pg_catalog.name";
    enum code code = session_run(s, sql_have, 1, &type->name, &result, err);
    if (code != OK || PQntuples(result) > 0)
        return code;
    CLEANUP_BUF schema = {0}, sql = {0};
    extension_schema(s, table, &schema);
    buf_puts(&sql, "CREATE SCHEMA IF NOT EXISTS ");
    sql_ident(&sql, buf_cstr(&schema));
    buf_puts(&sql, "; CREATE EXTENSION IF NOT EXISTS ");
    sql_ident(&sql, type->name);
    buf_puts(&sql, " SCHEMA ");
    sql_ident(&sql, buf_cstr(&schema));
    code = session_script(s, buf_cstr(&sql), err);
    if (code == OK)
        log_info("sink/postgres", "extension created", F_STR("extension", type->name));
    if (code == OK || s->sqlstate[0] == 0)
        return code;
    return lacking(type, buf_cstr(&sql), err);
}

static enum code ensure_one(struct session *s, const struct table *table, const struct user_type *type,
                            bool create, int policy, struct err *err) {
    if (!sql_name_ok(s, type->name) || (type->kind != USER_TYPE_EXTENSION && !sql_name_ok(s, type->schema)))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "a type of %s.%s has a name that PostgreSQL cannot hold", table->schema, table->name);
    if (type->kind == USER_TYPE_EXTENSION)
        return create ? ensure_extension(s, table, type, err) : OK;
    CLEANUP_RESULT *result = NULL;
    const char *params[] = {type->schema, type->name};
    enum code code = session_run(s, type_sql, 2, params, &result, err);
    if (code != OK)
        return code;
    if (PQntuples(result) == 0)
        return create ? create_type(s, type, err) : OK;
    if (policy == SCHEMA_IGNORE || type->kind != USER_TYPE_ENUM || result_name(result, 0, 0)[0] != 'e')
        return OK;
    return ensure_labels(s, type, result_name(result, 0, 1), policy, err);
}

enum code user_types_ensure(struct session *s, const struct table *table, bool create, int policy,
                            struct err *err) {
    if (table->n_types == 0)
        return OK;
    struct session side;
    enum code code = session_open(&side, s->options, s->env, 10000, err);
    if (code != OK)
        return code;
    code = session_script(&side, "SELECT pg_catalog.pg_advisory_lock(" TYPES_LOCK ")", err);
    for (int i = 0; i < table->n_types && code == OK; i++)
        code = ensure_one(&side, table, &table->types[i], create, policy, err);
    session_close(&side); /* and the lock is gone */
    return code;
}
