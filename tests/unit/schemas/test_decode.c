#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>

#include "decode_help.h"
#include "schemas/decode.h"
#include "schemas/decode_value.h"
#include "schemas/encode.h"

/* ---- the table of most tests: (id int4, note text, amount numeric(12,2)), key (id)
 * --------------------------------- */

#define ROW_FIELDS                                                                                          \
    "{\"name\":\"id\",\"type\":\"int\",\"millrace.type\":\"integer\",\"millrace.key\":1},"                  \
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null,\"millrace.type\":\"text\"},"       \
    "{\"name\":\"amount\",\"type\":[\"null\",{\"type\":\"bytes\",\"scale\":2,\"precision\":12,\"connect."   \
    "version\":1,"                                                                                          \
    "\"connect.parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":\"12\"},"                        \
    "\"connect.name\":\"org.apache.kafka.connect.data.Decimal\",\"logicalType\":\"decimal\"}],\"default\":" \
    "null,"                                                                                                 \
    "\"millrace.type\":\"numeric(12,2)\"}"
#define ROW_OPEN  "{\"type\":\"record\",\"name\":\"Value\",\"fields\":["
#define ROW_CLOSE "],\"connect.name\":\"shop.public.t.Value\",\"millrace.table\":[\"public\",\"t\"]}"
#define SOURCE                                                                                              \
    "{\"name\":\"source\",\"type\":{\"type\":\"record\",\"name\":\"Source\",\"namespace\":\"io.debezium\"," \
    "\"fields\":["                                                                                          \
    "{\"name\":\"version\",\"type\":\"string\"},{\"name\":\"ts_ms\",\"type\":\"long\"},"                    \
    "{\"name\":\"snapshot\",\"type\":[{\"type\":\"string\",\"connect.default\":\"false\"},\"null\"],"       \
    "\"default\":\"false\"},"                                                                               \
    "{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"                                   \
    "{\"name\":\"txId\",\"type\":[\"null\",\"long\"],\"default\":null},"                                    \
    "{\"name\":\"lsn\",\"type\":[\"null\",\"long\"],\"default\":null}]}}"
#define ENVELOPE_OPEN \
    "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"shop.public.t\",\"fields\":["
#define BEFORE(row)      "{\"name\":\"before\",\"type\":[\"null\"," row "],\"default\":null},"
#define AFTER            "{\"name\":\"after\",\"type\":[\"null\",\"Value\"],\"default\":null},"
#define OP               "{\"name\":\"op\",\"type\":\"string\"}"
#define TAIL             OP ",{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"],\"default\":null}"
#define ENVELOPE_CLOSE   "]}"
#define ENVELOPE(fields) ENVELOPE_OPEN BEFORE(ROW_OPEN fields ROW_CLOSE) AFTER SOURCE "," TAIL ENVELOPE_CLOSE
#define KEY_SCHEMA                                                                       \
    "{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"shop.public.t\",\"fields\":[" \
    "{\"name\":\"id\",\"type\":\"int\",\"millrace.type\":\"integer\"}]}"

struct fixture {
    struct memory_store memory;
    struct decoder *decoder;
    struct arena arena;
    struct buf value, header, key;
    struct change change;
    struct err err;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    f->memory = (struct memory_store)MEMORY_STORE;
    f->decoder = decoder_new(&f->memory.store);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    decoder_free(f->decoder);
    schema_store_free(&f->memory.store);
    arena_free(&f->arena);
    buf_free(&f->value);
    buf_free(&f->header);
    buf_free(&f->key);
    free(f);
    return 0;
}

/* Begins a record of the schema: its header and frame. */
static void begin(struct fixture *f, const char *schema) {
    buf_clear(&f->value);
    buf_clear(&f->header);
    buf_clear(&f->key);
    put_header(&f->header, 0, 1, 0x16B3748, 7, shape_of(schema));
    put_frame(&f->value, memory_add(&f->memory, schema));
}

