/* Records as Debezium's envelopes: rows, source block, key; their schemas; and the header beside them. The
 * judge is Avro C. */
#include <stdio.h>

#include "encode_case.h"

static struct column shop_columns[] = {{"id", "integer", KIND_INT32, .key = 1},
                                       {"note", "text", KIND_TEXT, .nullable = true}};
static int shop_key[] = {0};
static const struct table shop = {"public", "t", shop_columns, 2, shop_key, 1};

static void assert_seen(struct fixture *f, const char *const (*expected)[2]) {
    for (; (*expected)[0]; expected++)
        if (strcmp(seen(f, (*expected)[0]), (*expected)[1]) != 0)
            fail_msg("%s: '%s' instead of '%s'", (*expected)[0], f->text.data, (*expected)[1]);
}

static void an_update_carries_both_rows_and_its_source(void **state) {
    struct fixture *f = *state;
    struct value before[] = {INT(5), TEXT("old")}, after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_UPDATE, &shop, before, after);
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"before.id", "5"},
                                            {"before.note", "old"},
                                            {"after.note", "new"},
                                            {"source.version", MILLRACE_VERSION},
                                            {"source.connector", "postgresql"},
                                            {"source.name", "shop"},
                                            {"source.ts_ms", "1700000000123"},
                                            {"source.snapshot", "false"},
                                            {"source.db", "shopdb"},
                                            {"source.sequence", "[\"23803720\",\"23803648\"]"},
                                            {"source.ts_us", "1700000000123456"},
                                            {"source.ts_ns", "1700000000123456000"},
                                            {"source.schema", "public"},
                                            {"source.table", "t"},
                                            {"source.txId", "777"},
                                            {"source.lsn", "23803648"},
                                            {"source.xmin", "null"},
                                            {"source.origin", "null"},
                                            {"source.origin_lsn", "null"},
                                            {"transaction", "null"},
                                            {"op", "u"},
                                            {"ts_ms", "1700000001234"},
                                            {"ts_us", "1700000001234567"},
                                            {"ts_ns", "1700000001234567000"},
                                            {NULL, NULL}});
}

static void a_row_of_a_snapshot_has_no_transaction(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_READ, &shop, NULL, after);
    change.snapshot = true;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"before", "null"},
                                            {"source.snapshot", "true"},
                                            {"source.sequence", "[null,\"23803648\"]"},
                                            {"source.txId", "null"},
                                            {"source.lsn", "23803648"},
                                            {"op", "r"},
                                            {NULL, NULL}});
}

static void numbers_and_times_at_their_ends_fit_the_source_block(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_CREATE, &shop, NULL, after);
    change.lsn = change.xid = change.position.commit = UINT64_MAX;
    change.commit_us = INT64_MAX;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){
                       {"source.sequence", "[\"18446744073709551615\",\"18446744073709551615\"]"},
                       {"source.ts_us", "9223372036854775807"},
                       {"source.ts_ns", "null"},
                       {NULL, NULL}});
    change.lsn = change.xid = change.position.commit = 0;
    change.commit_us = -1;
    encode_ok(f, &change);
    assert_seen(f, (const char *const[][2]){{"source.sequence", "[\"0\",\"0\"]"},
                                            {"source.ts_ms", "-1"},
                                            {"source.ts_ns", "-1000"},
                                            {NULL, NULL}});
}

static void a_delete_is_keyed_by_its_old_row(void **state) {
    struct fixture *f = *state;
    struct value before[] = {INT(6), {.tag = VALUE_ABSENT}};
    struct change change = change_of(OP_DELETE, &shop, before, NULL);
    encode_ok(f, &change);
    assert_seen(
        f, (const char *const[][2]){
               {"before.id", "6"}, {"before.note", "null"}, {"after", "null"}, {"op", "d"}, {NULL, NULL}});
    assert_string_equal(key_seen(f, "id"), "6");
}

