/* The SQLite replica's file: locked, full, damaged, somebody else's, gone; and a process that dies in the
 * middle. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "place_sqlite.h"
#include "sink/sqlite/options.h"
#include "target_case.h"

static struct process a;

/* Owns the part, and shop.items is there. */
static void begin_items(const char *const *options) {
    process_begin(&a, "a", options);
    assert_ok(&a, prepare(&a, items()));
    assert_ok(&a, commit(&a));
}

/* ---- locks ---- */

static void a_lock_that_is_not_given_is_tried_again(void **state) {
    (void)state;
    begin_items(OPTIONS("lock_timeout", "50ms"));
    sql("BEGIN IMMEDIATE");
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    assert_code(&a, apply(&a), RETRY, ERR_TARGET_UNREACHABLE);
    assert_non_null(strstr(a.err.text, "locked"));
    assert_code(&a, ops->renew(a.target, &a.err), RETRY, ERR_TARGET_UNREACHABLE);
    sql("COMMIT");
    apply_commit(&a);
    assert_string_equal(see("SELECT id FROM shop.items"), "1");
    process_end(&a);
}

static void a_file_that_is_locked_exclusively_is_tried_again(void **state) {
    (void)state;
    begin_items(OPTIONS());
    process_end(&a);
    sql("PRAGMA locking_mode = exclusive; BEGIN EXCLUSIVE; COMMIT");
    assert_code(&a, try_open(&a, "a", OPTIONS("lock_timeout", "50ms")), RETRY, ERR_TARGET_UNREACHABLE);
    process_end(&a);
    sqlite3_close(glass);
    glass_open();
    process_begin(&a, "a", OPTIONS());
    process_end(&a);
}

static void *apply_blocked(void *arg) {
    *(enum code *)arg = apply(&a);
    return NULL;
}

static void a_stop_ends_the_wait_for_a_lock(void **state) {
    (void)state;
    begin_items(OPTIONS("lock_timeout", "1h"));
    sql("BEGIN IMMEDIATE");
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    enum code code = OK;
    pthread_t thread;
    pthread_create(&thread, NULL, apply_blocked, &code);
    stop_request(&a.stop);
    pthread_join(thread, NULL);
    assert_int_equal(code, RETRY);
    assert_int_equal(a.err.id, ERR_STOPPED);
    sql("COMMIT");
    process_end(&a);
    assert_string_equal(see("SELECT owner FROM millrace.sink_worker"), "~"); /* a successor need not wait */
}

/* A trigger of somebody's that never ends. */
static void a_stop_ends_a_statement_that_runs(void **state) {
    (void)state;
    sql("CREATE TABLE shop_items (id INTEGER PRIMARY KEY, qty INTEGER, note TEXT); CREATE TABLE shop_log (i "
        "INTEGER);"
        "CREATE VIEW endless AS WITH RECURSIVE c (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM c) SELECT i "
        "FROM c;"
        "CREATE TRIGGER t AFTER INSERT ON shop_items BEGIN INSERT INTO shop_log SELECT max(i) FROM endless; "
        "END");
    begin_items(OPTIONS("triggers", "fire"));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    enum code code = OK;
    pthread_t thread;
    pthread_create(&thread, NULL, apply_blocked, &code);
    usleep(50000); /* or it is stopped before it begins, which is as well */
    stop_request(&a.stop);
    pthread_join(thread, NULL);
    assert_int_equal(code, RETRY);
    assert_int_equal(a.err.id, ERR_STOPPED);
    process_end(&a);
    assert_string_equal(see("SELECT (SELECT count(*) FROM shop.items), owner FROM millrace.sink_worker"),
                        "0|~");
}