static void put_source_and_op(struct fixture *f, const char *op) {
    put_text(&f->value, "0.1");
    put_long(&f->value, 1700000000123);
    put_long(&f->value, 0);
    put_text(&f->value, "false");
    put_long(&f->value, 1);
    put_long(&f->value, 1700000000123456);
    put_long(&f->value, 1);
    put_long(&f->value, 4711);
    put_long(&f->value, 1);
    put_long(&f->value, 0x16B3700);
    put_text(&f->value, op);
    put_long(&f->value, 1);
    put_long(&f->value, 1700000000999);
}

static void put_row(struct fixture *f, int64_t id, const char *note) {
    put_long(&f->value, 1);
    put_long(&f->value, id);
    put_long(&f->value, 1);
    put_text(&f->value, note);
    put_long(&f->value, 1);
    put_bytes(&f->value, "\x04\xd2", 2);
}

static struct encoded record_of(const struct fixture *f) {
    return (struct encoded){
        .value = buf_slice(&f->value), .header = buf_slice(&f->header), .other_key = buf_slice(&f->key)};
}

static enum code decode(struct fixture *f) {
    struct encoded record = record_of(f);
    arena_reset(&f->arena);
    f->err = (struct err){0};
    return decoder_change(f->decoder, &record, &f->arena, &f->change, &f->err);
}

/* A whole create of row (5, "hello", 12.34). */
static void write_create(struct fixture *f, const char *schema) {
    begin(f, schema);
    put_long(&f->value, 0);
    put_row(f, 5, "hello");
    put_source_and_op(f, "c");
}

static void assert_ok(struct fixture *f) {
    enum code code = decode(f);
    if (code != OK)
        fail_msg("%s: %s", code_name(code), f->err.text);
}

static void assert_rejected(struct fixture *f, const char *words) {
    assert_int_equal(decode(f), REJECT);
    assert_int_equal(f->err.id, ERR_JOURNAL_CORRUPT);
    if (!strstr(f->err.text, words))
        fail_msg("'%s' is not in: %s", words, f->err.text);
}

static void assert_text(const struct value *value, const char *text) {
    assert_int_equal(value->tag, VALUE_TEXT);
    if (!slice_is(value->s, text))
        fail_msg("'%.*s' is not '%s'", (int)value->s.len, value->s.data, text);
}

/* ---- what a good record says
 * --------------------------------------------------------------------------------------- */

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

/* ---- other writers' layouts
 * ---------------------------------------------------------------------------------------- */

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

/* ---- values
 * ----------------------------------------------------------------------------------------------------------
 */

static struct value read_one(struct arena *arena, struct plan_column column, const struct buf *bytes,
                             const char **ret_why) {
    struct value value = {0};
    struct cursor c = cursor_of(buf_slice(bytes));
    bool good = value_read(&c, &column, arena, &value);
    *ret_why = good ? NULL : c.why;
    assert_true(good == (c.why == NULL));
    return value;
}

static void a_decimal_has_exactly_its_scale(void **state) {
    static const struct {
        const char *bytes;
        size_t len;
        int scale;
        const char *text;
    } cases[] = {
        {"\x00", 1, 0, "0"},
        {"\x00", 1, 2, "0.00"},
        {"\x05", 1, 2, "0.05"},
        {"\xff", 1, 2, "-0.01"},
        {"\x04\xd2", 2, 2, "12.34"},
        {"\xfb\x2e", 2, 2, "-12.34"},
        {"\x00\x00\x04\xd2", 4, 1, "123.4"},
        {"\x80", 1, 0, "-128"},
        {"\x7f", 1, 3, "0.127"},
        {"\x0c", 1, -3, "12000"},
        {"\x00", 1, -3, "0"},
        {"\x7f\xff\xff\xff\xff\xff\xff\xff", 8, 0, "9223372036854775807"},
        {"\x80\x00\x00\x00\x00\x00\x00\x00", 8, 4, "-922337203685477.5808"},
        {"\x7f\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 16, 0,
         "170141183460469231731687303715884105727"},
        {"\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 16, 38,
         "-1.70141183460469231731687303715884105728"},
        {"\x00\x8a\xc7\x23\x04\x89\xe8\x00\x00", 9, 0, "10000000000000000000"},
        {"\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 0,
         "340282366920938463463374607431768211456"},
        {"\xff\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 5,
         "-3402823669209384634633746074317682.11456"},
        {"\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00", 17, 2, "0.00"},
        {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 17, 2, "-0.01"},
    };
    struct arena arena = {0};
    struct slice text;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_true(decimal_text(slice_make(cases[i].bytes, cases[i].len), cases[i].scale, &arena, &text));
        if (!slice_is(text, cases[i].text))
            fail_msg("'%.*s' is not '%s'", (int)text.len, text.data, cases[i].text);
    }
    assert_false(decimal_text(slice_make("", 0), 0, &arena, &text));
    arena_free(&arena);
}

