/* How large a row may be: the topic's limit holds, and is named before it breaks a transaction. */
#include "journal_case.h"

static void a_row_too_large_is_refused_before_it_breaks_the_transaction(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    char *big = xmalloc(3000001), limit[32];
    memset(big, 'x', 3000000);
    big[3000000] = 0;
    append(w, writer_, t, 0, "small");
    REFUSED(w, append_text(w, writer_, t, 0, "k", big), FATAL, ROW_TOO_LARGE);
    fixture->setting(name_of(w, "public.item"), fixture->limit, limit, sizeof limit);
    assert_non_null(strstr(w->err.text, name_of(w, "public.item")));
    assert_non_null(strstr(w->err.text, limit));
    assert_non_null(strstr(w->err.text, "has 300"));
    assert_non_null(strstr(w->err.text, fixture->limit));
    assert_non_null(strstr(w->err.text, "exclude"));
    assert_int_equal(commit(w, writer_).seq, 1);
    ops->writer_close(writer_);
    free(big);
}

static void the_largest_row_that_is_let_in_goes_through(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    char limit[32];
    fixture->setting(name_of(w, "public.item"), fixture->limit, limit, sizeof limit);
    size_t n = strtoull(limit, NULL, 10);
    char *big = xmalloc(n + 1);
    memset(big, 'x', n);
    struct journal_header header = {"millrace", {big, 5000}};
    struct journal_append a = {t, 0, slice_make(big, 100), slice_make(big, n), &header, 1};
    enum code code;
    while ((code = ops->append(writer_, &a, &w->err)) == FATAL)
        a.value.len--;
    MUST(w, code);
    assert_true(a.value.len > n - 6000);
    a.partition = 1;
    a.value.len++;
    REFUSED(w, ops->append(writer_, &a, &w->err), FATAL, ROW_TOO_LARGE);
    commit(w, writer_);
    ops->writer_close(writer_);
    free(big);
}

static void a_topic_with_a_small_limit_gets_small_batches(void **state) {
    struct world *w = *state;
    struct topic_spec spec = {name_of(w, "public.item"), true, true};
    CLEANUP_BUF value = {0};
    int t, partitions;
    for (int i = 0; i < 300; i++)
        buf_puts(&value, "0123456789");
    fixture->make_topic(spec.name, 4, WEEK ";max.message.bytes=20000");
    struct journal_writer *writer_ = writer(w);
    enum code code = ops->topic(writer_, &spec, &t, &partitions, &w->err);
    if (code == RETRY) { /* a new producer is needed for it, once */
        ops->writer_close(writer_);
        writer_ = writer(w);
        code = ops->topic(writer_, &spec, &t, &partitions, &w->err);
    }
    MUST(w, code);
    for (int i = 0; i < 1000; i++)
        append(w, writer_, t, 0, buf_cstr(&value));
    commit(w, writer_);
    ops->writer_close(writer_);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_row_too_large_is_refused_before_it_breaks_the_transaction),
        CASE(the_largest_row_that_is_let_in_goes_through),
        CASE(a_topic_with_a_small_limit_gets_small_batches),
    };
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
