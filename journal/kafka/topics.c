/* KIP-4 (CreateTopics), KIP-133 (DescribeConfigs). Topics are looked up in the list of all topics: brokers
 * with auto.create.topics.enable make any topic that is asked for by name, with settings that are not
 * ours. */
#include "journal/kafka/topics.h"

#include <inttypes.h>
#include <stdio.h>
#include <time.h>

#include "base/log.h"

#define ADMIN_MS        10000   /* at most, for one request */
#define BYTES_MAX_GUESS 1000000 /* below Kafka's default of max.message.bytes */

/* ---- directory ---- */

void kafka_directory_free(struct kafka_directory *d) {
    if (d->metadata)
        rd_kafka_metadata_destroy(d->metadata);
    d->metadata = NULL;
}

enum code kafka_directory_read(struct kafka_directory *d, struct kafka_handle *h, int64_t deadline_us,
                               struct err *err) {
    for (;;) {
        const struct rd_kafka_metadata *metadata;
        int left = kafka_left_ms(h->env, deadline_us, 500);
        if (!left)
            return kafka_timeout(h, "list the topics", err);
        rd_kafka_resp_err_t e = rd_kafka_metadata(h->rk, 1, NULL, &metadata, left);
        rd_kafka_poll(h->rk, 0);
        if (e == RD_KAFKA_RESP_ERR_NO_ERROR) {
            kafka_directory_free(d);
            d->metadata = metadata;
            return OK;
        }
        if (!kafka_passing(e))
            return kafka_error(err, e, "list the topics", NULL);
        if (h->refused)
            return kafka_timeout(h, "list the topics", err);
    }
}

const struct rd_kafka_metadata_topic *kafka_directory_find(const struct kafka_directory *d,
                                                           const char *name) {
    for (int i = 0; d->metadata && i < d->metadata->topic_cnt; i++) {
        const struct rd_kafka_metadata_topic *t = &d->metadata->topics[i];
        if (t->err == RD_KAFKA_RESP_ERR_NO_ERROR && t->partition_cnt > 0 && strcmp(t->topic, name) == 0)
            return t;
    }
    return NULL;
}

int kafka_replicas(const struct rd_kafka_metadata_topic *topic) {
    int n = topic->partition_cnt ? topic->partitions[0].replica_cnt : 1;
    for (int i = 0; i < topic->partition_cnt; i++)
        if (topic->partitions[i].replica_cnt < n)
            n = topic->partitions[i].replica_cnt;
    return n;
}

/* ---- admin requests ---- */

static rd_kafka_AdminOptions_t *admin_options(struct kafka_handle *h, rd_kafka_admin_op_t op,
                                              int64_t deadline_us) {
    char why[256];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(h->rk, op);
    int left = kafka_left_ms(h->env, deadline_us, ADMIN_MS);
    rd_kafka_AdminOptions_set_request_timeout(o, left > 100 ? left : 100, why, sizeof why);
    return o;
}

/* The answer, or NULL when the wait is over. */
static rd_kafka_event_t *admin_wait(struct kafka_handle *h, rd_kafka_queue_t *queue, int64_t deadline_us) {
    for (;;) {
        int left = kafka_left_ms(h->env, deadline_us, 100);
        rd_kafka_event_t *event = rd_kafka_queue_poll(queue, left);
        if (event || !left)
            return event;
        rd_kafka_poll(h->rk, 0);
    }
}

/* The answer about one resource, in `*event` (to be destroyed) and as returned; NULL and `*error` if there is
 * none. */
static const rd_kafka_ConfigResource_t *describe(struct kafka_handle *h, rd_kafka_ResourceType_t type,
                                                 const char *name, int64_t deadline_us,
                                                 rd_kafka_event_t **event, rd_kafka_resp_err_t *error) {
    rd_kafka_queue_t *queue = rd_kafka_queue_new(h->rk);
    rd_kafka_ConfigResource_t *resource = rd_kafka_ConfigResource_new(type, name);
    rd_kafka_AdminOptions_t *options = admin_options(h, RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS, deadline_us);
    const rd_kafka_ConfigResource_t **found = NULL;
    size_t n = 0;
    rd_kafka_DescribeConfigs(h->rk, &resource, 1, options, queue);
    *event = admin_wait(h, queue, deadline_us);
    *error = *event ? rd_kafka_event_error(*event) : RD_KAFKA_RESP_ERR__TIMED_OUT;
    if (*event && !*error) {
        found = rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(*event), &n);
        *error = n ? rd_kafka_ConfigResource_error(found[0]) : RD_KAFKA_RESP_ERR__NOENT;
    }
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_ConfigResource_destroy(resource);
    rd_kafka_queue_destroy(queue);
    return *error ? NULL : found[0];
}

