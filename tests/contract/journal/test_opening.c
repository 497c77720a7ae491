/* Who may open a pipeline: one writer at a time, of one source, on a journal that is as it was left. */
#include <errno.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "journal_case.h"

static void a_second_writer_fences_the_first(void **state) {
    struct world *w = *state;
    struct commit_record record;
    struct journal_writer *first = writer(w);
    int t = topic(w, first, "public.item", true, true);
    append(w, first, t, 0, "first");
    commit(w, first);
    append(w, first, t, 0, "late");
    struct journal_writer *second = writer(w);
    assert_int_equal(w->last->seq, 1);
    REFUSED(w, try_commit(w, first, &record), RETRY, JOURNAL_FENCED);
    REFUSED(w, append_text(w, first, t, 0, "k", "later"), RETRY, JOURNAL_FENCED);
    ops->writer_close(first);
    t = topic(w, second, "public.item", true, true);
    append(w, second, t, 0, "second");
    record = commit(w, second);
    assert_int_equal(record.seq, 2);

    struct journal_reader *r = reader(w);
    int s = stream(w, r, "public.item", 0, 0);
    assert_text(next(w, r, s, INT64_MAX - 1).value, "first");
    assert_text(next(w, r, s, INT64_MAX - 1).value, "second");
    ops->reader_close(r);
    ops->writer_close(second);
}

static void take_over(const char *kind, const char *prefix) {
    pid_t child;
    int status;
    char *argv[] = {program_invocation_name, (char *)"take-over", (char *)kind, (char *)prefix, NULL};
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
}

/* The other process of after_another_process_took_over: opens the pipeline, commits once, goes. */
static int other_process(const char *kind, const char *prefix) {
    struct world w = {0};
    stop_init(&stop);
    log_setup(LOG_ERROR, false);
    if (!choose_journal(kind))
        return 1;
    snprintf(w.prefix, sizeof w.prefix, "%s", prefix);
    w.journal = journal_with(&w, "");
    struct journal_writer *writer_ = NULL;
    struct commit_record record = {.position = {1, 100, 0}};
    enum code code = ops->writer_open(w.journal, &env, "shop", WAIT_MS, &writer_, &w.arena, &w.last, &w.err);
    if (code == OK)
        code = ops->commit(writer_, &record, WAIT_MS, &w.err);
    ops->writer_close(writer_);
    ops->close(w.journal);
    arena_free(&w.arena);
    stop_free(&stop);
    return code == OK ? 0 : 1;
}

static void after_another_process_took_over_the_writer_stops_for_good(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    struct commit_record record;
    int t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "first");
    commit(w, writer_);
    MUST(w, ops->overtaken(w->journal, &env, "shop", WAIT_MS, &w->err));
    take_over(fixture->kind, w->prefix);
    REFUSED(w, ops->overtaken(w->journal, &env, "shop", WAIT_MS, &w->err), FATAL, JOURNAL_FENCED);
    append(w, writer_, t, 0, "zombie");
    REFUSED(w, try_commit(w, writer_, &record), RETRY, JOURNAL_FENCED);
    ops->writer_close(writer_);
    REFUSED(w, ops->writer_open(w->journal, &env, "shop", WAIT_MS, &writer_, &w->arena, &w->last, &w->err),
            FATAL, JOURNAL_FENCED);
    assert_null(writer_);
}

static void another_source_under_the_same_prefix_is_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    commit(w, writer_);
    ops->writer_close(writer_);
    REFUSED(w, ops->writer_open(w->journal, &env, "other", WAIT_MS, &writer_, &w->arena, &w->last, &w->err),
            FATAL, JOURNAL_TOPIC);
    assert_non_null(strstr(w->err.text, "shop"));
}

static void topics_with_records_and_no_commit_record_are_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    append(w, writer_, topic(w, writer_, "public.item", true, true), 0, "x");
    commit(w, writer_);
    ops->writer_close(writer_);
    fixture->delete_topic(name_of(w, "commits"));
    enum code code = OK;
    for (int i = 0; i < 200 && code == OK; i++) {
        code = ops->writer_open(w->journal, &env, "shop", WAIT_MS, &writer_, &w->arena, &w->last, &w->err);
        if (code == OK)
            ops->writer_close(writer_);
    }
    REFUSED(w, code, FATAL, JOURNAL_TOPIC);
    assert_non_null(strstr(w->err.text, "topic_prefix"));
}

