#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/arena.h"

static void memory_is_aligned_and_does_not_overlap(void **state) {
    (void)state;
    struct arena arena = {0};
    char *before = NULL;
    for (size_t size = 1; size < 3000; size++) {
        char *p = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)p % 8, 0);
        memset(p, (int)size, size);
        if (before)
            assert_int_equal(*before, (char)(size - 1));
        before = p;
    }
    arena_free(&arena);
}

static void nothing_is_something_too(void **state) {
    (void)state;
    struct arena arena = {0};
    void *a = arena_alloc(&arena, 0), *b = arena_alloc(&arena, 0);
    assert_non_null(a);
    assert_ptr_not_equal(a, b);
    assert_int_equal(arena_copy(&arena, (struct slice){0}).len, 0);
    arena_free(&arena);
}

static void copies_are_copies(void **state) {
    (void)state;
    struct arena arena = {0};
    char text[] = "orders";
    char *whole = arena_strdup(&arena, text), *part = arena_strndup(&arena, text, 3);
    struct slice bytes = arena_copy(&arena, slice_make(text, 6));
    text[0] = 'x';
    assert_string_equal(whole, "orders");
    assert_string_equal(part, "ord");
    assert_true(slice_is(bytes, "orders"));
    assert_string_equal(arena_printf(&arena, "%s-%d", part, 5), "ord-5");
    arena_free(&arena);
}

static void a_zeroed_piece_of_a_used_block_is_zero(void **state) {
    (void)state;
    struct arena arena = {0};
    memset(arena_alloc(&arena, 1000), 0xFF, 1000);
    arena_reset(&arena);
    const char *p = arena_zalloc(&arena, 1000);
    for (size_t i = 0; i < 1000; i++)
        assert_int_equal(p[i], 0);
    arena_free(&arena);
}

static void used_counts_what_was_handed_out_since_the_reset(void **state) {
    (void)state;
    struct arena arena = {0};
    arena_alloc(&arena, 1);
    arena_alloc(&arena, 16);
    arena_alloc(&arena, 2 << 20);
    assert_int_equal(arena.used, 8 + 16 + (2 << 20));
    arena_reset(&arena);
    assert_int_equal(arena.used, 0);
    arena_free(&arena);
}

static void a_reset_keeps_one_block_for_the_next_batch(void **state) {
    (void)state;
    struct arena arena = {0};
    for (int i = 0; i < 100; i++)
        arena_alloc(&arena, 100000);
    arena_alloc(&arena, 5 << 20);
    arena_reset(&arena);
    assert_non_null(arena.blocks);
    assert_int_equal(arena.end - arena.next, 1 << 20);
    struct arena_block *kept = arena.blocks;
    for (int i = 0; i < 10; i++)
        arena_alloc(&arena, 100000);
    assert_ptr_equal(arena.blocks, kept);
    arena_free(&arena);
}

static void a_reset_frees_a_block_that_is_too_large(void **state) {
    (void)state;
    struct arena arena = {0};
    arena_alloc(&arena, 5 << 20);
    arena_reset(&arena);
    assert_null(arena.blocks);
    arena_reset(&arena);
    arena_free(&arena);
    arena_free(&arena);
}

static void something_large_does_not_waste_the_room_that_is_left(void **state) {
    (void)state;
    struct arena arena = {0};
    char *a = arena_alloc(&arena, 8);
    memset(arena_alloc(&arena, 600000), 1, 600000);
    char *b = arena_alloc(&arena, 8);
    assert_ptr_equal(b, a + 8);
    arena_free(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_is_aligned_and_does_not_overlap),
        cmocka_unit_test(nothing_is_something_too),
        cmocka_unit_test(copies_are_copies),
        cmocka_unit_test(a_zeroed_piece_of_a_used_block_is_zero),
        cmocka_unit_test(used_counts_what_was_handed_out_since_the_reset),
        cmocka_unit_test(a_reset_keeps_one_block_for_the_next_batch),
        cmocka_unit_test(a_reset_frees_a_block_that_is_too_large),
        cmocka_unit_test(something_large_does_not_waste_the_room_that_is_left),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
