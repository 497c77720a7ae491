#include "capture/trigger/postgres/rows.h"

#include <jansson.h>
#include <stdio.h>

#include "base/log.h"

void layouts_init(struct layouts *l, PGconn *sql, const struct source_env *env, const char *schema,
                  struct catalog *catalog) {
    *l = (struct layouts){.sql = sql, .env = env, .schema = schema, .catalog = catalog};
    l->scratch = xcalloc(1, sizeof *l->scratch);
}

void layouts_free(struct layouts *l) {
    arena_free(&l->arena);
    free(l->scratch);
}

/* ---- shapes ---- */

/* The list of columns behind a number. The caller owns *ret. */
static enum code read_shape(struct layouts *l, uint32_t relid, const char *shape, char **ret,
                            struct err *err) {
    if (*shape == '[') {
        *ret = xstrdup(shape);
        return OK;
    }
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT layout FROM ");
    put_table(&sql, l->schema, "shapes");
    buf_printf(&sql, " WHERE number = %ld AND relid = %u", strtol(shape, NULL, 10), relid);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(l->sql, l->env, 10000, "reading a shape", buf_cstr(&sql), &res, err);
    if (code == OK && PQntuples(res) != 1)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "the change table names shape %s of table %u, which %s.shapes does not hold", shape,
                       relid, l->schema);
    if (code == OK)
        *ret = xstrdup(pgsource_text(res, 0, 0));
    return code;
}

/* Its name today; the last one we knew when it is gone. False: never known. */
static enum code read_name(struct layouts *l, struct layout *layout, bool *ret_known, struct err *err) {
    char sql[160];
    snprintf(
        sql, sizeof sql,
        "SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace WHERE "
        "c.oid = %u",
        layout->relid);
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(l->sql, l->env, 10000, "reading a table's name", sql, &res, err);
    if (code == OK && PQntuples(res) == 1) {
        layout->schema = slice_of(arena_strdup(&l->arena, pgsource_text(res, 0, 0)));
        layout->name = slice_of(arena_strdup(&l->arena, pgsource_text(res, 0, 1)));
    }
    *ret_known = layout->name.len > 0;
    return code;
}

static bool fill_shape(struct layouts *l, struct layout *layout, const json_t *columns) {
    struct pgoutput_relation *shape = l->scratch;
    layout->n = (int)json_array_size(columns);
    if (layout->n > PGOUTPUT_COLUMNS_MAX)
        return false;
    layout->left_out = arena_zalloc(&l->arena, (size_t)layout->n + 1);
    *shape = (struct pgoutput_relation){
        .relid = layout->relid, .schema = layout->schema, .name = layout->name, .identity = 'f'};
    for (int i = 0; i < layout->n; i++) {
        const json_t *column = json_array_get(columns, (size_t)i);
        const char *name = json_string_value(json_array_get(column, 0));
        if (!name)
            return false;
        layout->left_out[i] = json_is_true(json_array_get(column, 3));
        if (!layout->left_out[i])
            shape->columns[shape->n++] = (struct pgoutput_column){
                .identity = true,
                .name = slice_of(name),
                .type = (uint32_t)json_integer_value(json_array_get(column, 1)),
                .typmod = (int32_t)json_integer_value(json_array_get(column, 2)),
            };
    }
    return true;
}

static enum code make_layout(struct layouts *l, struct layout *layout, struct err *err) {
    CLEANUP_FREE char *text = NULL;
    bool known = false;
    enum code code = read_shape(l, layout->relid, layout->shape, &text, err);
    if (code == OK)
        code = read_name(l, layout, &known, err);
    if (code)
        return code;
    if (!known) {
        log_warn("capture", "a table was dropped before its last changes were read; they are left out",
                 F_INT("oid", layout->relid));
        return OK;
    }
    json_t *columns = json_loads(text, 0, NULL);
    if (fill_shape(l, layout, columns))
        code = catalog_take(l->catalog, l->scratch, &layout->relation, err);
    else
        code =
            err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "a list of columns in the change table cannot be read");
    json_decref(columns);
    return code;
}

enum code layouts_find(struct layouts *l, uint32_t relid, const char *shape, struct layout **ret,
                       struct err *err) {
    struct layout **at = &l->chains[relid % 256];
    while (*at && (*at)->relid != relid)
        at = &(*at)->next;
    if (*at && strcmp((*at)->shape, shape) == 0) {
        *ret = *at;
        return OK;
    }
    struct layout *layout = arena_zalloc(&l->arena, sizeof *layout);
    layout->relid = relid;
    layout->shape = arena_strdup(&l->arena, shape);
    if (*at) {
        layout->schema = (*at)->schema;
        layout->name = (*at)->name;
        layout->next = (*at)->next;
    }
    enum code code = make_layout(l, layout, err);
    if (code == OK)
        *ret = *at = layout;
    return code;
}

/* ---- rows ---- */

/* One field from *p on; leaves *p at the comma or the end. Quotes and backslashes are doubled inside
 * quotes. */
static const char *read_field(char **p, struct pgoutput_field *ret) {
    char *in = *p, *out = in, *start = in;
    if (*in != '"') {
        in += strcspn(in, ",)");
        *ret =
            (struct pgoutput_field){.kind = in == start ? 'n' : 't', .text = {start, (size_t)(in - start)}};
        *p = in;
        return NULL;
    }
    for (in++;; in++) {
        if (!*in)
            return "a quoted field has no end";
        if (*in == '"' && *++in != '"')
            break;
        if (*in == '\\' && !*++in)
            return "a quoted field has no end";
        *out++ = *in;
    }
    *ret = (struct pgoutput_field){.kind = 't', .text = {start, (size_t)(out - start)}};
    *p = in;
    return NULL;
}

const char *layout_read(const struct layout *layout, char *text, struct pgoutput_row *ret) {
    char *p = text;
    ret->n = 0;
    if (*p++ != '(')
        return "it is no row";
    for (int i = 0; i < layout->n; i++) {
        if (i && *p++ != ',')
            return "it has fewer columns than its shape";
        struct pgoutput_field field;
        const char *why = read_field(&p, &field);
        if (why)
            return why;
        if (!layout->left_out[i])
            ret->fields[ret->n++] = field;
    }
    return *p == ')' && !p[1] ? NULL : "it has more columns than its shape";
}
