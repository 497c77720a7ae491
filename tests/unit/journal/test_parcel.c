#include "journal/kafka/parcel.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

enum { MANY = 5000, BYTES = 300 };

static size_t blocks(const struct parcels *all) {
    size_t n = 0;
    for (const struct parcel_block *b = all->blocks; b; b = b->next)
        n++;
    return n;
}

static struct parcel *make(struct parcels *all, int i) {
    char text[BYTES + 1];
    snprintf(text, sizeof text, "%0*d", BYTES, i);
    return parcel_new(all, i, (uint32_t)i, slice_make(text, (size_t)(BYTES - i % 7)));
}

static void check(const struct parcel *p, int i) {
    char text[BYTES + 1];
    snprintf(text, sizeof text, "%0*d", BYTES, i);
    assert_int_equal(p->topic, i);
    assert_int_equal(p->charge, i);
    assert_memory_equal(p->payload, text, (size_t)(BYTES - i % 7));
}

static void payloads_stay_while_others_come_and_go(void **state) {
    (void)state;
    struct parcels all = {0};
    static struct parcel *p[MANY];
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < MANY; i++)
            p[i] = make(&all, i);
        assert_true(blocks(&all) > 4);
        for (int i = 0; i < MANY; i += 2) { /* partitions are acknowledged each in its own order */
            check(p[i], i);
            parcel_free(&all, p[i]);
        }
        for (int i = 1; i < MANY; i += 2) {
            check(p[i], i);
            parcel_free(&all, p[i]);
        }
        assert_true(blocks(&all) <= 1);
    }
    parcels_free(&all);
}

static void a_stream_of_records_needs_no_more_than_what_is_on_its_way(void **state) {
    (void)state;
    struct parcels all = {0};
    struct parcel *last = make(&all, 0);
    for (int i = 1; i < 100 * MANY; i++) {
        struct parcel *p = make(&all, i);
        parcel_free(&all, last);
        last = p;
        assert_true(blocks(&all) <= 2);
    }
    parcel_free(&all, last);
    parcels_free(&all);
}

static void a_payload_larger_than_a_block_has_one_of_its_own(void **state) {
    (void)state;
    struct parcels all = {0};
    CLEANUP_BUF big = {0};
    memset(buf_room(&big, 3 * PARCEL_BLOCK_BYTES), 'x', 3 * PARCEL_BLOCK_BYTES);
    big.len = 3 * PARCEL_BLOCK_BYTES;
    struct parcel *small = make(&all, 1), *large = parcel_new(&all, 2, 2, buf_slice(&big)),
                  *after = make(&all, 3);
    assert_memory_equal(large->payload, big.data, big.len);
    check(small, 1);
    check(after, 3);
    parcel_free(&all, large);
    assert_int_equal(blocks(&all), 2);
    check(small, 1);
    parcel_free(&all, small);
    check(after, 3);
    parcels_free(&all); /* what is still out goes with it: the leak check sees */
}

static void nothing_is_a_payload_too(void **state) {
    (void)state;
    struct parcels all = {0};
    struct parcel *p = parcel_new(&all, 0, 0, (struct slice){0});
    parcel_free(&all, p);
    parcels_free(&all);
    parcels_free(&all);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(payloads_stay_while_others_come_and_go),
        cmocka_unit_test(a_stream_of_records_needs_no_more_than_what_is_on_its_way),
        cmocka_unit_test(a_payload_larger_than_a_block_has_one_of_its_own),
        cmocka_unit_test(nothing_is_a_payload_too),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
