/* Coalescing: changes of one table version, reduced to the last state of each key (the table in batch.h). */
#include "sink/batch.h"

#include <assert.h>

enum { BUCKETS_MIN = 64, CHAIN_END = UINT32_MAX };

void batch_init(struct batch *batch, const struct table *table) {
    *batch = (struct batch){.table = table, .snapshot = true};
}

void batch_reset(struct batch *batch, const struct table *table) {
    batch->table = table;
    batch->n = 0;
    memset(batch->n_op, 0, sizeof batch->n_op);
    batch->partial = batch->filtered = false;
    batch->snapshot = true;
    arena_reset(&batch->arena);
    if (batch->buckets)
        memset(batch->buckets, 0xFF, batch->n_buckets * sizeof *batch->buckets);
}

void batch_free(struct batch *batch) {
    free(batch->rows);
    free(batch->buckets);
    arena_free(&batch->arena);
    *batch = (struct batch){0};
}

static bool has_bytes(const struct value *v) {
    return v->tag == VALUE_TEXT || v->tag == VALUE_BYTES;
}

/* One allocation: the values, then their bytes. */
static struct value *copy_row(struct batch *batch, const struct value *row) {
    int n = batch->table->n_columns;
    size_t bytes = 0;
    for (int i = 0; i < n; i++)
        if (has_bytes(&row[i]))
            bytes += row[i].s.len;
    struct value *copy = arena_alloc(&batch->arena, (size_t)n * sizeof *copy + bytes);
    char *next = (char *)(copy + n);
    memcpy(copy, row, (size_t)n * sizeof *copy);
    for (int i = 0; i < n; i++) {
        if (!has_bytes(&copy[i]) || copy[i].s.len == 0)
            continue;
        memcpy(next, copy[i].s.data, copy[i].s.len);
        copy[i].s.data = next;
        next += copy[i].s.len;
    }
    return copy;
}

static uint64_t mix(uint64_t h, const void *data, size_t len) {
    const unsigned char *p = data;
    for (size_t i = 0; i < len; i++)
        h = (h ^ p[i]) * UINT64_C(0x100000001b3);
    return h;
}

static uint64_t key_of(const struct table *table, const struct value *row) {
    uint64_t h = UINT64_C(0xcbf29ce484222325);
    for (int k = 0; k < table->n_key; k++) {
        const struct value *v = &row[table->key[k]];
        h = has_bytes(v) ? mix(h, v->s.data, v->s.len) : mix(h, v->xy, sizeof v->xy[0]);
        h = mix(h, &v->tag, 1);
    }
    return h ^ (h >> 29);
}

static bool same_value(const struct value *a, const struct value *b) {
    if (a->tag != b->tag)
        return false;
    if (has_bytes(a))
        return slice_eq(a->s, b->s);
    if (a->tag != VALUE_POINT)
        return a->i == b->i;
    return memcmp((const char *)a->xy, (const char *)b->xy, sizeof a->xy) ==
           0; /* the same bits: -0 is not 0 */
}

static bool same_key(const struct table *table, const struct value *a, const struct value *b) {
    for (int k = 0; k < table->n_key; k++)
        if (!same_value(&a[table->key[k]], &b[table->key[k]]))
            return false;
    return true;
}

static void index_row(struct batch *batch, uint32_t i) {
    uint32_t *bucket = &batch->buckets[batch->rows[i].hash & (batch->n_buckets - 1)];
    batch->rows[i].next = *bucket;
    *bucket = i;
}

static void grow_index(struct batch *batch) {
    if (batch->n_buckets > batch->n)
        return;
    batch->n_buckets = batch->n_buckets ? batch->n_buckets * 2 : BUCKETS_MIN;
    batch->buckets = xrealloc(batch->buckets, batch->n_buckets * sizeof *batch->buckets);
    memset(batch->buckets, 0xFF, batch->n_buckets * sizeof *batch->buckets);
    for (uint32_t i = 0; i < batch->n; i++)
        index_row(batch, i);
}

