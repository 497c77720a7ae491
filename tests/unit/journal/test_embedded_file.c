/* Every bad file, and every bad place for one, ends in an error that says what it is; nothing is called
 * durable that is not. */
#include <fcntl.h>
#include <glob.h>
#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "embedded_help.h"
#include "journal/embedded/check.h"

/* Some hundred records and a commit. */
static void fill(struct world *w) {
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", true);
    CLEANUP_BUF value = {0};
    for (int i = 0; i < 1000; i++)
        buf_puts(&value, "0123456789");
    for (int i = 0; i < 100; i++)
        MUST(w, world_try_append(w, writer, t, i % 2, "key", buf_slice(&value)));
    world_commit(w, writer);
    embedded_writer_close(writer);
}

#define ALL_REFUSED(w, code, id, word)                                                                   \
    do {                                                                                                 \
        struct journal_writer *writer_;                                                                  \
        struct journal_reader *reader_;                                                                  \
        CLEANUP_BUF findings_ = {0};                                                                     \
        REFUSED(w, world_try_writer(w, &writer_), code, id);                                             \
        SAYS(w, word);                                                                                   \
        REFUSED(w, embedded_reader_open((w)->journal, &world_env, 1000, &reader_, &(w)->err), code, id); \
        SAYS(w, word);                                                                                   \
        REFUSED(w, embedded_check((w)->journal, 1000, &findings_, &(w)->err), code, id);                 \
    } while (0)

static void files_are_for_their_owner_only(void **state) {
    static const char *const beside[] = {"", "-wal", "-shm", "-tick"};
    struct world *w = *state;
    umask(0);
    fill(w);
    for (size_t i = 0; i < 4; i++) {
        struct stat st;
        assert_int_equal(stat(arena_printf(&w->arena, "%s%s", w->options.path, beside[i]), &st), 0);
        assert_int_equal(st.st_mode & 0777, 0600);
    }
    glob_t all;
    assert_int_equal(glob(arena_printf(&w->arena, "%s/*", w->directory), GLOB_PERIOD, NULL, &all), 0);
    assert_int_equal(all.gl_pathc, 4 + 2); /* with . and .. */
    globfree(&all);
}

static void files_of_others_are_refused(void **state) {
    struct world *w = *state;
    world_write_file(
        w, slice_of("this is a letter to my aunt, and far too long for the header of a database, which "
                    "has a hundred bytes"));
    ALL_REFUSED(w, FATAL, JOURNAL_CORRUPT, "not a database");
    world_write_file(w, slice_of(""));
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "not a journal of Millrace");
    world_sql(w, "CREATE TABLE mine (a)");
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "not a journal of Millrace");
    assert_int_equal(world_number(w, "SELECT count(*) FROM sqlite_schema"), 1); /* and was left alone */
}

static void a_file_of_a_newer_version_is_refused(void **state) {
    struct world *w = *state;
    fill(w);
    world_sql(w, "PRAGMA user_version = 2");
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "format 2");
    world_sql(w, "PRAGMA user_version = 1");
    fill(w);
}

static void a_file_of_another_prefix_is_refused(void **state) {
    struct world *w = *state;
    fill(w);
    w->options.topic_prefix = "other";
    world_configure(w);
    ALL_REFUSED(w, FATAL, JOURNAL_TOPIC, "topic_prefix 't'");
}

static const char *path_with(struct world *w, const char *directory, const char *prefix,
                             const char *pipeline) {
    struct embedded_options options = w->options;
    struct journal *journal;
    options.path = NULL;
    options.topic_prefix = prefix;
    assert_int_equal(directory ? setenv("STATE_DIRECTORY", directory, 1) : unsetenv("STATE_DIRECTORY"), 0);
    MUST(w, embedded_open(&options, pipeline, &journal, &w->err));
    const char *path = arena_strdup(&w->arena, embedded_of(journal)->path);
    embedded_close(journal);
    return path;
}

static void a_file_is_named_after_the_source(void **state) {
    struct world *w = *state;
    struct journal *journal;
    assert_string_equal(path_with(w, NULL, NULL, "shop"), "/var/lib/millrace/shop.journal");
    assert_string_equal(path_with(w, "", "own", "shop"), "/var/lib/millrace/own.journal");
    assert_string_equal(path_with(w, "/srv/a:/srv/b", NULL, "shop"), "/srv/a/shop.journal");
    w->options.topic_prefix = NULL;
    REFUSED(w, embedded_open(&w->options, NULL, &journal, &w->err), FATAL, CONFIG);
    SAYS(w, "topic_prefix");
}

