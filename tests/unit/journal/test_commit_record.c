#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/commit_record.h"

static struct commit_topic topics[] = {{"shop.public.item", 4, true, 3}, {"shop.public.log \"x\"", 1, false}};
static struct partition_end ends[] = {{0, 0, 122}, {0, 3, 57}, {1, 0, INT64_MAX}};
static const struct commit_record example = {
    .seq = 41,
    .position = {1, UINT64_C(0x7fffffffffffffff), 10},
    .boundary = true,
    .ts_us = -5,
    .writer = "0af3",
    .pipeline = "77",
    .state = "{\"slot\":\"a\\b\"}\n\x01",
    .topics = topics,
    .n_topics = 2,
    .ends = ends,
    .n_ends = 3,
};

static void what_is_written_is_read(void **state) {
    CLEANUP_BUF json = {0};
    struct arena arena = {0};
    struct commit_record r;
    struct err err;
    (void)state;
    commit_record_write(&example, &json);
    assert_int_equal(commit_record_read(buf_slice(&json), &arena, &r, &err), OK);
    assert_int_equal(r.seq, 41);
    assert_int_equal(position_cmp(r.position, example.position), 0);
    assert_true(r.boundary);
    assert_false(r.full);
    assert_int_equal(r.ts_us, -5);
    assert_string_equal(r.writer, "0af3");
    assert_string_equal(r.pipeline, "77");
    assert_string_equal(r.state, example.state);
    assert_int_equal(r.n_topics, 2);
    for (int i = 0; i < 2; i++) {
        assert_string_equal(r.topics[i].name, topics[i].name);
        assert_int_equal(r.topics[i].partitions, topics[i].partitions);
        assert_int_equal(r.topics[i].compacted, topics[i].compacted);
        assert_int_equal(r.topics[i].born, topics[i].born);
    }
    assert_int_equal(r.n_ends, 3);
    assert_memory_equal(r.ends, ends, sizeof ends);
    arena_free(&arena);
}

static void the_json_is_what_the_header_says(void **state) {
    CLEANUP_BUF json = {0};
    struct commit_topic topic = {"shop.public.t", 4, true};
    struct partition_end two[] = {{0, 0, 122}, {0, 3, 57}};
    struct commit_record r = {.seq = 41,
                              .position = {1, 23873408, 10},
                              .boundary = true,
                              .ts_us = 7,
                              .topics = &topic,
                              .n_topics = 1,
                              .ends = two,
                              .n_ends = 2};
    (void)state;
    commit_record_write(&r, &json);
    assert_string_equal(
        buf_cstr(&json),
        "{\"v\":1,\"seq\":41,\"position\":[1,23873408,10],\"boundary\":true,\"full\":false,\"ts_us\":7,"
        "\"ends\":{\"shop.public.t\":{\"n\":4,\"k\":\"k\",\"p\":{\"0\":122,\"3\":57}}}}");
}

static void what_a_move_says_is_read(void **state) {
    static const struct commit_record moves[] = {
        {.seq = 9, .move = MOVE_SEALED, .move_seq = 8},
        {.seq = 1, .move = MOVE_COPYING, .move_of = "77", .move_seq = 8},
        {.seq = 2, .move = MOVE_MOVED, .move_of = "77", .move_seq = INT64_MAX},
    };
    (void)state;
    for (size_t i = 0; i < sizeof moves / sizeof *moves; i++) {
        CLEANUP_BUF json = {0};
        struct arena arena = {0};
        struct commit_record r;
        commit_record_write(&moves[i], &json);
        assert_int_equal(commit_record_read(buf_slice(&json), &arena, &r, NULL), OK);
        assert_int_equal(r.move, moves[i].move);
        assert_int_equal(r.move_seq, moves[i].move_seq);
        assert_int_equal(!r.move_of, !moves[i].move_of);
        if (r.move_of)
            assert_string_equal(r.move_of, "77");
        arena_free(&arena);
    }
}

static void a_record_without_ends_is_read(void **state) {
    CLEANUP_BUF json = {0};
    struct arena arena = {0};
    struct commit_record r, empty = {.seq = 1, .full = true};
    (void)state;
    commit_record_write(&empty, &json);
    assert_int_equal(commit_record_read(buf_slice(&json), &arena, &r, NULL), OK);
    assert_true(r.full);
    assert_null(r.state);
    assert_null(r.writer);
    assert_int_equal(r.n_topics, 0);
    assert_int_equal(r.n_ends, 0);
    arena_free(&arena);
}

#define HEAD "{\"v\":1,\"seq\":1,\"position\":[1,2,3],\"boundary\":true,\"full\":true,\"ts_us\":1,"

