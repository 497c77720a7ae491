/* What a record says, in our layout and in those of other writers. */
#include "decode_case.h"
#include "schemas/encode.h"

static void a_create_comes_back_with_its_row_position_and_source(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    assert_ok(f);
    const struct change *change = &f->change;
    assert_int_equal(change->op, OP_CREATE);
    assert_null(change->before);
    assert_null(change->other);
    assert_int_equal(change->after[0].i, 5);
    assert_text(&change->after[1], "hello");
    assert_text(&change->after[2], "12.34");
    assert_int_equal(position_cmp(change->position, (struct position){1, 0x16B3748, 7}), 0);
    assert_int_equal(change->commit_us, 1700000000123456);
    assert_int_equal(change->xid, 4711);
    assert_int_equal(change->lsn, 0x16B3700);
    assert_false(change->snapshot);
}

static void the_table_is_rebuilt_from_the_schema_alone(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    assert_ok(f);
    const struct table *table = f->change.table;
    assert_string_equal(table->schema, "public");
    assert_string_equal(table->name, "t");
    assert_int_equal(table->n_columns, 3);
    assert_int_equal(table->n_key, 1);
    assert_int_equal(table->key[0], 0);
    assert_string_equal(table->columns[2].type, "numeric(12,2)");
    assert_int_equal(table->columns[2].kind, KIND_DECIMAL);
    assert_int_equal(table->columns[2].scale, 2);
    assert_int_equal(table->columns[2].precision, 12);
    assert_true(table->columns[1].nullable);
    assert_false(table->columns[0].nullable);
    assert_true(table->digest == table_digest(table));
    assert_false(table->partial);
}

static void a_schema_is_asked_for_once_and_its_table_stays(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    assert_ok(f);
    const struct table *table = f->change.table;
    for (int i = 0; i < 40; i++) { /* other schemas make the cache grow */
        CLEANUP_FREE char *other =
            xasprintf("%.*s%d%s", (int)strlen(ENVELOPE_OPEN) - 13, ENVELOPE_OPEN, i,
                      "\",\"fields\":[" BEFORE(ROW_OPEN ROW_FIELDS ROW_CLOSE) AFTER SOURCE "," TAIL "]}");
        write_create(f, other);
        assert_ok(f);
    }
    write_create(f, ENVELOPE(ROW_FIELDS));
    assert_ok(f);
    assert_ptr_equal(f->change.table, table);
    assert_int_equal(f->memory.gets, 41);
}

static void a_tombstone_without_our_header_is_nothing_to_apply(void **state) {
    struct fixture *f = *state;
    struct encoded record = {.key = slice_of("x")};
    assert_int_equal(decoder_change(f->decoder, &record, &f->arena, &f->change, &f->err), AGAIN);
}

static void a_truncate_has_no_rows(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE(ROW_FIELDS));
    f->header.data[1] = HEADER_SNAPSHOT | HEADER_RESTART_IDENTITY;
    put_long(&f->value, 0);
    put_long(&f->value, 0);
    put_source_and_op(f, "t");
    assert_ok(f);
    assert_int_equal(f->change.op, OP_TRUNCATE);
    assert_null(f->change.before);
    assert_null(f->change.after);
    assert_true(f->change.restart_identity);
    assert_true(f->change.snapshot);
}

static void of_a_keyed_row_before_only_the_key_is_believed(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE(ROW_FIELDS));
    put_row(f, 9, "old");
    put_long(&f->value, 0);
    put_source_and_op(f, "d");
    assert_ok(f);
    assert_int_equal(f->change.before[0].i, 9);
    assert_int_equal(f->change.before[1].tag, VALUE_ABSENT);
    assert_int_equal(f->change.before[2].tag, VALUE_ABSENT);
    assert_null(f->change.after);
}

static void of_a_row_before_without_key_everything_is_believed(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE("{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":[\"null\",\"string\"]}"));
    put_long(&f->value, 1);
    put_long(&f->value, 3);
    put_long(&f->value, 1);
    put_text(&f->value, "old");
    put_long(&f->value, 0);
    put_source_and_op(f, "d");
    assert_ok(f);
    assert_int_equal(f->change.before[0].i, 3);
    assert_text(&f->change.before[1], "old");
}

static void an_update_without_key_and_without_the_row_before_is_refused(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE("{\"name\":\"a\",\"type\":\"int\"}"));
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 3);
    put_source_and_op(f, "u");
    assert_int_equal(decode(f), REJECT);
    assert_int_equal(f->err.id, ERR_JOURNAL_CORRUPT);
}

