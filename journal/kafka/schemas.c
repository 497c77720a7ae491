#include "journal/kafka/schemas.h"

#include <assert.h>
#include <inttypes.h>

#include "journal/kafka/writer.h"
#include "journal/schema_texts.h"

#define WAIT_MS 5000

struct kafka_store {
    struct schema_store base;
    const struct journal_env *env;
    const struct kafka_journal *journal;
    struct kafka_writer *writer; /* NULL: get only */
    int topic;
    struct kafka_handle reader; /* opened when first needed */
    int64_t next;               /* offset that was not read yet */
    struct schema_texts known;
};

/* ---- reading the topic ---- */

static enum code learn(void *arg, const rd_kafka_message_t *m, struct err *err) {
    struct kafka_store *s = arg;
    s->next = m->offset + 1;
    return schema_texts_learn(&s->known, slice_make(m->payload, m->len), m->offset, err);
}

/* What was committed since the last time. */
static enum code read_new(struct kafka_store *s, int64_t deadline_us, struct err *err) {
    int64_t low, end;
    enum code code = OK;
    if (!s->reader.rk)
        code = kafka_handle_open(&s->reader, s->journal, s->env, KAFKA_READER, NULL, NULL, err);
    if (code == OK)
        code = kafka_watermarks(&s->reader, s->journal->schemas, 0, deadline_us, &low, &end, err);
    if (code == AGAIN)
        return OK; /* no such topic yet */
    if (code != OK)
        return code;
    code = kafka_range_read(&s->reader, s->journal->schemas, s->next > low ? s->next : low, end, deadline_us,
                            learn, s, err);
    if (code == OK && end > s->next)
        s->next = end;
    return code;
}

/* ---- the store ---- */

static enum code registry_error(enum code code, struct err *err) {
    if (code == RETRY && err && err->id == ERR_JOURNAL_UNREACHABLE)
        err->id = ERR_REGISTRY_UNREACHABLE;
    return code;
}

static enum code append(struct kafka_store *s, const struct schema_record *record, struct err *err) {
    int64_t deadline_us = kafka_deadline(s->env, WAIT_MS);
    struct journal_append a = {
        .topic = s->topic, .key = slice_of(record->key), .value = slice_of(record->json)};
    struct journal_writer *w = (struct journal_writer *)s->writer;
    enum code code = kafka_append(w, &a, err);
    while (code == AGAIN && !kafka_over(s->env, deadline_us)) {
        code = kafka_writer_poll(w, 10, err);
        if (code == OK)
            code = kafka_append(w, &a, err);
    }
    return code == AGAIN ? kafka_timeout(&s->writer->h, "append a schema", err) : code;
}

static enum code put(struct schema_store *base, const char *subject, struct slice text, uint32_t *ret_id,
                     struct err *err) {
    struct kafka_store *s = (struct kafka_store *)base;
    struct schema_record record;
    assert(s->writer);
    *ret_id = schema_texts_id(&s->known, text);
    if (*ret_id)
        return OK;
    enum code code = schema_texts_record(&s->known, subject, text, &record, err);
    if (code != OK)
        return code;
    code = append(s, &record, err);
    free(record.json);
    if (code != OK)
        return code;
    schema_texts_add(&s->known, record.id, text);
    *ret_id = record.id;
    return OK;
}

static enum code get(struct schema_store *base, uint32_t id, struct slice *ret_json, struct err *err) {
    struct kafka_store *s = (struct kafka_store *)base;
    int64_t deadline_us = kafka_deadline(s->env, WAIT_MS);
    while (!schema_texts_known(&s->known, id)) {
        enum code code = read_new(s, deadline_us, err);
        if (code != OK)
            return registry_error(code, err);
        if (schema_texts_known(&s->known, id))
            break;
        rd_kafka_poll(s->reader.rk, kafka_left_ms(s->env, deadline_us, 50));
        if (kafka_over(s->env, deadline_us))
            return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "topic '%s' holds no schema with id %" PRIu32,
                           s->journal->schemas, id);
    }
    *ret_json = s->known.texts[id];
    return OK;
}

static void store_free(struct schema_store *base) {
    struct kafka_store *s = (struct kafka_store *)base;
    schema_texts_free(&s->known);
    kafka_handle_close(&s->reader);
    free(s);
}

enum code kafka_schemas(struct journal *journal, const struct journal_env *env, struct journal_writer *writer,
                        struct schema_store **ret, struct err *err) {
    struct kafka_store *s = xcalloc(1, sizeof *s);
    int64_t deadline_us = kafka_deadline(env, WAIT_MS);
    enum code code = OK;
    s->base = (struct schema_store){.put = put, .get = get, .free = store_free};
    s->env = env;
    s->journal = kafka_journal_of(journal);
    s->known.topic = s->journal->schemas;
    s->writer = writer ? kafka_writer_of(writer) : NULL;
    *ret = NULL;
    if (writer)
        code = kafka_internal_topic(s->writer, s->journal->schemas, deadline_us, &s->topic, err);
    if (code == OK && writer)
        code = read_new(s, deadline_us, err);
    if (writer)
        kafka_handle_close(&s->reader); /* all is known, and only we add to it */
    if (code == OK) {
        *ret = &s->base;
        return OK;
    }
    store_free(&s->base);
    return registry_error(code, err);
}
