/* Topics are made as the options say, and those of others that would lose rows are refused. */
#include "journal_case.h"

static void topics_are_made_as_the_options_say(void **state) {
    struct world *w = *state;
    struct journal *j = journal_with(w, "partitions: 3\ncompaction_lag: 90m\ndelete_retention: 2d\n");
    struct journal_writer *writer_ = writer_of(w, j);
    topic(w, writer_, "public.keyed", true, true);
    topic(w, writer_, "public.history", true, false);
    topic(w, writer_, "public.keyless", false, false);
    static const struct {
        const char *topic, *name, *value;
    } want[] = {
        {"public.keyed", "partitions", "3"},
        {"public.keyed", "cleanup.policy", "compact"},
        {"public.keyed", "min.compaction.lag.ms", "5400000"},
        {"public.keyed", "delete.retention.ms", "172800000"},
        {"public.history", "partitions", "3"},
        {"public.history", "cleanup.policy", "delete"},
        {"public.history", "retention.ms", "-1"},
        {"public.history", "retention.bytes", "-1"},
        {"public.keyless", "partitions", "1"},
        {"public.keyless", "retention.ms", "-1"},
        {"commits", "partitions", "1"},
        {"commits", "cleanup.policy", "compact"},
        {"commits", "min.compaction.lag.ms", "5400000"},
    };
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        char got[128];
        fixture->setting(name_of(w, want[i].topic), want[i].name, got, sizeof got);
        assert_string_equal(got, want[i].value);
    }
    ops->writer_close(writer_);
    ops->close(j);
}

static void a_topic_is_made_once_and_keeps_its_partitions(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    struct topic_spec spec = {name_of(w, "public.item"), true, true};
    int t = topic(w, writer_, "public.item", true, true), again, partitions;
    MUST(w, ops->topic(writer_, &spec, &again, &partitions, &w->err));
    assert_int_equal(t, again);
    assert_int_equal(partitions, 4);
    ops->writer_close(writer_);

    struct journal *j = journal_with(w, "partitions: 8\n");
    writer_ = writer_of(w, j);
    MUST(w, ops->topic(writer_, &spec, &again, &partitions, &w->err));
    assert_int_equal(partitions, 4);
    ops->writer_close(writer_);
    ops->close(j);
}

static void topics_that_forget_are_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    static const struct {
        const char *table;
        int partitions;
        const char *settings;
        bool keyed, compacted;
        const char *word;
    } bad[] = {
        {"public.a", 4, "retention.ms=3600000", true, false, "retention.ms"},
        {"public.b", 4, "retention.ms=3600000", true, true, "retention.ms"},
        {"public.c", 1, "cleanup.policy=compact", false, false, "compact"},
        {"public.d", 3, "cleanup.policy=compact", false, true, "3 partitions"},
        {"public.e", 4, "cleanup.policy=compact,delete", true, true, "retention.ms"},
        {"public.f", 4, "cleanup.policy=compact;min.compaction.lag.ms=604800000", true, true,
         "delete.retention.ms"},
        {"public.g", 4, "cleanup.policy=compact;delete.retention.ms=604800000", true, true,
         "min.compaction.lag.ms"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct topic_spec spec = {name_of(w, bad[i].table), bad[i].keyed, bad[i].compacted};
        int number, partitions;
        if (!fixture->service && strstr(bad[i].word, ".ms"))
            continue;
        fixture->make_topic(spec.name, bad[i].partitions, bad[i].settings);
        REFUSED(w, ops->topic(writer_, &spec, &number, &partitions, &w->err), FATAL, JOURNAL_TOPIC);
        assert_non_null(strstr(w->err.text, spec.name));
        assert_non_null(strstr(w->err.text, bad[i].word));
    }
    ops->writer_close(writer_);
}

static void commits_with_two_partitions_are_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_;
    fixture->make_topic(name_of(w, "commits"), 2, WEEK);
    REFUSED(w, ops->writer_open(w->journal, &env, "shop", WAIT_MS, &writer_, &w->arena, &w->last, &w->err),
            FATAL, JOURNAL_TOPIC);
}

static void the_doctor_changes_nothing_and_sees_wrong_topics(void **state) {
    struct world *w = *state;
    CLEANUP_BUF findings = {0};
    char got[32];
    MUST(w, ops->check(w->journal, WAIT_MS, &findings, &w->err));
    assert_null(strstr(buf_cstr(&findings), "\"error\""));
    fixture->setting(name_of(w, "commits"), "partitions", got, sizeof got);
    assert_string_equal(got, "");
    fixture->make_topic(name_of(w, "public.item"), 2, "retention.ms=1000");
    fixture->write(name_of(w, "public.item"), 0, "stranger");
    MUST(w, ops->check(w->journal, WAIT_MS, &findings, &w->err));
    assert_non_null(strstr(buf_cstr(&findings), "\"error\""));
    assert_non_null(strstr(buf_cstr(&findings), name_of(w, "public.item")));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(topics_are_made_as_the_options_say),
        CASE(a_topic_is_made_once_and_keeps_its_partitions),
        CASE(topics_that_forget_are_refused),
        CASE(commits_with_two_partitions_are_refused),
        CASE(the_doctor_changes_nothing_and_sees_wrong_topics),
    };
    return walk_journals(argc, argv, tests, sizeof tests / sizeof *tests);
}