static void places_that_cannot_hold_it_are_refused(void **state) {
    struct world *w = *state;
    const char *good = w->options.path;
    w->options.path = arena_printf(&w->arena, "%s/none/j", w->directory);
    world_configure(w);
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "install -d");
    w->options.path = arena_printf(&w->arena, "%s/..", w->directory);
    world_configure(w);
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "not a file");
    w->options.path = good;
    world_configure(w);
    assert_int_equal(chmod(w->directory, 0777), 0);
    ALL_REFUSED(w, FATAL, JOURNAL_REFUSED, "chmod o-w");
    assert_int_equal(chmod(w->directory, 0700), 0);
}

/* As another user where the test is root, to whom nothing is forbidden. */
static void what_may_not_be_written_is_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer;
    assert_int_equal(chmod(w->directory, 0555), 0);
    bool root = geteuid() == 0;
    if (root)
        assert_int_equal(seteuid(65534), 0);
    enum code code = world_try_writer(w, &writer);
    if (root)
        assert_int_equal(seteuid(0), 0);
    REFUSED(w, code, FATAL, JOURNAL_REFUSED);
    assert_int_equal(chmod(w->directory, 0755), 0);
    fill(w);
    assert_int_equal(chmod(w->options.path, 0444), 0);
    if (root)
        assert_int_equal(seteuid(65534), 0);
    code = world_try_writer(w, &writer);
    if (root)
        assert_int_equal(seteuid(0), 0);
    REFUSED(w, code, FATAL, JOURNAL_REFUSED);
}

static void a_log_without_its_file_is_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer;
    fill(w);
    assert_int_equal(unlink(w->options.path), 0);
    REFUSED(w, world_try_writer(w, &writer), FATAL, JOURNAL_CORRUPT);
    SAYS(w, "-wal");
    assert_int_equal(unlink(arena_printf(&w->arena, "%s-wal", w->options.path)), 0);
    fill(w);
}

static enum code read_all(struct world *w) {
    struct journal_record record;
    enum code code = OK;
    for (int p = 0; p < 2 && (code == OK || code == AGAIN); p++) {
        struct journal_reader *r = NULL;
        int s;
        code = embedded_reader_open(w->journal, &world_env, 1000, &r, &w->err);
        if (code == OK)
            code = embedded_stream_open(r, "t.a", p, 0, &s, &w->err);
        while (code == OK)
            code = embedded_stream_next(r, s, INT64_MAX, &record, &w->err);
        embedded_reader_close(r);
    }
    return code == AGAIN ? OK : code;
}

/* One byte at a time, all over the file: read as it was, or a named error; never another row, never a
 * crash. */
static void a_damaged_file_is_named_or_does_no_harm(void **state) {
    struct world *w = *state;
    CLEANUP_BUF whole = {0};
    int corrupt = 0, checksum = 0;
    fill(w);
    world_read_file(w, &whole);
    const char *want[2] = {world_dump(w, "a", 0, 0), world_dump(w, "a", 1, 0)};
    for (size_t at = 0; at < whole.len; at += at < 20000 ? 37 : 4999) {
        whole.data[at] ^= 0x55;
        world_write_file(w, buf_slice(&whole));
        whole.data[at] ^= 0x55;
        enum code code = read_all(w);
        if (code == OK) {
            for (int p = 0; p < 2; p++)
                assert_string_equal(world_dump(w, "a", p, 0), want[p]);
            continue;
        }
        if (w->err.id != ERR_JOURNAL_CORRUPT && w->err.id != ERR_JOURNAL_REFUSED &&
            w->err.id != ERR_JOURNAL_GAP && w->err.id != ERR_JOURNAL_TOPIC &&
            w->err.id != ERR_JOURNAL_UNREACHABLE)
            fail_msg("byte %zu: %s: %s", at, err_name(w->err.id), w->err.text);
        corrupt++;
        checksum += strstr(w->err.text, "checksum") && strstr(w->err.text, "topic 't.a', partition ");
    }
    assert_true(corrupt > 50);
    assert_true(checksum > 50);
}

static void a_truncated_file_is_named(void **state) {
    struct world *w = *state;
    CLEANUP_BUF whole = {0};
    fill(w);
    world_read_file(w, &whole);
    for (size_t n = 4096; n < whole.len; n += 4096 * 19) {
        world_write_file(w, slice_make(whole.data, n));
        REFUSED(w, read_all(w), FATAL, JOURNAL_CORRUPT);
    }
}

