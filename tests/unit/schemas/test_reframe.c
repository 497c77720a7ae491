/* Records that go from one schema store to another. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "memory_store.h"
#include "schemas/encode.h"
#include "schemas/reframe.h"

static struct memory_store from, to;
static struct reframer *reframer;
static uint32_t key, value, unknown = 200;

static int begin(void **state) {
    (void)state;
    memory_init(&from);
    memory_init(&to);
    memory_add(&to, "\"int\""); /* the same schema has another id there */
    memory_add(&to, "\"bytes\"");
    key = memory_add(&from, "\"long\"");
    value = memory_add(&from, "\"string\"");
    reframer = reframer_new(&from.store, &to.store);
    return 0;
}

static int end(void **state) {
    (void)state;
    reframer_free(reframer);
    schema_store_free(&from.store);
    schema_store_free(&to.store);
    return 0;
}

static struct buf framed(uint32_t id, const char *body) {
    struct buf bytes = {0};
    for (int shift = 32; shift >= 0; shift -= 8)
        buf_putc(&bytes, (char)(shift == 32 ? 0 : id >> shift));
    buf_puts(&bytes, body);
    return bytes;
}

static uint32_t id_at(const struct buf *bytes, size_t at) {
    uint32_t id = 0;
    assert_true(bytes->len >= at + 4);
    for (size_t i = at; i < at + 4; i++)
        id = id << 8 | (unsigned char)bytes->data[i];
    return id;
}

static void only_the_id_changes(void **state) {
    CLEANUP_BUF k = framed(key, "\x02"), v = framed(value, "\x04row"), out = {0};
    struct slice text;
    (void)state;
    for (int again = 0; again < 2; again++) {
        assert_int_equal(reframe_key(reframer, "t", buf_slice(&k), &out, NULL), OK);
        assert_int_equal(schema_get(&to.store, id_at(&out, 1), &text, NULL), OK);
        assert_true(slice_eq(text, slice_of("\"long\"")));
        assert_int_equal(reframe_value(reframer, "t", buf_slice(&v), &out, NULL), OK);
        assert_int_equal(schema_get(&to.store, id_at(&out, 1), &text, NULL), OK);
        assert_true(slice_eq(text, slice_of("\"string\"")));
        assert_int_equal(out.len, v.len);
        assert_memory_equal(out.data + 5, v.data + 5, v.len - 5);
    }
    assert_int_equal(from.gets, 2); /* each is asked for once */
}

static void null_stays_null(void **state) {
    CLEANUP_BUF out = {0};
    (void)state;
    buf_puts(&out, "left over");
    assert_int_equal(reframe_value(reframer, "t", (struct slice){0}, &out, NULL), OK);
    assert_int_equal(out.len, 0);
}

static void a_tombstone_names_the_schema_of_its_delete(void **state) {
    char header[HEADER_FIXED + 4] = {HEADER_VERSION, HEADER_TOMBSTONE, 7};
    CLEANUP_BUF out = {0};
    struct slice text;
    struct err err = {0};
    (void)state;
    header[HEADER_FIXED + 3] = (char)value;
    assert_int_equal(reframe_header(reframer, "t", slice_make(header, sizeof header), &out, NULL), OK);
    assert_memory_equal(out.data, header, HEADER_FIXED);
    assert_int_equal(schema_get(&to.store, id_at(&out, HEADER_FIXED), &text, NULL), OK);
    assert_true(slice_eq(text, slice_of("\"string\"")));
    assert_int_equal(reframe_header(reframer, "t", slice_make(header, sizeof header - 1), &out, &err),
                     REJECT);
    assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    header[1] = 0;
    assert_int_equal(reframe_header(reframer, "t", slice_make(header, sizeof header), &out, NULL), OK);
    assert_int_equal(out.len, sizeof header);
    assert_memory_equal(out.data, header, sizeof header);
}

static void what_is_not_framed_or_known_is_refused(void **state) {
    CLEANUP_BUF nobody = framed(unknown, "x"), out = {0};
    static const struct slice bad[] = {{"", 0}, {"\0\0\0", 3}, {"\1\0\0\0\0x", 6}};
    struct err err = {0};
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        assert_int_equal(reframe_value(reframer, "t", bad[i], &out, &err), REJECT);
        assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    }
    assert_int_equal(reframe_value(reframer, "t", buf_slice(&nobody), &out, &err), REJECT);
    assert_int_equal(err.id, ERR_SCHEMA_UNKNOWN);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(only_the_id_changes, begin, end),
        cmocka_unit_test_setup_teardown(null_stays_null, begin, end),
        cmocka_unit_test_setup_teardown(a_tombstone_names_the_schema_of_its_delete, begin, end),
        cmocka_unit_test_setup_teardown(what_is_not_framed_or_known_is_refused, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