static void readers_see_whole_transactions_and_never_wait_or_hold_up(void **state) {
    (void)state;
    begin_items(OPTIONS("lock_timeout", "50ms"));
    sql("BEGIN");
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0"); /* the reader's snapshot */
    for (int i = 1; i <= 20; i++) {
        INSERT(begin(items()), INT(i), INT(i), SQL_NULL);
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    }
    sql("COMMIT");
    assert_string_equal(see("SELECT count(*), (SELECT commit_seq FROM millrace.sink_worker) FROM shop.items"),
                        "20|21");
    INSERT(begin(items()), INT(21), SQL_NULL, SQL_NULL);
    assert_ok(&a, apply(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "20");
    ops->rollback(a.target);
    process_end(&a);
}

static off_t wal_bytes(void) {
    char name[128];
    struct stat wal;
    snprintf(name, sizeof name, "%s-wal", url);
    return stat(name, &wal) == 0 ? wal.st_size : 0;
}

/* 8 MB per commit. */
static void commit_megabytes(int times) {
    static char note[4096];
    for (int n = 0; n < times; n++) {
        struct batch *b = begin(items());
        memset(note, 'a' + n, sizeof note); /* what stands there already is not written */
        for (int i = 0; i < 2000; i++)
            INSERT(b, INT(i), INT(n), {.tag = VALUE_TEXT, .s = {note, sizeof note}});
        apply_commit(&a);
    }
}

static void the_wal_is_bounded_but_for_a_reader_that_stays(void **state) {
    (void)state;
    enum { MB = 1 << 20 };
    begin_items(OPTIONS());
    commit_megabytes(8);
    assert_true(wal_bytes() < 40 * MB);
    sql("BEGIN");
    assert_string_equal(see("SELECT min(qty), max(qty) FROM shop.items"), "7|7");
    commit_megabytes(10);
    assert_true(wal_bytes() > 70 * MB); /* what the reader sees must stay */
    assert_string_equal(see("SELECT min(qty), max(qty) FROM shop.items"), "7|7");
    sql("COMMIT");
    commit_megabytes(6);
    assert_true(wal_bytes() < 70 * MB);
    process_end(&a);
}

/* ---- ownership ---- */

static void an_owner_that_is_not_seen_loses_its_part(void **state) {
    (void)state;
    struct process b;
    begin_items(OPTIONS());
    process_open(&b, "b", OPTIONS("lock_timeout", "50ms"));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    forget_owners();
    assert_ok(&a, apply(&a));
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP); /* its transaction is open: it is at work */
    assert_ok(&a, commit(&a));
    assert_code(&b, claim(&b), AGAIN, ERR_TARGET_OWNERSHIP); /* and was seen by that */
    forget_owners();
    assert_ok(&b, claim(&b));
    assert_int_equal(b.progress.epoch, 2);
    assert_code(&a, ops->renew(a.target, &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    INSERT(begin(items()), INT(2), INT(2), SQL_NULL);
    assert_ok(&a, apply(&a));
    assert_code(&a, commit(&a), RETRY, ERR_TARGET_OWNERSHIP);
    assert_code(&a, ops->park(a.target, "shop", "items", "why", &a.err), RETRY, ERR_TARGET_OWNERSHIP);
    process_end(&a);
    assert_string_equal(see("SELECT owner, (SELECT count(*) FROM shop.items) FROM millrace.sink_worker"),
                        "b|1");
    process_end(&b);
}

static void a_clock_that_was_set_back_does_not_keep_a_part_for_ever(void **state) {
    (void)state;
    struct process b;
    begin_items(OPTIONS());
    sql("UPDATE millrace.sink_worker SET seen_us = seen_us + 3600000000");
    process_begin(&b, "b", OPTIONS());
    process_end(&b);
    process_end(&a);
}

static void there_is_one_worker(void **state) {
    (void)state;
    process_open(&a, "a", OPTIONS());
    assert_code(&a, ops->claim(a.target, 0, 2, LEASE_MS, &a.arena, &a.progress, &a.err), FATAL, ERR_CONFIG);
    assert_non_null(strstr(a.err.text, "workers: 1"));
    process_end(&a);
}

/* ---- bad files ---- */

static void a_path_that_cannot_be_is_named(void **state) {
    (void)state;
    static const struct {
        const char *path;
        enum code code;
        enum err_id id;
    } cases[] = {
        {":memory:", FATAL, ERR_CONFIG},
        {"/", FATAL, ERR_CONFIG},
        {"/no/such/directory/r.db", RETRY, ERR_TARGET_UNREACHABLE},
        {"/dev/null/r.db", FATAL, ERR_TARGET_REFUSED},
    };
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_code(&a, try_open(&a, "a", (const char *const[]){"path", cases[i].path, NULL}), cases[i].code,
                    cases[i].id);
        process_end(&a);
    }
}

static void overwrite(const char *bytes, size_t len, off_t at) {
    int fd = open(url, O_WRONLY | O_CREAT, 0644);
    assert_true(fd >= 0);
    assert_int_equal(pwrite(fd, bytes, len, at), (ssize_t)len);
    close(fd);
}

static void what_is_no_database_or_damaged_is_corrupt(void **state) {
    (void)state;
    static char noise[8192];
    memset(noise, 'x', sizeof noise);
    for (int whole = 0; whole < 2; whole++) { /* its first page, or all but that one */
        set_up(NULL);
        begin_items(OPTIONS());
        process_end(&a);
        fill_items(500);
        sql("PRAGMA wal_checkpoint(truncate)");
        sqlite3_close(glass);
        overwrite(noise, whole ? 4096 : sizeof noise, whole ? 0 : 4096);
        enum code code = try_open(&a, "a", OPTIONS());
        if (code == OK)
            code = claim(&a);
        assert_int_equal(code, FATAL);
        assert_int_equal(a.err.id, ERR_TARGET_CORRUPT);
        assert_non_null(strstr(a.err.text, "move it away"));
        process_end(&a);
        glass_open();
    }
}

static void a_database_of_another_program_is_refused(void **state) {
    (void)state;
    static const char *const makes[] = {
        "CREATE TABLE millrace_sink_worker (id INTEGER PRIMARY KEY)",
        "CREATE TABLE millrace_format (x)",
        "CREATE TABLE millrace_format (version INTEGER); CREATE TABLE millrace_sink_worker (id); CREATE "
        "TABLE "
        "millrace_sink_offset (id); CREATE TABLE millrace_sink_table (id); CREATE TABLE millrace_sink_column "
        "(id)",
    };
    for (size_t i = 0; i < sizeof makes / sizeof *makes; i++) {
        set_up(NULL);
        sql("%s", makes[i]);
        process_open(&a, "a", OPTIONS());
        assert_code(&a, claim(&a), FATAL, ERR_TARGET_REFUSED);
        assert_non_null(strstr(a.err.text, "another path"));
        assert_code(&a, ops->reset(a.target, &a.err), FATAL, ERR_TARGET_REFUSED);
        process_end(&a);
    }
}

static void a_file_of_a_newer_version_is_refused(void **state) {
    (void)state;
    begin_items(OPTIONS());
    process_end(&a);
    sql("UPDATE millrace_format SET version = 2");
    process_open(&a, "a", OPTIONS());
    assert_code(&a, claim(&a), FATAL, ERR_TARGET_REFUSED);
    assert_non_null(strstr(a.err.text, "newer"));
    process_end(&a);
}

static void a_file_that_is_deleted_or_replaced_is_noticed(void **state) {
    (void)state;
    for (int how = 0; how < 4; how++) { /* between transactions, in one, replaced, gone without its -wal */
        set_up(NULL);
        begin_items(OPTIONS());
        INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
        if (how == 1)
            assert_ok(&a, apply(&a));
        if (how == 3)
            sqlite3_close(glass), unlink(url), glass_open();
        else
            place->empty();
        if (how == 2)
            sql("CREATE TABLE other (x)");
        assert_code(&a, how == 1 ? commit(&a) : apply(&a), RETRY, ERR_TARGET_UNREACHABLE);
        assert_non_null(strstr(a.err.text, "deleted or replaced"));
        process_end(&a);
        process_begin(&a, "a", OPTIONS()); /* begins at the beginning: it is built anew */
        assert_int_equal(a.progress.commit_seq, 0);
        apply_commit(&a);
        assert_string_equal(see("SELECT count(*) FROM shop.items"), "1");
        process_end(&a);
    }
}

static void a_table_that_is_dropped_by_hand_is_named(void **state) {
    (void)state;
    begin_items(OPTIONS());
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    sql("DROP TABLE shop.items");
    UPDATE(begin(items()), INT(1), INT(2), SQL_NULL);
    assert_code(&a, apply(&a), REJECT, ERR_TARGET_TABLE);
    assert_non_null(strstr(a.err.text, "no such table"));
    for (int i = 0; i < 2; i++) { /* nor is it made anew without its rows */
        assert_code(&a, apply(&a), REJECT, ERR_TARGET_DIVERGED);
        assert_non_null(strstr(a.err.text, "millrace replay"));
    }
    assert_ok(&a, ops->reset(a.target, &a.err));
    assert_ok(&a, claim(&a));
    INSERT(begin(items()), INT(1), INT(1), SQL_NULL);
    apply_commit(&a);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "1");
    process_end(&a);
}

