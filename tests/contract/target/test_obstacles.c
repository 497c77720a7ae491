/* A replica that is in the way: locked, gone, full, or not ours to connect to. */
#include <pthread.h>
#include <unistd.h>

#include "target_case.h"

struct blocked {
    struct process *p;
    enum code code;
    int64_t took_us;
};

static void *apply_blocked(void *arg) {
    struct blocked *b = arg;
    int64_t begun = clock_mono(&clock_system);
    b->code = apply(b->p);
    b->took_us = clock_mono(&clock_system) - begun;
    return NULL;
}

static void await_lock(void) {
    for (int i = 0; i < 500; i++) {
        if (strcmp(see("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = "
                       "current_database()"),
                   "0") != 0)
            return;
        usleep(10000);
    }
    fail_msg("nobody waits for the lock");
}

static void an_owner_at_work_keeps_its_part_however_long_that_takes(void **state) {
    (void)state;
    struct process a, b;
    process_begin(&a, "a", OPTIONS());
    process_open(&b, "b", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    sql("BEGIN; LOCK TABLE shop.items");
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    struct blocked blocked = {.p = &a};
    pthread_t thread;
    pthread_create(&thread, NULL, apply_blocked, &blocked);
    await_lock();
    PGconn *other = PQconnectdb(url);
    PQclear(PQexec(other, "UPDATE millrace.sink_worker SET seen = '-infinity'"));
    PQfinish(other);
    assert_int_equal(ops->claim(b.target, 0, 1, 1000, &b.arena, &b.progress, &b.err), AGAIN);
    sql("COMMIT");
    pthread_join(thread, NULL);
    assert_int_equal(blocked.code, OK);
    assert_ok(&a, commit(&a));
    process_end(&a);
    process_end(&b);
}

static void a_stop_ends_a_statement_that_waits(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("lock_timeout", "1h"));
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    for (int staged = 0; staged < 2; staged++) {
        sql("BEGIN; LOCK TABLE shop.items");
        struct batch *b = begin(items());
        for (int i = 0; i < (staged ? 200 : 1); i++)
            UPDATE(b, INT(i), INT(1), SQL_NULL);
        struct blocked blocked = {.p = &a};
        pthread_t thread;
        pthread_create(&thread, NULL, apply_blocked, &blocked);
        await_lock();
        stop_request(&a.stop);
        pthread_join(thread, NULL);
        assert_int_equal(blocked.code, RETRY);
        assert_int_equal(a.err.id, ERR_STOPPED);
        assert_true(blocked.took_us < 4000000);
        sql("COMMIT");
        process_end(&a);
        assert_string_equal(see("SELECT owner FROM millrace.sink_worker"),
                            "~"); /* given up: a successor need not wait */
        if (!staged)
            process_begin(&a, "a", OPTIONS("lock_timeout", "1h"));
    }
}

static void a_lock_that_is_not_given_is_tried_again(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS("lock_timeout", "50ms"));
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    sql("BEGIN; LOCK TABLE shop.items");
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_code(&a, apply(&a), RETRY, ERR_NONE);
    sql("COMMIT");
    apply_commit(&a);
    process_end(&a);
}

static void a_lost_connection_leaves_nothing(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_ok(&a, apply(&a));
    sql("SELECT pg_terminate_backend(backend, 5000) FROM millrace.sink_worker");
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_UNREACHABLE);
    assert_code(&a, apply(&a), RETRY, ERR_TARGET_UNREACHABLE);
    process_end(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    assert_string_equal(see("SELECT commit_seq FROM millrace.sink_worker"), "1");
}

static void a_replica_that_takes_no_writes_is_full_for_now(void **state) {
    (void)state;
    struct process a;
    process_begin(&a, "a", OPTIONS());
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
    process_end(&a);
    sql("ALTER DATABASE %s SET default_transaction_read_only = on", PQdb(eye));
    process_open(&a, "a", OPTIONS());
    assert_code(&a, claim(&a), RETRY, ERR_TARGET_FULL);
    process_end(&a);
    sql("ALTER DATABASE %s RESET default_transaction_read_only", PQdb(eye));
}

static void a_server_that_refuses_is_told_from_one_that_does_not_answer(void **state) {
    (void)state;
    struct process a;
    assert_code(
        &a, try_open(&a, "a", (const char *const[]){"url", "host=127.0.0.1 port=1 password=hunter2", NULL}),
        RETRY, ERR_TARGET_UNREACHABLE);
    assert_null(strstr(a.err.text, "hunter2"));
    process_end(&a);
    char other[1024];
    with_database(url, "millrace_no_such_database", other, sizeof other);
    assert_code(&a, try_open(&a, "a", (const char *const[]){"url", other, NULL}), FATAL, ERR_TARGET_REFUSED);
    process_end(&a);
    assert_code(&a, try_open(&a, "a", (const char *const[]){"url", "postgres://u:hunter2%zz@h/d", NULL}),
                FATAL, ERR_CONFIG);
    assert_null(strstr(a.err.text, "hunter2"));
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(POSTGRES, an_owner_at_work_keeps_its_part_however_long_that_takes),
        CASE_OF(POSTGRES, a_stop_ends_a_statement_that_waits),
        CASE_OF(POSTGRES, a_lock_that_is_not_given_is_tried_again),
        CASE_OF(POSTGRES, a_lost_connection_leaves_nothing),
        CASE_OF(POSTGRES, a_replica_that_takes_no_writes_is_full_for_now),
        CASE_OF(POSTGRES, a_server_that_refuses_is_told_from_one_that_does_not_answer),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
