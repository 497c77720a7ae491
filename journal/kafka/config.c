/* Options of the Kafka journal, and a librdkafka client made from them. */
#include "journal/kafka/kafka.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

#include "base/log.h"
#include "journal/journal_table.h"

static const char *const deliveries[] = {"exactly_once", "at_least_once", NULL};

#define FIELD(name) offsetof(struct kafka_options, name)
static const struct option options[] = {
    {"brokers", OPT_TEXT, FIELD(brokers), .required = true,
     .help = "Brokers to ask first: host:port, comma-separated."},
    {"topic_prefix", OPT_TEXT, FIELD(topic_prefix), .required = true,
     .help = "Every topic of the pipeline begins with it: <prefix>.<schema>.<table>, <prefix>.commits. One "
             "source per prefix. "
             "At most 150 of a-z A-Z 0-9 . _ -"},
    {"partitions", OPT_INT, FIELD(partitions), "1", .min = 1, .max = 1000,
     .help = "Partitions of a new topic of a table with a key. Each that a transaction touches costs it a "
             "request and a marker; "
             "sinks of millrace gain nothing from more than one, a consumer group of your own may. A topic "
             "that exists keeps its own."},
    {"replication", OPT_INT, FIELD(replication), "-1", .min = -1, .max = 100,
     .help = "Replicas of a new topic; -1 is the broker's default. 3 is what survives the loss of a broker."},
    {"compaction_lag", OPT_DURATION, FIELD(compaction_lag_ms), "7d",
     .help = "How long a new compacted topic keeps every change before only the newest one per key is kept "
             "(min.compaction.lag.ms). A sink may be away for that long and still see each transaction."},
    {"delete_retention", OPT_DURATION, FIELD(delete_retention_ms), "7d",
     .help = "How long a new compacted topic remembers deleted rows (delete.retention.ms) after "
             "compaction_lag. A "
             "sink that takes longer to build, or was away for longer than both, stops with journal-gap."},
    {"transaction_timeout", OPT_DURATION, FIELD(transaction_timeout_ms), "60s", .min = 5000, .max = 900000,
     .help = "After this time the brokers abort the transaction of a capture agent that vanished; readers "
             "wait for it. At most "
             "the brokers' transaction.max.timeout.ms."},
    {"fetch_bytes", OPT_BYTES, FIELD(fetch_bytes), "4608KB", .min = 65536, .max = 100 << 20,
     .help = "Bytes that are fetched ahead for each partition that is read."},
    {"pause", OPT_DURATION, FIELD(pause_ms), "1ms", .min = 0, .max = 1000,
     .help = "Shortest time from the end of one transaction to the begin of the next. Each costs the client "
             "a few "
             "milliseconds of processor time, whatever is in it: longer saves them and costs latency. It "
             "grows by itself "
             "when the brokers need longer to finish a transaction."},
    {"delivery", OPT_ENUM, FIELD(delivery), "exactly_once", .choices = deliveries,
     .help = "exactly_once: Kafka transactions. at_least_once: none, lower latency; readers may see changes "
             "of a capture agent "
             "that then failed, and see them again."},
    {"properties", OPT_MAP, FIELD(properties),
     .help = "Handed to librdkafka as they are: security.protocol, sasl.*, ssl.*, compression.type, ... What "
             "exactly once rests "
             "on cannot be set."},
    {0},
};
const struct option_table kafka_option_table = {
    "kafka", "Apache Kafka 2.8 or newer, or what speaks its protocol", options, sizeof(struct kafka_options)};

/* Ours alone: correctness, bounds, or (plugins) code from a file. */
static const char *const owned[] = {
    "acks",
    "allow.auto.create.topics",
    "auto.commit.enable",
    "auto.commit.interval.ms",
    "auto.offset.reset",
    "bootstrap.servers",
    "check.crcs",
    "delivery.report.only.error",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "fetch.message.max.bytes",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "max.in.flight",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "message.send.max.retries",
    "message.timeout.ms",
    "metadata.broker.list",
    "msg_order_cmp",
    "offset.store.method",
    "offset.store.path",
    "partition.assignment.strategy",
    "partitioner",
    "plugin.library.paths",
    "produce.offset.report",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "queued.max.messages.kbytes",
    "queued.min.messages",
    "request.required.acks",
    "retries",
    "sticky.partitioning.linger.ms",
    "transaction.timeout.ms",
    "transactional.id",
    "consume.callback.max.messages",
    "internal.termination.signal",
};