static const char *entry_of(const rd_kafka_ConfigResource_t *resource, const char *name) {
    size_t n;
    const rd_kafka_ConfigEntry_t **entries = rd_kafka_ConfigResource_configs(resource, &n);
    for (size_t i = 0; i < n; i++) {
        const char *value = rd_kafka_ConfigEntry_value(entries[i]);
        if (strcmp(rd_kafka_ConfigEntry_name(entries[i]), name) == 0)
            return value ? value : "";
    }
    return "";
}

static int64_t number_of(const rd_kafka_ConfigResource_t *resource, const char *name, int64_t fallback) {
    const char *text = entry_of(resource, name);
    return *text ? strtoll(text, NULL, 10) : fallback;
}

static bool forbidden(rd_kafka_resp_err_t e) {
    return e == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           e == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED;
}

enum code kafka_settings_read(struct kafka_handle *h, const char *topic, int64_t deadline_us,
                              struct kafka_settings *ret, struct err *err) {
    *ret = (struct kafka_settings){.bytes_max = BYTES_MAX_GUESS};
    for (;;) {
        rd_kafka_event_t *event;
        rd_kafka_resp_err_t e;
        const rd_kafka_ConfigResource_t *r =
            describe(h, RD_KAFKA_RESOURCE_TOPIC, topic, deadline_us, &event, &e);
        if (r) {
            const char *policy = entry_of(r, "cleanup.policy");
            ret->known = true;
            ret->compact = strstr(policy, "compact") != NULL;
            ret->delete = strstr(policy, "delete") != NULL;
            ret->unclean = strcmp(entry_of(r, "unclean.leader.election.enable"), "true") == 0;
            ret->retention_ms = number_of(r, "retention.ms", -1);
            ret->retention_bytes = number_of(r, "retention.bytes", -1);
            ret->lag_ms = number_of(r, "min.compaction.lag.ms", 0);
            ret->deletes_ms = number_of(r, "delete.retention.ms", 0);
            ret->min_insync = number_of(r, "min.insync.replicas", 1);
            ret->bytes_max = (size_t)number_of(r, "max.message.bytes", BYTES_MAX_GUESS);
        }
        if (event)
            rd_kafka_event_destroy(event);
        if (r)
            return OK;
        if (forbidden(e)) {
            log_warn(
                "journal",
                "not allowed to see the settings of a topic: they are not checked (grant DescribeConfigs)",
                F_STR("topic", topic));
            return OK;
        }
        if (e != RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART && e != RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC &&
            !kafka_passing(e))
            return kafka_error(err, e, "read the settings of topic", topic);
        if (kafka_over(h->env, deadline_us))
            return kafka_timeout(h, "read the settings of a topic", err);
        rd_kafka_poll(h->rk, 50); /* a new topic is not yet known to every broker */
    }
}

/* ---- checks ---- */

static enum code wrong(struct err *err, const char *topic, const char *what, const char *mend) {
    return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                   "topic '%s' %s; mend: kafka-configs --alter --topic %s --add-config %s", topic, what,
                   topic, mend);
}

/* Sinks take the configuration's word for it (journal_kept). */
static enum code check_kept(const struct kafka_settings *s, const struct kafka_options *o,
                            const struct topic_spec *spec, struct err *err) {
    char what[256], mend[128];
    if (!s->compact || (s->lag_ms >= o->compaction_lag_ms && s->deletes_ms >= o->delete_retention_ms))
        return OK;
    snprintf(what, sizeof what,
             "forgets sooner than compaction_lag and delete_retention say: expected at least "
             "min.compaction.lag.ms=%" PRId64 " and delete.retention.ms=%" PRId64 ", found %" PRId64
             " and %" PRId64,
             o->compaction_lag_ms, o->delete_retention_ms, s->lag_ms, s->deletes_ms);
    snprintf(mend, sizeof mend, "min.compaction.lag.ms=%" PRId64 ",delete.retention.ms=%" PRId64,
             o->compaction_lag_ms, o->delete_retention_ms);
    return wrong(err, spec->name, what, mend);
}

