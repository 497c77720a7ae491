#include "capture/postgres/today.h"

#include <stdio.h>

void today_free(struct today *t) {
    json_decref(t->key);
    json_decref(t->index);
    json_decref(t->columns);
    json_decref(t->ancestors);
}
static const char today_sql[] =
    "SELECT c.relreplident, "
    "(SELECT json_agg(a.attname ORDER BY k.ord) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, "
    "ord), pg_attribute a"
    " WHERE i.indrelid = c.oid AND i.indisprimary AND k.ord <= i.indnkeyatts AND a.attrelid = c.oid AND "
    "a.attnum = k.attnum), "
    "(SELECT json_agg(a.attname ORDER BY k.ord) FROM pg_index i, unnest(i.indkey) WITH ORDINALITY k(attnum, "
    "ord), pg_attribute a"
    " WHERE i.indrelid = c.oid AND i.indisreplident AND k.ord <= i.indnkeyatts AND a.attrelid = c.oid AND "
    "a.attnum = k.attnum), "
    "(SELECT json_agg(json_build_array(a.attname, a.attnotnull, a.attlen = -1 AND a.attstorage IN ('x', 'e', "
    "'m'), "
    "  a.attgenerated <> '', a.atttypid::bigint, a.atttypmod, CASE WHEN a.atthasmissing THEN "
    "a.attmissingval::text::text[] END) ORDER BY a.attnum) FROM pg_attribute a"
    " WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped), "
    "CASE WHEN c.relispartition THEN (SELECT json_agg(json_build_array(n2.nspname, c2.relname)) FROM "
    "pg_partition_ancestors(c.oid) p"
    "  JOIN pg_class c2 ON c2.oid = p.relid AND c2.oid <> c.oid JOIN pg_namespace n2 ON n2.oid = "
    "c2.relnamespace) END, "
    "n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = %u";

static json_t *json_of(const PGresult *res, int column) {
    return PQgetisnull(res, 0, column) ? NULL : json_loads(pgsource_text(res, 0, column), 0, NULL);
}

enum code today_read(PGconn *conn, const struct source_env *env, uint32_t relid, struct today *ret,
                     struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, today_sql, relid);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(conn, env, 10000, "reading a table's columns", buf_cstr(&sql), &res, err);
    if (code)
        return code;
    ret->found = PQntuples(res) == 1;
    if (!ret->found)
        return OK;
    ret->identity = pgsource_text(res, 0, 0)[0];
    ret->key = json_of(res, 1);
    ret->index = json_of(res, 2);
    ret->columns = json_of(res, 3);
    ret->ancestors = json_of(res, 4);
    snprintf(ret->schema, sizeof ret->schema, "%s", pgsource_text(res, 0, 5));
    snprintf(ret->name, sizeof ret->name, "%s", pgsource_text(res, 0, 6));
    return OK;
}

json_t *today_column(const struct today *t, struct slice name) {
    for (size_t i = 0; i < json_array_size(t->columns); i++) {
        json_t *column = json_array_get(t->columns, i);
        if (slice_is(name, json_string_value(json_array_get(column, 0))))
            return column;
    }
    return NULL;
}

bool today_names(const json_t *names, struct slice name) {
    for (size_t i = 0; i < json_array_size(names); i++)
        if (slice_is(name, json_string_value(json_array_get(names, i))))
            return true;
    return false;
}

/* What the identity names: the columns of the key or of the index; NULL: none, or all. */
static const json_t *identity_list(const struct today *t) {
    return t->identity == 'i' ? t->index : t->identity == 'd' ? t->key : NULL;
}

/* Before 18 a publication's list names generated columns, but they are not sent. */
static bool is_sent(const json_t *column, const json_t *names, struct slice name, int server) {
    bool sent = names ? today_names(names, name) : true;
    bool generated = json_is_true(json_array_get(column, 3));
    return generated ? sent && names && server >= 180000 : sent;
}

void today_shape(const struct today *t, const char *published, int server, struct arena *arena,
                 struct pgoutput_relation *ret) {
    json_t *names = published ? json_loads(published, 0, NULL) : NULL;
    ret->schema = slice_of(arena_strdup(arena, t->schema));
    ret->name = slice_of(arena_strdup(arena, t->name));
    ret->identity = t->identity;
    ret->n = 0;
    for (size_t i = 0; i < json_array_size(t->columns); i++) {
        const json_t *column = json_array_get(t->columns, i);
        struct slice name = slice_of(json_string_value(json_array_get(column, 0)));
        if (!is_sent(column, names, name, server) || ret->n >= PGOUTPUT_COLUMNS_MAX)
            continue;
        ret->columns[ret->n++] = (struct pgoutput_column){
            .identity = t->identity == 'f' || today_names(identity_list(t), name),
            .name = arena_copy(arena, name),
            .type = (uint32_t)json_integer_value(json_array_get(column, 4)),
            .typmod = (int32_t)json_integer_value(json_array_get(column, 5)),
        };
    }
    json_decref(names);
}

bool today_toastable(const struct today *t, const struct column *column) {
    if (t->found) /* else only the kind is known */
        return json_is_true(json_array_get(today_column(t, slice_of(column->name)), 2));
    switch (column->kind) {
    case KIND_TEXT:
    case KIND_BYTES:
    case KIND_JSON:
    case KIND_XML:
    case KIND_DECIMAL:
    case KIND_BITS:
    case KIND_LTREE:
    case KIND_TSVECTOR:
        return true;
    default:
        return false;
    }
}
