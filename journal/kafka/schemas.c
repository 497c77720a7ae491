/* Ids count from 1, given by the one writer; a schema is written in the transaction that first uses it (or
 * before), so whoever can read a change can read its schema. Ids are never used twice: compaction keeps one
 * record per id. */
#include "journal/kafka/schemas.h"

#include <assert.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "journal/kafka/writer.h"

#define ID_MAX           1000000
#define SCHEMA_BYTES_MAX (4 << 20)
#define WAIT_MS          5000

struct kafka_store {
    struct schema_store base;
    const struct journal_env *env;
    const struct kafka_journal *journal;
    struct kafka_writer *writer; /* NULL: get only */
    int topic;
    struct kafka_handle reader;     /* opened when first needed */
    int64_t next;                   /* offset that was not read yet */
    struct slice *texts;            /* by id; data owned, NULL = unknown */
    uint32_t n, cap;                /* ids below n may be known */
    uint32_t *slots, n_slots, used; /* hash of texts to ids, 0 = empty */
};

/* ---- texts by id and ids by text
 * -------------------------------------------------------------------------------- */

static uint64_t hash_of(struct slice text) {
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    for (size_t i = 0; i < text.len; i++)
        h = (h ^ (unsigned char)text.data[i]) * 1099511628211u;
    return h;
}

/* The slot that holds the text's id, or the empty one where it belongs. */
static uint32_t *slot_of(const struct kafka_store *s, struct slice text) {
    uint32_t i = (uint32_t)hash_of(text) & (s->n_slots - 1);
    while (s->slots[i] && !slice_eq(s->texts[s->slots[i]], text))
        i = (i + 1) & (s->n_slots - 1);
    return &s->slots[i];
}

static uint32_t id_of(const struct kafka_store *s, struct slice text) {
    return s->n_slots ? *slot_of(s, text) : 0;
}

static void grow_slots(struct kafka_store *s) {
    if (s->n_slots && (s->used + 1) * 2 <= s->n_slots)
        return;
    free(s->slots);
    s->n_slots = s->n_slots ? s->n_slots * 2 : 64;
    s->slots = xcalloc(s->n_slots, sizeof *s->slots);
    for (uint32_t id = 1; id < s->n; id++)
        if (s->texts[id].data && !*slot_of(s, s->texts[id]))
            *slot_of(s, s->texts[id]) = id;
}

static void remember(struct kafka_store *s, uint32_t id, struct slice text) {
    if (id >= s->cap) {
        uint32_t cap = s->cap ? s->cap : 64;
        while (cap <= id)
            cap *= 2;
        s->texts = xrealloc(s->texts, cap * sizeof *s->texts);
        memset(s->texts + s->cap, 0, (cap - s->cap) * sizeof *s->texts);
        s->cap = cap;
    }
    grow_slots(s);
    s->texts[id] = slice_make(xstrndup(text.data, text.len), text.len);
    if (id >= s->n)
        s->n = id + 1;
    uint32_t *slot = slot_of(s, text);
    if (!*slot)
        *slot = id;
    s->used++;
}

static bool known(const struct kafka_store *s, uint32_t id) {
    return id < s->n && s->texts[id].data;
}

/* ---- reading the topic
 * ------------------------------------------------------------------------------------------ */

static enum code rubbish(struct err *err, const struct kafka_store *s, int64_t offset, const char *what) {
    return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "topic '%s', offset %" PRId64 ": %s",
                   s->journal->schemas, offset, what);
}

static enum code learn_json(struct kafka_store *s, const json_t *root, int64_t offset, struct err *err) {
    const json_t *id = json_object_get(root, "id");
    const json_t *schema = json_object_get(root, "schema");
    if (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > ID_MAX ||
        !json_is_string(schema))
        return rubbish(err, s, offset, "not a schema record");
    uint32_t number = (uint32_t)json_integer_value(id);
    struct slice text = slice_make(json_string_value(schema), json_string_length(schema));
    if (text.len > SCHEMA_BYTES_MAX)
        return rubbish(err, s, offset, "a schema larger than 4 MB");
    if (!known(s, number)) {
        remember(s, number, text);
    } else if (!slice_eq(s->texts[number], text)) {
        return rubbish(err, s, offset, "a second schema under an id that is taken");
    }
    return OK;
}