enum code kafka_settings_check(const struct kafka_settings *s, const struct kafka_options *o,
                               const struct topic_spec *spec, int replicas, struct err *err) {
    char what[256];
    if (!s->known)
        return OK;
    if (s->compact && !spec->compacted)
        return wrong(
            err, spec->name,
            "must keep every record: expected cleanup.policy=delete with retention.ms=-1, found compact",
            "cleanup.policy=delete,retention.ms=-1,retention.bytes=-1");
    if (s->delete &&(s->retention_ms >= 0 || s->retention_bytes >= 0)) {
        snprintf(what, sizeof what,
                 "forgets rows: expected %s, found cleanup.policy=%s with retention.ms=%" PRId64
                 " and retention.bytes=%" PRId64,
                 spec->compacted ? "cleanup.policy=compact" : "retention.ms=-1 and retention.bytes=-1",
                 s->compact ? "compact,delete" : "delete", s->retention_ms, s->retention_bytes);
        return wrong(err, spec->name, what,
                     spec->compacted ? "cleanup.policy=compact" : "retention.ms=-1,retention.bytes=-1");
    }
    if (s->unclean && replicas > 1)
        return wrong(err, spec->name,
                     "may lose committed records when brokers die: expected "
                     "unclean.leader.election.enable=false, found true",
                     "unclean.leader.election.enable=false");
    if (replicas >= 3 && s->min_insync < 2)
        log_warn("journal",
                 "a record is durable on one broker only until it is copied: set min.insync.replicas=2 on "
                 "the topic",
                 F_STR("topic", spec->name), F_INT("replicas", replicas),
                 F_INT("min_insync_replicas", s->min_insync));
    return check_kept(s, o, spec, err);
}

static enum code check_partitions(const struct topic_spec *spec, int found, int known, struct err *err) {
    int expected = known > 0 ? known : spec->keyed ? found : 1;
    if (found == expected)
        return OK;
    return err_set(
        err, FATAL, ERR_JOURNAL_TOPIC,
        "topic '%s' has %d partitions, expected %d%s: keys would move between partitions and lose their "
        "order. A partition count cannot be lowered: delete the topic and take a new snapshot (millrace "
        "capture --config FILE --resnapshot)%s",
        spec->name, found, expected,
        known > 0 ? ", as recorded in the pipeline" : " for a topic that is not spread by key",
        found < expected ? ", or add the missing partitions (kafka-topics --alter)" : "");
}

/* ---- making ---- */

static void set_config(rd_kafka_NewTopic_t *topic, const char *name, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    rd_kafka_NewTopic_set_config(topic, name, text);
}

static rd_kafka_NewTopic_t *new_topic(const struct kafka_options *o, const struct topic_spec *spec,
                                      int partitions, size_t bytes_max) {
    char why[256];
    rd_kafka_NewTopic_t *topic =
        rd_kafka_NewTopic_new(spec->name, partitions, (int)o->replication, why, sizeof why);
    if (!topic)
        return NULL;
    if (spec->compacted) {
        rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "compact");
        set_config(topic, "min.compaction.lag.ms", o->compaction_lag_ms);
        set_config(topic, "delete.retention.ms", o->delete_retention_ms);
    } else {
        rd_kafka_NewTopic_set_config(topic, "cleanup.policy", "delete");
        rd_kafka_NewTopic_set_config(topic, "retention.ms", "-1");
        rd_kafka_NewTopic_set_config(topic, "retention.bytes", "-1");
    }
    if (bytes_max)
        set_config(topic, "max.message.bytes", (int64_t)bytes_max);
    return topic;
}

static rd_kafka_resp_err_t request(struct kafka_handle *h, rd_kafka_NewTopic_t *topic, bool try_only,
                                   int64_t deadline_us) {
    char why[256];
    rd_kafka_resp_err_t error = RD_KAFKA_RESP_ERR__TIMED_OUT;
    rd_kafka_queue_t *queue = rd_kafka_queue_new(h->rk);
    rd_kafka_AdminOptions_t *options = admin_options(h, RD_KAFKA_ADMIN_OP_CREATETOPICS, deadline_us);
    int left = kafka_left_ms(h->env, deadline_us, ADMIN_MS);
    rd_kafka_AdminOptions_set_operation_timeout(options, left, why, sizeof why);
    rd_kafka_AdminOptions_set_validate_only(options, try_only, why, sizeof why);
    rd_kafka_CreateTopics(h->rk, &topic, 1, options, queue);
    rd_kafka_event_t *event = admin_wait(h, queue, deadline_us);
    if (event && !(error = rd_kafka_event_error(event))) {
        size_t n;
        const rd_kafka_topic_result_t **results =
            rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event), &n);
        error = n ? rd_kafka_topic_result_error(results[0]) : RD_KAFKA_RESP_ERR__NOENT;
    }
    if (event)
        rd_kafka_event_destroy(event);
    rd_kafka_AdminOptions_destroy(options);
    rd_kafka_queue_destroy(queue);
    return error;
}