static const char *property(const struct kafka_options *o, const char *name) {
    for (size_t i = 0; i < o->properties.n; i++)
        if (strcmp(o->properties.keys[i], name) == 0)
            return o->properties.values[i];
    return NULL;
}

/* The value is not repeated: it may be a password. */
static enum code check_properties(const struct kafka_options *o, struct err *err) {
    enum code code = OK;
    char why[512];
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    for (size_t i = 0; i < o->properties.n && code == OK; i++) {
        const char *key = o->properties.keys[i];
        for (size_t k = 0; k < sizeof owned / sizeof *owned; k++)
            if (strcasecmp(key, owned[k]) == 0)
                code = err_set(err, FATAL, ERR_CONFIG,
                               "journal.kafka.properties: '%s' cannot be set, exactly-once delivery and "
                               "bounded memory rest on it; remove it",
                               key);
        if (code != OK)
            break;
        rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, key, o->properties.values[i], why, sizeof why);
        if (res == RD_KAFKA_CONF_UNKNOWN)
            code = err_set(err, FATAL, ERR_CONFIG, "journal.kafka.properties: librdkafka does not know '%s'",
                           key);
        else if (res == RD_KAFKA_CONF_INVALID)
            code = err_set(err, FATAL, ERR_CONFIG,
                           "journal.kafka.properties: librdkafka refuses the value of '%s'", key);
    }
    rd_kafka_conf_destroy(conf);
    return code;
}

static enum code check_options(const struct kafka_options *o, struct err *err) {
    size_t n = strlen(o->topic_prefix);
    if (n < 1 || n > 150)
        return err_set(err, FATAL, ERR_CONFIG,
                       "journal.kafka.topic_prefix has %zu characters; 1 to 150 are allowed", n);
    for (const char *p = o->topic_prefix; *p; p++)
        if (!(isalnum((unsigned char)*p) && (unsigned char)*p < 128) && !strchr("._-", *p))
            return err_set(err, FATAL, ERR_CONFIG,
                           "journal.kafka.topic_prefix '%s': only a-z A-Z 0-9 . _ - are legal in a topic",
                           o->topic_prefix);
    if (o->topic_prefix[0] == '.' || strncmp(o->topic_prefix, "__", 2) == 0)
        return err_set(err, FATAL, ERR_CONFIG,
                       "journal.kafka.topic_prefix '%s' must not begin with '.' or '__'", o->topic_prefix);
    if (o->replication == 0)
        return err_set(err, FATAL, ERR_CONFIG, "journal.kafka.replication: -1, or 1 and more");
    return check_properties(o, err);
}

enum code kafka_journal_open(const void *filled, const char *pipeline, struct journal **ret,
                             struct err *err) {
    (void)pipeline;
    const struct kafka_options *o = filled;
    *ret = NULL;
    enum code code = check_options(o, err);
    if (code != OK)
        return code;
    struct kafka_journal *j = xcalloc(1, sizeof *j);
    j->base.ops = &kafka_journal;
    j->options = o;
    j->commits = xasprintf("%s.commits", o->topic_prefix);
    j->schemas = xasprintf("%s.schemas", o->topic_prefix);
    const char *limit = property(o, "message.max.bytes");
    j->record_bytes_max = limit ? (size_t)strtoull(limit, NULL, 10) : 100000000;
    const char *kinds[] = {"compression.type", "compression.codec"};
    for (int i = 0; i < 2; i++) {
        const char *kind = property(o, kinds[i]);
        if (kind && strcmp(kind, "none") != 0)
            j->compressed = true;
    }
    *ret = &j->base;
    return OK;
}

void kafka_journal_close(struct journal *journal) {
    struct kafka_journal *j = kafka_journal_of(journal);
    if (!j)
        return;
    free(j->commits);
    free(j->schemas);
    free(j);
}

/* ---- callbacks ---- */

/* @threads librdkafka's own. */
static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text) {
    (void)rk;
    if (strcmp(facility, "CONFWARN") == 0)
        level = 7; /* a producer was told a consumer's property: harmless */
    if (level <= 4) {
        log_warn("journal", "librdkafka", F_STR("about", facility), F_STR("text", text));
    } else {
        log_debug("journal", "librdkafka", F_STR("about", facility), F_STR("text", text));
    }
}

