/* Where the rows of a replica's table come from: source table, filter, names of columns. The configuration
 * may say something else tomorrow; rows that were written or left out before would stay as they were, so that
 * needs a replay. */
#include <inttypes.h>
#include <stdio.h>

#include "sink/postgres/postgres.h"
#include "sink/postgres/sql.h"

/* What is written of a table, as parameters of the statements below: $1 to $8. */
struct origin {
    char incarnation[24];
    struct buf source, source_columns, columns;
    const char *params[8];
};

static void put_names(struct buf *out, const struct table *table) {
    buf_putc(out, '{');
    for (int i = 0; i < table->n_columns; i++) {
        if (i)
            buf_putc(out, ',');
        sql_array_element(out, table->columns[i].name);
    }
    buf_putc(out, '}');
}

static void origin_read(struct origin *o, const struct pg_target *t, const struct mapped *mapped) {
    *o = (struct origin){0};
    const struct table *table = mapped->table;
    snprintf(o->incarnation, sizeof o->incarnation, "%" PRIu64, table->incarnation);
    buf_printf(&o->source, "%s.%s", mapped->source->schema, mapped->source->name);
    put_names(&o->source_columns, mapped->source);
    put_names(&o->columns, table);
    const char *params[8] = {t->env.sink,
                             table->schema,
                             table->name,
                             buf_cstr(&o->source),
                             o->incarnation,
                             mapped->filter,
                             buf_cstr(&o->source_columns),
                             buf_cstr(&o->columns)};
    memcpy(o->params, params, sizeof params);
}

static void origin_free(struct origin *o) {
    buf_free(&o->source);
    buf_free(&o->source_columns);
    buf_free(&o->columns);
}

/* Columns: source then; that is another table; the filter was another one; the first column that had another
 * name, and that name. A table that was dropped and made anew is emptied, so that its filter and names of
 * before do not matter. */
static const char check_sql[] =
    "SELECT s.source, s.source <> $4 AND same IS NOT TRUE, same IS NOT FALSE AND s.filter IS DISTINCT FROM "
    "$6, c.source, c.was"
    " FROM millrace.sink_table s CROSS JOIN LATERAL (SELECT s.incarnation = nullif($5::bigint, 0)) i(same)"
    " LEFT JOIN LATERAL (SELECT a.source, a.was FROM unnest(s.source_columns, s.columns) a(source, was)"
    "  JOIN unnest($7::text[], $8::text[]) b(source, is_now) ON b.source = a.source AND b.is_now <> a.was"
    "  WHERE same IS NOT FALSE LIMIT 1) c ON true"
    " WHERE s.sink = $1 AND s.schema = $2 AND s.name = $3 AND s.written AND NOT s.stale AND s.source IS NOT "
    "NULL";

enum code origin_check(struct pg_target *t, const struct mapped *mapped, struct err *err) {
    struct origin o;
    origin_read(&o, t, mapped);
    CLEANUP_RESULT *result = NULL;
    const struct table *table = mapped->table;
    enum code code = session_run(&t->session, check_sql, 8, o.params, &result, err);
    if (code != OK || PQntuples(result) == 0)
        goto done;
    if (result_bool(result, 0, 1))
        code = err_set(err, FATAL, ERR_CONFIG,
                       "table %s.%s of the replica holds the rows of source table %s, and %s would be "
                       "written there, too; give "
                       "one of them another name (rename), then: millrace replay --sink %s",
                       table->schema, table->name, result_text(result, 0, 0), o.params[3], t->env.sink);
    else if (result_bool(result, 0, 2))
        code = err_set(err, FATAL, ERR_CONFIG,
                       "the filter (where) of %s was changed after sink %s wrote its rows; restore it, or "
                       "build the replica "
                       "anew: millrace replay --sink %s",
                       o.params[3], t->env.sink, t->env.sink);
    else if (result_text(result, 0, 3))
        code = err_set(err, FATAL, ERR_CONFIG,
                       "column %s of %s was written as %s by sink %s and is renamed otherwise now; restore "
                       "the name, or build "
                       "the replica anew: millrace replay --sink %s",
                       result_text(result, 0, 3), o.params[3], result_text(result, 0, 4), t->env.sink,
                       t->env.sink);
done:
    origin_free(&o);
    return code;
}

enum code origin_note(struct pg_target *t, const struct mapped *mapped, struct err *err) {
    static const char sql[] =
        "UPDATE millrace.sink_table SET source = $4, incarnation = coalesce(nullif($5::bigint, 0), "
        "incarnation), filter = $6,"
        " source_columns = $7::text[], columns = $8::text[] WHERE sink = $1 AND schema = $2 AND name = $3";
    struct origin o;
    origin_read(&o, t, mapped);
    enum code code = session_run(&t->session, sql, 8, o.params, NULL, err);
    origin_free(&o);
    return code;
}
