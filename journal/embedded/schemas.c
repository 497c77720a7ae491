#include "journal/embedded/schemas.h"

#include <assert.h>
#include <inttypes.h>

#include "journal/embedded/reader.h"
#include "journal/embedded/writer.h"
#include "journal/schema_texts.h"

#define WAIT_MS 5000

struct embedded_store {
    struct schema_store base;
    struct journal *journal;
    const struct journal_env *env;
    struct embedded_writer *writer; /* NULL: get only */
    int topic;
    struct embedded_reader *reader; /* opened when first needed */
    struct embedded_stream *stream; /* NULL: there is no such topic yet */
    struct schema_texts known;
};

static enum code registry_error(enum code code, struct err *err) {
    if (code == RETRY && err && err->id == ERR_JOURNAL_UNREACHABLE)
        err->id = ERR_REGISTRY_UNREACHABLE;
    return code;
}

/* What was committed since the last time. */
static enum code read_new(struct embedded_store *s, struct err *err) {
    struct part held;
    enum code code = OK;
    if (!s->reader)
        code = embedded_reader_open(s->journal, s->env, WAIT_MS, (struct journal_reader **)&s->reader, err);
    if (code == OK && !s->stream)
        code = embedded_reader_topic(s->reader, s->known.topic, &s->stream, &held, err);
    while (code == OK && (code = embedded_stream_peek(s->reader, s->stream, err)) == OK) {
        code = schema_texts_learn(&s->known, s->stream->head.value, s->stream->head.offset, err);
        if (code == OK)
            embedded_stream_take(s->stream);
    }
    return code == AGAIN ? OK : code;
}

static enum code append(struct embedded_store *s, const struct schema_record *record, struct err *err) {
    int64_t deadline_us = embedded_deadline(s->env, WAIT_MS);
    struct journal_append a = {
        .topic = s->topic, .key = slice_of(record->key), .value = slice_of(record->json)};
    struct journal_writer *w = (struct journal_writer *)s->writer;
    enum code code = embedded_append(w, &a, err);
    while (code == AGAIN && !embedded_over(s->env, deadline_us)) {
        code = embedded_writer_poll(w, 10, err);
        if (code == OK)
            code = embedded_append(w, &a, err);
    }
    return code == AGAIN ? err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "a schema cannot be appended in time")
                         : code;
}

static enum code put(struct schema_store *base, const char *subject, struct slice text, uint32_t *ret_id,
                     struct err *err) {
    struct embedded_store *s = (struct embedded_store *)base;
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

/* A schema is never younger than the change that names it. */
static enum code get(struct schema_store *base, uint32_t id, struct slice *ret_json, struct err *err) {
    struct embedded_store *s = (struct embedded_store *)base;
    if (!schema_texts_known(&s->known, id)) {
        enum code code = read_new(s, err);
        if (code != OK)
            return registry_error(code, err);
    }
    if (!schema_texts_known(&s->known, id))
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "topic '%s' holds no schema with id %" PRIu32,
                       s->known.topic, id);
    *ret_json = s->known.texts[id];
    return OK;
}

static void close_reader(struct embedded_store *s) {
    embedded_stream_free(s->stream);
    s->stream = NULL;
    embedded_reader_close((struct journal_reader *)s->reader);
    s->reader = NULL;
}

static void store_free(struct schema_store *base) {
    struct embedded_store *s = (struct embedded_store *)base;
    schema_texts_free(&s->known);
    close_reader(s);
    free(s);
}

enum code embedded_schemas(struct journal *journal, const struct journal_env *env,
                           struct journal_writer *writer, struct schema_store **ret, struct err *err) {
    struct embedded_store *s = xcalloc(1, sizeof *s);
    enum code code = OK;
    s->base = (struct schema_store){.put = put, .get = get, .free = store_free};
    s->journal = journal;
    s->env = env;
    s->writer = writer ? embedded_writer_of(writer) : NULL;
    s->known.topic = embedded_of(journal)->schemas;
    *ret = NULL;
    if (writer)
        code = writer_internal_topic(s->writer, s->known.topic, &s->topic, err);
    if (code == OK && writer)
        code = read_new(s, err);
    if (writer)
        close_reader(s); /* all is known, and only we add to it */
    if (code == OK) {
        *ret = &s->base;
        return OK;
    }
    store_free(&s->base);
    return registry_error(code, err);
}
