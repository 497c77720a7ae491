/* Killed at any point, the journal holds every transaction that was called durable, whole and once, and at
 * most the one whose commit was under way besides. A child writes (or compacts) and is killed; what it was
 * told durable comes through a pipe. */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "embedded_help.h"

static unsigned seed = 1;

static int some(int n) {
    return (int)(rand_r(&seed) % (unsigned)n);
}

static void nap_us(int us) {
    const struct timespec time = {us / 1000000, us % 1000000 * 1000};
    nanosleep(&time, NULL);
}

/* How many records transaction `seq` has, by its number alone; some are so large that they are written in
 * steps. */
static int records_of(uint64_t seq) {
    return seq % 23 == 0 ? 1200 : 1 + (int)(seq * 7919 % 40);
}

static void append_transaction(struct world *w, struct journal_writer *writer, int t, uint64_t seq) {
    static char value[10000];
    memset(value, 'v', sizeof value);
    for (int i = 0; i < records_of(seq); i++) {
        char key[64];
        snprintf(key, sizeof key, "%llu/%d", (unsigned long long)seq, i);
        MUST(w, world_try_append(w, writer, t, i % 2, key,
                                 slice_make(value, seq % 23 == 0 ? sizeof value : 20)));
    }
}

static void write_until_killed(struct world *w, int pipe_end) {
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", false);
    for (uint64_t seq = w->last ? w->last->seq + 1 : 1;; seq++) {
        append_transaction(w, writer, t, seq);
        world_commit(w, writer);
        if (write(pipe_end, &seq, sizeof seq) != sizeof seq)
            _exit(1);
    }
}

/* The newest number that came through the pipe. */
static uint64_t newest(int pipe_end) {
    uint64_t seq = 0, got;
    while (read(pipe_end, &got, sizeof got) == sizeof got)
        seq = got;
    return seq;
}

/* Until it has told `n` of them: in whatever time, so that the test is the same on a machine that is busy. */
static uint64_t wait_for(int pipe_end, int n) {
    uint64_t seq = 0;
    for (int i = 0; i < n; i++)
        assert_int_equal(read(pipe_end, &seq, sizeof seq), sizeof seq);
    return seq;
}

static pid_t start(struct world *w, void (*work)(struct world *w, int pipe_end), int *ret_pipe) {
    int ends[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends), 0);
    pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0) {
        close(ends[0]);
        work(w, ends[1]);
        _exit(0);
    }
    close(ends[1]);
    *ret_pipe = ends[0];
    return child;
}

static void stop_child(pid_t child) {
    int status;
    kill(child, SIGKILL);
    assert_int_equal(waitpid(child, &status, 0), child);
}

/* Reads every transaction by its commit record, as a sink does; returns how many there are. */
static uint64_t check_all(struct world *w) {
    struct journal_reader *r = world_reader(w);
    struct commit_record *record;
    int64_t offset;
    int streams[2] = {-1, -1};
    uint64_t seq = 0;
    enum code code;
    while ((code = embedded_commits_next(r, &w->arena, &record, &offset, &w->err)) == OK) {
        assert_int_equal(record->seq, ++seq);
        int seen = 0;
        for (int p = 0; p < 2; p++) {
            int64_t end = world_end(record, "t.a", p);
            struct journal_record got;
            if (end < 0)
                continue;
            if (streams[p] < 0)
                MUST(w, embedded_stream_open(r, "t.a", p, 0, &streams[p], &w->err));
            for (int i = p;
                 (code = embedded_stream_next(r, streams[p], end, &got, &w->err)) == OK && got.offset <= end;
                 i += 2, seen++) {
                char key[64];
                snprintf(key, sizeof key, "%llu/%d", (unsigned long long)seq, i);
                assert_true(slice_is(got.key, key));
            }
            MUST(w, code);
        }
        assert_true(seen == records_of(seq) || (record->full && seen == 0));
    }
    assert_int_equal(code, AGAIN);
    for (int p = 0; p < 2 && streams[p] >= 0; p++) { /* nothing behind the last one */
        struct journal_record got;
        assert_int_equal(embedded_stream_next(r, streams[p], INT64_MAX, &got, &w->err), AGAIN);
    }
    embedded_reader_close(r);
    return seq;
}

