/* Rows by COPY: into a temporary table, or straight into the replica's. */
#include <stdio.h>

#include "sink/postgres/postgres.h"

enum { CHUNK_BYTES = 256 * 1024, STAGES_MAX = 32 };

/* ---- lists ---- */

void put_written(struct buf *sql, const struct replica *r) {
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip)
            continue;
        buf_printf(sql, "%s%s", comma, r->columns[i].name);
        comma = ", ";
    }
}

void put_staged(struct buf *sql, const struct replica *r) {
    const char *comma = "";
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip)
            continue;
        buf_printf(sql, "%ss.c%d", comma, i);
        comma = ", ";
    }
}

void put_key_list(struct buf *sql, const struct replica *r, const char *prefix) {
    for (int k = 0; k < r->table->n_key; k++)
        buf_printf(sql, "%s%s%s", k ? ", " : "", prefix, r->columns[r->table->key[k]].name);
}

void put_key_join(struct buf *sql, const struct replica *r) {
    for (int k = 0; k < r->table->n_key; k++) {
        int i = r->table->key[k];
        buf_printf(sql, "%st.%s %s s.c%d", k ? " AND " : "", r->columns[i].name, r->columns[i].equal, i);
    }
}

void stage_name(const struct replica *r, struct buf *sql) {
    buf_printf(sql, "pg_temp.millrace_stage_%d", r->id);
}

/* ---- the temporary table ---- */

static void put_create(struct buf *sql, const struct replica *r) {
    buf_puts(sql, "CREATE TEMPORARY TABLE ");
    stage_name(r, sql);
    buf_puts(sql, " (");
    for (int i = 0; i < r->table->n_columns; i++)
        if (!r->columns[i].skip)
            buf_printf(sql, "c%d %s, ", i, r->columns[i].type);
    buf_puts(sql, "op \"char\", mask bit varying, seq int) ON COMMIT DELETE ROWS");
}

/* Every commit visits every stage of the session: a few are kept, the others are made again when needed. */
static enum code drop_one(struct pg_target *t, struct err *err) {
    struct replica *victim = NULL;
    for (struct replica *r = t->replicas; r; r = r->next)
        if (r->staged && r->used_tx != t->tx && (!victim || r->used_tx < victim->used_tx))
            victim = r;
    if (!victim)
        return OK;
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "DROP TABLE ");
    stage_name(victim, &sql);
    victim->staged = false; /* if the transaction is rolled back the table is back, under a number that is not
                               used again */
    victim->id = t->next_id++;
    t->n_staged--;
    return session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
}

static enum code make_ready(struct pg_target *t, struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    enum code code = OK;
    if (r->staged && r->used_tx != t->tx) { /* emptied by the last commit */
        r->used_tx = t->tx;
        return OK;
    }
    if (r->staged) {
        buf_puts(&sql, "TRUNCATE ");
        stage_name(r, &sql);
        return session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
    }
    if (t->n_staged >= STAGES_MAX)
        code = drop_one(t, err);
    if (code != OK)
        return code;
    put_create(&sql, r);
    code = session_run(&t->session, buf_cstr(&sql), 0, NULL, NULL, err);
    if (code != OK)
        return code;
    r->staged = true;
    r->staged_tx = r->used_tx = t->tx;
    t->n_staged++;
    return OK;
}

/* ---- rows ---- */

struct writer {
    const struct replica *r;
    struct buf rows;
    bool staged; /* with op, and `extras` */
    unsigned extras;
    uint32_t seq;
};

static const struct value null = {.tag = VALUE_NULL};

static bool has_only_key(const struct writer *w, const struct stage_row *row) {
    return row->op != 'i' && row->op != 'u' && w->r->table->n_key > 0;
}

static void text_mask(struct buf *out, const struct table *table, const struct value *values) {
    for (int i = 0; i < table->n_columns; i++)
        buf_putc(out, values[i].tag == VALUE_ABSENT ? '0' : '1');
}

static void text_extras(struct writer *w, const struct stage_row *row) {
    const struct table *table = w->r->table;
    buf_printf(&w->rows, "%s%c", w->r->n_written ? "\t" : "", row->op);
    if (w->extras & STAGE_MASK) {
        buf_putc(&w->rows, '\t');
        if (has_only_key(w, row) || row_full(row->values, table->n_columns))
            buf_puts(&w->rows, "\\N");
        else
            text_mask(&w->rows, table, row->values);
    }
    if (w->extras & STAGE_SEQ)
        buf_printf(&w->rows, "\t%u", w->seq++);
}

static void put_big(struct buf *out, uint32_t n, size_t bytes) {
    for (size_t i = bytes; i-- > 0;)
        buf_putc(out, (char)(n >> (8 * i)));
}

/* bit varying: how many bits, then the first of them in the highest bit. */
static void binary_mask(struct buf *out, const struct table *table, const struct value *values) {
    uint32_t bytes = (uint32_t)(table->n_columns + 7) / 8;
    put_big(out, 4 + bytes, 4);
    put_big(out, (uint32_t)table->n_columns, 4);
    char *bits = memset(buf_room(out, bytes), 0, bytes);
    for (int i = 0; i < table->n_columns; i++)
        if (values[i].tag != VALUE_ABSENT)
            bits[i / 8] = (char)(bits[i / 8] | 0x80 >> i % 8);
    out->len += bytes;
}

