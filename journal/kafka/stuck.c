/* Why has a partition nothing for a reader that waits for a record which was committed? Because an older
 * transaction on the same partition is still open: readers of committed records see nothing behind it,
 * whoever's it is. */
#include <inttypes.h>

#include "base/log.h"
#include "journal/kafka/reader.h"

#define PATIENCE_US 10000000
#define AGAIN_US    60000000
#define ASK_MS      2000

static void look(struct kafka_reader *r, const struct kafka_stream *s) {
    struct kafka_handle all;
    struct err ignored;
    int64_t low, stable, end, deadline_us = kafka_deadline(r->h.env, ASK_MS);
    if (kafka_watermarks(&r->h, s->topic, s->partition, deadline_us, &low, &stable, &ignored) != OK ||
        kafka_handle_open(&all, r->h.journal, r->h.env, KAFKA_ADMIN, NULL, NULL, &ignored) != OK)
        return;
    if (kafka_watermarks(&all, s->topic, s->partition, deadline_us, &low, &end, &ignored) == OK &&
        stable < end)
        log_warn("journal",
                 "a transaction is open on a topic and holds back what was committed behind it. Unless its "
                 "program is "
                 "still at work: kafka-transactions.sh --bootstrap-server ... find-hanging, then abort; keep "
                 "other "
                 "programs off the topic (ACLs)",
                 F_STR("topic", s->topic), F_INT("partition", s->partition), F_INT("stable_offset", stable),
                 F_INT("end_offset", end));
    kafka_handle_close(&all);
}

void kafka_stuck_look(struct kafka_reader *r, struct kafka_stream *s) {
    int64_t now = clock_mono(r->h.env->clock);
    if (!s->waiting_us) {
        s->waiting_us = now;
    } else if (now - s->waiting_us > PATIENCE_US && now >= s->look_us) {
        look(r, s);
        s->look_us = clock_mono(r->h.env->clock) + AGAIN_US;
    }
}