static void a_truncate_has_a_key_of_its_own_where_the_table_has_one(void **state) {
    struct fixture *f = *state;
    struct change change = change_of(OP_TRUNCATE, &shop, NULL, NULL);
    encode_ok(f, &change);
    assert_seen(f,
                (const char *const[][2]){{"before", "null"}, {"after", "null"}, {"op", "t"}, {NULL, NULL}});
    assert_string_equal(key_seen(f, "table"), "public.t");
    struct table keyless = shop;
    keyless.n_key = 0;
    change.table = &keyless;
    encode_ok(f, &change);
    assert_int_equal(f->key.len, 0);
}

static void the_key_stands_in_key_order_and_is_never_a_union(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"b", "text", KIND_TEXT, .nullable = true, .key = 2},
                               {"x", "text", KIND_TEXT},
                               {"a", "integer", KIND_INT32, .key = 1}};
    int key[] = {2, 0};
    struct table table = {"public", "t", columns, 3, key, 2};
    struct value row[] = {TEXT("bee"), TEXT("x"), INT(300)};
    struct change change = change_of(OP_CREATE, &table, NULL, row);
    encode_ok(f, &change);
    assert_string_equal(key_seen(f, "a"), "300");
    assert_string_equal(key_seen(f, "b"), "bee");
    assert_int_equal(f->key.len, 5 + 2 + 4);
    struct buf again = {0};
    assert_int_equal(encoder_key(f->encoder, row, &again, &f->column, &f->err), OK);
    assert_true(slice_eq(buf_slice(&again), buf_slice(&f->key)));
    buf_free(&again);
}

static void a_record_is_appended_after_what_is_there(void **state) {
    struct fixture *f = *state;
    struct value after[] = {INT(5), TEXT("new")};
    struct change change = change_of(OP_CREATE, &shop, NULL, after);
    encode_ok(f, &change);
    size_t key = f->key.len, value = f->value.len;
    assert_int_equal(encoder_change(f->encoder, &change, NOW, &f->key, &f->value, &f->column, &f->err), OK);
    assert_int_equal(f->key.len, 2 * key);
    assert_int_equal(f->value.len, 2 * value);
    assert_memory_equal(f->value.data, f->value.data + value, value);
}

static void a_key_without_a_value_is_refused(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"id", "integer", KIND_INT32, .key = 1, .nullable = true}};
    int key[] = {0};
    struct table table = table_of(columns, 1);
    table.key = key;
    table.n_key = 1;
    struct value row[] = {{.tag = VALUE_NULL}};
    struct change change = change_of(OP_DELETE, &table, row, NULL);
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(f->err.text, "table public.t, key (id=NULL), column id: NULL in a key column");
    row[0].tag = VALUE_ABSENT;
    assert_int_equal(encode(f, &change), REJECT);
    assert_string_equal(f->err.text,
                        "table public.t, key (id=absent), column id: a key column without a value");
}

static void what_stood_in_the_buffers_stays_when_a_change_is_refused(void **state) {
    struct fixture *f = *state;
    struct column columns[] = {{"id", "integer", KIND_INT32, .key = 1}, {"n", "integer", KIND_INT32}};
    int key[] = {0};
    struct table table = table_of(columns, 2);
    table.key = key;
    table.n_key = 1;
    struct value row[] = {INT(5), {.tag = VALUE_NULL}};
    struct change change = change_of(OP_CREATE, &table, NULL, row);
    assert_int_equal(encode(f, &change), REJECT);
    buf_puts(&f->key, "key");
    buf_puts(&f->value, "value");
    assert_int_equal(encoder_change(f->encoder, &change, NOW, &f->key, &f->value, &f->column, &f->err),
                     REJECT);
    assert_string_equal(buf_cstr(&f->key), "key");
    assert_string_equal(buf_cstr(&f->value), "value");
    assert_int_equal(f->column, 1);
}

/* ---- registration ---- */

struct picky_store {
    struct schema_store store;
    const char *refuses;
    char subjects[200];
};

static enum code picky_put(struct schema_store *store, const char *subject, struct slice json,
                           uint32_t *ret_id, struct err *err) {
    struct picky_store *picky = (struct picky_store *)store;
    (void)json;
    size_t len = strlen(picky->subjects);
    snprintf(picky->subjects + len, sizeof picky->subjects - len, "%s ", subject);
    *ret_id = 1;
    if (picky->refuses && strcmp(picky->refuses, subject) == 0)
        return err_set(err, RETRY, ERR_REGISTRY_UNREACHABLE, "away");
    return OK;
}