static void on_error(rd_kafka_t *rk, int number, const char *reason, void *opaque) {
    struct kafka_handle *h = opaque;
    rd_kafka_resp_err_t error = (rd_kafka_resp_err_t)number;
    (void)rk;
    if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        if (!h->down_since_us)
            h->down_since_us = clock_mono(h->env->clock);
    } else if (error == RD_KAFKA_RESP_ERR__AUTHENTICATION || error == RD_KAFKA_RESP_ERR__SSL ||
               error == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED) {
        h->refused = error;
        snprintf(h->refused_text, sizeof h->refused_text, "%s", reason);
    } else if (error == RD_KAFKA_RESP_ERR__TRANSPORT || error == RD_KAFKA_RESP_ERR__TIMED_OUT ||
               error == RD_KAFKA_RESP_ERR__RESOLVE) {
        h->lost++;
        snprintf(h->lost_text, sizeof h->lost_text, "%s", reason);
    }
}

/* @threads librdkafka's own. */
static rd_kafka_resp_err_t on_request(rd_kafka_t *rk, int fd, const char *broker, int32_t id, int16_t api,
                                      int16_t version, int32_t correlation, size_t bytes, void *handle) {
    struct kafka_handle *h = handle;
    (void)rk, (void)fd, (void)broker, (void)id, (void)version, (void)correlation, (void)bytes;
    h->hooks->requested(h, api);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/* Only here, before its threads begin, may a client be given more callbacks. */
static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *handle, char *why,
                                  size_t size) {
    (void)conf, (void)why, (void)size;
    return rd_kafka_interceptor_add_on_request_sent(rk, "millrace", on_request, handle);
}

/* ---- clients ---- */

struct setting {
    const char *name, *value;
};

/* May be overruled by `properties`. */
static const struct setting defaults[] = {
    {"client.id", "millrace"},
    {"socket.keepalive.enable", "true"},
    {"socket.nagle.disable", "true"},
    {"log.connection.close", "false"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "2000"},
    /* A commit flushes, so nobody waits for it. Longer: larger batches, which cost the brokers less, and
     * whose records are out of the caches when they are acknowledged. */
    {"linger.ms", "20"},
    {"batch.num.messages", "100000"},
    {"fetch.wait.max.ms", "20"}, /* while there is work; see idle.c */
    {"fetch.error.backoff.ms", "50"},
    {"topic.metadata.refresh.interval.ms", "60000"},
    {NULL, NULL},
};

static const struct setting owned_writer[] = {
    {"enable.idempotence", "true"},
    {"acks", "all"},
    {"isolation.level", "read_uncommitted"},   /* watermarks beyond open transactions; see kafka_watermarks */
    {"queue.buffering.max.kbytes", "2097151"}, /* the bound is ours: writer.c, QUEUE_BYTES_MAX; this */
    {"queue.buffering.max.messages", "10000000"}, /* one would never take a record larger than itself */
    {NULL, NULL},
};

static const struct setting owned_reader[] = {
    {"isolation.level", "read_committed"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"},
    {"auto.offset.reset", "error"},
    {"check.crcs", "true"},
    {"allow.auto.create.topics", "false"},
    {"queued.min.messages", "1000000"}, /* the bound is in bytes */
    {NULL, NULL},
};

static void set(rd_kafka_conf_t *conf, const char *name, const char *value) {
    char why[512];
    rd_kafka_conf_res_t res = rd_kafka_conf_set(conf, name, value, why, sizeof why);
    if (res != RD_KAFKA_CONF_OK) {
        log_error("journal", "librdkafka refuses a setting of ours", F_STR("name", name), F_STR("why", why));
        abort();
    }
}

static void set_number(rd_kafka_conf_t *conf, const char *name, int64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, value);
    set(conf, name, text);
}

static void set_all(rd_kafka_conf_t *conf, const struct setting *s) {
    for (; s->name; s++)
        set(conf, s->name, s->value);
}

/* A batch larger than a topic's max.message.bytes would be refused as a whole. */
static void set_batch(rd_kafka_conf_t *conf, const struct kafka_journal *j) {
    const char *wanted = property(j->options, "batch.size");
    int64_t bytes = wanted ? strtoll(wanted, NULL, 10) : 1000000;
    int64_t fits = (int64_t)atomic_load(&((struct kafka_journal *)j)->batch_bytes);
    if (fits && fits < bytes)
        bytes = fits;
    set_number(conf, "batch.size", bytes);
}

