/* Every journal in journal_table[] keeps the contracts of journal.h. One fixture per kind, at the end of the
 * setup part.
 *
 *   MILLRACE_TEST_KAFKA=127.0.0.1:9092 contract.journal
 *
 * Not here, because it needs servers to be stopped: nothing is called durable while the journal is away
 * (scenarios). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/random.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/config.h"
#include "base/log.h"
#include "journal/journal_table.h"

#define WAIT_MS 20000
#define WEEK    "cleanup.policy=compact;min.compaction.lag.ms=604800000;delete.retention.ms=604800000"

extern char **environ;
static const char *self;
static struct stop stop;
static const struct journal_env env = {&clock_system, &stop};

/* ---- fixtures: what is done to the journal behind its back ------------------------------------------- */

struct fixture {
    const char *kind;
    const char *variable; /* of the environment: where the journal is */
    /* YAML of the options; `away`: of a journal that does not answer. */
    void (*options)(struct buf *yaml, const char *prefix, const char *extra);
    void (*options_away)(struct buf *yaml);
    /* A setting of a topic, "" if there is none; the number of partitions for "partitions". */
    void (*setting)(const char *topic, const char *name, char *ret, size_t size);
    void (*make_topic)(const char *topic, int partitions, const char *settings); /* "name=value;..." */
    void (*delete_before)(const char *topic, int partition, int64_t offset);
    void (*delete_topic)(const char *topic);
    void (*write)(const char *topic, int partition,
                  const char *value); /* somebody else, without a transaction */
};

static void kafka_options(struct buf *yaml, const char *prefix, const char *extra) {
    buf_printf(yaml, "brokers: \"%s\"\ntopic_prefix: %s\n%s%s", getenv("MILLRACE_TEST_KAFKA"), prefix,
               strstr(extra, "partitions:") ? "" : "partitions: 4\n", extra);
}

static void kafka_options_away(struct buf *yaml) {
    buf_puts(yaml, "brokers: \"127.0.0.1:1\"\ntopic_prefix: away\n");
}

static rd_kafka_t *kafka_client(void) {
    char why[256];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "bootstrap.servers", getenv("MILLRACE_TEST_KAFKA"), why, sizeof why);
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    assert_non_null(rk);
    return rk;
}

static void kafka_partitions(rd_kafka_t *rk, const char *topic, char *ret, size_t size) {
    const struct rd_kafka_metadata *m;
    assert_int_equal(rd_kafka_metadata(rk, 1, NULL, &m, WAIT_MS), 0);
    *ret = 0;
    for (int i = 0; i < m->topic_cnt; i++)
        if (strcmp(m->topics[i].topic, topic) == 0)
            snprintf(ret, size, "%d", m->topics[i].partition_cnt);
    rd_kafka_metadata_destroy(m);
}