static void rubbish_is_rejected_and_named(void **state) {
    static const char *const rubbish[] = {
        "",
        "null",
        "[]",
        "{}",
        "\xff\xfe",
        "{\"v\":2,\"seq\":1}",
        HEAD "\"ends\":[]}",
        HEAD "\"state\":1,\"ends\":{}}",
        HEAD "\"state\":\"a\\u0000b\",\"ends\":{}}",
        HEAD "\"move\":\"sold\",\"move_seq\":1,\"ends\":{}}",
        HEAD "\"move\":1,\"move_seq\":1,\"ends\":{}}",
        HEAD "\"move\":\"sealed\",\"ends\":{}}",
        HEAD "\"move\":\"sealed\",\"move_seq\":-1,\"ends\":{}}",
        HEAD "\"move\":\"moved\",\"move_seq\":1,\"ends\":{}}",
        HEAD "\"move\":\"copying\",\"move_seq\":1,\"move_of\":7,\"ends\":{}}",
        HEAD "\"ends\":{}} x",
        HEAD "\"ends\":{},\"ends\":{}}",
        HEAD "\"ends\":{\"\":{\"n\":1,\"k\":\"k\",\"p\":{}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":0,\"k\":\"k\",\"p\":{}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":2000000000,\"k\":\"k\",\"p\":{}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"z\",\"p\":{}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\"}}}",
        HEAD "\"ends\":{\"t\":7}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"4\":1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"-1\":1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"01\":1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"\":1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"99999999999999999999\":1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"1\":-1}}}}",
        HEAD "\"ends\":{\"t\":{\"n\":4,\"k\":\"k\",\"p\":{\"1\":1.5}}}}",
        "{\"v\":1,\"seq\":0,\"position\":[1,2,3],\"boundary\":true,\"full\":true,\"ts_us\":1,\"ends\":{}}",
        "{\"v\":1,\"seq\":1,\"position\":[1,2],\"boundary\":true,\"full\":true,\"ts_us\":1,\"ends\":{}}",
        "{\"v\":1,\"seq\":1,\"position\":[1,2,-3],\"boundary\":true,\"full\":true,\"ts_us\":1,\"ends\":{}}",
        "{\"v\":1,\"seq\":1,\"position\":[1,2,3],\"boundary\":1,\"full\":true,\"ts_us\":1,\"ends\":{}}",
        "{\"v\":1,\"seq\":99999999999999999999,\"position\":[1,2,3],\"boundary\":true,\"full\":true,\"ts_"
        "us\":1,"
        "\"ends\":{}}",
    };
    (void)state;
    for (size_t i = 0; i < sizeof rubbish / sizeof *rubbish; i++) {
        struct arena arena = {0};
        struct commit_record r;
        struct err err = {0};
        assert_int_equal(commit_record_read(slice_of(rubbish[i]), &arena, &r, &err), REJECT);
        assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
        arena_free(&arena);
    }
}

static void more_than_8_mb_are_not_looked_at(void **state) {
    struct arena arena = {0};
    struct commit_record r;
    char *big = xmalloc(COMMIT_RECORD_BYTES_MAX + 1);
    (void)state;
    memset(big, ' ', COMMIT_RECORD_BYTES_MAX + 1);
    assert_int_equal(commit_record_read(slice_make(big, COMMIT_RECORD_BYTES_MAX + 1), &arena, &r, NULL),
                     REJECT);
    free(big);
    arena_free(&arena);
}

/* A short record may not make us reserve memory for more partitions than any pipeline has. */
static void a_record_of_too_many_partitions_is_rejected(void **state) {
    struct arena arena = {0};
    struct commit_record r;
    CLEANUP_BUF json = {0};
    struct err err = {0};
    (void)state;
    buf_puts(&json, HEAD "\"ends\":{");
    for (int i = 0; i < 11; i++)
        buf_printf(&json, "%s\"t%d\":{\"n\":100000,\"k\":\"k\",\"p\":{}}", i ? "," : "", i);
    buf_puts(&json, "}}");
    assert_int_equal(commit_record_read(buf_slice(&json), &arena, &r, &err), REJECT);
    assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    arena_free(&arena);
}

static void every_cut_of_a_record_is_rejected(void **state) {
    CLEANUP_BUF json = {0};
    (void)state;
    commit_record_write(&example, &json);
    for (size_t n = 0; n < json.len; n++) {
        struct arena arena = {0};
        struct commit_record r;
        assert_int_equal(commit_record_read(slice_make(json.data, n), &arena, &r, NULL), REJECT);
        arena_free(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read),
        cmocka_unit_test(the_json_is_what_the_header_says),
        cmocka_unit_test(what_a_move_says_is_read),
        cmocka_unit_test(a_record_without_ends_is_read),
        cmocka_unit_test(rubbish_is_rejected_and_named),
        cmocka_unit_test(more_than_8_mb_are_not_looked_at),
        cmocka_unit_test(a_record_of_too_many_partitions_is_rejected),
        cmocka_unit_test(every_cut_of_a_record_is_rejected),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
