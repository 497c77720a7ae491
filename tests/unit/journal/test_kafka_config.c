#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdio.h>

#include "base/config.h"
#include "journal/ends.h"
#include "journal/journal_table.h"
#include "journal/kafka/kafka.h"
#include "journal/kafka/pace.h"

static enum code open_with(const char *yaml, struct err *err) {
    struct arena arena = {0};
    struct config_node *map;
    struct journal *journal = NULL;
    struct kafka_options options = {0};
    assert_int_equal(config_read_text(slice_of(yaml), "test", &arena, &map, err), OK);
    enum code code = option_fill(&kafka_option_table, map, &options, &arena, err);
    if (code == OK)
        code = kafka_journal.open(&options, NULL, &journal, err);
    if (code == OK) {
        assert_string_equal(kafka_journal.prefix(journal), options.topic_prefix);
        kafka_journal.close(journal);
    }
    arena_free(&arena);
    return code;
}

static void a_small_configuration_is_enough(void **state) {
    struct err err = {0};
    (void)state;
    if (open_with("brokers: a:9092\ntopic_prefix: shop\n", &err) != OK)
        fail_msg("%s", err.text);
    if (open_with(
            "{brokers: 'a:9092', topic_prefix: a.b_C-1, replication: 3, properties: {compression.type: lz4}}",
            &err) != OK)
        fail_msg("%s", err.text);
}

static void what_cannot_be_is_refused_by_name_and_without_its_value(void **state) {
    static const struct {
        const char *yaml, *word;
    } bad[] = {
        {"topic_prefix: shop", "brokers"},
        {"brokers: a", "topic_prefix"},
        {"{brokers: a, topic_prefix: 'a b'}", "topic_prefix"},
        {"{brokers: a, topic_prefix: __shop}", "topic_prefix"},
        {"{brokers: a, topic_prefix: shop, replication: 0}", "replication"},
        {"{brokers: a, topic_prefix: shop, partitions: 1001}", "partitions"},
        {"{brokers: a, topic_prefix: shop, properties: {enable.idempotence: 'false'}}", "enable.idempotence"},
        {"{brokers: a, topic_prefix: shop, properties: {ACKS: '1'}}", "ACKS"},
        {"{brokers: a, topic_prefix: shop, properties: {transactional.id: x}}", "transactional.id"},
        {"{brokers: a, topic_prefix: shop, properties: {no.such.key: hush-hush}}", "no.such.key"},
        {"{brokers: a, topic_prefix: shop, properties: {security.protocol: hush-hush}}", "security.protocol"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_int_equal(open_with(bad[i].yaml, &err), FATAL);
        assert_int_equal(err.id, ERR_CONFIG);
        assert_non_null(strstr(err.text, bad[i].word));
        assert_null(strstr(err.text, "hush-hush"));
    }
}

static void errors_mean_what_the_table_says(void **state) {
    static const struct {
        rd_kafka_resp_err_t error;
        enum code code;
        enum err_id id;
    } want[] = {
        {RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, FATAL, ERR_JOURNAL_REFUSED},
        {RD_KAFKA_RESP_ERR__SSL, FATAL, ERR_JOURNAL_REFUSED},
        {RD_KAFKA_RESP_ERR__FENCED, RETRY, ERR_JOURNAL_FENCED},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH, RETRY, ERR_JOURNAL_FENCED},
        {RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, FATAL, ERR_ROW_TOO_LARGE},
        {RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE, FATAL, ERR_JOURNAL_GAP},
        {RD_KAFKA_RESP_ERR__MSG_TIMED_OUT, RETRY, ERR_JOURNAL_UNREACHABLE},
        {RD_KAFKA_RESP_ERR_INVALID_PRODUCER_ID_MAPPING, RETRY, ERR_JOURNAL_UNREACHABLE},
        {RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, RETRY, ERR_JOURNAL_UNREACHABLE},
    };
    (void)state;
    for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
        struct err err = {0};
        assert_int_equal(kafka_error(&err, want[i].error, "try", "topic"), want[i].code);
        assert_int_equal(err.id, want[i].id);
    }
}

static void put(struct ends *e, int topic, int partition, int64_t offset) {
    ends_sent(e, topic, partition);
    ends_note(e, topic, partition, offset);
}

static void a_delta_tells_what_was_touched_and_a_full_record_all(void **state) {
    struct ends e = {0};
    struct commit_record r = {0};
    (void)state;
    int a = ends_add(&e, "a", 2, true), hidden = ends_add(&e, "schemas", 1, true),
        b = ends_add(&e, "b", 1, false);
    e.topics[hidden].internal = true;
    put(&e, b, 0, 7);
    put(&e, hidden, 0, 3);
    put(&e, a, 1, 5);
    put(&e, b, 0, 8);
    put(&e, b, 0, 6); /* reports of one partition come in order; a smaller offset changes nothing */
    ends_fill(&e, false, false, &r);
    assert_int_equal(r.n_topics, 2);
    assert_int_equal(r.n_ends, 2);
    assert_string_equal(r.topics[0].name, "a");
    assert_int_equal(r.ends[0].partition, 1);
    assert_int_equal(r.ends[1].topic, 1);
    assert_int_equal(r.ends[1].offset, 8);
    ends_committed(&e, 1);
    ends_fill(&e, false, false, &r);
    assert_int_equal(r.n_topics, 0);
    put(&e, a, 0, 1);
    ends_fill(&e, true, false, &r);
    assert_int_equal(r.n_topics, 2);
    assert_int_equal(r.n_ends, 3);
    ends_free(&e);
}

