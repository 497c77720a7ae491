#include "sink/sqlite/form.h"

#include <math.h>
#include <stdio.h>
#include <strings.h>

#include "sink/values/type_name.h"
#include "sink/values/values_print.h"

/* ---- types ---- */

static enum stands stands_as(int kind) {
    switch (kind) {
    case KIND_BOOL:
    case KIND_INT16:
    case KIND_INT32:
    case KIND_INT64:
        return STANDS_INTEGER;
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return STANDS_REAL;
    case KIND_BYTES:
        return STANDS_BLOB;
    default:
        return STANDS_TEXT;
    }
}

const char *form_declared(const struct form_type *type) {
    static const char *const names[] = {
        [STANDS_INTEGER] = "INTEGER", [STANDS_REAL] = "", [STANDS_TEXT] = "TEXT", [STANDS_BLOB] = "BLOB"};
    return names[stands_as(type->kind)];
}

/* SQLite manual, "Datatypes In SQLite", section 3.1: the first rule that fits. */
static bool has(const char *declared, const char *part) {
    return strcasestr(declared, part) != NULL;
}

bool form_kept_by(const struct form_type *type, const char *declared) {
    enum stands stands = stands_as(type->kind);
    bool any =
        !*declared || strcasecmp(declared, "any") == 0; /* of a STRICT table; elsewhere it is NUMERIC */
    if (has(declared, "int"))
        return stands == STANDS_INTEGER;
    if (has(declared, "char") || has(declared, "clob") || has(declared, "text"))
        return stands == STANDS_TEXT;
    if (has(declared, "blob"))
        return true;
    if (any)
        return !*declared || stands == STANDS_INTEGER;
    bool real = has(declared, "real") || has(declared, "floa") || has(declared, "doub");
    return stands == STANDS_INTEGER && !real;
}

/* ---- from one to the other ---- */

static bool is_character(const char *type) {
    return strncmp(type, "character(", 10) == 0 && !strchr(type, '[');
}

/* How the value's own kind is printed where it stands as text; NULL: it is one. */
static pg_print_f *own_print(const struct column *column) {
    static pg_print_f *const printers[KIND_COUNT] = {
        [KIND_DATE] = pg_print_date,           [KIND_TIME_MS] = pg_print_time,
        [KIND_TIME] = pg_print_time,           [KIND_TIMESTAMP_MS] = pg_print_timestamp,
        [KIND_TIMESTAMP] = pg_print_timestamp, [KIND_POINT] = pg_print_point,
    };
    return printers[column->kind];
}

static struct form same_form(const struct column *column) {
    return (struct form){.stands = stands_as(column->kind),
                         .print = own_print(column),
                         .places = -1,
                         .width = -1,
                         .column = column};
}

/* As a cast to text prints it; dates and points stand so already. */
static struct form as_text(const struct column *column) {
    struct form form = same_form(column);
    form.stands = STANDS_TEXT;
    if (form.print)
        return form;
    pg_print_f *cast = pg_printer(column, "text");
    form.print = form.old_print = cast == pg_print_text ? NULL : cast;
    form.width = is_character(column->type) ? 0 : -1;
    return form;
}

/* A journal that means harm says other kinds than its types have, and pads without end: PostgreSQL's own
 * bounds hold. */
static bool plausible(const struct column *column, const struct form_type *to, const struct form *form) {
    enum { PLACES_MAX = 16383, WIDTH_MAX = 10485760 };
    enum stands stands = stands_as(column->kind);
    bool passes = stands == form->stands || (stands == STANDS_INTEGER && form->stands == STANDS_TEXT);
    bool scaled = to->kind != KIND_DECIMAL || form->places <= PLACES_MAX;
    return passes && scaled && form->width <= WIDTH_MAX;
}

static struct form widened(const struct column *column, const struct form_type *to) {
    struct form form = same_form(column);
    form.stands = stands_as(to->kind);
    if (form.stands == STANDS_TEXT && kind_tag(column->kind) == VALUE_INT && !form.print)
        form.print = form.old_print = pg_print_int;
    if (to->kind == KIND_DECIMAL)
        form.places = to->scale;
    if (is_character(to->type))
        form.width = (int)strtol(to->type + 10, NULL, 10);
    return form;
}

/* Elements of arrays stand inside a text: they are not printed anew. */
static bool prints_elements_anew(const struct type_name *to) {
    return to->array && to->n_mods > 0 &&
           (strcmp(to->base, "numeric") == 0 || strcmp(to->base, "character") == 0);
}

static bool widens_exactly(const struct type_name *from, const struct type_name *to) {
    return type_widens(from, to) && !prints_elements_anew(to);
}

bool form_between(const struct column *column, const struct form_type *to, struct form *ret) {
    struct type_name from_name, to_name;
    if (strcmp(column->type, to->type) == 0 && stands_as(column->kind) == stands_as(to->kind)) {
        *ret = same_form(column);
        return true;
    }
    if (!type_parse(column->type, &from_name) || !type_parse(to->type, &to_name))
        return false;
    if (widens_exactly(&from_name, &to_name)) {
        *ret = widened(column, to);
        return plausible(column, to, ret);
    }
    *ret = as_text(column);
    return type_holds_any(&to_name) && stands_as(to->kind) == STANDS_TEXT;
}

bool form_widens(const struct form_type *from, const struct column *column) {
    struct type_name from_name, to_name;
    return type_parse(from->type, &from_name) && type_parse(column->type, &to_name) &&
           widens_exactly(&from_name, &to_name);
}