static void kafka_setting(const char *topic, const char *name, char *ret, size_t size) {
    rd_kafka_t *rk = kafka_client();
    *ret = 0;
    if (strcmp(name, "partitions") == 0) {
        kafka_partitions(rk, topic, ret, size);
        rd_kafka_destroy(rk);
        return;
    }
    size_t n;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic);
    rd_kafka_DescribeConfigs(rk, &resource, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    assert_non_null(event);
    const rd_kafka_ConfigResource_t **found =
        rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event), &n);
    assert_int_equal(n, 1);
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(found[0], &n);
    for (size_t i = 0; i < n; i++)
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            snprintf(ret, size, "%s", rd_kafka_ConfigEntry_value(entries[i]));
    rd_kafka_event_destroy(event);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static void kafka_make_topic(const char *topic, int partitions, const char *settings) {
    char why[256], *save = NULL;
    size_t n;
    CLEANUP_FREE char *copy = xstrdup(settings);
    rd_kafka_t *rk = kafka_client();
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_NewTopic_t *new = rd_kafka_NewTopic_new(topic, partitions, -1, why, sizeof why);
    for (char *name = strtok_r(copy, ";", &save); name; name = strtok_r(NULL, ";", &save)) {
        char *value = strchr(name, '=');
        *value++ = 0;
        rd_kafka_NewTopic_set_config(new, name, value);
    }
    rd_kafka_CreateTopics(rk, &new, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    assert_non_null(event);
    const rd_kafka_topic_result_t **results =
        rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
    assert_int_equal(n, 1);
    assert_int_equal(rd_kafka_topic_result_error(results[0]), 0);
    rd_kafka_event_destroy(event);
    rd_kafka_NewTopic_destroy(new);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static void kafka_delete_before(const char *topic, int partition, int64_t offset) {
    rd_kafka_t *rk = kafka_client();
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);
    rd_kafka_topic_partition_list_add(list, topic, partition)->offset = offset;
    rd_kafka_DeleteRecords_t *request = rd_kafka_DeleteRecords_new(list);
    rd_kafka_DeleteRecords(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    assert_non_null(event);
    const rd_kafka_topic_partition_list_t *done =
        rd_kafka_DeleteRecords_result_offsets(rd_kafka_event_DeleteRecords_result(event));
    assert_int_equal(done->elems[0].err, 0);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteRecords_destroy(request);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static void kafka_delete_topic(const char *topic) {
    rd_kafka_t *rk = kafka_client();
    rd_kafka_queue_t *queue = rd_kafka_queue_new(rk);
    rd_kafka_DeleteTopic_t *request = rd_kafka_DeleteTopic_new(topic);
    rd_kafka_DeleteTopics(rk, &request, 1, NULL, queue);
    rd_kafka_event_t *event = rd_kafka_queue_poll(queue, WAIT_MS);
    assert_non_null(event);
    assert_int_equal(rd_kafka_event_error(event), 0);
    rd_kafka_event_destroy(event);
    rd_kafka_DeleteTopic_destroy(request);
    rd_kafka_queue_destroy(queue);
    rd_kafka_destroy(rk);
}

static void kafka_write(const char *topic, int partition, const char *value) {
    rd_kafka_t *rk = kafka_client();
    rd_kafka_topic_t *rkt = rd_kafka_topic_new(rk, topic, NULL);
    assert_int_equal(
        rd_kafka_produce(rkt, partition, RD_KAFKA_MSG_F_COPY, (void *)value, strlen(value), "key", 3, NULL),
        0);
    assert_int_equal(rd_kafka_flush(rk, WAIT_MS), 0);
    rd_kafka_topic_destroy(rkt);
    rd_kafka_destroy(rk);
}

static const struct fixture fixtures[] = {
    {"kafka", "MILLRACE_TEST_KAFKA", kafka_options, kafka_options_away, kafka_setting, kafka_make_topic,
     kafka_delete_before, kafka_delete_topic, kafka_write},
};

/* ---- one case's world -------------------------------------------------------------------------------- */

static const struct journal_ops *ops; /* the row under test */
static const struct fixture *fixture;

struct world {
    char prefix[64];
    struct arena arena;
    struct journal *journal;
    struct commit_record *last; /* what writer_open returned */
    struct err err;
    uint64_t commit;
};

static struct journal *open_journal(struct world *w, struct buf *yaml) {
    struct config_node *map;
    struct journal *journal;
    void *options = arena_zalloc(&w->arena, ops->options->size);
    assert_int_equal(config_read_text(buf_slice(yaml), "test", &w->arena, &map, &w->err), OK);
    if (option_fill(ops->options, map, options, &w->arena, &w->err) != OK)
        fail_msg("%s", w->err.text);
    if (ops->open(options, &journal, &w->err) != OK)
        fail_msg("%s", w->err.text);
    return journal;
}

static struct journal *journal_with(struct world *w, const char *extra) {
    CLEANUP_BUF yaml = {0};
    fixture->options(&yaml, w->prefix, extra);
    return open_journal(w, &yaml);
}

static int world_open(void **state) {
    struct world *w = xcalloc(1, sizeof *w);
    uint64_t random;
    assert_int_equal(getrandom(&random, sizeof random, 0), sizeof random);
    snprintf(w->prefix, sizeof w->prefix, "contract-%016" PRIx64, random);
    w->journal = journal_with(w, "");
    *state = w;
    return 0;
}

static int world_close(void **state) {
    struct world *w = *state;
    ops->close(w->journal);
    arena_free(&w->arena);
    free(w);
    return 0;
}

#define MUST(w, call)                                            \
    do {                                                         \
        enum code must_ = (call);                                \
        if (must_ != OK)                                         \
            fail_msg("%s: %s", code_name(must_), (w)->err.text); \
    } while (0)

#define REFUSED(w, call, want_code, want_id)                                                  \
    do {                                                                                      \
        enum code refused_ = (call);                                                          \
        if (refused_ != (want_code) || (w)->err.id != ERR_##want_id)                          \
            fail_msg("%s %s: %s", code_name(refused_), err_name((w)->err.id), (w)->err.text); \
    } while (0)

static struct journal_writer *writer_of(struct world *w, struct journal *journal) {
    struct journal_writer *writer = NULL;
    MUST(w, ops->writer_open(journal, &env, "shop", WAIT_MS, &writer, &w->arena, &w->last, &w->err));
    return writer;
}

static struct journal_writer *writer(struct world *w) {
    return writer_of(w, w->journal);
}

static struct journal_reader *reader(struct world *w) {
    struct journal_reader *r = NULL;
    MUST(w, ops->reader_open(w->journal, &env, WAIT_MS, &r, &w->err));
    return r;
}

static const char *name_of(struct world *w, const char *table) {
    return arena_printf(&w->arena, "%s.%s", w->prefix, table);
}

static int topic(struct world *w, struct journal_writer *writer, const char *table, bool keyed,
                 bool compacted) {
    struct topic_spec spec = {name_of(w, table), keyed, compacted};
    int number, partitions;
    MUST(w, ops->topic(writer, &spec, &number, &partitions, &w->err));
    return number;
}

static enum code append_text(struct world *w, struct journal_writer *writer, int topic, int partition,
                             const char *key, const char *value) {
    struct journal_append a = {topic, partition, slice_of(key), slice_of(value), NULL, 0};
    enum code code;
    for (int i = 0; (code = ops->append(writer, &a, &w->err)) == AGAIN && i < 100; i++)
        if ((code = ops->writer_poll(writer, 100, &w->err)) != OK)
            break;
    return code;
}

static void append(struct world *w, struct journal_writer *writer, int topic, int partition,
                   const char *value) {
    MUST(w, append_text(w, writer, topic, partition, "key", value));
}

static enum code try_commit(struct world *w, struct journal_writer *writer, struct commit_record *record) {
    enum code code;
    *record =
        (struct commit_record){.position = {1, ++w->commit, 0}, .boundary = true, .ts_us = 1, .state = "{}"};
    for (int i = 0; (code = ops->commit(writer, record, 100, &w->err)) == AGAIN && i < 600; i++)
        ;
    return code;
}

static struct commit_record commit(struct world *w, struct journal_writer *writer) {
    struct commit_record record;
    MUST(w, try_commit(w, writer, &record));
    return record;
}

/* The next commit record of a reader, waited for. */
static struct commit_record *next_commit(struct world *w, struct journal_reader *r) {
    struct commit_record *record = NULL;
    int64_t offset;
    enum code code;
    for (int i = 0; (code = ops->commits_next(r, &w->arena, &record, &offset, &w->err)) == AGAIN && i < 200;
         i++)
        MUST(w, ops->reader_wait(r, 100, &w->err));
    MUST(w, code);
    return record;
}

/* The next record of a stream, waited for. */
static struct journal_record next(struct world *w, struct journal_reader *r, int stream, int64_t last) {
    struct journal_record record;
    enum code code;
    for (int i = 0; (code = ops->stream_next(r, stream, last, &record, &w->err)) == AGAIN && i < 200; i++)
        MUST(w, ops->reader_wait(r, 100, &w->err));
    MUST(w, code);
    return record;
}

static int stream(struct world *w, struct journal_reader *r, const char *table, int partition,
                  int64_t offset) {
    int s = -1;
    MUST(w, ops->stream_open(r, name_of(w, table), partition, offset, &s, &w->err));
    return s;
}

static int64_t end_of(const struct commit_record *r, const char *topic, int partition) {
    for (int i = 0; i < r->n_ends; i++)
        if (strcmp(r->topics[r->ends[i].topic].name, topic) == 0 && r->ends[i].partition == partition)
            return r->ends[i].offset;
    return -1;
}

static void assert_text(struct slice got, const char *want) {
    if (!slice_is(got, want))
        fail_msg("got '%.*s', want '%s'", (int)got.len, got.data, want);
}

/* ---- cases ------------------------------------------------------------------------------------------- */

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
    char *argv[] = {(char *)self, (char *)"take-over", (char *)kind, (char *)prefix, NULL};
    assert_int_equal(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ), 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
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
    for (int i = 0; i < 3; i++) { /* and from now on a stranger does no harm */
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
        if (again == 3)
            assert_int_equal(got.offset, last);
    }
    assert_int_equal(again, 3);
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

static void another_source_under_the_same_prefix_is_refused(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    commit(w, writer_);
    ops->writer_close(writer_);
    REFUSED(w, ops->writer_open(w->journal, &env, "other", WAIT_MS, &writer_, &w->arena, &w->last, &w->err),
            FATAL, JOURNAL_TOPIC);
    assert_non_null(strstr(w->err.text, "shop"));
}

static void a_row_too_large_is_refused_before_it_breaks_the_transaction(void **state) {
    struct world *w = *state;
    struct journal_writer *writer_ = writer(w);
    int t = topic(w, writer_, "public.item", true, true);
    char *big = xmalloc(3000001), limit[32];
    memset(big, 'x', 3000000);
    big[3000000] = 0;
    append(w, writer_, t, 0, "small");
    REFUSED(w, append_text(w, writer_, t, 0, "k", big), FATAL, ROW_TOO_LARGE);
    fixture->setting(name_of(w, "public.item"), "max.message.bytes", limit, sizeof limit);
    assert_non_null(strstr(w->err.text, name_of(w, "public.item")));
    assert_non_null(strstr(w->err.text, limit));
    assert_non_null(strstr(w->err.text, "has 300"));
    assert_non_null(strstr(w->err.text, "max.message.bytes"));
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
    fixture->setting(name_of(w, "public.item"), "max.message.bytes", limit, sizeof limit);
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
    assert_true(steps > 0);
    ops->writer_close(writer_);
}

static void at_least_once_has_the_same_shape(void **state) {
    struct world *w = *state;
    struct journal *j = journal_with(w, "delivery: at_least_once\n");
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

static void the_doctor_changes_nothing_and_sees_wrong_topics(void **state) {
    struct world *w = *state;
    CLEANUP_BUF findings = {0};
    char got[32];
    MUST(w, ops->check(w->journal, WAIT_MS, &findings, &w->err));
    assert_null(strstr(buf_cstr(&findings), "\"error\""));
    fixture->setting(name_of(w, "commits"), "partitions", got, sizeof got);
    assert_string_equal(got, "");
    fixture->make_topic(name_of(w, "public.item"), 2, "retention.ms=1000");
    MUST(w, ops->check(w->journal, WAIT_MS, &findings, &w->err));
    assert_non_null(strstr(buf_cstr(&findings), "\"error\""));
    assert_non_null(strstr(buf_cstr(&findings), name_of(w, "public.item")));
}

/* ---- walking the table ------------------------------------------------------------------------------- */

#define CASE(f) cmocka_unit_test_setup_teardown(f, world_open, world_close)

static int run(void) {
    const struct CMUnitTest tests[] = {
        CASE(what_is_committed_is_read_in_order),
        CASE(nothing_is_visible_before_the_commit),
        CASE(an_abandoned_transaction_is_never_visible),
        CASE(a_second_writer_fences_the_first),
        CASE(after_another_process_took_over_the_writer_stops_for_good),
        CASE(the_newest_commit_record_is_found_behind_aborted_junk),
        CASE(ends_are_told_as_deltas_and_in_full),
        CASE(a_stranger_in_a_topic_never_makes_an_end_wrong),
        CASE(ends_are_known_again_when_older_records_are_gone),
        CASE(a_large_transaction_goes_through_a_bounded_queue),
        CASE(topics_are_made_as_the_options_say),
        CASE(a_topic_is_made_once_and_keeps_its_partitions),
        CASE(topics_that_forget_are_refused),
        CASE(commits_with_two_partitions_are_refused),
        CASE(another_source_under_the_same_prefix_is_refused),
        CASE(a_row_too_large_is_refused_before_it_breaks_the_transaction),
        CASE(the_largest_row_that_is_let_in_goes_through),
        CASE(a_topic_with_a_small_limit_gets_small_batches),
        CASE(schemas_are_seen_by_other_handles_after_the_commit),
        CASE(a_stream_stays_inside_its_window),
        CASE(a_reader_that_was_long_idle_misses_nothing),
        CASE(what_happens_to_a_stream_nobody_asks_for_is_nobodys_error),
        CASE(what_was_deleted_is_a_gap),
        CASE(a_topic_that_is_not_as_it_was_left_stops_the_writer),
        CASE(topics_with_records_and_no_commit_record_are_refused),
        CASE(a_reader_may_come_before_the_writer),
        CASE(a_commit_can_be_asked_for_in_small_steps),
        CASE(at_least_once_has_the_same_shape),
        CASE(a_journal_that_is_away_is_unreachable_in_time),
        CASE(the_doctor_changes_nothing_and_sees_wrong_topics),
    };
    return cmocka_run_group_tests_name(fixture->kind, tests, NULL, NULL);
}

static bool choose(const char *kind) {
    ops = NULL;
    fixture = NULL;
    for (int i = 0; journal_table[i]; i++)
        if (strcmp(journal_table[i]->options->name, kind) == 0)
            ops = journal_table[i];
    for (size_t i = 0; i < sizeof fixtures / sizeof *fixtures; i++)
        if (strcmp(fixtures[i].kind, kind) == 0)
            fixture = &fixtures[i];
    return ops && fixture;
}

/* The other process of after_another_process_took_over: opens the pipeline, commits once, goes. */
static int other_process(const char *kind, const char *prefix) {
    struct world w = {0};
    if (!choose(kind))
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
    return code == OK ? 0 : 1;
}

int main(int argc, char **argv) {
    int failed = 0;
    self = argv[0];
    stop_init(&stop);
    log_setup(getenv("MILLRACE_TEST_DEBUG") ? LOG_DEBUG : LOG_ERROR, false);
    if (argc == 4 && strcmp(argv[1], "take-over") == 0)
        return other_process(argv[2], argv[3]);
    if (argc > 1)
        cmocka_set_test_filter(argv[1]);
    for (int i = 0; journal_table[i]; i++) {
        const char *kind = journal_table[i]->options->name;
        if (!choose(kind)) {
            fprintf(stderr, "there is no fixture for journal '%s'\n", kind);
            failed++;
        } else if (!getenv(fixture->variable)) {
            fprintf(stderr, "%s is not set: where is the %s journal for the tests?\n", fixture->variable,
                    kind);
            failed++;
        } else {
            failed += run();
        }
    }
    stop_free(&stop);
    return failed;
}
