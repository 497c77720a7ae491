/* Rows on their way into the document. */
#include <string.h>

#include "base/log.h"
#include "sink/json/json.h"
#include "sink/values/values.h"

char *json_row_name(json_t *row, json_t *columns) {
    json_t *texts = json_array(), *column;
    size_t i;
    json_array_foreach(columns, i, column) {
        json_t *text = json_object_get(row, json_string_value(column));
        json_array_append_new(texts, text ? json_incref(text) : json_null());
    }
    char *name = json_dumps(texts, JSON_COMPACT);
    json_decref(texts);
    return name;
}

/* One table under a batch. */
struct work {
    struct json_target *t;
    const struct table *table;
    json_t *rows, *naming;
    bool keyed, filtered;
};

/* "shop.items: row (1,abc)" */
static void put_where(const struct work *w, json_t *row, struct buf *ret) {
    buf_printf(ret, "table %s.%s", w->table->schema, w->table->name);
    for (int k = 0; k < w->table->n_key && row; k++) {
        const char *text = json_string_value(json_object_get(row, w->table->columns[w->table->key[k]].name));
        buf_printf(ret, "%s%.100s%s", k ? "," : ": row (", text ? text : "?",
                   k == w->table->n_key - 1 ? ")" : "");
    }
}

/* ---- values ---- */

static enum code value_json(const struct work *w, const struct column *column, const struct value *value,
                            json_t **ret, struct err *err) {
    CLEANUP_BUF text = {0};
    *ret = NULL;
    const char *why =
        value->tag == VALUE_NULL ? NULL : pg_printer(column, column->type)(column, value, &text);
    if (!why)
        *ret = value->tag == VALUE_NULL ? json_null() : json_stringn(text.len ? text.data : "", text.len);
    if (*ret)
        return OK;
    return err_set(err, REJECT, ERR_TARGET_VALUE, "table %s.%s, column %s: %s", w->table->schema,
                   w->table->name, column->name, why ? why : "the text is no UTF-8");
}

/* Sets the values that are there in `into`. */
static enum code put_values(const struct work *w, const struct value *values, json_t *into, struct err *err) {
    enum code code = OK;
    for (int i = 0; i < w->table->n_columns && code == OK; i++) {
        json_t *value;
        if (values[i].tag == VALUE_ABSENT)
            continue;
        code = value_json(w, &w->table->columns[i], &values[i], &value, err);
        if (code == OK)
            json_object_set_new(into, w->table->columns[i].name, value);
    }
    return code;
}

/* ---- the container ---- */

/* Takes one row with the values of `like` out. NULL: it is not there. */
static json_t *take(const struct work *w, json_t *like) {
    char *name = json_row_name(like, w->naming);
    json_t *place = json_object_get(w->rows, name), *row = NULL;
    if (place) {
        json_int_t n = json_integer_value(json_array_get(place, 0));
        row = json_deep_copy(json_array_get(place, 1));
        if (n > 1)
            json_array_set_new(place, 0, json_integer(n - 1));
        else
            json_object_del(w->rows, name);
    }
    free(name);
    return row;
}

/* Puts it in; the reference is taken over. */
static void put(const struct work *w, json_t *row) {
    char *name = json_row_name(row, w->naming);
    json_t *place = w->keyed ? NULL : json_object_get(w->rows, name);
    if (place) {
        json_array_set_new(place, 0, json_integer(json_integer_value(json_array_get(place, 0)) + 1));
        json_decref(row);
    } else {
        json_object_set_new(w->rows, name, json_pack("[i, o]", 1, row));
    }
    free(name);
}

/* ---- one change ---- */

/* A row that should have been there is not. OK: go on without it. */
static enum code missing(const struct work *w, json_t *row, bool full, struct err *err) {
    CLEANUP_BUF where = {0};
    if (w->filtered && full)
        return OK;
    put_where(w, row, &where);
    if (!w->filtered)
        metric_add(w->t->missing, 1);
    if (full && w->keyed && w->t->options->on_missing == MISSING_INSERT)
        return OK;
    return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                   "%s is not in the replica%s; build it anew: millrace replay --sink %s", buf_cstr(&where),
                   full ? "" : ", and the change does not carry all its columns", w->t->env.sink);
}

static enum code apply_delete(const struct work *w, const struct batch_row *r, json_t *like,
                              struct err *err) {
    json_t *old = take(w, like);
    bool lost = !old && (r->was_there || !w->keyed);
    json_decref(old);
    return lost ? missing(w, like, true, err) : OK;
}

static enum code apply_insert(const struct work *w, const struct batch_row *r, json_t *like,
                              struct err *err) {
    json_t *old = w->keyed ? take(w, like) : NULL; /* columns that we do not write stay */
    if (!old)
        old = json_object();
    enum code code = put_values(w, r->values, old, err);
    put(w, old);
    return code;
}

static enum code apply_update(const struct work *w, const struct batch_row *r, json_t *like,
                              struct err *err) {
    json_t *row = take(w, like);
    enum code code = row ? OK : missing(w, like, r->full && w->keyed, err);
    if (code != OK)
        return code;
    if (!row)
        row = json_object();
    code = put_values(w, r->values, row, err);
    put(w, row);
    return code;
}

static enum code apply_row(const struct work *w, const struct batch_row *r, struct err *err) {
    json_t *like = json_object();
    enum code code = put_values(w, r->before ? r->before : r->values, like, err);
    if (code == OK && r->op == ROW_INSERT)
        code = apply_insert(w, r, like, err);
    if (code == OK && r->op == ROW_UPDATE)
        code = apply_update(w, r, like, err);
    if (code == OK && r->op == ROW_DELETE)
        code = apply_delete(w, r, like, err);
    json_decref(like);
    return code;
}

enum code json_apply(struct target *target, struct batch *batch, struct err *err) {
    struct json_target *t = json_of(target);
    json_t *entry;
    enum code code = json_table(t, batch->table, &entry, err);
    if (code != OK)
        return code;
    struct work w = {t,
                     batch->table,
                     json_object_get(entry, "rows"),
                     json_object_get(entry, "naming"),
                     batch->table->n_key > 0,
                     batch->filtered};
    for (uint32_t i = 0; i < batch->n && code == OK; i++)
        code = apply_row(&w, &batch->rows[i], err);
    return code == OK ? OK : json_undo(t, code);
}