/* The file may not grow any more, as on a full disk (EFBIG instead of ENOSPC). */
static void a_full_disk_is_waited_for(void **state) {
    (void)state;
    begin_items(OPTIONS());
    struct rlimit was, small = {.rlim_cur = 256 * 1024, .rlim_max = RLIM_INFINITY};
    getrlimit(RLIMIT_FSIZE, &was);
    small.rlim_max = was.rlim_max;
    signal(SIGXFSZ, SIG_IGN);
    setrlimit(RLIMIT_FSIZE, &small);
    struct batch *b = begin(items());
    static char note[4096];
    memset(note, 'n', sizeof note);
    for (int i = 1; i <= 5000; i++)
        INSERT(b, INT(i), INT(i), {.tag = VALUE_TEXT, .s = {note, sizeof note}});
    enum code code = apply(&a);
    if (code == OK)
        code = commit(&a);
    setrlimit(RLIMIT_FSIZE, &was);
    assert_int_equal(code, RETRY);
    assert_int_equal(a.err.id, ERR_TARGET_FULL);
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "0");
    assert_int_equal(ops->renew(a.target, &a.err), OK);
    assert_ok(&a, apply(&a)); /* there is room again */
    assert_ok(&a, commit(&a));
    assert_string_equal(see("SELECT count(*) FROM shop.items"), "5000");
    process_end(&a);
}

