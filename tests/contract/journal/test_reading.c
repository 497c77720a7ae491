/* What a reader is given: its window of a stream, nothing missed, and a gap named. */
#include "journal_case.h"

static void a_reader_may_come_before_the_writer(void **state) {
    struct world *w = *state;
    struct journal_reader *r = reader(w);
    struct commit_record *record;
    int64_t offset;
    assert_int_equal(ops->commits_next(r, &w->arena, &record, &offset, &w->err), AGAIN);
    struct journal_writer *writer_ = writer(w);
    commit(w, writer_);
    assert_int_equal(next_commit(w, r)->seq, 1);
    ops->writer_close(writer_);
    ops->reader_close(r);
}

static void a_stream_stays_inside_its_window(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "a");
    append(w, writer_, t, 0, "b");
    struct commit_record c = commit(w, writer_);
    int64_t first = end_of(&c, name_of(w, "public.item"), 0);
    append(w, writer_, t, 0, "c");
    c = commit(w, writer_);
    int64_t second = end_of(&c, name_of(w, "public.item"), 0);
    struct journal_reader *r = reader(w);
    int s = stream(w, r, "public.item", 0, 0);
    assert_text(next(w, r, s, first).value, "a");
    assert_text(next(w, r, s, first).value, "b");
    for (int i = 0; i < 3; i++)
        assert_true(next(w, r, s, first).offset > first); /* nothing is consumed */
    struct journal_record got = next(w, r, s, second);
    assert_text(got.value, "c");
    assert_int_equal(got.offset, second);
    assert_true(next(w, r, s, second).offset > second);
    ops->stream_close(r, s);
    s = stream(w, r, "public.item", 0, first + 1); /* begins behind the marker, too */
    assert_text(next(w, r, s, second).value, "c");
    int other = stream(w, r, "public.item", 0 + 1, 0);
    assert_int_not_equal(s, other);
    assert_int_equal(ops->stream_next(r, other, 0, &got, &w->err), AGAIN); /* an empty partition */
    ops->reader_close(r);
    ops->writer_close(writer_);
}

static int64_t ahead_us;
static int64_t later(void *arg) {
    (void)arg;
    return clock_mono(&clock_system) + ahead_us;
}

/* Whatever a journal does to make waiting cheap. */
static void a_reader_that_was_long_idle_misses_nothing(void **state) {
    struct world *w = *state;
    const struct clock clock = {later, clock_system.wall_us, NULL};
    const struct journal_env env_ = {&clock, &stop};
    struct journal_writer *writer_ = writer(w);
    struct journal_reader *r;
    struct commit_record *last;
    int64_t offset;
    int t = topic(w, writer_, "public.item", true, true), streams[2] = {-1, -1};
    MUST(w, ops->reader_open(w->journal, &env_, WAIT_MS, &r, &w->err));
    for (int round = 0; round < 12; round++) {
        int p = round / 2 % 2;
        append(w, writer_, t, p, arena_printf(&w->arena, "%d", round));
        struct commit_record c = commit(w, writer_), *got = next_commit(w, r);
        assert_int_equal(got->seq, c.seq);
        if (streams[p] < 0)
            streams[p] = stream(w, r, "public.item", p, 0);
        assert_text(next(w, r, streams[p], end_of(&c, name_of(w, "public.item"), p)).value,
                    arena_printf(&w->arena, "%d", round));
        for (int i = 0; i < 6; i++) {
            ahead_us += 2000000;
            MUST(w, ops->reader_wait(r, 60, &w->err));
            assert_int_equal(ops->commits_next(r, &w->arena, &last, &offset, &w->err), AGAIN);
        }
        if (round % 3 == 0) {
            MUST(w, ops->commits_last(r, WAIT_MS, &w->arena, &last, &offset, &w->err));
            assert_int_equal(last->seq, c.seq);
        }
        if (round == 7) {
            ops->stream_close(r, streams[1]);
            streams[1] = -1;
        }
        if (round == 8) { /* from the beginning once more */
            MUST(w, ops->commits_seek(r, 0, &w->err));
            for (uint64_t seq = 1; seq <= c.seq; seq++)
                assert_int_equal(next_commit(w, r)->seq, seq);
        }
        if (streams[1] < 0 && round > 1) {
            streams[1] = stream(w, r, "public.item", 1, 0);
            for (int n = 2; n <= round; n++)
                if (n / 2 % 2)
                    assert_text(next(w, r, streams[1], INT64_MAX).value, arena_printf(&w->arena, "%d", n));
        }
    }
    ops->reader_close(r);
    ops->writer_close(writer_);
}

