/* Rows without a key: equal rows cannot be told apart, so a table is a bag of rows, and a batch says how many
 * of each come and go. One look through the table finds all that go, however many they are. Rows are the same
 * when what stands in the file is, byte by byte: "=" takes -0.0 for 0.0.
 *
 * Only where an update must keep something of the old row (absent columns, columns of the replica's own,
 * triggers that act) rows are taken one by one. */
#include "sink/sqlite/sqlite.h"

/* ---- a row as bytes ---- */

static void put_bytes(struct buf *out, char type, const void *data, size_t len) {
    buf_putc(out, type);
    buf_put(out, &len, sizeof len);
    buf_put(out, data, len);
}

static void put_value(struct buf *out, sqlite3_stmt *stmt, int column) {
    switch (sqlite3_column_type(stmt, column)) {
    case SQLITE_INTEGER: {
        int64_t i = sqlite3_column_int64(stmt, column);
        put_bytes(out, 'i', &i, sizeof i);
        break;
    }
    case SQLITE_FLOAT: {
        double d = sqlite3_column_double(stmt, column);
        put_bytes(out, 'r', &d, sizeof d);
        break;
    }
    case SQLITE_NULL:
        buf_putc(out, 'n');
        break;
    default: {
        const void *data = sqlite3_column_blob(stmt, column);
        char type = sqlite3_column_type(stmt, column) == SQLITE_TEXT ? 't' : 'b';
        put_bytes(out, type, data, (size_t)sqlite3_column_bytes(stmt, column));
    }
    }
}

static struct slice row_bytes(struct buf *out, sqlite3_stmt *stmt, int first, int n) {
    buf_clear(out);
    for (int i = 0; i < n; i++)
        put_value(out, stmt, first + i);
    return buf_slice(out);
}

/* ---- the bag ---- */

struct entry {
    struct slice row;
    int64_t n;                  /* how many more there are after the batch, or fewer */
    const struct value *values; /* of one that comes */
    struct entry *next;
};

struct bag {
    struct arena arena;
    struct entry **buckets;
    size_t n_buckets; /* a power of two */
    struct buf row;
    int64_t to_go; /* rows that are still to be found and deleted */
};

static struct entry **bucket_of(struct bag *bag, struct slice row) {
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (size_t i = 0; i < row.len; i++)
        hash = (hash ^ (unsigned char)row.data[i]) * UINT64_C(0x100000001b3);
    return &bag->buckets[(hash ^ hash >> 29) & (bag->n_buckets - 1)];
}

static struct entry *bag_find(struct bag *bag, struct slice row) {
    struct entry *e = *bucket_of(bag, row);
    while (e && !slice_eq(e->row, row))
        e = e->next;
    return e;
}

static void bag_add(struct bag *bag, struct slice row, const struct value *values, int n) {
    struct entry *e = bag_find(bag, row);
    if (!e) {
        struct entry **bucket = bucket_of(bag, row);
        e = arena_zalloc(&bag->arena, sizeof *e);
        *e = (struct entry){.row = arena_copy(&bag->arena, row), .next = *bucket};
        *bucket = e;
    }
    e->n += n;
    if (n > 0)
        e->values = values;
}

static void bag_init(struct bag *bag, uint32_t rows) {
    *bag = (struct bag){.n_buckets = 64};
    while (bag->n_buckets < 2 * (size_t)rows)
        bag->n_buckets *= 2;
    bag->buckets = arena_zalloc(&bag->arena, bag->n_buckets * sizeof(struct entry *));
}

static void bag_free(struct bag *bag) {
    buf_free(&bag->row);
    arena_free(&bag->arena);
}

/* "SELECT ?1, ?2, .." gives back what was bound: a row as it would stand in the file. */
static enum code prepare_echo(struct lite_target *t, const struct replica *r, sqlite3_stmt **ret,
                              struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "SELECT ");
    lite_put_marks(&sql, r->n_written);
    if (r->n_written == 0)
        buf_puts(&sql, "NULL");
    return db_prepare(&t->db, buf_cstr(&sql), ret, err);
}

static enum code take_row(struct lite_target *t, const struct replica *r, struct bag *bag, sqlite3_stmt *echo,
                          const struct value *values, int n, struct err *err) {
    int at = 1;
    bool row = false;
    enum code code = row_bind_all(t, r, values, true, echo, &at, err);
    if (code == OK)
        code = db_step(&t->db, echo, &row, err);
    if (code == OK)
        bag_add(bag, row_bytes(&bag->row, echo, 0, r->n_written), values, n);
    sqlite3_reset(echo);
    return code;
}

static enum code fill_bag(struct lite_target *t, const struct replica *r, const struct batch *batch,
                          struct bag *bag, struct err *err) {
    CLEANUP_STMT *echo = NULL;
    enum code code = prepare_echo(t, r, &echo, err);
    for (uint32_t i = 0; i < batch->n && code == OK; i++) {
        const struct batch_row *row = &batch->rows[i];
        if (row->op == ROW_UPDATE)
            code = take_row(t, r, bag, echo, row->before, -1, err);
        if (row->op != ROW_NONE && code == OK)
            code = take_row(t, r, bag, echo, row->values, row->op == ROW_DELETE ? -1 : 1, err);
    }
    for (size_t i = 0; i < bag->n_buckets; i++)
        for (const struct entry *e = bag->buckets[i]; e; e = e->next)
            bag->to_go -= e->n < 0 ? e->n : 0;
    return code;
}