/* Files are read-only to somebody else: root may write anything. */
static void a_file_that_may_not_be_written_is_named(void **state) {
    (void)state;
    begin_items(OPTIONS());
    process_end(&a);
    sqlite3_close(glass);
    glass = NULL;
    pid_t pid = fork();
    if (pid == 0) {
        bool root = geteuid() == 0;
        chmod(url, 0444);
        if (root && setresuid(65534, 65534, 65534) != 0)
            _exit(9);
        enum code code = try_open(&a, "a", OPTIONS());
        if (code == OK)
            code = claim(&a);
        bool named_so = a.err.id == ERR_TARGET_FULL || a.err.id == ERR_TARGET_REFUSED;
        fprintf(stderr, "%s", code != OK && named_so ? "" : a.err.text);
        _exit(code != OK && named_so ? 0 : 1);
    }
    int status;
    waitpid(pid, &status, 0);
    assert_int_equal(status, 0);
    chmod(url, 0644);
    glass_open();
}

/* ---- a process that dies ---- */

/* Each commit brings as many rows as its number says, and takes those of the one before. */
static void write_until_killed(void) {
    struct process p;
    process_begin(&p, "writer", OPTIONS());
    if (prepare(&p, items()) != OK)
        _exit(1);
    for (int n = (int)p.progress.commit_seq + 1;; n++) {
        struct batch *b = begin(items());
        for (int i = 0; i < n % 50 + 1; i++)
            INSERT(b, INT(n * 100 + i), INT(n), TEXT("row"));
        for (int i = 0; n > 1 && i < (n - 1) % 50 + 1; i++)
            DELETE(b, INT((n - 1) * 100 + i), ABSENT, ABSENT);
        if (apply(&p) != OK || commit(&p) != OK)
            _exit(1);
    }
}

