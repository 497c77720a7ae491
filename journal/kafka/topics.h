/* Topics by the admin protocol: what there is, how it is set, and making what is missing. */
#pragma once

#include "journal/kafka/kafka.h"

/* What the brokers said last; see rd_kafka_metadata. */
struct kafka_directory {
    const struct rd_kafka_metadata *metadata;
};
/* Asks for all topics anew. Never makes one, unlike asking for a topic by name. */
MUST_CHECK enum code kafka_directory_read(struct kafka_directory *d, struct kafka_handle *h,
                                          int64_t deadline_us, struct err *err);
const struct rd_kafka_metadata_topic *kafka_directory_find(const struct kafka_directory *d,
                                                           const char *name); /* NULL = not there */
int kafka_replicas(const struct rd_kafka_metadata_topic *topic);
void kafka_directory_free(struct kafka_directory *d);

struct kafka_settings {
    bool known; /* false: we may not ask, nothing below holds except bytes_max, a guess */
    bool compact, delete, unclean;
    int64_t retention_ms, retention_bytes, lag_ms, deletes_ms, min_insync;
    size_t bytes_max; /* max.message.bytes */
};
/* Settings of a topic; not being allowed to ask is logged and leaves `known` false. Waits while the topic is
 * new. */
MUST_CHECK enum code kafka_settings_read(struct kafka_handle *h, const char *topic, int64_t deadline_us,
                                         struct kafka_settings *ret, struct err *err);
/* FATAL/JOURNAL_TOPIC if the settings lose data or history; warns in the log about min.insync.replicas. */
MUST_CHECK enum code kafka_settings_check(const struct kafka_settings *s, const struct kafka_options *o,
                                          const struct topic_spec *spec, int replicas, struct err *err);

struct kafka_made {
    int partitions;
    size_t bytes_max;
};
/* Finds or makes a topic and checks it. `partitions`: of a new one; `known_partitions` > 0: what it must
 * have; `bytes_max` > 0: max.message.bytes of a new one. */
MUST_CHECK enum code kafka_topic_make(struct kafka_directory *d, struct kafka_handle *h,
                                      const struct topic_spec *spec, int partitions, int known_partitions,
                                      size_t bytes_max, int64_t deadline_us, struct kafka_made *ret,
                                      struct err *err);
/* A setting of the first broker that answers, for the doctor; "" if it cannot be asked. */
void kafka_broker_setting(struct kafka_handle *h, int32_t broker, const char *name, int64_t deadline_us,
                          char *ret, size_t size);
/* Whether a topic of this name could be made, without making it. */
rd_kafka_resp_err_t kafka_topic_try(struct kafka_handle *h, const char *name, int64_t deadline_us);