static void set_writer(rd_kafka_conf_t *conf, const struct kafka_journal *j, const char *source) {
    const struct kafka_options *o = j->options;
    set_all(conf, owned_writer);
    set_batch(conf, j);
    set_number(conf, "message.max.bytes", (int64_t)j->record_bytes_max);
    set_number(conf, "message.timeout.ms",
               o->transaction_timeout_ms); /* never silently: its report is an error */
    /* Without transactions what a lost first batch leaves behind (writer.c, IMPLICITACK) could not be
     * aborted. */
    set(conf, "max.in.flight", o->delivery == KAFKA_EXACTLY_ONCE ? "5" : "1");
    if (o->delivery == KAFKA_EXACTLY_ONCE) {
        CLEANUP_FREE char *id = xasprintf("millrace.%s.%s", o->topic_prefix, source);
        set(conf, "transactional.id", id);
        set_number(conf, "transaction.timeout.ms", o->transaction_timeout_ms);
    }
}

/* While a queue is full librdkafka asks for nothing, and looks at it again only when a fetch for another
 * partition ends, after fetch.wait.max.ms: what stands in the queue must last for that long. */
#define FETCHES_AHEAD 8

static void set_reader(rd_kafka_conf_t *conf, const struct kafka_journal *j) {
    set_all(conf, owned_reader);
    set_number(conf, "fetch.message.max.bytes", j->options->fetch_bytes / FETCHES_AHEAD);
    set_number(conf, "queued.max.messages.kbytes", j->options->fetch_bytes / 1024);
}

enum code kafka_handle_open(struct kafka_handle *h, const struct kafka_journal *j,
                            const struct journal_env *env, enum kafka_role role, const char *source,
                            const struct kafka_hooks *hooks, struct err *err) {
    char why[512];
    const struct text_map *p = &j->options->properties;
    bool reads = role == KAFKA_READER || role == KAFKA_LISTENER;
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    *h = (struct kafka_handle){.journal = j, .env = env, .hooks = hooks};
    set_all(conf, defaults);
    if (role == KAFKA_LISTENER)
        set(conf, "fetch.wait.max.ms", "500");
    for (size_t i = 0; i < p->n; i++)
        set(conf, p->keys[i], p->values[i]);
    set(conf, "bootstrap.servers", j->options->brokers);
    if (role == KAFKA_WRITER)
        set_writer(conf, j, source);
    if (reads)
        set_reader(conf, j);
    if (role == KAFKA_ADMIN)
        set(conf, "isolation.level", "read_uncommitted"); /* sees the end behind open transactions */
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    rd_kafka_conf_set_opaque(conf, h);
    if (hooks) {
        rd_kafka_conf_set_dr_msg_cb(conf, hooks->delivered);
        rd_kafka_conf_interceptor_add_on_new(conf, "millrace", on_new, h);
    }
    h->rk = rd_kafka_new(reads ? RD_KAFKA_CONSUMER : RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (h->rk)
        return OK;
    rd_kafka_conf_destroy(conf);
    return err_set(err, FATAL, ERR_CONFIG, "journal.kafka: %s", why);
}

void kafka_handle_close(struct kafka_handle *h) {
    if (h->rk)
        rd_kafka_destroy(h->rk);
    h->rk = NULL;
}

int64_t kafka_deadline(const struct journal_env *env, int64_t wait_ms) {
    return clock_mono(env->clock) + wait_ms * 1000;
}

int kafka_left_ms(const struct journal_env *env, int64_t deadline_us, int slice_ms) {
    int64_t left = deadline_us - clock_mono(env->clock);
    if (left <= 0 || stop_asked(env->stop))
        return 0;
    left = (left + 999) / 1000;
    return left < slice_ms ? (int)left : slice_ms;
}

enum code kafka_timeout(struct kafka_handle *h, const char *doing, struct err *err) {
    rd_kafka_poll(h->rk, 0); /* hear what the brokers said */
    if (h->refused)
        return err_set(
            err, FATAL, ERR_JOURNAL_REFUSED,
            "Kafka: cannot %s: %s. Check security.protocol, sasl.* and ssl.* in journal.kafka.properties",
            doing, h->refused_text);
    if (stop_asked(h->env->stop))
        return err_set(err, RETRY, ERR_STOPPED, "asked to stop");
    return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "Kafka: no answer in time to %s from %s%s%s", doing,
                   h->journal->options->brokers, h->lost_text[0] ? ": " : "", h->lost_text);
}