static enum code learn(void *arg, const rd_kafka_message_t *m, struct err *err) {
    struct kafka_store *s = arg;
    json_error_t why;
    s->next = m->offset + 1;
    if (m->len > 2 * SCHEMA_BYTES_MAX + 4096)
        return rubbish(err, s, m->offset, "a record larger than any schema's");
    json_t *root = m->len ? json_loadb(m->payload, m->len, JSON_REJECT_DUPLICATES, &why) : NULL;
    enum code code = root ? learn_json(s, root, m->offset, err) : rubbish(err, s, m->offset, "not JSON");
    json_decref(root);
    return code;
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

/* ---- the store
 * -------------------------------------------------------------------------------------------------- */

static enum code registry_error(enum code code, struct err *err) {
    if (code == RETRY && err && err->id == ERR_JOURNAL_UNREACHABLE)
        err->id = ERR_REGISTRY_UNREACHABLE;
    return code;
}

static enum code append(struct kafka_store *s, uint32_t id, const char *subject, struct slice text,
                        struct err *err) {
    char key[16];
    int64_t deadline_us = kafka_deadline(s->env, WAIT_MS);
    json_t *root =
        json_pack("{s:i,s:s,s:s%}", "id", (int)id, "subject", subject, "schema", text.data, text.len);
    char *json = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!json)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "the schema of '%s' is not UTF-8", subject);
    snprintf(key, sizeof key, "%" PRIu32, id);
    struct journal_append a = {.topic = s->topic, .key = slice_of(key), .value = slice_of(json)};
    struct journal_writer *w = (struct journal_writer *)s->writer;
    enum code code = kafka_append(w, &a, err);
    while (code == AGAIN && !kafka_over(s->env, deadline_us)) {
        code = kafka_writer_poll(w, 10, err);
        if (code == OK)
            code = kafka_append(w, &a, err);
    }
    free(json);
    return code == AGAIN ? kafka_timeout(&s->writer->h, "append a schema", err) : code;
}

static enum code put(struct schema_store *base, const char *subject, struct slice text, uint32_t *ret_id,
                     struct err *err) {
    struct kafka_store *s = (struct kafka_store *)base;
    assert(s->writer);
    *ret_id = id_of(s, text);
    if (*ret_id)
        return OK;
    if (text.len > SCHEMA_BYTES_MAX)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "the schema of '%s' has %zu bytes, more than 4 MB",
                       subject, text.len);
    uint32_t id = s->n ? s->n : 1;
    if (id > ID_MAX)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "topic '%s' holds %d schemas, which is the limit",
                       s->journal->schemas, ID_MAX);
    enum code code = append(s, id, subject, text, err);
    if (code != OK)
        return code;
    remember(s, id, text);
    *ret_id = id;
    return OK;
}

static enum code get(struct schema_store *base, uint32_t id, struct slice *ret_json, struct err *err) {
    struct kafka_store *s = (struct kafka_store *)base;
    int64_t deadline_us = kafka_deadline(s->env, WAIT_MS);
    while (!known(s, id)) {
        enum code code = read_new(s, deadline_us, err);
        if (code != OK)
            return registry_error(code, err);
        if (known(s, id))
            break;
        rd_kafka_poll(s->reader.rk, kafka_left_ms(s->env, deadline_us, 50));
        if (kafka_over(s->env, deadline_us))
            return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "topic '%s' holds no schema with id %" PRIu32,
                           s->journal->schemas, id);
    }
    *ret_json = s->texts[id];
    return OK;
}

static void store_free(struct schema_store *base) {
    struct kafka_store *s = (struct kafka_store *)base;
    for (uint32_t i = 0; i < s->n; i++)
        free((char *)s->texts[i].data);
    free(s->texts);
    free(s->slots);
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
