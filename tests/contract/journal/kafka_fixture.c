/* The fixture of journals in Kafka: each call is a client of its own, which waits for the answer and must get
 * a good one. */
#include <librdkafka/rdkafka.h>
#include <stdio.h>

#include "journal_case.h"

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

const struct fixture kafka_fixture = {
    .kind = "kafka",
    .variable = "MILLRACE_TEST_KAFKA",
    .options = kafka_options,
    .options_away = kafka_options_away,
    .setting = kafka_setting,
    .make_topic = kafka_make_topic,
    .delete_before = kafka_delete_before,
    .delete_topic = kafka_delete_topic,
    .write = kafka_write,
    .limit = "max.message.bytes",
    .loose = "delivery: at_least_once\n",
    .service = true,
};