static void columns_that_the_header_marks_are_absent_and_not_looked_at(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE(ROW_FIELDS));
    buf_putc(&f->header, 0x06);
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 5);
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_bytes(&f->value, "", 0); /* no decimal, but nobody looks */
    put_source_and_op(f, "u");
    assert_ok(f);
    assert_int_equal(f->change.after[0].i, 5);
    assert_int_equal(f->change.after[1].tag, VALUE_ABSENT);
    assert_int_equal(f->change.after[2].tag, VALUE_ABSENT);
}

static void the_other_key_of_a_moved_row_fills_the_key_columns(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    f->header.data[1] = HEADER_HAS_OTHER | HEADER_MOVED_PARTIAL;
    put_frame(&f->key, memory_add(&f->memory, KEY_SCHEMA));
    put_long(&f->key, 77);
    assert_ok(f);
    assert_true(f->change.moved_partial);
    assert_int_equal(f->change.other[0].i, 77);
    assert_int_equal(f->change.other[1].tag, VALUE_ABSENT);
    buf_putc(&f->key, 0);
    assert_rejected(f, "after the end");
    buf_clear(&f->key);
    assert_rejected(f, "other key");
    put_frame(
        &f->key,
        memory_add(
            &f->memory,
            "{\"type\":\"record\",\"name\":\"Key\",\"fields\":[{\"name\":\"id\",\"type\":\"string\"}]}"));
    put_text(&f->key, "77");
    assert_rejected(f, "does not fit");
}

static void a_key_of_several_columns_maps_by_place(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE(
                 "{\"name\":\"a\",\"type\":\"int\",\"millrace.key\":2},{\"name\":\"b\",\"type\":\"string\"},"
                 "{\"name\":\"c\",\"type\":\"string\",\"millrace.key\":1}"));
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 1);
    put_text(&f->value, "b");
    put_text(&f->value, "c");
    put_source_and_op(f, "c");
    f->header.data[1] = HEADER_HAS_OTHER;
    put_frame(
        &f->key,
        memory_add(&f->memory,
                   "{\"type\":\"record\",\"name\":\"Key\",\"fields\":[{\"name\":\"c\",\"type\":\"string\"},"
                   "{\"name\":\"a\",\"type\":\"int\"}]}"));
    put_text(&f->key, "old");
    put_long(&f->key, 8);
    assert_ok(f);
    assert_int_equal(f->change.table->key[0], 2);
    assert_int_equal(f->change.table->key[1], 0);
    assert_int_equal(f->change.other[0].i, 8);
    assert_int_equal(f->change.other[1].tag, VALUE_ABSENT);
    assert_text(&f->change.other[2], "old");
}

/* ---- other writers' layouts ---- */

static void fields_are_found_by_name_and_unknown_ones_are_skipped(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE_OPEN TAIL
          ","
          "{\"name\":\"x_record\",\"type\":{\"type\":\"record\",\"name\":\"X\",\"fields\":[{\"name\":"
          "\"next\",\"type\":[\"null\",\"X\"]}]}},"
          "{\"name\":\"x_array\",\"type\":{\"type\":\"array\",\"items\":[\"null\",\"string\"]}},"
          "{\"name\":\"x_map\",\"type\":{\"type\":\"map\",\"values\":\"double\"}},"
          "{\"name\":\"x_enum\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}},"
          "{\"name\":\"x_fixed\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}},"
          "{\"name\":\"after\",\"type\":" ROW_OPEN ROW_FIELDS ROW_CLOSE "}]}");
    put_text(&f->value, "u");
    put_long(&f->value, 0);
    put_long(&f->value, 1); /* X { next: X { next: null } } */
    put_long(&f->value, 0);
    put_long(&f->value, 1); /* a block of one, a block with its size, the end */
    put_long(&f->value, 0);
    put_long(&f->value, -2);
    put_long(&f->value, 2);
    put_long(&f->value, 0);
    put_long(&f->value, 0);
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_text(&f->value, "k");
    put_double(&f->value, 1.5);
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    buf_put(&f->value, "abc", 3);
    put_long(&f->value, 6);
    put_long(&f->value, 0);
    put_long(&f->value, 0);
    assert_ok(f);
    assert_int_equal(f->change.op, OP_UPDATE);
    assert_int_equal(f->change.after[0].i, 6);
    assert_int_equal(f->change.after[1].tag, VALUE_NULL);
    assert_int_equal(f->change.commit_us, 0);
}