/* Somebody moves it away under a running capture: what is written to it then is not where the path leads. */
static void a_file_that_is_replaced_is_noticed(void **state) {
    struct world *w = *state;
    struct journal_writer *writer = world_writer(w);
    struct journal_reader *r = world_reader(w);
    struct commit_record record;
    int t = world_topic(w, writer, "a", true);
    world_append(w, writer, t, 0, "k", "v");
    world_commit(w, writer);
    assert_int_equal(rename(w->options.path, arena_printf(&w->arena, "%s-old", w->options.path)), 0);
    world_append(w, writer, t, 0, "k", "v");
    REFUSED(w, world_try_commit(w, writer, &record), RETRY, JOURNAL_UNREACHABLE);
    SAYS(w, "replaced");
    REFUSED(w, embedded_reader_wait(r, 0, &w->err), RETRY, JOURNAL_UNREACHABLE);
    embedded_reader_close(r);
    embedded_writer_close(writer);
}

/* RLIMIT_FSIZE is what a full disk looks like to a process: writes fail, in the middle of anything. */
static void a_full_disk_is_named_and_nothing_is_lost(void **state) {
    struct world *w = *state;
    struct rlimit limit, before;
    struct commit_record record;
    struct journal_writer *writer = world_writer(w);
    int t = world_topic(w, writer, "a", true);
    CLEANUP_BUF value = {0};
    for (int i = 0; i < 1000; i++)
        buf_puts(&value, "0123456789");
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    int durable = 0;
    for (rlim_t bytes = 300000; bytes < 3000000; bytes += 170003) {
        limit.rlim_cur = bytes;
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
        enum code code = OK;
        while (code == OK && (code = world_try_append(w, writer, t, 0, "key", buf_slice(&value))) == OK &&
               (code = world_try_commit(w, writer, &record)) == OK)
            durable++;
        REFUSED(w, code, RETRY, JOURNAL_FULL);
        embedded_writer_close(writer);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &before), 0); /* room again */
        writer = world_writer(w);
        t = world_topic(w, writer, "a", true);
        if ((int)w->last->seq != durable &&
            (int)w->last->seq != durable + 1) /* the last one's outcome was unknown */
            fail_msg("%d durable, %d found", durable, (int)w->last->seq);
        durable = (int)w->last->seq;
        assert_int_equal(world_number(w, "SELECT next FROM partitions p JOIN topics t ON t.id = p.topic "
                                         "WHERE t.name = 't.a' AND p.partition = 0"),
                         durable);
    }
    embedded_writer_close(writer);
    assert_int_equal(read_all(w), OK);
    assert_int_equal(
        world_number(w, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1);
}

static void the_doctor_says_what_is_wrong(void **state) {
    struct world *w = *state;
    CLEANUP_BUF findings = {0};
    MUST(w, embedded_check(w->journal, 1000, &findings, &w->err));
    assert_null(strstr(buf_cstr(&findings), "\"error\""));
    assert_int_equal(access(w->options.path, F_OK), -1); /* made nothing */
    fill(w);
    buf_clear(&findings);
    MUST(w, embedded_check(w->journal, 1000, &findings, &w->err));
    assert_null(strstr(buf_cstr(&findings), "\"error\""));
    assert_null(strstr(buf_cstr(&findings), "\"warn\""));
    world_sql(w, "DELETE FROM topics WHERE name = 't.a'");
    assert_int_equal(chmod(w->options.path, 0644), 0);
    w->options.budget_bytes = INT64_C(1) << 60;
    buf_clear(&findings);
    MUST(w, embedded_check(w->journal, 1000, &findings, &w->err));
    assert_non_null(strstr(buf_cstr(&findings), "topic 't.a' is gone"));
    assert_non_null(strstr(buf_cstr(&findings), "chmod 600"));
    assert_non_null(strstr(buf_cstr(&findings), "Lower journal.embedded.budget"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(files_are_for_their_owner_only),          CASE(files_of_others_are_refused),
        CASE(a_file_of_a_newer_version_is_refused),    CASE(a_file_of_another_prefix_is_refused),
        CASE(a_file_is_named_after_the_source),        CASE(places_that_cannot_hold_it_are_refused),
        CASE(what_may_not_be_written_is_refused),      CASE(a_log_without_its_file_is_refused),
        CASE(a_damaged_file_is_named_or_does_no_harm), CASE(a_truncated_file_is_named),
        CASE(a_file_that_is_replaced_is_noticed),      CASE(a_full_disk_is_named_and_nothing_is_lost),
        CASE(the_doctor_says_what_is_wrong),
    };
    log_setup(LOG_ERROR, false);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
