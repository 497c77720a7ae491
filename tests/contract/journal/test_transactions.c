/* What is committed is there, whole and in order; what is not is never seen. */
#include <stdio.h>

#include "journal_case.h"

static void what_is_committed_is_read_in_order(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    struct journal_reader *r = reader(w);
    assert_null(w->last);
    int t = topic(w, writer_, "public.item", true, true);
    char value[32];
    struct journal_header headers[] = {{"millrace", {"head", 4}}, {"__debezium.oldkey", {"old", 3}}};
    struct journal_append a = {t, 1, slice_of("k"), {0}, headers, 2};
    for (int i = 0; i < 1000; i++) {
        snprintf(value, sizeof value, "%d", i);
        append(w, writer_, t, i % 3, value);
    }
    MUST(w, ops->append(writer_, &a, &w->err)); /* a tombstone */
    a.value = slice_make("", 0);
    a.key = slice_make("", 0);
    MUST(w, ops->append(writer_, &a, &w->err)); /* empty is something else than null */
    a = (struct journal_append){
        topic(w, writer_, "public.log", false, false), 0, {0}, slice_of("x"), NULL, 0};
    MUST(w, ops->append(writer_, &a, &w->err));
    commit(w, writer_);

    struct commit_record *c = next_commit(w, r);
    assert_int_equal(c->seq, 1);
    assert_int_equal(c->position.commit, 1);
    assert_true(c->boundary);
    assert_string_equal(c->state, "{}");
    assert_int_equal(c->n_topics, 2);
    assert_int_equal(c->topics[0].partitions, 4);
    assert_true(c->topics[0].compacted);
    assert_null(next(w, r, stream(w, r, "public.log", 0, 0), 0).key.data);
    for (int p = 0; p < 3; p++) {
        int s = stream(w, r, "public.item", p, 0);
        int64_t last = end_of(c, name_of(w, "public.item"), p);
        for (int i = p; i < 1000; i += 3) {
            struct journal_record got = next(w, r, s, last);
            snprintf(value, sizeof value, "%d", i);
            assert_text(got.value, value);
            assert_text(got.key, "key");
            assert_int_equal(got.header.len, 0);
            assert_true(got.ts_us > 0);
        }
        if (p == 1) {
            struct journal_record got = next(w, r, s, last);
            assert_null(got.value.data);
            assert_text(got.key, "k");
            assert_text(got.header, "head");
            assert_text(got.other_key, "old");
            got = next(w, r, s, last);
            assert_non_null(got.value.data);
            assert_int_equal(got.value.len, 0);
            assert_non_null(got.key.data);
        }
        assert_true(next(w, r, s, last).offset > last);
        ops->stream_close(r, s);
    }
    assert_int_equal(end_of(c, name_of(w, "public.item"), 3), -1);
    ops->writer_close(writer_);
    ops->reader_close(r);
}

static void nothing_is_visible_before_the_commit(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "first");
    struct commit_record first = commit(w, writer_);
    int64_t last = end_of(&first, name_of(w, "public.item"), 0);

    struct journal_reader *r = reader(w);
    int s = stream(w, r, "public.item", 0, 0);
    struct journal_record got = next(w, r, s, INT64_MAX - 1);
    assert_text(got.value, "first");
    append(w, writer_, t, 0, "second");
    for (int i = 0; i < 10; i++)
        MUST(w, ops->writer_poll(writer_, 50, &w->err)); /* at the broker by now */
    for (int i = 0; i < 5; i++) {
        assert_int_equal(ops->stream_next(r, s, INT64_MAX - 1, &got, &w->err), AGAIN);
        MUST(w, ops->reader_wait(r, 50, &w->err));
    }
    assert_true(next(w, r, s, last).offset > last);
    commit(w, writer_);
    assert_text(next(w, r, s, INT64_MAX - 1).value, "second");
    ops->writer_close(writer_);
    ops->reader_close(r);
}

static void an_abandoned_transaction_is_never_visible(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "first");
    commit(w, writer_);
    append(w, writer_, t, 0, "junk");
    append(w, writer_, t, 2, "junk");
    for (int i = 0; i < 5; i++)
        MUST(w, ops->writer_poll(writer_, 20, &w->err));
    ops->writer_close(writer_);
    writer_ = writer(w);
    assert_int_equal(w->last->seq, 1);
    t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "second");
    struct commit_record c = commit(w, writer_);
    assert_int_equal(c.seq, 2);
    assert_true(c.full);
    assert_int_equal(end_of(&c, name_of(w, "public.item"), 2), -1);

    struct journal_reader *r = reader(w);
    int s = stream(w, r, "public.item", 0, 0);
    int64_t last = end_of(&c, name_of(w, "public.item"), 0);
    assert_text(next(w, r, s, last).value, "first");
    struct journal_record got = next(w, r, s, last);
    assert_text(got.value, "second");
    assert_int_equal(got.offset, last);
    ops->writer_close(writer_);
    ops->reader_close(r);
}

