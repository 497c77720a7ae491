/* What commit records tell: the newest is found, and the ends in it are right, whatever lies around them. */
#include "journal_case.h"

static void the_newest_commit_record_is_found_behind_aborted_junk(void **state) {
    struct world *w = *state;
    struct journal_reader *r = reader(w);
    struct commit_record *last;
    int64_t offset;
    MUST(w, ops->commits_last(r, WAIT_MS, &w->arena, &last, &offset, &w->err));
    assert_null(last);
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    for (int i = 0; i < 100; i++) {
        append(w, writer_, t, 0, "x");
        commit(w, writer_);
    }
    ops->writer_close(writer_);
    for (int i = 0; i < 3; i++) {
        writer_ = writer(w);
        assert_int_equal(w->last->seq, 100);
        assert_int_equal(w->last->position.commit, 100);
        t = topic(w, writer_, "public.item", true, true);
        append(w, writer_, t, 0, "junk");
        MUST(w, ops->writer_poll(writer_, 50, &w->err));
        ops->writer_close(writer_);
    }
    MUST(w, ops->commits_last(r, WAIT_MS, &w->arena, &last, &offset, &w->err));
    assert_int_equal(last->seq, 100);
    for (uint64_t i = 1; i <= 100; i++)
        assert_int_equal(next_commit(w, r)->seq, i);
    MUST(w, ops->commits_seek(r, offset, &w->err));
    assert_int_equal(next_commit(w, r)->seq, 100);
    ops->reader_close(r);
}

static void ends_are_told_as_deltas_and_in_full(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    const char *a_name = name_of(w, "public.a"), *b_name = name_of(w, "public.b");
    int a = topic(w, writer_, "public.a", true, true), b = topic(w, writer_, "public.b", false, false);
    append(w, writer_, a, 0, "x");
    append(w, writer_, a, 3, "x");
    struct commit_record c = commit(w, writer_);
    assert_true(c.full);
    assert_int_equal(c.n_topics, 1);
    assert_int_equal(end_of(&c, a_name, 0), 0);
    assert_int_equal(end_of(&c, a_name, 3), 0);
    append(w, writer_, b, 0, "x");
    append(w, writer_, b, 0, "x");
    c = commit(w, writer_);
    assert_false(c.full);
    assert_int_equal(c.n_topics, 1);
    assert_int_equal(c.topics[0].partitions, 1);
    assert_false(c.topics[0].compacted);
    assert_int_equal(end_of(&c, b_name, 0), 1);
    assert_int_equal(end_of(&c, a_name, 0), -1);
    bool full = false;
    for (int i = 0; i < 10 && !full; i++) { /* when the deltas weigh more than a full one */
        append(w, writer_, b, 0, "x");
        full = (c = commit(w, writer_)).full;
    }
    assert_true(full);
    int64_t end = end_of(&c, b_name, 0);
    assert_int_equal(end_of(&c, a_name, 3), 0);
    append(w, writer_, b, 0, "x");
    commit(w, writer_);
    c = commit(w, writer_); /* idle */
    assert_true(c.full);
    assert_true(end_of(&c, b_name, 0) > end);
    end = end_of(&c, b_name, 0);
    append(w, writer_, a, 1, "x");
    assert_false(commit(w, writer_).full);
    ops->writer_close(writer_);

    writer_ = writer(w); /* the ends are known again, from the full record and the deltas since */
    c = commit(w, writer_);
    assert_true(c.full);
    assert_int_equal(c.n_ends, 4);
    assert_int_equal(end_of(&c, a_name, 0), 0);
    assert_int_equal(end_of(&c, a_name, 1), 0);
    assert_int_equal(end_of(&c, b_name, 0), end);
    ops->writer_close(writer_);
}

/* Ends are told before they are acknowledged as long as nobody else writes; when somebody does, no wrong one
 * is ever seen. */