/* 10^n, n = 0 .. 1000, made by multiplication; the longest has 416 bytes. */
static void decimals_of_a_thousand_digits_are_exact(void **state) {
    unsigned char number[DECIMAL_BYTES_MAX] = {[DECIMAL_BYTES_MAX - 1] = 1};
    struct arena arena = {0};
    struct slice text;
    (void)state;
    for (int n = 0; n <= 1000; n++) {
        arena_reset(&arena);
        assert_true(decimal_text(slice_make(number, sizeof number), 0, &arena, &text));
        assert_int_equal(text.len, n + 1);
        assert_int_equal(text.data[0], '1');
        for (int i = 1; i <= n; i++)
            assert_int_equal(text.data[i], '0');
        assert_true(decimal_text(slice_make(number, sizeof number), 1000, &arena, &text));
        assert_int_equal(text.len, 1002);
        assert_int_equal(text.data[n == 1000 ? 0 : 1001 - n], '1');
        unsigned carry = 0;
        for (int i = DECIMAL_BYTES_MAX - 1; i >= 0; i--) {
            carry += number[i] * 10u;
            number[i] = (unsigned char)carry;
            carry >>= 8;
        }
    }
    char too_long[DECIMAL_BYTES_MAX + 1] = {0};
    assert_false(decimal_text(slice_make(too_long, sizeof too_long), 0, &arena, &text));
    arena_free(&arena);
}

static void text_must_be_utf8_without_nul(void **state) {
    static const char *const good[] = {"",
                                       "a",
                                       "12345678",
                                       "123456789",
                                       "grün",
                                       "日本語テキスト",
                                       "\xf0\x9f\x98\x80",
                                       "\xf4\x8f\xbf\xbf",
                                       "abcdefgü"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xe0\x80\x80",
                                      "\xed\xa0\x80",
                                      "\xf0\x80\x80\x80",
                                      "\xf4\x90\x80\x80",
                                      "\xf8",
                                      "\xff",
                                      "abcdefgh\xc3",
                                      "\xc3(",
                                      "\xe2\x82",
                                      "12345678\xfe"};
    (void)state;
    for (size_t i = 0; i < sizeof good / sizeof *good; i++)
        assert_true(text_valid(slice_of(good[i])));
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        assert_false(text_valid(slice_of(bad[i])));
    for (size_t at = 0; at < 20; at++) {
        char text[20];
        memset(text, 'x', sizeof text);
        text[at] = '\0';
        assert_false(text_valid(slice_make(text, sizeof text)));
        text[at] = '\x7f';
        assert_true(text_valid(slice_make(text, sizeof text)));
    }
}

static void milliseconds_become_microseconds_but_infinities_stay(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    (void)state;
    const struct {
        enum kind kind;
        int64_t wire, value;
    } cases[] = {
        {KIND_TIME_MS, 86400000, 86400000000},
        {KIND_TIMESTAMP_MS, -1, -1000},
        {KIND_TIMESTAMP_MS, TIMESTAMP_INFINITY, TIMESTAMP_INFINITY},
        {KIND_TIMESTAMP_MS, TIMESTAMP_MINUS_INFINITY, TIMESTAMP_MINUS_INFINITY},
        {KIND_TIMESTAMP, INT64_MIN, INT64_MIN},
        {KIND_TIMESTAMP, TIMESTAMP_INFINITY, TIMESTAMP_INFINITY},
        {KIND_DATE, DATE_MINUS_INFINITY, DATE_MINUS_INFINITY},
        {KIND_INT64, INT64_MAX, INT64_MAX},
        {KIND_INT32, INT32_MIN, INT32_MIN},
        {KIND_INT16, -32768, -32768},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_long(&bytes, cases[i].wire);
        struct value value =
            read_one(&arena, (struct plan_column){.kind = cases[i].kind, .null_at = -1}, &bytes, &why);
        assert_null(why);
        assert_int_equal(value.tag, VALUE_INT);
        assert_true(value.i == cases[i].value);
    }
    buf_free(&bytes);
    arena_free(&arena);
}