/* Its owner may be about to close it: the record that says why the topic is another one is still to come. */
static void what_happens_to_a_stream_nobody_asks_for_is_nobodys_error(void **state) {
    struct world *w = *state;
    const struct clock clock = {later, clock_system.wall_us, NULL};
    const struct journal_env env_ = {&clock, &stop};
    struct journal_writer *writer_ = writer(w);
    struct journal_record record;
    struct journal_reader *r;
    enum code code;
    int gone = topic(w, writer_, "public.gone", true, true), t = topic(w, writer_, "public.item", true, true);
    MUST(w, ops->reader_open(w->journal, &env_, WAIT_MS, &r, &w->err));
    for (int i = 0; i < 3; i++)
        append(w, writer_, gone, 0, "gone");
    append(w, writer_, t, 0, "item");
    struct commit_record c = commit(w, writer_);
    int g = stream(w, r, "public.gone", 0, 0), s = stream(w, r, "public.item", 0, 0);
    for (int i = 0; i < 3; i++)
        next(w, r, g, end_of(&c, name_of(w, "public.gone"), 0));
    next_commit(w, r);
    for (int round = 0; round < 20; round++) {
        if (round == 5)
            fixture->delete_topic(name_of(w, "public.gone"));
        if (round == 10)
            fixture->make_topic(name_of(w, "public.gone"), 4, WEEK);
        append(w, writer_, t, 0, "item");
        c = commit(w, writer_);
        next_commit(w, r);
        next(w, r, s, end_of(&c, name_of(w, "public.item"), 0));
        if (round % 4 == 3)
            ahead_us += 2000000;
        MUST(w, ops->reader_wait(r, 100, &w->err));
    }
    for (int i = 0; (code = ops->stream_next(r, g, INT64_MAX, &record, &w->err)) == AGAIN && i < 200; i++)
        MUST(w, ops->reader_wait(r, 100, &w->err));
    REFUSED(w, code, FATAL, JOURNAL_GAP);
    ops->stream_close(r, g);
    append(w, writer_, t, 0, "item");
    c = commit(w, writer_);
    next(w, r, s, end_of(&c, name_of(w, "public.item"), 0));
    ops->reader_close(r);
    ops->writer_close(writer_);
}

static void what_was_deleted_is_a_gap(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.log", false, false), s;
    for (int i = 0; i < 10; i++)
        append(w, writer_, t, 0, "x");
    commit(w, writer_);
    fixture->delete_before(name_of(w, "public.log"), 0, 5);
    struct journal_reader *r = reader(w);
    REFUSED(w, ops->stream_open(r, name_of(w, "public.log"), 0, 4, &s, &w->err), FATAL, JOURNAL_GAP);
    s = stream(w, r, "public.log", 0, 5);
    assert_int_equal(next(w, r, s, 9).offset, 5);
    ops->reader_close(r);

    r = reader(w); /* a topic that was made anew is shorter than what was read */
    REFUSED(w, ops->stream_open(r, name_of(w, "public.log"), 0, 1000, &s, &w->err), FATAL, JOURNAL_GAP);
    REFUSED(w, ops->stream_open(r, name_of(w, "public.never"), 0, 7, &s, &w->err), FATAL, JOURNAL_GAP);
    REFUSED(w, ops->stream_open(r, name_of(w, "public.never"), 0, 0, &s, &w->err), RETRY,
            JOURNAL_UNREACHABLE);
    ops->reader_close(r);
    ops->writer_close(writer_);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_reader_may_come_before_the_writer),
        CASE(a_stream_stays_inside_its_window),
        CASE(a_reader_that_was_long_idle_misses_nothing),
        CASE(what_happens_to_a_stream_nobody_asks_for_is_nobodys_error),
        CASE(what_was_deleted_is_a_gap),
    };
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
