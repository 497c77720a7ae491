#include "cli/change_json.h"

#include <math.h>

#include "base/log.h"

static json_t *value_json(const struct column *column, const struct value *v) {
    switch (v->tag) {
    case VALUE_ABSENT:
        return json_pack("{s:b}", "absent", 1);
    case VALUE_NULL:
        return json_null();
    case VALUE_INT:
        return column->kind == KIND_BOOL ? json_boolean(v->i) : json_integer(v->i);
    case VALUE_FLOAT:
        return isfinite(v->d) ? json_real(v->d)
                              : json_string(isnan(v->d) ? "NaN"
                                            : v->d > 0  ? "Infinity"
                                                        : "-Infinity");
    case VALUE_TEXT:
        return json_stringn(v->s.data, v->s.len);
    case VALUE_POINT:
        return json_pack("[f, f]", v->xy[0], v->xy[1]);
    case VALUE_BYTES:
        break;
    }
    CLEANUP_BUF hex = {0};
    buf_puts(&hex, "\\x");
    for (size_t i = 0; i < v->s.len; i++)
        buf_printf(&hex, "%02x", (unsigned char)v->s.data[i]);
    return json_stringn(hex.data, hex.len);
}

json_t *row_json(const struct table *table, const struct value *row) {
    if (!row)
        return json_null();
    json_t *o = json_object();
    for (int i = 0; i < table->n_columns; i++) {
        if (row[i].tag == VALUE_ABSENT)
            continue;
        json_t *value = value_json(&table->columns[i], &row[i]);
        json_object_set_new(o, table->columns[i].name, value ? value : json_string("?"));
    }
    return o;
}

const char *change_word(enum op op) {
    switch (op) {
    case OP_READ:
        return "read";
    case OP_CREATE:
        return "insert";
    case OP_UPDATE:
        return "update";
    case OP_DELETE:
        return "delete";
    case OP_TRUNCATE:
        return "truncate";
    }
    return "?";
}

json_t *change_json(const struct change *change) {
    const struct table *table = change->table;
    CLEANUP_FREE char *lsn = xasprintf(LSN_FMT, LSN_ARGS(change->position.commit));
    return json_pack("{s:{s:I,s:s,s:I}, s:I, s:s, s:s, s:s, s:o, s:o}", "position", "generation",
                     (json_int_t)change->position.generation, "commit", lsn, "ordinal",
                     (json_int_t)change->position.ordinal, "commit_us", (json_int_t)change->commit_us, "op",
                     change_word(change->op), "schema", table->schema, "table", table->name, "before",
                     row_json(table, change->before), "after", row_json(table, change->after));
}