static void rows_and_position_survive_a_kill_together(void **state) {
    (void)state;
    int64_t before = 0, now = 0;
    unsigned seed = 7;
    for (int kill_no = 0; kill_no < 15; kill_no++) {
        pid_t pid = fork();
        if (pid == 0)
            write_until_killed();
        for (int i = 0; i < 10000 && now <= before; i++) { /* it is at work */
            now = kill_no || has_table("millrace.sink_worker")
                      ? strtoll(see("SELECT max(commit_seq) FROM millrace.sink_worker"), NULL, 10)
                      : 0;
            usleep(1000);
        }
        usleep((useconds_t)(rand_r(&seed) % 20000));
        kill(pid, SIGKILL);
        int status;
        waitpid(pid, &status, 0);
        assert_true(WIFSIGNALED(status));
        assert_true(now > before);
        assert_string_equal(
            see("SELECT count(*) = commit_seq %% 50 + 1, min(qty) = commit_seq, max(qty) = commit_seq"
                " FROM shop.items, millrace.sink_worker"),
            "1|1|1");
        forget_owners();
        before = now = strtoll(see("SELECT commit_seq FROM millrace.sink_worker"), NULL, 10);
    }
    assert_string_equal(see("PRAGMA integrity_check"), "ok");
}

/* ---- seen from outside ---- */

static void the_doctor_names_a_directory_that_is_not_there(void **state) {
    (void)state;
    CLEANUP_BUF findings = {0};
    struct sqlite_options nowhere = {.path = "/no/such/directory/r.db"};
    process_open(&a, "a", OPTIONS());
    assert_ok(&a, ops->check(&nowhere, &a.env, 5000, &findings, &a.err));
    assert_non_null(strstr(buf_cstr(&findings), "mkdir -p /no/such/directory"));
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE_OF(SQLITE, a_lock_that_is_not_given_is_tried_again),
        CASE_OF(SQLITE, a_file_that_is_locked_exclusively_is_tried_again),
        CASE_OF(SQLITE, a_stop_ends_the_wait_for_a_lock),
        CASE_OF(SQLITE, a_stop_ends_a_statement_that_runs),
        CASE_OF(SQLITE, readers_see_whole_transactions_and_never_wait_or_hold_up),
        CASE_OF(SQLITE, the_wal_is_bounded_but_for_a_reader_that_stays),
        CASE_OF(SQLITE, an_owner_that_is_not_seen_loses_its_part),
        CASE_OF(SQLITE, a_clock_that_was_set_back_does_not_keep_a_part_for_ever),
        CASE_OF(SQLITE, there_is_one_worker),
        CASE_OF(SQLITE, a_path_that_cannot_be_is_named),
        CASE_OF(SQLITE, what_is_no_database_or_damaged_is_corrupt),
        CASE_OF(SQLITE, a_database_of_another_program_is_refused),
        CASE_OF(SQLITE, a_file_of_a_newer_version_is_refused),
        CASE_OF(SQLITE, a_file_that_is_deleted_or_replaced_is_noticed),
        CASE_OF(SQLITE, a_table_that_is_dropped_by_hand_is_named),
        CASE_OF(SQLITE, a_full_disk_is_waited_for),
        CASE_OF(SQLITE, a_file_that_may_not_be_written_is_named),
        CASE_OF(SQLITE, rows_and_position_survive_a_kill_together),
        CASE_OF(SQLITE, the_doctor_names_a_directory_that_is_not_there),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