static void binary_extras(struct writer *w, const struct stage_row *row) {
    const struct table *table = w->r->table;
    put_big(&w->rows, 1, 4);
    buf_putc(&w->rows, row->op);
    if (w->extras & STAGE_MASK) {
        if (has_only_key(w, row) || row_full(row->values, table->n_columns))
            put_big(&w->rows, UINT32_MAX, 4);
        else
            binary_mask(&w->rows, table, row->values);
    }
    if (w->extras & STAGE_SEQ)
        put_big(&w->rows, 4, 4), put_big(&w->rows, w->seq++, 4);
}

static int n_fields(const struct writer *w) {
    return w->r->n_written + (w->staged ? 1 + !!(w->extras & STAGE_MASK) + !!(w->extras & STAGE_SEQ) : 0);
}

/* One row; of a delete with a key only the key. */
static enum code put_row(struct writer *w, const struct stage_row *row, struct err *err) {
    const struct replica *r = w->r;
    bool only_key = has_only_key(w, row), first = true;
    if (r->binary)
        put_big(&w->rows, (uint32_t)n_fields(w), 2);
    for (int i = 0; i < r->table->n_columns; i++) {
        const struct replica_column *column = &r->columns[i];
        if (column->skip)
            continue;
        if (!r->binary && !first)
            buf_putc(&w->rows, '\t');
        first = false;
        const struct value *value = only_key && !column->key ? &null : &row->values[i];
        const char *reason = r->binary ? pg_copy_binary(column->form, &r->table->columns[i], value, &w->rows)
                                       : pg_copy_field(column->print, &r->table->columns[i], value, &w->rows);
        if (reason)
            return value_refused(r, i, row->values, reason, err);
    }
    if (w->staged)
        r->binary ? binary_extras(w, row) : text_extras(w, row);
    if (!r->binary)
        buf_putc(&w->rows, '\n');
    return OK;
}

/* ---- copy ---- */

static enum code send_full(struct pg_target *t, struct writer *w, size_t full, struct err *err) {
    if (w->rows.len < full)
        return OK;
    enum code code = session_copy_put(&t->session, &w->rows, err);
    buf_clear(&w->rows);
    return code;
}

static enum code copy_rows(struct pg_target *t, struct writer *w, stage_next_f *next, void *arg,
                           struct err *err) {
    static const char header[] = "PGCOPY\n\377\r\n\0\0\0\0\0\0\0\0"; /* flags, extension: none */
    struct stage_row row;
    enum code code = OK;
    if (w->r->binary)
        buf_put(&w->rows, header, sizeof header); /* its last NUL is the extension's, too */
    while (code == OK && next(arg, &row)) {
        code = put_row(w, &row, err);
        if (code == OK)
            code = send_full(t, w, CHUNK_BYTES, err);
    }
    if (code == OK && w->r->binary)
        put_big(&w->rows, UINT16_MAX, 2);
    return code == OK ? send_full(t, w, 1, err) : code;
}

static enum code copy(struct pg_target *t, struct buf *sql, struct writer *w, stage_next_f *next, void *arg,
                      struct err *err) {
    t->session.about = w->r->label;
    buf_puts(sql, w->r->binary ? " FROM STDIN (FORMAT binary)" : " FROM STDIN");
    enum code code = session_copy_begin(&t->session, buf_cstr(sql), err);
    if (code == OK) {
        code = copy_rows(t, w, next, arg, err);
        if (code == OK)
            code = session_copy_end(&t->session, NULL, NULL, err);
        else if (session_copy_end(&t->session, "given up", NULL, NULL) == OK)
            code = err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "the replica took rows that were withdrawn");
    }
    buf_free(&w->rows);
    return code;
}

enum code stage_fill(struct pg_target *t, struct replica *r, unsigned extras, stage_next_f *next, void *arg,
                     struct err *err) {
    CLEANUP_BUF sql = {0};
    t->session.about = r->label;
    enum code code = make_ready(t, r, err);
    if (code != OK)
        return code;
    buf_puts(&sql, "COPY ");
    stage_name(r, &sql);
    buf_puts(&sql, " (");
    for (int i = 0; i < r->table->n_columns; i++)
        if (!r->columns[i].skip)
            buf_printf(&sql, "c%d, ", i);
    buf_printf(&sql, "op%s%s)", extras & STAGE_MASK ? ", mask" : "", extras & STAGE_SEQ ? ", seq" : "");
    struct writer w = {.r = r, .staged = true, .extras = extras};
    return copy(t, &sql, &w, next, arg, err);
}

enum code stage_direct(struct pg_target *t, struct replica *r, stage_next_f *next, void *arg,
                       struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "COPY %s", r->name);
    if (r->n_written > 0) {
        buf_puts(&sql, " (");
        put_written(&sql, r);
        buf_putc(&sql, ')');
    }
    struct writer w = {.r = r};
    return copy(t, &sql, &w, next, arg, err);
}
