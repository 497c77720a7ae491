/* (PostgreSQL manual, "ALTER TABLE", notes; "pg_attribute"; "System Columns" for xmin.) */
#include "capture/postgres/silent.h"

#include <jansson.h>

enum { BUCKETS = 256 };
/* Elements of a column as the query tells it. */
enum { COLUMN_NUMBER, COLUMN_TYPE, COLUMN_TYPMOD, COLUMN_XMIN, COLUMN_LOOKS, COLUMN_MISSING, COLUMN_FILLED };

/* A table as it was when last looked at. */
struct look {
    uint32_t relid;
    char *file;
    bool logged;
    json_t *columns;
    struct look *next;
};
struct silent {
    const struct source_env *env;
    struct look *looks[BUCKETS];
};

struct silent *silent_open(const struct source_env *env) {
    struct silent *s = xcalloc(1, sizeof *s);
    s->env = env;
    return s;
}

static void look_clear(struct look *look) {
    free(look->file);
    json_decref(look->columns);
}

void silent_close(struct silent *s) {
    for (int i = 0; s && i < BUCKETS; i++) {
        for (struct look *look = s->looks[i], *next; look; look = next) {
            next = look->next;
            look_clear(look);
            free(look);
        }
    }
    free(s);
}

static struct look *look_at(struct silent *s, uint32_t relid) {
    struct look *look = s->looks[relid % BUCKETS];
    while (look && look->relid != relid)
        look = look->next;
    return look;
}

/* ---- asking ---- */

/* What can be seen of a column is hashed: a new pg_attribute row that looks the same was written by ALTER
 * TYPE. Nothing here locks a table: pg_partition_tree() would lock all of them, and could deadlock with
 * DDL. */
static const char look_sql[] =
    "SELECT c.oid, CASE WHEN c.relkind = 'p' THEN (WITH RECURSIVE tree(relid) AS (SELECT c.oid UNION ALL "
    "SELECT i.inhrelid FROM pg_inherits i JOIN tree ON i.inhparent = tree.relid) "
    "SELECT md5(string_agg(pg_relation_filenode(relid)::text, ',' ORDER BY relid)) FROM tree) "
    "ELSE pg_relation_filenode(c.oid)::text END, "
    "c.relpersistence <> 'u', "
    "(SELECT json_agg(json_build_array(a.attnum, a.atttypid::bigint, a.atttypmod, a.xmin::text, "
    "md5(concat_ws('|', a.attname, a.attnotnull, a.attstattarget, a.attstorage, a.attcompression, "
    "a.attidentity, "
    "a.attcollation, a.attacl::text, a.attislocal, a.attinhcount, "
    "pg_get_expr(d.adbin, d.adrelid))), a.atthasmissing, a.atthasdef OR a.attidentity <> '' OR a.attnotnull) "
    "ORDER BY a.attnum) FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = "
    "a.attnum "
    "WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped AND a.attgenerated = '') "
    "FROM pg_class c WHERE c.oid IN (";

static enum code ask(struct silent *s, PGconn *conn, const char *oids, PGresult **ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "%s%s)", look_sql, oids);
    return pgsource_query(conn, s->env, 20000, "looking for changes of tables", buf_cstr(&sql), ret, err);
}

static void read_look(const PGresult *res, int row, struct look *ret) {
    *ret = (struct look){
        .relid = (uint32_t)strtoul(pgsource_text(res, row, 0), NULL, 10),
        .file = xstrdup(pgsource_text(res, row, 1)),
        .logged = pgsource_text(res, row, 2)[0] == 't',
        .columns = json_loads(pgsource_text(res, row, 3), 0, NULL),
    };
}

static void keep(struct silent *s, struct look *now) {
    struct look *look = look_at(s, now->relid);
    if (!look) {
        look = xcalloc(1, sizeof *look);
        look->next = s->looks[now->relid % BUCKETS];
        s->looks[now->relid % BUCKETS] = look;
    }
    look_clear(look);
    now->next = look->next;
    *look = *now;
}

enum code silent_begin(struct silent *s, PGconn *conn, const struct pg_rels *rels, struct err *err) {
    CLEANUP_BUF oids = {0};
    for (int i = 0; i < rels->n; i++)
        if (rels->items[i].selected == SELECTION_TAKEN)
            buf_printf(&oids, "%s%u", oids.len ? "," : "", rels->items[i].oid);
    if (!oids.len)
        return OK;
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(s, conn, buf_cstr(&oids), &res, err);
    for (int i = 0; code == OK && i < PQntuples(res); i++) {
        struct look now;
        read_look(res, i, &now);
        keep(s, &now);
    }
    return code;
}

/* ---- judging ---- */

static json_int_t number(const json_t *column, size_t at) {
    return json_integer_value(json_array_get(column, at));
}

static bool differs(const json_t *a, const json_t *b, size_t at) {
    return strcmp(json_string_value(json_array_get(a, at)), json_string_value(json_array_get(b, at))) != 0;
}