static void numbers_outside_their_kind_are_rejected(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    (void)state;
    const struct {
        enum kind kind;
        int64_t wire;
    } cases[] = {
        {KIND_INT16, 32768},
        {KIND_INT16, INT64_MIN},
        {KIND_INT32, INT64_C(2147483648)},
        {KIND_DATE, INT64_MIN},
        {KIND_TIME_MS, INT64_MAX},
        {KIND_TIMESTAMP_MS, INT64_MAX},
        {KIND_TIMESTAMP_MS, INT64_MIN},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_long(&bytes, cases[i].wire);
        read_one(&arena, (struct plan_column){.kind = cases[i].kind, .null_at = -1}, &bytes, &why);
        assert_non_null(why);
    }
    buf_clear(&bytes);
    buf_putc(&bytes, 2);
    read_one(&arena, (struct plan_column){.kind = KIND_BOOL, .null_at = -1}, &bytes, &why);
    assert_non_null(why);
    buf_free(&bytes);
    arena_free(&arena);
}

static void floats_keep_nan_infinity_and_minus_zero(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    const double cases[] = {0.0, -0.0, INFINITY, -INFINITY, 1.5, -3.25};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        buf_clear(&bytes);
        put_float(&bytes, (float)cases[i]);
        struct value value =
            read_one(&arena, (struct plan_column){.kind = KIND_FLOAT32, .null_at = -1}, &bytes, &why);
        assert_true(value.tag == VALUE_FLOAT && value.d == cases[i] && signbit(value.d) == signbit(cases[i]));
        buf_clear(&bytes);
        put_double(&bytes, cases[i]);
        value = read_one(&arena, (struct plan_column){.kind = KIND_FLOAT64, .null_at = -1}, &bytes, &why);
        assert_true(value.tag == VALUE_FLOAT && value.d == cases[i] && signbit(value.d) == signbit(cases[i]));
    }
    buf_clear(&bytes);
    put_double(&bytes, NAN);
    assert_true(
        isnan(read_one(&arena, (struct plan_column){.kind = KIND_FLOAT64, .null_at = -1}, &bytes, &why).d));
    buf_free(&bytes);
    arena_free(&arena);
}

static void bits_beyond_the_length_are_rejected(void **state) {
    struct arena arena = {0};
    struct buf bytes = {0};
    const char *why;
    const struct plan_column ten = {.kind = KIND_BITS, .null_at = -1, .length = 10};
    (void)state;
    put_bytes(&bytes, "\x01", 1);
    struct value value = read_one(&arena, ten, &bytes, &why);
    assert_text(&value, "0000000001");
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00\x04", 2);
    read_one(&arena, ten, &bytes, &why);
    assert_non_null(why);
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00\x00\x00", 3);
    read_one(&arena, ten, &bytes, &why);
    assert_non_null(why);
    buf_clear(&bytes);
    put_bytes(&bytes, "\x00", 1); /* nothing is allocated because a schema is large */
    read_one(&arena, (struct plan_column){.kind = KIND_BITS, .null_at = -1, .length = 80000000}, &bytes,
             &why);
    assert_non_null(why);
    buf_free(&bytes);
    arena_free(&arena);
}

/* ---- records that are wrong
 * ------------------------------------------------------------------------------------------ */

