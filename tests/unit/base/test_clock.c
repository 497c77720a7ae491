#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "base/clock.h"

static int64_t fixed(void *arg) {
    return *(int64_t *)arg;
}

static void the_system_clock_does_not_go_back(void **state) {
    (void)state;
    int64_t a = clock_mono(&clock_system), b = clock_mono(&clock_system);
    assert_true(b >= a);
    assert_true(clock_wall(&clock_system) > INT64_C(1700000000000000));
}

static void back_off_stays_between_its_bounds_and_grows(void **state) {
    (void)state;
    struct backoff b = {0};
    for (int i = 0; i < 1000; i++) {
        int64_t ms = backoff_next_ms(&b, &clock_system);
        int64_t most = i < 6 ? 200 << i : 10000;
        assert_in_range(ms, 100, most);
    }
}

static void back_off_begins_small_again_after_a_reset(void **state) {
    (void)state;
    struct backoff b = {0};
    for (int i = 0; i < 20; i++)
        backoff_next_ms(&b, &clock_system);
    backoff_reset(&b);
    assert_in_range(backoff_next_ms(&b, &clock_system), 100, 200);
}

static void one_seed_gives_one_row_of_waits(void **state) {
    (void)state;
    int64_t now = 5;
    const struct clock c = {.mono_us = fixed, .wall_us = fixed, .arg = &now};
    struct backoff a = {.seed = 42}, b = {.seed = 42}, other = {.seed = 43};
    int same = 0;
    for (int i = 0; i < 100; i++) {
        int64_t ms = backoff_next_ms(&a, &c);
        assert_int_equal(ms, backoff_next_ms(&b, &c));
        same += ms == backoff_next_ms(&other, &c);
    }
    assert_true(same < 20);
}

static void two_agents_do_not_wait_alike(void **state) {
    (void)state;
    struct backoff a = {0}, b = {0};
    int same = 0;
    for (int i = 0; i < 100; i++)
        same += backoff_next_ms(&a, &clock_system) == backoff_next_ms(&b, &clock_system);
    assert_true(same < 20);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_system_clock_does_not_go_back),
        cmocka_unit_test(back_off_stays_between_its_bounds_and_grows),
        cmocka_unit_test(back_off_begins_small_again_after_a_reset),
        cmocka_unit_test(one_seed_gives_one_row_of_waits),
        cmocka_unit_test(two_agents_do_not_wait_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
