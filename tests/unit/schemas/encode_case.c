#include "encode_case.h"

const struct encoder_identity identity = {"postgresql", "shop", "shopdb"};

int encode_setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    memory_init(&f->memory);
    *state = f;
    return 0;
}

static void forget(struct fixture *f) {
    if (f->judged)
        judge_close(&f->judge);
    f->judged = false;
    encoder_free(f->encoder);
    f->encoder = NULL;
    schema_store_free(&f->memory.store);
    buf_clear(&f->key);
    buf_clear(&f->value);
}

int encode_teardown(void **state) {
    struct fixture *f = *state;
    forget(f);
    buf_free(&f->key);
    buf_free(&f->value);
    buf_free(&f->text);
    free(f);
    return 0;
}

enum code encode(struct fixture *f, const struct change *change) {
    forget(f);
    assert_int_equal(encoder_new(change->table, TOPIC, &identity, &f->memory.store, &f->encoder, &f->err),
                     OK);
    return encoder_change(f->encoder, change, NOW, &f->key, &f->value, &f->column, &f->err);
}

void encode_ok(struct fixture *f, const struct change *change) {
    if (encode(f, change) != OK)
        fail_msg("%s", f->err.text);
    if (f->key.len) {
        struct judge key;
        judge_open(&key, &f->memory, buf_slice(&f->key));
        judge_close(&key);
    }
    judge_open(&f->judge, &f->memory, buf_slice(&f->value));
    f->judged = true;
}

const char *seen(struct fixture *f, const char *path) {
    return judge_print(judge_field(f->judge.value, path), &f->text);
}

const char *key_seen(struct fixture *f, const char *path) {
    struct judge judge;
    judge_open(&judge, &f->memory, buf_slice(&f->key));
    judge_print(judge_field(judge.value, path), &f->text);
    judge_close(&judge);
    return f->text.data;
}

struct table table_of(struct column *columns, int n) {
    struct table table = {.schema = "public", .name = "t", .columns = columns, .n_columns = n};
    for (int i = 0; i < n; i++)
        columns[i].length = columns[i].kind == KIND_BITS ? columns[i].length : -1;
    table.digest = table_digest(&table);
    return table;
}

struct change change_of(enum op op, const struct table *table, const struct value *before,
                        const struct value *after) {
    return (struct change){.op = op,
                           .table = table,
                           .position = {3, 0x16B3748, 2},
                           .before = before,
                           .after = after,
                           .commit_us = INT64_C(1700000000123456),
                           .lsn = 0x16B3700,
                           .xid = 777};
}