static void a_wrong_header_is_rejected(void **state) {
    struct fixture *f = *state;
    struct position position;
    uint8_t flags;
    write_create(f, ENVELOPE(ROW_FIELDS));
    for (size_t len = 0; len < f->header.len; len++)
        assert_int_equal(header_read(slice_make(f->header.data, len), &position, &flags, &f->err), REJECT);
    f->header.data[0] = 3;
    assert_rejected(f, "another one wrote it");
    f->header.data[0] = 2;
    f->header.data[1] = 64;
    assert_rejected(f, "unknown flags");
    f->header.data[1] = 0;
    buf_putc(&f->header, 0x08); /* the table has three columns */
    assert_rejected(f, "not in the schema");
    f->header.data[30] = 0x01;
    assert_rejected(f, "key column");
    f->header.data[30] = 0;
    buf_putc(&f->header, 0);
    assert_rejected(f, "not in the schema");
}

static void a_schema_that_is_not_the_one_of_the_record_is_found_out(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    f->header.data[29] ^= 1;
    assert_int_equal(decode(f), REJECT);
    assert_int_equal(f->err.id, ERR_SCHEMA_UNKNOWN);
    assert_non_null(strstr(f->err.text, "public.t, and not the one"));
    f->header.data[29] ^= 1;
    assert_ok(f);
}

static void a_wrong_frame_is_rejected(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    f->value.data[0] = 1;
    assert_rejected(f, "0x00");
    f->value.data[0] = 0;
    f->value.data[2] = 1;
    assert_int_equal(decode(f), REJECT);
    assert_int_equal(f->err.id, ERR_SCHEMA_UNKNOWN);
    f->value.data[2] = 0;
    assert_ok(f);
    buf_putc(&f->value, 0);
    assert_rejected(f, "after the end");
}

static void a_record_cut_at_any_byte_is_rejected(void **state) {
    struct fixture *f = *state;
    write_create(f, ENVELOPE(ROW_FIELDS));
    size_t whole = f->value.len;
    for (size_t len = 0; len < whole; len++) {
        char *exact = xmalloc(len + 1); /* its own allocation, so that ASan sees a byte too far */
        memcpy(exact + 1, f->value.data, len);
        struct encoded record = record_of(f);
        record.value = slice_make(exact + 1, len);
        assert_int_equal(decoder_change(f->decoder, &record, &f->arena, &f->change, &f->err), REJECT);
        free(exact);
    }
}

static void operations_and_rows_must_fit(void **state) {
    static const struct {
        bool before, after;
        const char *op;
    } cases[] = {
        {false, false, "c"}, {false, false, "u"}, {true, false, "r"},  {false, false, "d"}, {true, true, "d"},
        {false, true, "m"},  {false, true, ""},   {false, true, "cc"}, {false, true, "C"},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        begin(f, ENVELOPE(ROW_FIELDS));
        if (cases[i].before)
            put_row(f, 1, "a");
        else
            put_long(&f->value, 0);
        if (cases[i].after)
            put_row(f, 1, "a");
        else
            put_long(&f->value, 0);
        put_source_and_op(f, cases[i].op);
        assert_int_equal(decode(f), REJECT);
        assert_int_equal(f->err.id, ERR_JOURNAL_CORRUPT);
    }
}

/* Replaces the length of the text in a row by any varint. */
static void write_length(struct fixture *f, const char *varint, size_t len) {
    begin(f, ENVELOPE(ROW_FIELDS));
    put_long(&f->value, 0);
    put_long(&f->value, 1);
    put_long(&f->value, 5);
    put_long(&f->value, 1);
    buf_put(&f->value, varint, len);
    buf_put(&f->value, "hello", 5);
    put_long(&f->value, 0);
    put_source_and_op(f, "c");
}

static void impossible_lengths_are_rejected(void **state) {
    static const int64_t lengths[] = {INT64_C(1) << 62, INT64_MAX,        INT64_MIN, -1, -5,
                                      INT32_MAX,        INT64_C(1) << 32, 1000};
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        struct buf varint = {0};
        put_long(&varint, lengths[i]);
        write_length(f, varint.data, varint.len);
        assert_rejected(f, "column 'note'");
        buf_free(&varint);
    }
}