static struct batch_row *find_row(struct batch *batch, const struct value *row, uint64_t hash) {
    if (!batch->n_buckets)
        return NULL;
    uint32_t i = batch->buckets[hash & (batch->n_buckets - 1)];
    for (; i != CHAIN_END; i = batch->rows[i].next)
        if (batch->rows[i].hash == hash && same_key(batch->table, batch->rows[i].values, row))
            return &batch->rows[i];
    return NULL;
}

static struct batch_row *new_row(struct batch *batch) {
    if (batch->n == batch->cap) {
        batch->cap = batch->cap ? batch->cap * 2 : BUCKETS_MIN;
        batch->rows = xrealloc(batch->rows, batch->cap * sizeof *batch->rows);
    }
    batch->arena.used += sizeof *batch->rows; /* the budget counts the row itself, too */
    batch->rows[batch->n] = (struct batch_row){.op = ROW_NONE, .next = CHAIN_END};
    return &batch->rows[batch->n++];
}

static void set_op(struct batch *batch, struct batch_row *row, enum row_op op) {
    if (row->op != ROW_NONE)
        batch->n_op[row->op]--;
    row->op = op;
    batch->n_op[op]++;
}

static void set_values(struct batch *batch, struct batch_row *row, const struct value *values) {
    row->values = values;
    row->full = row_full(values, batch->table->n_columns);
    if (!row->full && row->op != ROW_DELETE)
        batch->partial = true;
}

static enum row_op first_op(enum op op) {
    switch (op) {
    case OP_READ:
    case OP_CREATE:
        return ROW_INSERT;
    case OP_UPDATE:
        return ROW_UPDATE;
    case OP_DELETE:
        return ROW_DELETE;
    case OP_TRUNCATE:
        break;
    }
    assert(!"a truncate is not a row");
    return ROW_NONE;
}

static void add_new(struct batch *batch, const struct change *change, const struct value *source,
                    uint64_t hash) {
    bool keyed = batch->table->n_key > 0;
    struct batch_row *row = new_row(batch);
    set_op(batch, row, first_op(change->op));
    set_values(batch, row, copy_row(batch, source));
    row->was_there = row->op == ROW_UPDATE || (row->op == ROW_DELETE && !batch->filtered && !change->remnant);
    row->hash = hash;
    if (!keyed && row->op == ROW_UPDATE)
        row->before = copy_row(batch, change->before);
    if (!keyed)
        return;
    if (batch->n > batch->n_buckets)
        grow_index(batch);
    else
        index_row(batch, batch->n - 1);
}

/* The columns that the newer image does not bring keep what the older one said. */
static void merge_absent(struct batch *batch, struct value *newer, const struct value *older) {
    for (int i = 0; i < batch->table->n_columns; i++)
        if (newer[i].tag == VALUE_ABSENT)
            newer[i] = older[i];
}

static void add_again(struct batch *batch, struct batch_row *row, const struct change *change,
                      const struct value *source) {
    struct value *values = copy_row(batch, source);
    enum row_op op = first_op(change->op);
    if (op == ROW_UPDATE && row->op != ROW_DELETE) {
        merge_absent(batch, values, row->values);
        op = row->op;
    } else if (op != ROW_DELETE) {
        op = row->was_there ? ROW_UPDATE : ROW_INSERT;
    }
    set_op(batch, row, op);
    set_values(batch, row, values);
}

bool batch_add(struct batch *batch, const struct change *change) {
    const struct value *source = change->op == OP_DELETE ? change->before : change->after;
    assert(source);
    assert(change->op != OP_UPDATE || batch->table->n_key > 0 || change->before);
    if (change->moved_partial)
        return false;
    if (change->op != OP_READ)
        batch->snapshot = false;
    if (batch->table->n_key == 0) {
        add_new(batch, change, source, 0);
        return true;
    }
    uint64_t hash = key_of(batch->table, source);
    struct batch_row *row = find_row(batch, source, hash);
    if (row)
        add_again(batch, row, change, source);
    else
        add_new(batch, change, source, hash);
    return true;
}