static void ends_are_foreseen_once_a_transaction_of_ours_lies_before_them(void **state) {
    struct ends e = {0};
    struct commit_record r = {0};
    (void)state;
    int t = ends_add(&e, "t", 2, true);
    put(&e, t, 0, 17);
    assert_true(e.unforeseen); /* who knows what was there */
    assert_false(ends_as_foreseen(&e));
    ends_committed(&e, 1);
    ends_sent(&e, t, 0);
    ends_sent(&e, t, 0);
    assert_false(e.unforeseen);
    ends_fill(&e, false, true, &r);
    assert_int_equal(r.n_ends, 1);
    assert_int_equal(r.ends[0].offset, 20); /* behind 17 and the marker: 19, 20 */
    ends_note(&e, t, 0, 19);
    assert_false(ends_as_foreseen(&e));
    ends_note(&e, t, 0, 20);
    assert_true(ends_as_foreseen(&e));
    ends_note(&e, t, 0, 21); /* somebody else wrote between them */
    assert_false(ends_as_foreseen(&e));
    ends_committed(&e, 1);
    ends_sent(&e, t, 0);
    ends_sent(&e, t, 1);
    assert_true(e.unforeseen);
    ends_free(&e);
}

/* One transaction, begun when it may, at brokers that need `settle_us`; true if it was refused. */
static bool transact(struct pace *p, int64_t *now, int64_t settle_us, int64_t work_us) {
    int64_t ended = p->ready_us ? p->ready_us - p->pause_us : 0;
    bool early;
    *now = p->ready_us > *now ? p->ready_us : *now;
    pace_begun(p, *now);
    pace_adds(p, *now += 1000);
    early = p->ready_us && *now - ended < settle_us;
    if (early)
        pace_adds(p, *now += 20500);
    pace_produces(p);
    pace_adds(p, *now += work_us); /* of a partition that is touched later: no refusal */
    pace_ended(p, *now += 2000);
    return early;
}

static void the_pause_finds_out_how_long_brokers_need(void **state) {
    struct pace p;
    int64_t now = 1000000;
    int refused = 0;
    (void)state;
    pace_init(&p, 1000);
    assert_true(p.ready_us <= now);
    for (int i = 0; i < 3000; i++)
        refused += transact(&p, &now, 8000, 50000);
    assert_in_range(p.pause_us, 6000, 8000);
    assert_in_range(refused, 5, 15); /* the first ones, then one in 900 */
    for (int i = 0; i < 8000; i++)
        assert_false(transact(&p, &now, 0, 0));
    assert_int_equal(p.pause_us, 1000);

    int64_t pause_us = p.pause_us;
    pace_begun(&p, now = p.ready_us + 50000); /* long after the last one: says nothing */
    pace_adds(&p, now);
    pace_adds(&p, now += 25000);
    pace_produces(&p);
    pace_ended(&p, now);
    assert_int_equal(p.pause_us, pause_us);
    for (int i = 0; i < 100; i++)
        transact(&p, &now, 1000000, 0); /* brokers that take ages are not waited for */
    assert_int_equal(p.pause_us, 15000);
    pace_init(&p, 100000);
    pace_ended(&p, now);
    assert_int_equal(p.ready_us - now, 100000); /* what was asked for is never undercut */
}

static void records_that_disagree_about_a_topic_are_corrupt(void **state) {
    struct ends e = {0};
    struct err err = {0};
    struct commit_topic topic = {"a", 3, true};
    struct partition_end end = {0, 2, 9};
    struct commit_record r = {.topics = &topic, .n_topics = 1, .ends = &end, .n_ends = 1};
    (void)state;
    assert_int_equal(ends_apply(&e, &r, &err), OK);
    assert_int_equal(e.topics[0].ends[2], 9);
    assert_int_equal(e.topics[0].ends[0], -1);
    topic.partitions = 4;
    assert_int_equal(ends_apply(&e, &r, &err), FATAL);
    assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    ends_free(&e);
}

static void records_that_name_ever_more_partitions_are_corrupt(void **state) {
    struct ends e = {0};
    struct err err = {0};
    char name[16];
    struct commit_topic topic = {name, 100000, true};
    struct commit_record r = {.topics = &topic, .n_topics = 1};
    (void)state;
    for (int i = 0; i < 10; i++) {
        snprintf(name, sizeof name, "t%d", i);
        assert_int_equal(ends_apply(&e, &r, &err), OK);
    }
    assert_int_equal(ends_apply(&e, &r, &err), OK); /* a known topic costs nothing more */
    snprintf(name, sizeof name, "more");
    assert_int_equal(ends_apply(&e, &r, &err), FATAL);
    assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    ends_free(&e);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_small_configuration_is_enough),
        cmocka_unit_test(what_cannot_be_is_refused_by_name_and_without_its_value),
        cmocka_unit_test(errors_mean_what_the_table_says),
        cmocka_unit_test(a_delta_tells_what_was_touched_and_a_full_record_all),
        cmocka_unit_test(ends_are_foreseen_once_a_transaction_of_ours_lies_before_them),
        cmocka_unit_test(the_pause_finds_out_how_long_brokers_need),
        cmocka_unit_test(records_that_disagree_about_a_topic_are_corrupt),
        cmocka_unit_test(records_that_name_ever_more_partitions_are_corrupt),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