static void varints_longer_than_needed_or_64_bits_are_rejected(void **state) {
    struct fixture *f = *state;
    write_length(f, "\x8a\x80\x00", 3);
    assert_rejected(f, "needless");
    write_length(f, "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", 10);
    assert_rejected(f, "64 bits");
    write_length(f, "\x8a\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x00", 12);
    assert_rejected(f, "64 bits");
    write_length(f, "\x0a", 1);
    assert_ok(f);
}

static void a_union_branch_that_does_not_exist_is_rejected(void **state) {
    struct fixture *f = *state;
    const int64_t branches[] = {2, -1, INT64_MAX, INT64_MIN};
    for (size_t i = 0; i < sizeof branches / sizeof *branches; i++) {
        begin(f, ENVELOPE(ROW_FIELDS));
        put_long(&f->value, branches[i]);
        put_row(f, 1, "a");
        put_source_and_op(f, "c");
        assert_rejected(f, "branch");
    }
}

#define WITH_EXTRA(extra)                                                                          \
    ENVELOPE_OPEN "{\"name\":\"extra\",\"type\":" extra "}," BEFORE(ROW_OPEN ROW_FIELDS ROW_CLOSE) \
        AFTER TAIL "]}"

static void values_that_take_no_bytes_cannot_keep_us_busy(void **state) {
    struct fixture *f = *state;
    begin(f, WITH_EXTRA("{\"type\":\"array\",\"items\":\"null\"}"));
    put_long(&f->value, INT64_C(1) << 62);
    assert_rejected(f, "more items");
    /* each of 200 levels of doubling costs no byte */
    CLEANUP_BUF schema = {0};
    buf_puts(&schema, ENVELOPE_OPEN
             "{\"name\":\"extra\",\"type\":{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}},");
    for (int i = 1; i < 60; i++)
        buf_printf(&schema,
                   "{\"name\":\"e%d\",\"type\":{\"type\":\"record\",\"name\":\"R%d\",\"fields\":[{\"name\":"
                   "\"a\",\"type\":\"R%d\"},"
                   "{\"name\":\"b\",\"type\":\"R%d\"}]}},",
                   i, i, i - 1, i - 1);
    buf_puts(&schema, BEFORE(ROW_OPEN ROW_FIELDS ROW_CLOSE) AFTER TAIL "]}");
    begin(f, buf_cstr(&schema));
    put_long(&f->value, 0);
    put_row(f, 1, "a");
    assert_int_equal(decode(f), REJECT);
}

static void a_type_that_holds_itself_is_bounded(void **state) {
    struct fixture *f = *state;
    begin(f, WITH_EXTRA("{\"type\":\"record\",\"name\":\"X\",\"fields\":[{\"name\":\"next\",\"type\":["
                        "\"null\",\"X\"]}]}"));
    for (int i = 0; i < 10000; i++)
        put_long(&f->value, 1);
    assert_rejected(f, "too deeply");
}

/* ---- schemas that cannot be used
 * ------------------------------------------------------------------------------------- */