static void the_schemas_are_registered_under_their_subjects(void **state) {
    (void)state;
    struct picky_store picky = {.store.put = picky_put};
    struct encoder *encoder;
    assert_int_equal(encoder_new(&shop, TOPIC, &identity, &picky.store, &encoder, NULL), OK);
    assert_string_equal(picky.subjects, "shop.public.t-value shop.public.t-key millrace.TruncateKey ");
    assert_ptr_not_equal(encoder_table(encoder), &shop);
    assert_string_equal(encoder_table(encoder)->name, "t");
    encoder_free(encoder);
    encoder_free(NULL);
    picky.subjects[0] = '\0';
    struct table keyless = shop;
    keyless.n_key = 0;
    assert_int_equal(encoder_new(&keyless, TOPIC, &identity, &picky.store, &encoder, NULL), OK);
    assert_string_equal(picky.subjects, "shop.public.t-value ");
    encoder_free(encoder);
}

static void a_store_that_fails_fails_the_encoder(void **state) {
    (void)state;
    const char *const subjects[] = {"shop.public.t-value", "shop.public.t-key", "millrace.TruncateKey"};
    for (int i = 0; i < 3; i++) {
        struct picky_store picky = {.store.put = picky_put, .refuses = subjects[i]};
        struct encoder *encoder = NULL;
        struct err err = {0};
        assert_int_equal(encoder_new(&shop, TOPIC, &identity, &picky.store, &encoder, &err), RETRY);
        assert_int_equal(err.id, ERR_REGISTRY_UNREACHABLE);
        assert_null(encoder);
    }
}

/* ---- header ---- */

static void the_header_says_what_the_envelope_cannot(void **state) {
    (void)state;
    enum { N = 1600 };
    static struct value after[N];
    static struct column columns[N];
    struct table table = table_of(columns, N);
    for (int i = 0; i < N; i++)
        after[i].tag = VALUE_NULL;
    struct change change = change_of(OP_CREATE, &table, NULL, after);
    change.position = (struct position){1, UINT64_C(0x0102030405060708), 0xFF};
    table.digest = UINT64_C(0x1111111121314151);
    char out[HEADER_BYTES_MAX];
    assert_int_equal(header_write(&change, out), 30);
    assert_memory_equal(out, "\2\0\0\0\0\0\0\0\0\1\1\2\3\4\5\6\7\10\0\0\0\0\0\0\0\xff\x21\x31\x41\x51", 30);
    after[0].tag = after[9].tag = VALUE_ABSENT;
    change.snapshot = change.moved_partial = change.restart_identity = true;
    change.other = after;
    assert_int_equal(header_write(&change, out), 32);
    assert_int_equal(out[1], 15);
    assert_memory_equal(out + 30, "\1\2", 2);
    after[N - 1].tag = VALUE_ABSENT;
    assert_int_equal(header_write(&change, out), 230);
    assert_int_equal((unsigned char)out[229], 0x80);
    change.after = NULL;
    assert_int_equal(header_write(&change, out), 30);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(an_update_carries_both_rows_and_its_source),
        TEST(a_row_of_a_snapshot_has_no_transaction),
        TEST(numbers_and_times_at_their_ends_fit_the_source_block),
        TEST(a_delete_is_keyed_by_its_old_row),
        TEST(a_truncate_has_a_key_of_its_own_where_the_table_has_one),
        TEST(the_key_stands_in_key_order_and_is_never_a_union),
        TEST(a_record_is_appended_after_what_is_there),
        TEST(a_key_without_a_value_is_refused),
        TEST(what_stood_in_the_buffers_stays_when_a_change_is_refused),
        cmocka_unit_test(the_schemas_are_registered_under_their_subjects),
        cmocka_unit_test(a_store_that_fails_fails_the_encoder),
        cmocka_unit_test(the_header_says_what_the_envelope_cannot),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