static void a_stranger_in_a_topic_never_makes_an_end_wrong(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    struct journal_reader *r = reader(w);
    struct commit_record c;
    int t = topic(w, writer_, "public.item", true, true), s = -1;
    for (int i = 0; i < 2; i++) {
        append(w, writer_, t, 0, "ours");
        c = commit(w, writer_);
        assert_int_equal(next_commit(w, r)->seq, c.seq);
    }
    fixture->write(name_of(w, "public.item"), 0, "stranger");
    append(w, writer_, t, 0, "lost");
    REFUSED(w, try_commit(w, writer_, &c), RETRY, JOURNAL_UNREACHABLE);
    ops->writer_close(writer_);

    writer_ = writer(w);
    assert_int_equal(w->last->seq, 2);
    t = topic(w, writer_, "public.item", true, true);
    for (int i = 0; i < (fixture->service ? 3 : 1); i++) { /* and from now on a stranger does no harm */
        append(w, writer_, t, 0, "again");
        c = commit(w, writer_);
        assert_int_equal(c.seq, i + 3);
        const struct commit_record *seen = next_commit(w, r);
        assert_int_equal(seen->seq, c.seq);
        assert_int_equal(end_of(seen, name_of(w, "public.item"), 0),
                         end_of(&c, name_of(w, "public.item"), 0));
        fixture->write(name_of(w, "public.item"), 0, "stranger");
    }
    s = stream(w, r, "public.item", 0, 0);
    int again = 0;
    struct journal_record got;
    for (int64_t last = end_of(&c, name_of(w, "public.item"), 0);
         (got = next(w, r, s, last)).offset <= last;) {
        assert_false(slice_is(got.value, "lost"));
        again += slice_is(got.value, "again");
        if (again == (int)c.seq - 2)
            assert_int_equal(got.offset, last);
    }
    assert_int_equal(again, c.seq - 2);
    ops->reader_close(r);
    ops->writer_close(writer_);
}

static void ends_are_known_again_when_older_records_are_gone(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_;
    struct journal_reader *r;
    struct commit_record *last;
    int64_t offset;
    fixture->make_topic(name_of(w, "commits"), 1,
                        "cleanup.policy=compact,delete;retention.ms=-1;" /* so that delete_before may */
                        "min.compaction.lag.ms=604800000;delete.retention.ms=604800000");
    writer_ = writer(w);
    int a = topic(w, writer_, "public.a", true, true), b = topic(w, writer_, "public.b", false, false);
    for (int p = 0; p < 4; p++)
        append(w, writer_, a, p, "x");
    append(w, writer_, b, 0, "x");
    commit(w, writer_);
    append(w, writer_, a, 2, "y");
    assert_false(commit(w, writer_).full);
    ops->writer_close(writer_);
    r = reader(w);
    MUST(w, ops->commits_last(r, WAIT_MS, &w->arena, &last, &offset, &w->err));
    ops->reader_close(r);
    fixture->delete_before(name_of(w, "commits"), 0, offset);

    writer_ = writer(w);
    assert_int_equal(w->last->seq, 2);
    struct commit_record c = commit(w, writer_);
    assert_int_equal(c.seq, 3);
    assert_true(c.full);
    assert_int_equal(c.n_ends, 5);
    assert_int_equal(c.n_topics, 2);
    for (int i = 0; i < 2; i++)
        assert_int_equal(c.topics[i].compacted, strcmp(c.topics[i].name, name_of(w, "public.a")) == 0);
    r = reader(w);
    for (int p = 0; p < 4; p++) { /* an end may lie on a marker, never before the last record */
        int s = stream(w, r, "public.a", p, 0);
        int64_t end = end_of(&c, name_of(w, "public.a"), p);
        assert_true(next(w, r, s, end).offset <= end);
        if (p == 2)
            assert_text(next(w, r, s, end).value, "y");
        assert_true(next(w, r, s, end).offset > end);
    }
    ops->reader_close(r);
    ops->writer_close(writer_); /* the ends of the record were its own */
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(the_newest_commit_record_is_found_behind_aborted_junk),
        CASE(ends_are_told_as_deltas_and_in_full),
        CASE(a_stranger_in_a_topic_never_makes_an_end_wrong),
        CASE(ends_are_known_again_when_older_records_are_gone),
    };
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