static const json_t *same_column(const json_t *columns, const json_t *column) {
    size_t i;
    json_t *other;
    json_array_foreach(columns, i, other) {
        if (number(other, COLUMN_NUMBER) == number(column, COLUMN_NUMBER))
            return other;
    }
    return NULL;
}

/* Whether the new modifier rounds values without an error, as numeric and the types of time do. */
static bool rounds(json_int_t type, json_int_t old, json_int_t now) {
    enum {
        NUMERIC = 1700,
        TIME = 1083,
        TIMESTAMP = 1114,
        TIMESTAMPTZ = 1184,
        INTERVAL = 1186,
        TIMETZ = 1266
    };
    if (now < 0 || old == now)
        return false;
    if (old < 0 || type == INTERVAL)
        return type == NUMERIC || type == TIME || type == TIMESTAMP || type == TIMESTAMPTZ ||
               type == TIMETZ || type == INTERVAL;
    if (type == NUMERIC) {
        json_int_t scale_old = (((old - 4) & 0x7ff) ^ 1024) - 1024,
                   scale_now = (((now - 4) & 0x7ff) ^ 1024) - 1024;
        return scale_now < scale_old;
    }
    return (type == TIME || type == TIMESTAMP || type == TIMESTAMPTZ || type == TIMETZ) && now < old;
}

static bool same_type(const json_t *a, const json_t *b) {
    return number(a, COLUMN_TYPE) == number(b, COLUMN_TYPE) &&
           number(a, COLUMN_TYPMOD) == number(b, COLUMN_TYPMOD);
}

/* Whether the column was written again although it looks the same. Any rewrite puts the constant default of
 * an older ADD COLUMN into the rows, and notes that in the column. */
static bool stamped(const json_t *old, const json_t *now) {
    bool filled = json_is_true(json_array_get(old, COLUMN_MISSING)) &&
                  !json_is_true(json_array_get(now, COLUMN_MISSING));
    return differs(old, now, COLUMN_XMIN) && !differs(old, now, COLUMN_LOOKS) && !filled;
}

/* @param retyped some column of the table has another type: the server may stamp those behind it, too */
static enum silent_change judge_column(const json_t *old, const json_t *now, bool retyped,
                                       const char **ret_what) {
    if (!old) {
        if (json_is_true(json_array_get(now, COLUMN_MISSING)) ||
            !json_is_true(json_array_get(now, COLUMN_FILLED)))
            return SILENT_NONE;
        *ret_what = "a column was added and the rows that were there got values";
        return SILENT_CERTAIN;
    }
    json_int_t type = number(now, COLUMN_TYPE);
    if (type != number(old, COLUMN_TYPE)) {
        *ret_what = "a column got another type and the rows were rewritten";
        return SILENT_PERHAPS;
    }
    if (rounds(type, number(old, COLUMN_TYPMOD), number(now, COLUMN_TYPMOD))) {
        *ret_what = "a column got a type with fewer digits and the values of the rows were rounded";
        return SILENT_CERTAIN;
    }
    if (retyped || !stamped(old, now))
        return SILENT_NONE;
    *ret_what = "the rows were rewritten by ALTER COLUMN TYPE ... USING";
    return SILENT_CERTAIN;
}

static bool any_retyped(const struct look *old, const struct look *now) {
    size_t i;
    json_t *column;
    json_array_foreach(now->columns, i, column) {
        const json_t *before = same_column(old->columns, column);
        if (before && !same_type(before, column))
            return true;
    }
    return false;
}

static enum silent_change judge(const struct look *old, const struct look *now, const char **ret_what) {
    if (!old->logged && now->logged) {
        *ret_what = "the table was unlogged and its rows from that time were not captured";
        return SILENT_CERTAIN;
    }
    enum silent_change worst = SILENT_NONE;
    if (strcmp(old->file, now->file) == 0)
        return worst;
    bool retyped = any_retyped(old, now);
    size_t i;
    json_t *column;
    json_array_foreach(now->columns, i, column) {
        const char *what = NULL;
        enum silent_change change = judge_column(same_column(old->columns, column), column, retyped, &what);
        if (change > worst) {
            worst = change;
            *ret_what = what;
        }
    }
    return worst;
}

enum code silent_look(struct silent *s, PGconn *conn, uint32_t relid, enum silent_change *ret_change,
                      const char **ret_what, struct err *err) {
    char oid[16];
    snprintf(oid, sizeof oid, "%u", relid);
    *ret_change = SILENT_NONE;
    *ret_what = NULL;
    CLEANUP_RESULT *res = NULL;
    enum code code = ask(s, conn, oid, &res, err);
    if (code || PQntuples(res) != 1)
        return code;
    struct look now, *old = look_at(s, relid);
    read_look(res, 0, &now);
    if (old)
        *ret_change = judge(old, &now, ret_what);
    keep(s, &now);
    return OK;
}