static void a_killed_writer_loses_nothing_that_was_durable(void **state) {
    struct world *w = *state;
    uint64_t told = 0;
    for (int round = 0; round < 25; round++) {
        int pipe_end;
        pid_t child = start(w, write_until_killed, &pipe_end);
        uint64_t now_told = wait_for(pipe_end, some(10));
        nap_us(some(20000));
        stop_child(child);
        uint64_t last_told = newest(pipe_end);
        now_told = last_told > now_told ? last_told : now_told;
        close(pipe_end);
        told = now_told > told ? now_told : told;
        if (access(w->options.path, F_OK) < 0)
            continue; /* killed before there was one */
        uint64_t found = check_all(w);
        if (found != told && found != told + 1)
            fail_msg("round %d: %llu durable, %llu found", round, (unsigned long long)told,
                     (unsigned long long)found);
        told = found;
    }
    assert_true(told > 50);
    struct journal_writer *writer = world_writer(w); /* sweeps what was left of the last one */
    assert_int_equal(w->last->seq, told);
    assert_int_equal(
        world_number(
            w, "SELECT count(*) FROM chunks c JOIN partitions p ON p.id = c.part WHERE c.last >= p.next"),
        0);
    embedded_writer_close(writer);
    assert_int_equal(
        world_number(w, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

/* ---- compaction ---- */

enum { KEYS = 500 };

static void compact_until_killed(struct world *w, int pipe_end) {
    struct store store;
    uint64_t passes = 0;
    assert_int_equal(read(pipe_end, &passes, sizeof passes),
                     sizeof passes); /* there is something to compact */
    MUST(w, store_open(&store, embedded_of(w->journal), &world_env, STORE_UPKEEP, INT64_MAX, &w->err));
    for (int64_t later = 1;; later++) {
        struct upkeep_pass pass = {.store = &store,
                                   .epoch = world_number(w, "SELECT epoch FROM pipeline"),
                                   .now_us = clock_wall(&clock_system) + later * 1000000,
                                   .hurry = true,
                                   .deadline_us = INT64_MAX};
        enum code code = upkeep_compact(&pass, &w->err);
        if (code != OK && code != AGAIN) { /* AGAIN: the writer was in the way for too long */
            fprintf(stderr, "compaction: %s\n", w->err.text);
            _exit(1);
        }
        sqlite3_wal_checkpoint_v2(store.db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        passes++;
        if (write(pipe_end, &passes, sizeof passes) != sizeof passes)
            _exit(1);
    }
}

static void check_newest(struct world *w, char values[KEYS][32]) {
    char seen[KEYS][32] = {{0}};
    struct journal_reader *r = world_reader(w);
    struct journal_record got;
    int s;
    enum code code;
    MUST(w, embedded_stream_open(r, "t.k", 0, 0, &s, &w->err));
    while ((code = embedded_stream_next(r, s, INT64_MAX, &got, &w->err)) == OK) {
        char key[16];
        snprintf(key, sizeof key, "%.*s", (int)got.key.len, got.key.data);
        snprintf(seen[strtol(key, NULL, 10)], 32, "%.*s", (int)got.value.len,
                 got.value.data ? got.value.data : "");
    }
    assert_int_equal(code, AGAIN);
    for (int i = 0; i < KEYS; i++)
        assert_string_equal(seen[i], values[i]);
    embedded_reader_close(r);
}

static void a_killed_compaction_keeps_the_newest_of_every_key(void **state) {
    struct world *w = *state;
    static char values[KEYS][32];
    memset(values, 0, sizeof values);
    w->options.compaction_lag_ms = w->options.delete_retention_ms = 0;
    world_configure(w);
    for (int round = 0; round < 15; round++) {
        int pipe_end;
        uint64_t go = 0;
        pid_t child = start(w, compact_until_killed, &pipe_end); /* before the writer has a thread */
        struct journal_writer *writer = world_writer(w);
        int t = world_topic(w, writer, "k", true);
        assert_int_equal(write(pipe_end, &go, sizeof go), sizeof go);
        for (int i = 0; i < 2000; i++) {
            char key[16];
            int k = some(KEYS);
            bool gone = some(5) == 0;
            snprintf(key, sizeof key, "%d", k);
            values[k][0] = 0;
            if (!gone)
                snprintf(values[k], sizeof values[k], "%d.%d", round, i);
            MUST(w, world_try_append(w, writer, t, 0, key, gone ? (struct slice){0} : slice_of(values[k])));
            if (i % 50 == 49)
                world_commit(w, writer);
        }
        (void)wait_for(pipe_end, some(4));
        nap_us(some(20000));
        stop_child(child);
        close(pipe_end);
        embedded_writer_close(writer);
        check_newest(w, values);
    }
    assert_true(world_number(w, "SELECT count(*) FROM cleanings") > 0);
    assert_int_equal(
        world_number(w, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

/* ---- who is taken for dead ---- */

/* In the middle of a transaction that is so large that part of it is in the file. */
static void stop_in_the_middle(struct world *w, int pipe_end) {
    uint64_t word = 1;
    struct commit_record record;
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", false);
    append_transaction(w, writer, t, 23);
    if (write(pipe_end, &word, sizeof word) != sizeof word)
        _exit(1);
    raise(SIGSTOP);
    enum code code = world_try_commit(w, writer, &record);
    word = code == RETRY && w->err.id == ERR_JOURNAL_FENCED ? 2 : 3;
    if (write(pipe_end, &word, sizeof word) != sizeof word)
        _exit(1);
    embedded_writer_close(writer);
}

static void a_stopped_writer_holds_up_nobody_and_is_fenced(void **state) {
    struct world *w = *state;
    int pipe_end, status;
    uint64_t word = 0;
    pid_t child = start(w, stop_in_the_middle, &pipe_end);
    assert_int_equal(read(pipe_end, &word, sizeof word), sizeof word);
    assert_int_equal(waitpid(child, &status, WUNTRACED), child);
    assert_true(WIFSTOPPED(status));
    assert_true(world_number(w, "SELECT count(*) FROM chunks") > 50);

    int64_t begun = clock_mono(&clock_system);
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", false);
    append_transaction(w, writer, t, 1);
    struct commit_record c = world_commit(w, writer);
    assert_true(clock_mono(&clock_system) - begun < 5000000);
    assert_int_equal(c.seq, 1);
    kill(child, SIGCONT);
    assert_int_equal(read(pipe_end, &word, sizeof word), sizeof word);
    assert_int_equal(word, 2);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(check_all(w), 1);
    close(pipe_end);
    embedded_writer_close(writer);
}

/* ---- waking up ---- */

enum { BELLS = 8 };

static void write_when_asked(struct world *w, int pipe_end) {
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", false);
    uint64_t word;
    while (read(pipe_end, &word, sizeof word) == sizeof word) {
        nap_us(50000); /* the reader waits by now */
        world_append(w, writer, t, 0, "k", "v");
        world_commit(w, writer);
    }
    embedded_writer_close(writer);
}

/* In another process, and without looking again and again: its wait ends with the commit. */
static void a_waiting_reader_is_woken_by_another_process(void **state) {
    struct world *w = *state;
    struct journal_reader *r = world_reader(w); /* before there is a file */
    struct commit_record *record;
    int pipe_end, waits = 0, status;
    int64_t offset, begun = clock_mono(&clock_system);
    pid_t child = start(w, write_when_asked, &pipe_end);
    for (uint64_t i = 0; i < BELLS; i++) {
        enum code code;
        assert_int_equal(write(pipe_end, &i, sizeof i), sizeof i);
        while ((code = embedded_commits_next(r, &w->arena, &record, &offset, &w->err)) == AGAIN) {
            MUST(w, embedded_reader_wait(r, 30000, &w->err));
            waits += i > 0; /* the first ones look for a file */
        }
        MUST(w, code);
        assert_int_equal(record->seq, i + 1);
    }
    assert_true(clock_mono(&clock_system) - begun < BELLS * INT64_C(15000000));
    assert_true(waits < 3 * BELLS);
    embedded_reader_close(r);
    close(pipe_end);
    assert_int_equal(waitpid(child, &status, 0), child);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_killed_writer_loses_nothing_that_was_durable),
        CASE(a_killed_compaction_keeps_the_newest_of_every_key),
        CASE(a_stopped_writer_holds_up_nobody_and_is_fenced),
        CASE(a_waiting_reader_is_woken_by_another_process),
    };
    log_setup(LOG_ERROR, false);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