static void schemas_that_are_no_envelope_are_refused(void **state) {
    static const struct {
        const char *schema, *words;
    } cases[] = {
        {"", ""},
        {"{", ""},
        {"null", ""},
        {"[]", ""},
        {"\"string\"", "envelope"},
        {"{\"type\":\"record\"}", ""},
        {"{\"type\":\"record\",\"name\":\"E\",\"fields\":[]}", "envelope"},
        {ENVELOPE_OPEN OP "]}", "envelope"},
        {ENVELOPE_OPEN BEFORE(ROW_OPEN ROW_FIELDS ROW_CLOSE) OP "]}", "envelope"},
        {ENVELOPE_OPEN BEFORE(ROW_OPEN ROW_FIELDS ROW_CLOSE) AFTER "{\"name\":\"op\",\"type\":\"int\"}]}",
         "envelope"},
        {ENVELOPE("{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":\"int\"}}"), "column 'a'"},
        {ENVELOPE("{\"name\":\"a\",\"type\":{\"type\":\"int\",\"connect.name\":\"io.debezium.time.Year\"}}"),
         "io.debezium.time.Year"},
        {ENVELOPE("{\"name\":\"a\",\"type\":[\"null\",\"int\",\"string\"]}"), "union"},
        {ENVELOPE(
             "{\"name\":\"a\",\"type\":{\"type\":\"bytes\",\"logicalType\":\"decimal\",\"scale\":99999}}"),
         "scale"},
        {ENVELOPE(
             "{\"name\":\"a\",\"type\":{\"type\":\"bytes\",\"connect.name\":\"io.debezium.data.Bits\"}}"),
         "length"},
        {ENVELOPE(
             "{\"name\":\"a\",\"type\":{\"type\":\"string\",\"connect.name\":\"io.debezium.data.Enum\"}}"),
         "labels"},
        {ENVELOPE("{\"name\":\"a\",\"type\":\"int\",\"millrace.key\":2}"), "places"},
        {ENVELOPE("{\"name\":\"a\",\"type\":\"int\",\"millrace.key\":-1}"), "place"},
        {ENVELOPE("{\"name\":\"a\",\"type\":\"int\",\"millrace.key\":1},{\"name\":\"b\",\"type\":\"int\","
                  "\"millrace.key\":1}"),
         "places"},
        {ENVELOPE(
             "{\"name\":\"a\",\"type\":\"int\"},{\"name\":\"b\",\"type\":\"int\",\"millrace.name\":\"a\"}"),
         "twice"},
        {ENVELOPE("{\"name\":\"a\",\"type\":\"nosuch\"}"), ""},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        write_create(f, cases[i].schema);
        assert_rejected(f, cases[i].words);
        int gets = f->memory.gets;
        assert_rejected(f, cases[i].words); /* the answer is kept */
        assert_int_equal(f->memory.gets, gets);
    }
}

static void a_schema_nested_too_deeply_is_refused(void **state) {
    struct fixture *f = *state;
    for (int depth = 20; depth < 20000; depth *= 3) {
        CLEANUP_BUF schema = {0};
        for (int i = 0; i < depth; i++)
            buf_puts(&schema, "{\"type\":\"array\",\"items\":");
        buf_puts(&schema, "\"int\"");
        for (int i = 0; i < depth; i++)
            buf_putc(&schema, '}');
        write_create(f, buf_cstr(&schema));
        assert_rejected(f, "");
    }
}

/* ---- records that are wrong by chance
 * -------------------------------------------------------------------------------- */

static uint64_t next_random(uint64_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return *seed;
}

/* Changes 1 to 4 things in a copy of `bytes`: bits, bytes, cuts, repetitions, extreme varints. */
static void mutate(struct buf *bytes, uint64_t *seed) {
    static const char extreme[][10] = {"\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
                                       "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", "\x01",
                                       "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01"};
    for (uint64_t n = next_random(seed) % 4 + 1; n > 0 && bytes->len > 0; n--) {
        uint64_t random = next_random(seed);
        size_t at = (size_t)(random >> 8) % bytes->len;
        switch (random % 6) {
        case 0:
            bytes->data[at] = (char)(bytes->data[at] ^ (1 << (random >> 40) % 8));
            break;
        case 1:
            bytes->data[at] = (char)(random >> 48);
            break;
        case 2:
            bytes->len = at;
            break;
        case 3:
            buf_putc(bytes, (char)(random >> 48));
            break;
        case 4:
            memmove(bytes->data + at, bytes->data + at + 1, bytes->len - at - 1), bytes->len--;
            break;
        default:
            memcpy(bytes->data + at, extreme[(random >> 40) % 4],
                   bytes->len - at < 10 ? bytes->len - at : 10);
            break;
        }
    }
}

