#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "journal/embedded/chunk.h"

/* Four records with everything that a record may have, and offsets and times that jump. */
static const struct journal_header headers[] = {{"millrace", {"head", 4}},
                                                {"__debezium.oldkey", {"old", 3}},
                                                {"somebody's", {"", 0}},
                                                {"none", {NULL, 0}}};

static struct chunk_head example(struct chunk *c, struct buf *raw) {
    chunk_headers(raw, headers, 4);
    const struct chunk_record records[] = {
        {7, 1000000, {"k", 1}, {"value", 5}, buf_slice(raw)},
        {8, 999999, {"", 0}, {NULL, 0}, {NULL, 0}}, /* the clock went back */
        {1000, INT64_MAX, {NULL, 0}, {"", 0}, {NULL, 0}},
        {INT64_MAX / 2, -5, {"other", 5}, {"x", 1}, {NULL, 0}},
    };
    for (size_t i = 0; i < 4; i++)
        chunk_put(c, &records[i]);
    return (struct chunk_head){3, c->first, c->last, c->ts_us};
}

static void what_is_written_is_read(void **state) {
    struct chunk chunk = {0};
    struct chunk_cursor cursor;
    struct chunk_record r;
    CLEANUP_BUF raw = {0};
    (void)state;
    struct chunk_head head = example(&chunk, &raw);
    assert_int_equal(head.first, 7);
    assert_int_equal(head.last, INT64_MAX / 2);
    assert_true(head.ts_us == INT64_MAX);
    assert_true(
        chunk_open(&cursor, &head, chunk_crc(&head, buf_slice(&chunk.bytes)), buf_slice(&chunk.bytes)));
    assert_int_equal(chunk_next(&cursor, &r), OK);
    assert_int_equal(r.offset, 7);
    assert_int_equal(r.ts_us, 1000000);
    assert_true(slice_is(r.key, "k") && slice_is(r.value, "value"));
    assert_true(slice_is(chunk_header(r.headers, "millrace"), "head"));
    assert_true(slice_is(chunk_header(r.headers, "__debezium.oldkey"), "old"));
    assert_null(chunk_header(r.headers, "__debezium.newkey").data);
    assert_null(chunk_header(r.headers, "none").data);
    assert_non_null(chunk_header(r.headers, "somebody's").data);
    assert_int_equal(chunk_next(&cursor, &r), OK);
    assert_int_equal(r.offset, 8);
    assert_int_equal(r.ts_us, 999999);
    assert_true(r.key.data && r.key.len == 0 && !r.value.data && !r.headers.data);
    assert_int_equal(chunk_next(&cursor, &r), OK);
    assert_int_equal(r.offset, 1000);
    assert_true(r.ts_us == INT64_MAX && !r.key.data && r.value.data && r.value.len == 0);
    assert_int_equal(chunk_next(&cursor, &r), OK);
    assert_true(r.offset == INT64_MAX / 2 && r.ts_us == -5);
    assert_int_equal(chunk_next(&cursor, &r), AGAIN);
    chunk_free(&chunk);
}

/* Bytes of exactly their size, so that the address sanitizer sees a read one byte past their end. */
static bool is_whole(const struct chunk_head *head, uint32_t crc, const char *bytes, size_t n) {
    struct chunk_cursor cursor;
    char *copy = xmalloc(n ? n : 1);
    memcpy(copy, bytes, n);
    bool whole = chunk_open(&cursor, head, crc, slice_make(copy, n));
    free(copy);
    return whole;
}

static void every_truncation_and_every_flipped_bit_is_seen(void **state) {
    struct chunk chunk = {0};
    CLEANUP_BUF raw = {0};
    (void)state;
    struct chunk_head head = example(&chunk, &raw), other;
    uint32_t crc = chunk_crc(&head, buf_slice(&chunk.bytes));
    assert_true(is_whole(&head, crc, chunk.bytes.data, chunk.bytes.len));
    for (size_t n = 0; n < chunk.bytes.len; n++)
        assert_false(is_whole(&head, crc, chunk.bytes.data, n));
    for (size_t bit = 0; bit < chunk.bytes.len * 8; bit++) {
        chunk.bytes.data[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(is_whole(&head, crc, chunk.bytes.data, chunk.bytes.len));
        chunk.bytes.data[bit / 8] ^= (char)(1 << bit % 8);
    }
    for (size_t bit = 0; bit < sizeof head * 8; bit++) { /* a chunk in another row's place, too */
        other = head;
        ((char *)&other)[bit / 8] ^= (char)(1 << bit % 8);
        assert_false(is_whole(&other, crc, chunk.bytes.data, chunk.bytes.len));
    }
    chunk_free(&chunk);
}

/* As if the checksum had missed it: whatever the bytes are, nothing outside of them is read, and offsets stay
 * in the chunk. */
static void bytes_that_make_no_sense_are_refused(void **state) {
    struct chunk chunk = {0};
    CLEANUP_BUF raw = {0};
    (void)state;
    struct chunk_head head = example(&chunk, &raw);
    int refused = 0;
    for (size_t n = 1; n <= chunk.bytes.len; n++)
        for (size_t at = 0; at < n; at++)
            for (int flip = 1; flip < 256; flip = flip * 2 + 1) {
                struct chunk_cursor cursor;
                struct chunk_record r;
                char *copy = xmalloc(n);
                memcpy(copy, chunk.bytes.data, n);
                copy[at] ^= (char)flip;
                struct slice bytes = slice_make(copy, n);
                enum code code;
                assert_true(chunk_open(&cursor, &head, chunk_crc(&head, bytes), bytes));
                while ((code = chunk_next(&cursor, &r)) == OK) {
                    assert_true(r.offset >= head.first && r.offset <= head.last);
                    (void)chunk_header(r.headers, "none");
                }
                refused += code == REJECT;
                free(copy);
            }
    assert_true(refused > 1000);
    chunk_free(&chunk);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(every_truncation_and_every_flipped_bit_is_seen),
        cmocka_unit_test(bytes_that_make_no_sense_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