rd_kafka_resp_err_t kafka_topic_try(struct kafka_handle *h, const char *name, int64_t deadline_us) {
    struct topic_spec spec = {.name = name, .compacted = true};
    rd_kafka_NewTopic_t *topic = new_topic(h->journal->options, &spec, 1, 0);
    rd_kafka_resp_err_t error = topic ? request(h, topic, true, deadline_us) : RD_KAFKA_RESP_ERR__INVALID_ARG;
    if (topic)
        rd_kafka_NewTopic_destroy(topic);
    return error;
}

static enum code create(struct kafka_handle *h, const struct topic_spec *spec, int partitions,
                        size_t bytes_max, int64_t deadline_us, struct err *err) {
    rd_kafka_NewTopic_t *topic = new_topic(h->journal->options, spec, partitions, bytes_max);
    if (!topic)
        return err_set(err, FATAL, ERR_JOURNAL_TOPIC,
                       "'%s' cannot be the name of a topic: at most 249 of a-z A-Z 0-9 . _ -", spec->name);
    rd_kafka_resp_err_t error;
    do {
        error = request(h, topic, false, deadline_us);
    } while (error == RD_KAFKA_RESP_ERR_NOT_CONTROLLER && !kafka_over(h->env, deadline_us));
    rd_kafka_NewTopic_destroy(topic);
    if (!error)
        log_info("journal", "topic created", F_STR("topic", spec->name), F_INT("partitions", partitions),
                 F_BOOL("compacted", spec->compacted));
    if (!error || error == RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS)
        return OK;
    return kafka_error(err, error, "create topic", spec->name);
}

/* Until the leaders of a new topic know that they are. Else a first batch could be refused (not leader) and
 * the second, already under way, taken: brokers accept any first sequence number of a producer they have not
 * met. */
static enum code await_leaders(struct kafka_handle *h, const char *name, int partitions, int64_t deadline_us,
                               struct err *err) {
    int64_t low, end;
    enum code code = OK;
    for (int p = 0; p < partitions && code == OK; p++)
        while ((code = kafka_watermarks(h, name, p, deadline_us, &low, &end, err)) == AGAIN)
            rd_kafka_poll(h->rk, 10);
    return code;
}

enum code kafka_topic_make(struct kafka_directory *d, struct kafka_handle *h, const struct topic_spec *spec,
                           int partitions, int known_partitions, size_t bytes_max, int64_t deadline_us,
                           struct kafka_made *ret, struct err *err) {
    enum code code = OK;
    struct kafka_settings settings;
    const struct rd_kafka_metadata_topic *found = kafka_directory_find(d, spec->name);
    bool made = !found;
    if (made)
        code = create(h, spec, known_partitions > 0 ? known_partitions : partitions, bytes_max, deadline_us,
                      err);
    while (code == OK && !(found = kafka_directory_find(d, spec->name))) {
        code = kafka_directory_read(d, h, deadline_us, err);
        if (code == OK && !kafka_directory_find(d, spec->name)) {
            rd_kafka_poll(h->rk, 20);
            if (kafka_over(h->env, deadline_us))
                code = kafka_timeout(h, "see a new topic", err);
        }
    }
    if (code == OK)
        code = check_partitions(spec, found->partition_cnt, known_partitions, err);
    if (code == OK && made)
        code = await_leaders(h, spec->name, found->partition_cnt, deadline_us, err);
    if (code == OK)
        code = kafka_settings_read(h, spec->name, deadline_us, &settings, err);
    if (code == OK)
        code = kafka_settings_check(&settings, h->journal->options, spec, kafka_replicas(found), err);
    if (code == OK)
        *ret = (struct kafka_made){found->partition_cnt, settings.bytes_max};
    return code;
}

void kafka_broker_setting(struct kafka_handle *h, int32_t broker, const char *name, int64_t deadline_us,
                          char *ret, size_t size) {
    char id[16];
    rd_kafka_event_t *event;
    rd_kafka_resp_err_t error;
    snprintf(id, sizeof id, "%" PRId32, broker);
    const rd_kafka_ConfigResource_t *r =
        describe(h, RD_KAFKA_RESOURCE_BROKER, id, deadline_us, &event, &error);
    snprintf(ret, size, "%s", r ? entry_of(r, name) : "");
    if (event)
        rd_kafka_event_destroy(event);
}