/* Whatever was done to a topic behind our back: named at the open, until a snapshot begins the topic anew. */
static void a_topic_that_is_not_as_it_was_left_stops_the_writer(void **state) {
    static const struct journal_env anew = {&clock_system, &stop, true};
    struct world *w = *state;
    for (int made_anew = 0; made_anew < 2; made_anew++) {
        struct journal_writer *writer_ = writer(w);
        int t = topic(w, writer_, "public.item", true, true);
        for (int i = 0; i < 5; i++)
            append(w, writer_, t, 1, "x");
        topic(w, writer_, "public.other", true, true);
        struct commit_record before = commit(w, writer_);
        char *pipeline = arena_strdup(&w->arena, before.pipeline);
        ops->writer_close(writer_);
        fixture->delete_topic(name_of(w, "public.item"));
        if (made_anew)
            fixture->make_topic(name_of(w, "public.item"), 4, WEEK);
        enum code code;
        for (int i = 0; i < 200; i++) /* the brokers need a moment to forget */
            if ((code = ops->writer_open(w->journal, &env, "shop", WAIT_MS, &writer_, &w->arena, &w->last,
                                         &w->err)) == OK)
                ops->writer_close(writer_);
            else
                break;
        REFUSED(w, code, FATAL, JOURNAL_TOPIC);
        assert_non_null(strstr(w->err.text, "--resnapshot"));
        assert_non_null(strstr(w->err.text, name_of(w, "public.item")));

        MUST(w, ops->writer_open(w->journal, &anew, "shop", WAIT_MS, &writer_, &w->arena, &w->last, &w->err));
        uint64_t generation = w->last->position.generation;
        t = topic(w, writer_, "public.item", true, true);
        append(w, writer_, t, 2, "y");
        struct commit_record c = commit(w, writer_);
        assert_string_equal(c.pipeline, pipeline);
        assert_int_equal(end_of(&c, name_of(w, "public.item"), 1), -1);
        assert_int_equal(end_of(&c, name_of(w, "public.item"), 2), 0);
        assert_int_equal(c.topics[0].born, generation + 1);
        ops->writer_close(writer_);
    }
}

static void a_journal_that_is_away_is_unreachable_in_time(void **state) {
    struct world *w = *state;
    CLEANUP_BUF yaml = {0};
    struct journal_writer *writer_;
    struct journal_reader *r;
    fixture->options_away(&yaml);
    struct journal *j = open_journal(w, &yaml);
    int64_t begun = clock_mono(&clock_system);
    REFUSED(w, ops->writer_open(j, &env, "shop", 500, &writer_, &w->arena, &w->last, &w->err), RETRY,
            JOURNAL_UNREACHABLE);
    REFUSED(w, ops->reader_open(j, &env, 500, &r, &w->err), RETRY, JOURNAL_UNREACHABLE);
    assert_null(writer_);
    assert_null(r);
    CLEANUP_BUF findings = {0};
    REFUSED(w, ops->check(j, 500, &findings, &w->err), RETRY, JOURNAL_UNREACHABLE);
    assert_true(clock_mono(&clock_system) - begun < 6000000);
    stop_request(&stop);
    begun = clock_mono(&clock_system);
    REFUSED(w, ops->writer_open(j, &env, "shop", 60000, &writer_, &w->arena, &w->last, &w->err), RETRY,
            STOPPED);
    assert_true(clock_mono(&clock_system) - begun < 3000000);
    stop_free(&stop);
    stop_init(&stop);
    ops->close(j);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_second_writer_fences_the_first),
        CASE(after_another_process_took_over_the_writer_stops_for_good),
        CASE(another_source_under_the_same_prefix_is_refused),
        CASE(topics_with_records_and_no_commit_record_are_refused),
        CASE(a_topic_that_is_not_as_it_was_left_stops_the_writer),
        CASE(a_journal_that_is_away_is_unreachable_in_time),
    };
    if (argc == 4 && strcmp(argv[1], "take-over") == 0)
        return other_process(argv[2], argv[3]);
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