/* ---- rows that go ---- */

static enum code diverged(struct lite_target *t, const struct replica *r, int64_t missing, struct err *err) {
    metric_add(t->missing, (double)missing);
    return err_set(err, REJECT, ERR_TARGET_DIVERGED,
                   "table %s (without a key): %lld rows to change or delete are not in the replica; build it "
                   "anew: millrace "
                   "replay --sink %s",
                   r->flat, (long long)missing, t->env.sink);
}

static void put_select(struct buf *sql, const struct replica *r) {
    buf_printf(sql, "SELECT %s%s", r->rowid, r->n_written ? ", " : "");
    lite_put_written(sql, r);
    buf_printf(sql, " FROM %s", r->name);
}

/* The numbers of rows that go, in `numbers`. */
static enum code look_through(struct lite_target *t, const struct replica *r, struct bag *bag,
                              struct buf *numbers, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    put_select(&sql, r);
    enum code code = db_ask(&t->db, buf_cstr(&sql), NO_PARAMS, &stmt, err);
    for (bool row = stmt != NULL; code == OK && row && bag->to_go > 0;) {
        struct entry *e = bag_find(bag, row_bytes(&bag->row, stmt, 1, r->n_written));
        if (e && e->n < 0) {
            int64_t number = sqlite3_column_int64(stmt, 0);
            buf_put(numbers, &number, sizeof number);
            e->n++;
            bag->to_go--;
        }
        code = db_step(&t->db, stmt, &row, err);
    }
    return code;
}

static enum code delete_numbers(struct lite_target *t, const struct replica *r, const struct buf *numbers,
                                struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    buf_printf(&sql, "DELETE FROM %s WHERE %s = ?1", r->name, r->rowid);
    enum code code = db_prepare(&t->db, buf_cstr(&sql), &stmt, err);
    for (size_t at = 0; at < numbers->len && code == OK; at += sizeof(int64_t)) {
        int64_t number;
        memcpy(&number, numbers->data + at, sizeof number);
        db_bind(stmt, PARAMS(P_INT(number)));
        code = db_finish(&t->db, stmt, NULL, err);
    }
    return code;
}

/* ---- rows that come ---- */

static enum code prepare_insert(struct lite_target *t, struct replica *r, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_printf(&sql, "INSERT OR ABORT INTO %s ", r->name);
    if (r->n_written == 0)
        buf_puts(&sql, "DEFAULT VALUES");
    else {
        buf_putc(&sql, '(');
        lite_put_written(&sql, r);
        buf_puts(&sql, ") VALUES (");
        lite_put_marks(&sql, r->n_written);
        buf_putc(&sql, ')');
    }
    return db_keep(&t->db, buf_cstr(&sql), &r->insert, err);
}

static enum code insert(struct lite_target *t, struct replica *r, const struct value *row, struct err *err) {
    int n = 1;
    enum code code = r->insert ? OK : prepare_insert(t, r, err);
    if (code == OK)
        code = row_bind_all(t, r, row, true, r->insert, &n, err);
    return code == OK ? db_finish(&t->db, r->insert, NULL, err) : code;
}

static enum code insert_rest(struct lite_target *t, struct replica *r, const struct bag *bag,
                             struct err *err) {
    enum code code = OK;
    for (size_t i = 0; i < bag->n_buckets; i++)
        for (const struct entry *e = bag->buckets[i]; e; e = e->next)
            for (int64_t n = 0; n < e->n && code == OK; n++)
                code = insert(t, r, e->values, err);
    return code;
}

static enum code apply_bag(struct lite_target *t, struct replica *r, const struct batch *batch,
                           struct err *err) {
    struct bag bag;
    CLEANUP_BUF numbers = {0};
    bag_init(&bag, batch->n + batch->n_op[ROW_UPDATE]);
    enum code code = fill_bag(t, r, batch, &bag, err);
    if (code == OK && bag.to_go > 0)
        code = look_through(t, r, &bag, &numbers, err);
    if (code == OK && bag.to_go > 0)
        code = diverged(t, r, bag.to_go, err);
    if (code == OK)
        code = delete_numbers(t, r, &numbers, err);
    if (code == OK)
        code = insert_rest(t, r, &bag, err);
    bag_free(&bag);
    return code;
}

static enum code insert_all(struct lite_target *t, struct replica *r, const struct batch *batch,
                            struct err *err) {
    enum code code = OK;
    for (uint32_t i = 0; i < batch->n && code == OK; i++)
        if (batch->rows[i].op == ROW_INSERT)
            code = insert(t, r, batch->rows[i].values, err);
    return code;
}

/* ---- one by one ---- */