static void a_large_transaction_goes_through_a_bounded_queue(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true), full = 0;
    CLEANUP_BUF value = {0};
    for (int i = 0; i < 50000; i++)
        buf_puts(&value, "0123456789");
    for (int i = 0; i < 200; i++) {
        struct journal_append a = {t, i % 4, slice_of("k"), buf_slice(&value), NULL, 0};
        enum code code;
        while ((code = ops->append(writer_, &a, &w->err)) == AGAIN) {
            full++;
            MUST(w, ops->writer_poll(writer_, 100, &w->err));
        }
        MUST(w, code);
    }
    assert_true(full > 0);
    struct commit_record c = commit(w, writer_);
    struct journal_reader *r = reader(w);
    for (int p = 0; p < 4; p++) {
        int s = stream(w, r, "public.item", p, 0), n = 0;
        int64_t last = end_of(&c, name_of(w, "public.item"), p);
        while (next(w, r, s, last).offset <= last)
            n++;
        assert_int_equal(n, 50);
    }
    ops->reader_close(r);
    ops->writer_close(writer_);
}

static void schemas_are_seen_by_other_handles_after_the_commit(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    struct schema_store *put, *get;
    struct slice text;
    uint32_t a, b, again;
    const char *first = "{\"type\":\"record\",\"name\":\"\\u0000 \xc3\xa9\"}", *second = "\"long\"";
    MUST(w, ops->schemas(w->journal, &env, writer_, &put, &w->err));
    MUST(w, ops->schemas(w->journal, &env, NULL, &get, &w->err));
    MUST(w, schema_put(put, "t-value", slice_of(first), &a, &w->err));
    MUST(w, schema_put(put, "t-key", slice_of(second), &b, &w->err));
    MUST(w, schema_put(put, "t-value", slice_of(first), &again, &w->err));
    assert_int_equal(a, again);
    assert_int_not_equal(a, b);
    MUST(w, schema_get(put, a, &text, &w->err));
    assert_text(text, first);
    struct commit_record c = commit(w, writer_);
    assert_int_equal(c.n_ends, 0); /* schemas are no data */
    MUST(w, schema_get(get, b, &text, &w->err));
    assert_text(text, second);
    MUST(w, schema_get(get, a, &text, &w->err));
    assert_text(text, first);
    REFUSED(w, schema_get(get, 17, &text, &w->err), REJECT, SCHEMA_UNKNOWN);
    schema_store_free(put);
    ops->writer_close(writer_);

    writer_ = writer(w); /* ids of a transaction that did not commit are gone */
    MUST(w, ops->schemas(w->journal, &env, writer_, &put, &w->err));
    MUST(w, schema_put(put, "t-value", slice_of(first), &again, &w->err));
    assert_int_equal(a, again);
    MUST(w, schema_put(put, "x", slice_of("\"int\""), &again, &w->err));
    schema_store_free(put);
    MUST(w, ops->writer_poll(writer_, 50, &w->err));
    ops->writer_close(writer_);
    writer_ = writer(w);
    MUST(w, ops->schemas(w->journal, &env, writer_, &put, &w->err));
    MUST(w, schema_put(put, "y", slice_of("\"string\""), &b, &w->err));
    assert_int_equal(again, b);
    commit(w, writer_);
    MUST(w, schema_get(get, b, &text, &w->err));
    assert_text(text, "\"string\"");
    schema_store_free(put);
    schema_store_free(get);
    ops->writer_close(writer_);
}

static void a_commit_can_be_asked_for_in_small_steps(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true), steps = 0;
    struct commit_record record = {.position = {1, 1, 0}, .boundary = true};
    enum code code;
    append(w, writer_, t, 0, "x");
    while ((code = ops->commit(writer_, &record, 0, &w->err)) == AGAIN && steps++ < 100000)
        MUST(w, ops->writer_poll(writer_, 1, &w->err));
    MUST(w, code);
    assert_int_equal(record.seq, 1);
    assert_int_equal(end_of(&record, name_of(w, "public.item"), 0), 0);
    assert_true(steps > 0 || !fixture->service); /* one step, on a disk of our own */
    ops->writer_close(writer_);
}

static void at_least_once_has_the_same_shape(void **state) {
    struct world *w = *state;
    struct journal *j = journal_with(w, fixture->loose);
    struct journal_writer *writer_ = writer_of(w, j);
    int t = topic(w, writer_, "public.item", true, true);
    append(w, writer_, t, 0, "x");
    assert_int_equal(commit(w, writer_).seq, 1);
    append(w, writer_, t, 0, "y");
    struct commit_record c = commit(w, writer_);
    assert_int_equal(end_of(&c, name_of(w, "public.item"), 0), 1);
    ops->writer_close(writer_);
    writer_ = writer(w); /* and the delivery may be changed */
    assert_int_equal(w->last->seq, 2);
    ops->writer_close(writer_);
    writer_ = writer_of(w, j);
    assert_int_equal(w->last->seq, 2);
    ops->writer_close(writer_);
    ops->close(j);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(what_is_committed_is_read_in_order),
        CASE(nothing_is_visible_before_the_commit),
        CASE(an_abandoned_transaction_is_never_visible),
        CASE(a_large_transaction_goes_through_a_bounded_queue),
        CASE(schemas_are_seen_by_other_handles_after_the_commit),
        CASE(a_commit_can_be_asked_for_in_small_steps),
        CASE(at_least_once_has_the_same_shape),
    };
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
