#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/stop.h"

enum { LONG_US = 60 * 1000000 };

static struct stop stop;

static int setup(void **state) {
    (void)state;
    stop_init(&stop);
    return 0;
}

static int teardown(void **state) {
    (void)state;
    stop_free(&stop);
    return 0;
}

static int wait_for(struct pollfd *fds, int n, int64_t us) {
    int64_t now = clock_mono(&clock_system);
    return stop_poll(&stop, fds, n, now, now + us);
}

static void nothing_ready_waits_for_the_deadline(void **state) {
    (void)state;
    int64_t begun = clock_mono(&clock_system);
    assert_int_equal(wait_for(NULL, 0, 20000), 0);
    assert_true(clock_mono(&clock_system) - begun >= 20000);
    assert_false(stop_asked(&stop));
}

static void a_deadline_that_has_passed_does_not_wait(void **state) {
    (void)state;
    assert_int_equal(stop_poll(&stop, NULL, 0, 1000, 500), 0);
    assert_int_equal(stop_poll(NULL, NULL, 0, 1000, 1000), 0);
}

static void a_ready_descriptor_is_reported_with_its_events(void **state) {
    (void)state;
    int pipes[2][2];
    assert_int_equal(pipe(pipes[0]), 0);
    assert_int_equal(pipe(pipes[1]), 0);
    assert_int_equal(write(pipes[1][1], "x", 1), 1);
    struct pollfd fds[] = {{.fd = pipes[0][0], .events = POLLIN}, {.fd = pipes[1][0], .events = POLLIN}};
    assert_int_equal(wait_for(fds, 2, LONG_US), 1);
    assert_int_equal(fds[0].revents, 0);
    assert_int_equal(fds[1].revents, POLLIN);
    assert_int_equal(stop_poll(&stop, fds, 2, 0, INT64_MAX), 1);
    for (int i = 0; i < 4; i++)
        close(pipes[i / 2][i % 2]);
}

static void *ask(void *arg) {
    stop_request(arg);
    return NULL;
}

static void a_stop_from_another_thread_ends_the_wait(void **state) {
    (void)state;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, ask, &stop), 0);
    assert_int_equal(stop_poll(&stop, NULL, 0, 0, INT64_MAX), 0);
    assert_true(stop_asked(&stop));
    pthread_join(thread, NULL);
}

static void a_stop_that_was_asked_for_stays_asked_for(void **state) {
    (void)state;
    for (int i = 0; i < 3; i++)
        stop_request(&stop);
    struct pollfd fd = {.fd = -1, .revents = POLLIN};
    assert_int_equal(wait_for(&fd, 1, LONG_US), 0);
    assert_int_equal(fd.revents, 0);
    assert_int_equal(wait_for(NULL, 0, LONG_US), 0);
}

static volatile sig_atomic_t signals;

static void on_signal(int number) {
    (void)number;
    if (++signals == 3)
        stop_request(&stop);
}

static void *send_signals(void *arg) {
    while (!stop_asked(&stop)) {
        pthread_kill(*(pthread_t *)arg, SIGUSR1);
        usleep(1000);
    }
    return NULL;
}

static void a_signal_that_asks_for_nothing_does_not_end_the_wait(void **state) {
    (void)state;
    struct sigaction action = {.sa_handler = on_signal}, old;
    sigaction(SIGUSR1, &action, &old);
    signals = 0;
    pthread_t thread, self = pthread_self();
    assert_int_equal(pthread_create(&thread, NULL, send_signals, &self), 0);
    assert_int_equal(wait_for(NULL, 0, LONG_US), 0);
    assert_true(signals >= 3);
    pthread_join(thread, NULL);
    sigaction(SIGUSR1, &old, NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(nothing_ready_waits_for_the_deadline, setup, teardown),
        cmocka_unit_test_setup_teardown(a_deadline_that_has_passed_does_not_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_ready_descriptor_is_reported_with_its_events, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_from_another_thread_ends_the_wait, setup, teardown),
        cmocka_unit_test_setup_teardown(a_stop_that_was_asked_for_stays_asked_for, setup, teardown),
        cmocka_unit_test_setup_teardown(a_signal_that_asks_for_nothing_does_not_end_the_wait, setup,
                                        teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
