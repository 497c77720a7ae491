/* Records and schemas that are wrong, on purpose and by chance: rejected, and by a bounded effort. */
#include "decode_case.h"
#include "schemas/decode_plan.h"
#include "schemas/encode.h"

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

/* ---- schemas that cannot be used ---- */

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

/* ---- records that are wrong by chance ---- */

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

int main(void) {
    const struct CMUnitTest tests[] = {
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
        cmocka_unit_test(twenty_thousand_mutated_schemas_are_compiled_or_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
