/* Where the rows of a replica's table come from: source table, filter, names of columns. The configuration
 * may say something else tomorrow; rows that were written or left out before would stay as they were, so that
 * needs a replay. */
#include <jansson.h>

#include "sink/sqlite/sqlite.h"

/* {"name at the source": "name here", ...} */
static char *columns_of(const struct mapped *mapped) {
    json_t *object = json_object();
    for (int i = 0; i < mapped->table->n_columns && i < mapped->source->n_columns; i++)
        json_object_set_new(object, mapped->source->columns[i].name,
                            json_string(mapped->table->columns[i].name));
    char *text = json_dumps(object, JSON_COMPACT);
    json_decref(object);
    return text ? text : xstrdup("{}");
}

struct origin {
    char *source, *columns;
};

static struct origin origin_of(const struct mapped *mapped) {
    return (struct origin){xasprintf("%s.%s", mapped->source->schema, mapped->source->name),
                           columns_of(mapped)};
}

static void origin_free(struct origin *o) {
    free(o->source);
    free(o->columns);
}

/* Columns: source; that is another table; the filter was another one; the first column that had another name,
 * and that name. A table that was dropped and made anew is emptied, so that its filter and names of before do
 * not matter. */
static const char check_sql[] =
    "WITH s AS (SELECT source, filter, columns, incarnation = nullif(?5, 0) AS same FROM millrace_sink_table"
    "  WHERE sink = ?1 AND schema = ?2 AND name = ?3 AND written AND NOT stale AND source IS NOT NULL),"
    " c AS (SELECT a.key, a.value FROM s, json_each(s.columns) a JOIN json_each(?7) b ON b.key = a.key"
    "  WHERE b.value <> a.value AND s.same IS NOT FALSE LIMIT 1)"
    " SELECT source, source <> ?4 AND same IS NOT TRUE, same IS NOT FALSE AND filter IS NOT ?6,"
    "  (SELECT key FROM c), (SELECT value FROM c) FROM s";

static enum code differs(const struct lite_target *t, const struct mapped *mapped, const char *source,
                         sqlite3_stmt *stmt, struct err *err) {
    const struct table *table = mapped->table;
    if (sqlite3_column_int(stmt, 1))
        return err_set(err, FATAL, ERR_CONFIG,
                       "table %s.%s of the replica holds the rows of source table %s, and %s would be "
                       "written there, too; give "
                       "one of them another name (rename), then: millrace replay --sink %s",
                       table->schema, table->name, db_text(stmt, 0), source, t->env.sink);
    if (sqlite3_column_int(stmt, 2))
        return err_set(err, FATAL, ERR_CONFIG,
                       "the filter (where) of %s was changed after sink %s wrote its rows; restore it, or "
                       "build the replica "
                       "anew: millrace replay --sink %s",
                       source, t->env.sink, t->env.sink);
    if (sqlite3_column_type(stmt, 3) != SQLITE_NULL)
        return err_set(err, FATAL, ERR_CONFIG,
                       "column %s of %s was written as %s by sink %s and is renamed otherwise now; restore "
                       "the name, or build "
                       "the replica anew: millrace replay --sink %s",
                       db_text(stmt, 3), source, db_text(stmt, 4), t->env.sink, t->env.sink);
    return OK;
}

enum code lite_origin_check(struct lite_target *t, const struct mapped *mapped, struct err *err) {
    struct origin o = origin_of(mapped);
    CLEANUP_STMT *stmt = NULL;
    enum code code =
        db_ask(&t->db, check_sql,
               PARAMS(P_TEXT(t->env.sink), P_TEXT(mapped->table->schema), P_TEXT(mapped->table->name),
                      P_TEXT(o.source), P_INT(mapped->table->incarnation), P_TEXT(mapped->filter),
                      P_TEXT(o.columns)),
               &stmt, err);
    if (code == OK && stmt)
        code = differs(t, mapped, o.source, stmt, err);
    origin_free(&o);
    return code;
}

enum code lite_origin_note(struct lite_target *t, const struct mapped *mapped, struct err *err) {
    static const char sql[] = "UPDATE millrace_sink_table SET source = ?4, incarnation = coalesce(nullif(?5, "
                              "0), incarnation), filter = ?6,"
                              " columns = ?7 WHERE sink = ?1 AND schema = ?2 AND name = ?3";
    struct origin o = origin_of(mapped);
    enum code code =
        db_run(&t->db, sql,
               PARAMS(P_TEXT(t->env.sink), P_TEXT(mapped->table->schema), P_TEXT(mapped->table->name),
                      P_TEXT(o.source), P_INT(mapped->table->incarnation), P_TEXT(mapped->filter),
                      P_TEXT(o.columns)),
               NULL, err);
    origin_free(&o);
    return code;
}
