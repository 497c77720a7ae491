#include "sink/postgres/params.h"

void params_init(struct params *p, const struct replica *r) {
    size_t max = (size_t)r->table->n_columns * 2 + 1;
    *p = (struct params){.at = xcalloc(max, sizeof *p->at), .values = xcalloc(max, sizeof *p->values)};
}

void params_free(struct params *p) {
    buf_free(&p->text);
    free(p->at);
    free(p->values);
}

enum code params_add(struct params *p, const struct replica *r, int i, const struct value *row,
                     struct err *err) {
    p->at[p->n] = SIZE_MAX;
    if (row[i].tag != VALUE_NULL) {
        if (row[i].tag == VALUE_ABSENT)
            return value_refused(r, i, row, "the journal does not have its value", err);
        p->at[p->n] = p->text.len;
        const char *reason = r->columns[i].print(&r->table->columns[i], &row[i], &p->text);
        if (reason)
            return value_refused(r, i, row, reason, err);
        buf_putc(&p->text, 0);
    }
    p->n++;
    return OK;
}

enum code params_key(struct params *p, const struct replica *r, const struct value *row, struct err *err) {
    enum code code = OK;
    for (int k = 0; k < r->table->n_key && code == OK; k++)
        code = params_add(p, r, r->table->key[k], row, err);
    return code;
}

enum code params_row(struct params *p, const struct replica *r, const struct value *row, bool keys,
                     struct err *err) {
    enum code code = OK;
    for (int i = 0; i < r->table->n_columns && code == OK; i++)
        if (!r->columns[i].skip && row[i].tag != VALUE_ABSENT && (keys || !r->columns[i].key))
            code = params_add(p, r, i, row, err);
    return code;
}

const char *const *params_values(struct params *p) {
    for (int i = 0; i < p->n; i++)
        p->values[i] = p->at[i] == SIZE_MAX ? NULL : p->text.data + p->at[i];
    return p->values;
}
