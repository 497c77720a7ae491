#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <math.h>
#include <pthread.h>

#include "base/metrics.h"

static const char *printed(void) {
    static struct buf out;
    buf_clear(&out);
    metrics_print(&out);
    return buf_cstr(&out);
}

static void assert_printed(const char *text) {
    if (!strstr(printed(), text))
        fail_msg("'%s' is not in\n%s", text, printed());
}

static void one_name_and_labels_make_one_metric(void **state) {
    (void)state;
    const char *const orders[] = {"table", "orders", NULL}, *const items[] = {"table", "items", NULL};
    struct metric *m = metric_get(METRIC_COUNTER, "one_total", "Counts.", orders);
    assert_ptr_equal(m, metric_get(METRIC_COUNTER, "one_total", "Counts.", orders));
    assert_ptr_not_equal(m, metric_get(METRIC_COUNTER, "one_total", "Counts.", items));
    assert_ptr_not_equal(m, metric_get(METRIC_COUNTER, "one_total", "Counts.", NULL));
    metric_add(m, 2);
    metric_add(m, 0.5);
    assert_true(metric_value(m) == 2.5);
    assert_printed("# HELP one_total Counts.\n# TYPE one_total counter\none_total{table=\"orders\"} 2.5\n"
                   "one_total{table=\"items\"} 0\none_total 0\n");
}

static void families_come_in_the_order_of_their_names(void **state) {
    (void)state;
    metric_get(METRIC_GAUGE, "order_b", "B.", NULL);
    metric_get(METRIC_GAUGE, "order_a", "A.", NULL);
    metric_get(METRIC_GAUGE, "order_c", "C.", NULL);
    const char *text = printed(), *a = strstr(text, "# HELP order_a"), *b = strstr(text, "# HELP order_b"),
               *c = strstr(text, "# HELP order_c");
    assert_true(a && a < b && b < c);
}

static void a_gauge_goes_up_and_down_and_is_printed_exactly(void **state) {
    (void)state;
    struct metric *m = metric_get(METRIC_GAUGE, "gauge_bytes", "G.", NULL);
    metric_set(m, 10);
    metric_add(m, -4);
    assert_printed("gauge_bytes 6\n");
    metric_set(m, 0.1);
    assert_printed("gauge_bytes 0.1\n");
    metric_set(m, 1764000000.123);
    assert_printed("gauge_bytes 1764000000.123\n");
    metric_set(m, 123456789012345678.0);
    assert_true(strtod(strstr(printed(), "\ngauge_bytes ") + 13, NULL) == 123456789012345678.0);
    metric_set(m, INFINITY);
    assert_printed("gauge_bytes +Inf\n");
    metric_set(m, NAN);
    assert_printed("gauge_bytes NaN\n");
}

static void labels_and_help_are_escaped(void **state) {
    (void)state;
    const char *const labels[] = {"a", "q\"b\\s\nn", "b", "", "c", "x", NULL};
    metric_get(METRIC_GAUGE, "escaped", "Back\\slash \"and\"\nline.", labels);
    assert_printed("# HELP escaped Back\\\\slash \"and\"\\nline.\n");
    assert_printed("escaped{a=\"q\\\"b\\\\s\\nn\",b=\"\",c=\"x\"} 0\n");
}

static void a_histogram_cumulates_its_buckets(void **state) {
    (void)state;
    const char *const labels[] = {"sink", "report", NULL};
    struct metric *m = metric_get(METRIC_HISTOGRAM, "wait_seconds", "W.", labels);
    metric_observe(m, 0.0001);
    metric_observe(m, 0.0005);
    metric_observe(m, 0.75);
    metric_observe(m, 1000);
    metric_observe(m, NAN);
    assert_true(metric_value(m) == 4);
    assert_printed("# TYPE wait_seconds histogram\nwait_seconds_bucket{sink=\"report\",le=\"0.0005\"} 2\n"
                   "wait_seconds_bucket{sink=\"report\",le=\"0.001\"} 2\n");
    assert_printed("wait_seconds_bucket{sink=\"report\",le=\"0.5\"} "
                   "2\nwait_seconds_bucket{sink=\"report\",le=\"1\"} 3\n");
    assert_printed("wait_seconds_bucket{sink=\"report\",le=\"300\"} "
                   "3\nwait_seconds_bucket{sink=\"report\",le=\"+Inf\"} 4\n"
                   "wait_seconds_sum{sink=\"report\"} 1000.7506\nwait_seconds_count{sink=\"report\"} 4\n");
}

enum { THREADS = 4, ROUNDS = 20000 };

static void *count(void *arg) {
    (void)arg;
    for (int i = 0; i < ROUNDS; i++) {
        metric_add(metric_get(METRIC_COUNTER, "threads_total", "T.", NULL), 1);
        metric_observe(metric_get(METRIC_HISTOGRAM, "threads_seconds", "T.", NULL), 1);
    }
    return NULL;
}

static void no_update_is_lost_between_threads(void **state) {
    (void)state;
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, count, NULL), 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_true(metric_value(metric_get(METRIC_COUNTER, "threads_total", "T.", NULL)) == THREADS * ROUNDS);
    assert_printed("threads_seconds_sum 80000\nthreads_seconds_count 80000\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_name_and_labels_make_one_metric),
        cmocka_unit_test(families_come_in_the_order_of_their_names),
        cmocka_unit_test(a_gauge_goes_up_and_down_and_is_printed_exactly),
        cmocka_unit_test(labels_and_help_are_escaped),
        cmocka_unit_test(a_histogram_cumulates_its_buckets),
        cmocka_unit_test(no_update_is_lost_between_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