bool form_same(const struct form *form) {
    return form->stands == stands_as(form->column->kind) && !form->old_print && form->places < 0 &&
           form->width < 0;
}

/* ---- values ---- */

/* "12.5" with 3 places is "12.500". NaN and infinities have none. */
static void put_places(struct buf *text, int places) {
    if (!text->len)
        return;
    const char *point = memchr(text->data, '.', text->len);
    char last = text->data[text->len - 1];
    int have = point ? (int)(text->len - (size_t)(point - text->data)) - 1 : 0;
    if (last < '0' || last > '9' || have >= places)
        return;
    if (!point)
        buf_putc(text, '.');
    for (; have < places; have++)
        buf_putc(text, '0');
}

/* Characters, not bytes: what follows in a sequence of UTF-8 is 10xxxxxx. */
static void put_width(struct buf *text, int width) {
    int have = 0;
    while (width == 0 && text->len && text->data[text->len - 1] == ' ')
        text->len--;
    for (size_t i = 0; i < text->len; i++)
        have += ((unsigned char)text->data[i] & 0xC0) != 0x80;
    for (; have < width; have++)
        buf_putc(text, ' ');
}

/* The text in `out`. NULL, or why there is none. */
static const char *print(const struct form *form, pg_print_f *how, const struct value *value,
                         struct buf *out) {
    buf_clear(out);
    const char *reason = how ? how(form->column, value, out) : NULL;
    if (!how)
        buf_put_slice(out, value->s);
    if (!reason && form->places >= 0)
        put_places(out, form->places);
    if (!reason && form->width >= 0)
        put_width(out, form->width);
    return reason;
}

/* A pointer for no bytes: NULL would be SQL NULL. */
static const char *start_of(struct slice s) {
    return s.data ? s.data : "";
}

static const char *bind_text(const struct form *form, const struct value *value, struct buf *scratch,
                             sqlite3_stmt *stmt, int i, int *result) {
    if (!form->print && form->places < 0 && form->width < 0) {
        *result = sqlite3_bind_text64(stmt, i, start_of(value->s), value->s.len, SQLITE_STATIC, SQLITE_UTF8);
        return NULL;
    }
    const char *reason = print(form, form->print, value, scratch);
    if (!reason)
        *result = sqlite3_bind_text64(stmt, i, start_of(buf_slice(scratch)), scratch->len, SQLITE_TRANSIENT,
                                      SQLITE_UTF8);
    return reason;
}

const char *form_bind(const struct form *form, const struct value *value, struct buf *scratch,
                      sqlite3_stmt *stmt, int i) {
    int result = SQLITE_OK;
    const char *reason = NULL;
    if (value->tag == VALUE_NULL)
        result = sqlite3_bind_null(stmt, i);
    else if (form->stands == STANDS_TEXT)
        reason = bind_text(form, value, scratch, stmt, i, &result);
    else if (form->stands == STANDS_INTEGER)
        result = sqlite3_bind_int64(stmt, i, value->i);
    else if (form->stands == STANDS_BLOB)
        result = sqlite3_bind_blob64(stmt, i, start_of(value->s), value->s.len, SQLITE_STATIC);
    else if (isnan(value->d))
        result = sqlite3_bind_text(stmt, i, "NaN", 3, SQLITE_STATIC);
    else
        result = sqlite3_bind_double(stmt, i, value->d);
    if (result == SQLITE_TOOBIG)
        return "longer than SQLite allows (1,000,000,000 bytes)";
    return reason ? reason : result == SQLITE_OK ? NULL : "it could not be handed to SQLite";
}

/* ---- what stands there ---- */

static struct value stored(sqlite3_value *from) {
    struct value value = {.tag = VALUE_NULL};
    switch (sqlite3_value_type(from)) {
    case SQLITE_INTEGER:
        value.tag = VALUE_INT;
        value.i = sqlite3_value_int64(from);
        break;
    case SQLITE_FLOAT:
        value.tag = VALUE_FLOAT;
        value.d = sqlite3_value_double(from);
        break;
    case SQLITE_TEXT:
        value.tag = VALUE_TEXT;
        value.s.data = (const char *)sqlite3_value_text(from);
        value.s.len = (size_t)sqlite3_value_bytes(from);
        break;
    case SQLITE_BLOB:
        value.tag = VALUE_BYTES;
        value.s = slice_make(sqlite3_value_blob(from), (size_t)sqlite3_value_bytes(from));
        break;
    }
    return value;
}

void form_function(sqlite3_context *context, int n, sqlite3_value **values) {
    (void)n;
    const struct form *form = sqlite3_user_data(context);
    struct value value = stored(values[0]);
    CLEANUP_BUF out = {0};
    bool text = value.tag == VALUE_TEXT, own = value.tag == kind_tag(form->column->kind);
    if (value.tag == VALUE_NULL || form->stands != STANDS_TEXT) {
        sqlite3_result_value(context, values[0]);
        return;
    }
    const char *reason = !own && !text ? "it is not what the source sent"
                                       : print(form, own ? form->old_print : NULL, &value, &out);
    if (reason)
        sqlite3_result_error(context, reason, -1);
    else
        sqlite3_result_text64(context, start_of(buf_slice(&out)), out.len, SQLITE_TRANSIENT, SQLITE_UTF8);
}