static void two_hundred_thousand_mutations_are_read_or_rejected(void **state) {
    struct fixture *f = *state;
    uint64_t seed = 0x6d696c6c72616365;
    int good = 0;
    write_create(
        f,
        WITH_EXTRA(
            "{\"type\":\"map\",\"values\":{\"type\":\"array\",\"items\":[\"null\",\"string\",\"double\"]}}"));
    buf_clear(&f->value);
    put_frame(&f->value, 0);
    put_long(&f->value, 2);
    for (int i = 0; i < 2; i++) {
        put_text(&f->value, "key");
        put_long(&f->value, 2);
        put_long(&f->value, 1);
        put_text(&f->value, "item");
        put_long(&f->value, 2);
        put_double(&f->value, 1);
        put_long(&f->value, 0);
    }
    put_long(&f->value, 0);
    put_row(f, 1, "before");
    put_row(f, 1, "after");
    put_text(&f->value, "u");
    put_long(&f->value, 1);
    put_long(&f->value, 1700000000000);
    f->header.data[1] = HEADER_HAS_OTHER;
    put_frame(&f->key, memory_add(&f->memory, KEY_SCHEMA));
    put_long(&f->key, 3);
    assert_ok(f);
    struct fixture changed = *f;
    changed.value = changed.header = changed.key = (struct buf){0};
    for (int i = 0; i < 200000; i++) {
        struct buf *parts[] = {&changed.value, &changed.header, &changed.key};
        const struct buf *whole[] = {&f->value, &f->header, &f->key};
        for (int p = 0; p < 3; p++) {
            *parts[p] = (struct buf){0}; /* exactly as large as needed, so that ASan sees a byte too far */
            buf_put_slice(parts[p], buf_slice(whole[p]));
        }
        mutate(parts[i % 8 ? 0 : i / 8 % 3], &seed);
        struct encoded record = record_of(&changed);
        char *exact = xmalloc(record.value.len + 1);
        if (record.value.len)
            memcpy(exact + 1, record.value.data, record.value.len);
        record.value.data = exact + 1;
        arena_reset(&f->arena);
        enum code code = decoder_change(f->decoder, &record, &f->arena, &f->change, &f->err);
        assert_true(code == OK || code == REJECT);
        good += code == OK;
        free(exact);
        for (int p = 0; p < 3; p++)
            buf_free(parts[p]);
    }
    assert_in_range(good, 1, 199999);
}

static void twenty_thousand_mutated_schemas_are_compiled_or_refused(void **state) {
    uint64_t seed = 0x736368656d617321;
    int refused = 0;
    (void)state;
    for (int i = 0; i < 20000; i++) {
        struct buf schema = {0};
        buf_puts(&schema, ENVELOPE(ROW_FIELDS));
        mutate(&schema, &seed);
        struct plan *plan = plan_envelope(buf_slice(&schema));
        assert_true((plan->refused != NULL) || (plan->table && plan->table->digest));
        refused += plan->refused != NULL;
        plan_free(plan);
        buf_free(&schema);
    }
    assert_in_range(refused, 1, 19999);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

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
        TEST(a_decimal_has_exactly_its_scale),
        TEST(decimals_of_a_thousand_digits_are_exact),
        TEST(text_must_be_utf8_without_nul),
        TEST(milliseconds_become_microseconds_but_infinities_stay),
        TEST(numbers_outside_their_kind_are_rejected),
        TEST(floats_keep_nan_infinity_and_minus_zero),
        TEST(bits_beyond_the_length_are_rejected),
        TEST(a_wrong_header_is_rejected),
        TEST(a_schema_that_is_not_the_one_of_the_record_is_found_out),
        TEST(a_wrong_frame_is_rejected),
        TEST(a_record_cut_at_any_byte_is_rejected),
        TEST(operations_and_rows_must_fit),
        TEST(impossible_lengths_are_rejected),
        TEST(varints_longer_than_needed_or_64_bits_are_rejected),
        TEST(a_union_branch_that_does_not_exist_is_rejected),
        TEST(values_that_take_no_bytes_cannot_keep_us_busy),
        TEST(a_type_that_holds_itself_is_bounded),
        TEST(schemas_that_are_no_envelope_are_refused),
        TEST(a_schema_nested_too_deeply_is_refused),
        TEST(two_hundred_thousand_mutations_are_read_or_rejected),
        TEST(twenty_thousand_mutated_schemas_are_compiled_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
