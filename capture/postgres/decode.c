/* (PostgreSQL manual, "TupleData"; "COPY", text format.) */
#include "capture/postgres/decode.h"

#define KEY_BYTES_SHOWN 64

void pgdecoder_init(struct pgdecoder *d, struct catalog *catalog) {
    d->catalog = catalog;
    d->before = xcalloc(PGOUTPUT_COLUMNS_MAX, sizeof *d->before);
    d->after = xcalloc(PGOUTPUT_COLUMNS_MAX, sizeof *d->after);
}

void pgdecoder_free(struct pgdecoder *d) {
    arena_free(&d->scratch);
    free(d->before);
    free(d->after);
}

/* "id=7, name=x": the key as text, each value cut at 64 bytes. */
static void put_key(struct buf *to, const struct relation *r, const struct pgoutput_row *row) {
    bool first = true;
    for (int i = 0; i < row->n; i++) {
        int column = r->to[i];
        if (column < 0 || !r->table->columns[column].key || row->fields[i].kind != 't')
            continue;
        struct slice text = row->fields[i].text;
        int len = text.len < KEY_BYTES_SHOWN ? (int)text.len : KEY_BYTES_SHOWN;
        buf_printf(to, "%s%s=%.*s", first ? "" : ", ", r->table->columns[column].name, len, text.data);
        first = false;
    }
    if (first)
        buf_puts(to, "without key");
}

static enum code refuse(const struct relation *r, const struct pgoutput_row *row, const struct column *column,
                        const char *reason, struct err *err) {
    CLEANUP_BUF key = {0};
    put_key(&key, r, row);
    bool numeric = column->kind == KIND_DECIMAL;
    return err_set(err, REJECT, ERR_VALUE_NOT_CARRIED,
                   "%s.%s (%s): column %s of type %s cannot be carried exactly: %s; remedy: %s, or leave the "
                   "column out: "
                   "columns: {\"%s.%s\": \"!%s\"}",
                   r->table->schema, r->table->name, buf_cstr(&key), column->name, column->type, reason,
                   numeric ? "numeric: string" : "change the value at the source", r->table->schema,
                   r->table->name, column->name);
}

static bool label_known(const struct column *column, struct slice text) {
    for (const char *const *label = column->labels; label && *label; label++)
        if (slice_is(text, *label))
            return true;
    return false;
}

static enum code read_value(struct pgdecoder *d, struct relation *r, const struct pgoutput_row *row, int i,
                            struct value *ret, struct err *err) {
    int at = r->to[i];
    const struct column *column = &r->table->columns[at];
    if (column->kind == KIND_ENUM && !label_known(column, row->fields[i].text)) {
        enum code code = catalog_add_label(d->catalog, r, at, row->fields[i].text, err);
        if (code)
            return code;
        column = &r->table->columns[at];
    }
    const char *why = r->read[at](column, row->fields[i].text, &d->scratch, ret);
    return why ? refuse(r, row, column, why, err) : OK;
}

enum code decode_row(struct pgdecoder *d, struct relation *r, const struct pgoutput_row *row, char old_kind,
                     struct value *ret, struct err *err) {
    if (row->n != r->n_wire)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL,
                       "a tuple of %s.%s has %d columns, its relation has %d", r->table->schema,
                       r->table->name, row->n, r->n_wire);
    for (int i = 0; i < row->n; i++) {
        int at = r->to[i];
        if (at < 0)
            continue;
        enum code code = OK;
        if (old_kind == 'K' && !r->in_identity[at])
            ret[at].tag = VALUE_ABSENT;
        else if (row->fields[i].kind == 't')
            code = read_value(d, r, row, i, &ret[at], err);
        else if (row->fields[i].kind == 'u')
            ret[at].tag = VALUE_ABSENT;
        else {
            ret[at].tag = VALUE_NULL;
            if (!r->table->columns[at].nullable)
                catalog_make_nullable(d->catalog, r, at);
        }
        if (code)
            return code;
    }
    return OK;
}

void decode_fill_unchanged(const struct relation *r, const struct pgoutput_row *old, char old_kind,
                           struct pgoutput_row *new) {
    for (int i = 0; i < new->n &&i < old->n &&i < r->n_wire; i++) {
        if (new->fields[i].kind != 'u' || r->to[i] < 0)
            continue;
        if (old_kind == 'O' || r->in_identity[r->to[i]])
            new->fields[i] = old->fields[i];
    }
}

bool decode_key_changed(const struct relation *r, const struct pgoutput_row *old,
                        const struct pgoutput_row *new) {
    for (int i = 0; i < new->n &&i < old->n &&i < r->n_wire; i++) {
        int at = r->to[i];
        if (at < 0 || !r->table->columns[at].key || new->fields[i].kind == 'u')
            continue;
        if (old->fields[i].kind != new->fields[i].kind || !slice_eq(old->fields[i].text, new->fields[i].text))
            return true;
    }
    return false;
}

enum code decode_check_after(const struct relation *r, const struct value *after, struct err *err) {
    const struct table *t = r->table;
    if (row_full(after, t->n_columns))
        return OK;
    for (int i = 0; i < t->n_key; i++)
        if (after[t->key[i]].tag == VALUE_ABSENT)
            return err_set(
                err, REJECT, ERR_VALUE_NOT_CARRIED,
                "%s.%s: the log holds an update without key column %s; ALTER TABLE \"%s\".\"%s\" REPLICA "
                "IDENTITY FULL and take a new snapshot",
                t->schema, t->name, t->columns[t->key[i]].name, t->schema, t->name);
    if (t->partial)
        return OK;
    return err_set(
        err, FATAL, ERR_PARTIAL_ROWS,
        "%s.%s: the log holds an update that leaves out large values, written before the table had REPLICA "
        "IDENTITY FULL; take a new snapshot (millrace capture --config FILE --resnapshot) or set "
        "partial_rows: history",
        t->schema, t->name);
}

/* ---- COPY ---- */

static char unescaped(char c) {
    switch (c) {
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'v':
        return '\v';
    default:
        return c;
    }
}

/* Reads up to the next tab or the end; *p is left there. A tab inside a value is escaped: what stands there
 * ends the field. */
static struct pgoutput_field copy_field(char **p, char *end) {
    char *start = *p, *tab = memchr(start, '\t', (size_t)(end - start));
    *p = end = tab ? tab : end;
    if (end - start == 2 && start[0] == '\\' && start[1] == 'N')
        return (struct pgoutput_field){.kind = 'n', .text = {"", 0}};
    char *in = memchr(start, '\\', (size_t)(end - start)), *out = in;
    if (!in)
        return (struct pgoutput_field){.kind = 't', .text = {start, (size_t)(end - start)}};
    for (; in < end; in++)
        *out++ = *in == '\\' && in + 1 < end ? unescaped(*++in) : *in;
    return (struct pgoutput_field){.kind = 't', .text = {start, (size_t)(out - start)}};
}

const char *decode_copy_line(const struct relation *r, char *line, size_t len, struct pgoutput_row *ret) {
    char *p = line, *end = line + len;
    if (len && end[-1] == '\n')
        end--;
    bool first = true;
    for (int i = 0; i < r->n_wire; i++) {
        if (r->to[i] < 0) {
            ret->fields[i] = (struct pgoutput_field){.kind = 'n', .text = {"", 0}};
            continue;
        }
        if (!first && (p >= end || *p++ != '\t'))
            return "a line has too few fields";
        first = false;
        ret->fields[i] = copy_field(&p, end);
    }
    if (p != end)
        return "a line has too many fields";
    ret->n = r->n_wire;
    return NULL;
}