/* "SELECT rowid, ?1 = the first present column, .. FROM t WHERE c IS ?1 AND ..", bound. */
static enum code ask_like(struct lite_target *t, const struct replica *r, const struct value *like,
                          sqlite3_stmt **ret, int *n, struct err *err) {
    CLEANUP_BUF sql = {0}, where = {0}, given = {0};
    *n = 0;
    buf_printf(&sql, "SELECT %s", r->rowid);
    for (int i = 0; i < r->table->n_columns; i++) {
        if (r->columns[i].skip || like[i].tag == VALUE_ABSENT)
            continue;
        buf_printf(&sql, ", %s", r->columns[i].name);
        buf_printf(&given, ", ?%d", ++*n);
        buf_printf(&where, "%s%s IS ?%d", *n > 1 ? " AND " : "", r->columns[i].name, *n);
    }
    buf_printf(&sql, "%s FROM %s WHERE %s", buf_cstr(&given), r->name, *n ? buf_cstr(&where) : "true");
    enum code code = db_prepare(&t->db, buf_cstr(&sql), ret, err);
    int at = 1;
    for (int i = 0; i < r->table->n_columns && code == OK; i++)
        if (!r->columns[i].skip && like[i].tag != VALUE_ABSENT)
            code = row_bind(t, r, like, i, *ret, at++, err);
    return code;
}

/* The number of one row that looks like `like`, as far as that is known. */
static enum code find_like(struct lite_target *t, const struct replica *r, const struct value *like,
                           int64_t *number, struct err *err) {
    CLEANUP_STMT *stmt = NULL;
    CLEANUP_BUF there = {0}, given = {0};
    bool row = true, same = false;
    int n;
    enum code code = ask_like(t, r, like, &stmt, &n, err);
    while (code == OK && row && !same) {
        code = db_step(&t->db, stmt, &row, err);
        same =
            code == OK && row && slice_eq(row_bytes(&there, stmt, 1, n), row_bytes(&given, stmt, 1 + n, n));
    }
    if (same)
        *number = sqlite3_column_int64(stmt, 0);
    return code != OK || same ? code : diverged(t, r, 1, err);
}

static enum code update_number(struct lite_target *t, const struct replica *r, const struct value *row,
                               int64_t number, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *stmt = NULL;
    int n = 1, at = 1;
    buf_printf(&sql, "UPDATE OR ABORT %s SET ", r->name);
    for (int i = 0; i < r->table->n_columns; i++)
        if (!r->columns[i].skip && row[i].tag != VALUE_ABSENT)
            buf_printf(&sql, "%s%s = ?%d", n > 1 ? ", " : "", r->columns[i].name, n), n++;
    buf_printf(&sql, " WHERE %s = ?%d", r->rowid, n);
    if (n == 1)
        return OK;
    enum code code = db_prepare(&t->db, buf_cstr(&sql), &stmt, err);
    for (int i = 0; i < r->table->n_columns && code == OK; i++)
        if (!r->columns[i].skip && row[i].tag != VALUE_ABSENT)
            code = row_bind(t, r, row, i, stmt, at++, err);
    if (code != OK)
        return code;
    sqlite3_bind_int64(stmt, n, number);
    return db_finish(&t->db, stmt, NULL, err);
}

static enum code apply_row(struct lite_target *t, struct replica *r, const struct batch_row *row,
                           struct err *err) {
    if (row->op == ROW_INSERT)
        return insert(t, r, row->values, err);
    int64_t number = 0;
    enum code code = find_like(t, r, row->op == ROW_UPDATE ? row->before : row->values, &number, err);
    if (code != OK)
        return code;
    if (row->op == ROW_UPDATE)
        return update_number(t, r, row->values, number, err);
    CLEANUP_BUF numbers = {0};
    buf_put(&numbers, &number, sizeof number);
    return delete_numbers(t, r, &numbers, err);
}

/* An update must keep something of the old row. */
static bool keeps(const struct lite_target *t, const struct replica *r, const struct batch *batch) {
    int n = r->table->n_columns;
    if (batch->partial)
        return true;
    if (batch->n_op[ROW_UPDATE] > 0 && (r->extras || t->options->triggers == TRIGGERS_FIRE))
        return true;
    for (uint32_t i = 0; i < batch->n; i++) {
        const struct batch_row *row = &batch->rows[i];
        if ((row->op == ROW_UPDATE && !row_full(row->before, n)) ||
            (row->op != ROW_NONE && !row_full(row->values, n)))
            return true;
    }
    return false;
}

enum code lite_apply_keyless(struct lite_target *t, struct replica *r, const struct batch *batch,
                             struct err *err) {
    if (batch->n_op[ROW_UPDATE] + batch->n_op[ROW_DELETE] == 0)
        return insert_all(t, r, batch, err);
    if (!keeps(t, r, batch))
        return apply_bag(t, r, batch, err);
    enum code code = OK;
    for (uint32_t i = 0; i < batch->n && code == OK; i++)
        if (batch->rows[i].op != ROW_NONE)
            code = apply_row(t, r, &batch->rows[i], err);
    return code;
}
