#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "journal/tell.h"

static const struct commit_record cases[] = {
    {.seq = 5, .position = {2, 100, 3}},                 /* inside a transaction */
    {.seq = 5, .position = {2, 0, 0}, .boundary = true}, /* the snapshot is complete */
    {.seq = 5, .position = {2, 0, 7}},                   /* it is not */
    {.seq = 5,
     .position = {2, 0, 0},
     .move = MOVE_COPYING,
     .move_of = "77"}, /* on its way from another journal */
    {.seq = 5, .position = {2, 0, 0}, .move = MOVE_MOVED, .move_of = "77", .boundary = true},
};
static const bool anews[] = {false, false, true, false, false};
static const uint64_t borns[] = {2, 2, 3, 1, 2};

static void topics_belong_to_the_generation_that_begins_them(void **state) {
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        struct tell tell = {.pipeline = "new"};
        bool anew = !anews[i];
        assert_int_equal(tell_resume(&tell, &cases[i], false, &anew), borns[i]);
        assert_int_equal(anew, anews[i]);
        assert_int_equal(tell.seq, 5);
        assert_string_equal(tell.pipeline, "new");
    }
}

static void a_new_snapshot_is_a_new_generation(void **state) {
    struct commit_record last = cases[0];
    struct tell tell = {0};
    bool anew;
    (void)state;
    last.pipeline = "old";
    assert_int_equal(tell_resume(&tell, &last, true, &anew), 3);
    assert_true(anew);
    assert_string_equal(tell.pipeline, "old");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(topics_belong_to_the_generation_that_begins_them),
        cmocka_unit_test(a_new_snapshot_is_a_new_generation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