static void null_may_be_the_second_branch(void **state) {
    struct fixture *f = *state;
    begin(f,
          ENVELOPE(
              "{\"name\":\"a\",\"type\":[{\"type\":\"int\",\"connect.default\":3},\"null\"],\"default\":3},"
              "{\"name\":\"b\",\"type\":[\"string\",\"null\"],\"default\":\"\\u0000\"}"));
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 0);
    put_long(&f->value, 4);
    put_long(&f->value, 1);
    put_source_and_op(f, "r");
    assert_ok(f);
    assert_int_equal(f->change.after[0].i, 4);
    assert_int_equal(f->change.after[1].tag, VALUE_NULL);
    assert_true(f->change.table->columns[0].nullable);
}

static void without_our_attributes_the_table_is_named_by_its_topic(void **state) {
    struct fixture *f = *state;
    begin(f, ENVELOPE_OPEN BEFORE(
                 ROW_OPEN "{\"name\":\"a\",\"type\":\"long\"}],\"connect.name\":\"shop.public.t.Value\"}")
                 AFTER TAIL "]}");
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 4);
    put_text(&f->value, "c");
    put_long(&f->value, 0);
    assert_ok(f);
    assert_string_equal(f->change.table->schema, "public");
    assert_string_equal(f->change.table->name, "t");
    assert_string_equal(f->change.table->columns[0].type, "");
}

static void exact_names_user_types_and_labels_come_from_our_attributes(void **state) {
    struct fixture *f = *state;
    begin(
        f,
        ENVELOPE_OPEN BEFORE(
            ROW_OPEN
            "{\"name\":\"_1st\",\"type\":\"int\",\"millrace.name\":\"1st\"},"
            "{\"name\":\"mood\",\"type\":{\"type\":\"string\",\"connect.name\":\"io.debezium.data.Enum\","
            "\"connect.parameters\":{\"allowed\":\"a,b,c\"}}},"
            "{\"name\":\"odd\",\"type\":{\"type\":\"string\",\"connect.name\":\"io.debezium.data.Enum\","
            "\"connect.parameters\":{\"allowed\":\"so,so,fine\"}}},"
            "{\"name\":\"bits\",\"type\":{\"type\":\"bytes\",\"connect.name\":\"io.debezium.data.Bits\","
            "\"connect.parameters\":{\"length\":\"10\"}}}"
            "],\"millrace.table\":[\"my.schema\",\"My Table\"],\"millrace.partial\":true,\"millrace.types\":["
            "{\"enum\":[\"s\",\"e\"],\"labels\":[\"so,so\",\"fine\"]},"
            "{\"composite\":[\"s\",\"c\"],\"attributes\":[[\"x\",\"int\"],[\"y\",\"text\"]]},{\"extension\":"
            "\"hstore\"}]}") AFTER TAIL "]}");
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 1);
    put_text(&f->value, "b");
    put_text(&f->value, "so,so");
    put_bytes(&f->value, "\x05\x02", 2);
    put_text(&f->value, "c");
    put_long(&f->value, 0);
    assert_ok(f);
    const struct table *table = f->change.table;
    assert_string_equal(table->schema, "my.schema");
    assert_string_equal(table->name, "My Table");
    assert_true(table->partial);
    assert_string_equal(table->columns[0].name, "1st");
    assert_string_equal(table->columns[1].labels[2], "c");
    assert_null(table->columns[1].labels[3]);
    assert_string_equal(table->columns[2].labels[0], "so,so");
    assert_null(table->columns[2].labels[2]);
    assert_int_equal(table->columns[3].length, 10);
    assert_text(&f->change.after[3], "1000000101");
    assert_int_equal(table->n_types, 3);
    assert_int_equal(table->types[1].kind, USER_TYPE_COMPOSITE);
    assert_string_equal(table->types[1].labels[1], "y");
    assert_string_equal(table->types[1].label_types[1], "text");
    assert_string_equal(table->types[2].name, "hstore");
    assert_null(table->types[2].schema);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_create_comes_back_with_its_row_position_and_source),
        TEST(the_table_is_rebuilt_from_the_schema_alone),
        TEST(a_schema_is_asked_for_once_and_its_table_stays),
        TEST(a_tombstone_without_our_header_is_nothing_to_apply),
        TEST(a_truncate_has_no_rows),
        TEST(of_a_keyed_row_before_only_the_key_is_believed),
        TEST(of_a_row_before_without_key_everything_is_believed),
        TEST(an_update_without_key_and_without_the_row_before_is_refused),
        TEST(columns_that_the_header_marks_are_absent_and_not_looked_at),
        TEST(the_other_key_of_a_moved_row_fills_the_key_columns),
        TEST(a_key_of_several_columns_maps_by_place),
        TEST(fields_are_found_by_name_and_unknown_ones_are_skipped),
        TEST(null_may_be_the_second_branch),
        TEST(without_our_attributes_the_table_is_named_by_its_topic),
        TEST(exact_names_user_types_and_labels_come_from_our_attributes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
