#include "journal/schema_texts.h"

#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>

#include "schemas/hash.h"

/* ---- texts by id and ids by text ---- */

/* The slot that holds the text's id, or the empty one where it belongs. */
static uint32_t *slot_of(const struct schema_texts *s, struct slice text) {
    uint32_t i = (uint32_t)fnv_bytes(FNV_START, text.data, text.len) & (s->n_slots - 1);
    while (s->slots[i] && !slice_eq(s->texts[s->slots[i]], text))
        i = (i + 1) & (s->n_slots - 1);
    return &s->slots[i];
}

uint32_t schema_texts_id(const struct schema_texts *s, struct slice text) {
    return s->n_slots ? *slot_of(s, text) : 0;
}

static void grow_slots(struct schema_texts *s) {
    if (s->n_slots && (s->used + 1) * 2 <= s->n_slots)
        return;
    free(s->slots);
    s->n_slots = s->n_slots ? s->n_slots * 2 : 64;
    s->slots = xcalloc(s->n_slots, sizeof *s->slots);
    for (uint32_t id = 1; id < s->n; id++)
        if (s->texts[id].data && !*slot_of(s, s->texts[id]))
            *slot_of(s, s->texts[id]) = id;
}

void schema_texts_add(struct schema_texts *s, uint32_t id, struct slice text) {
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

void schema_texts_free(struct schema_texts *s) {
    for (uint32_t i = 0; i < s->n; i++)
        free((char *)s->texts[i].data);
    free(s->texts);
    free(s->slots);
    *s = (struct schema_texts){.topic = s->topic};
}

/* ---- records ---- */

static enum code rubbish(struct err *err, const struct schema_texts *s, int64_t offset, const char *what) {
    return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "topic '%s', offset %" PRId64 ": %s", s->topic, offset,
                   what);
}

static enum code learn_json(struct schema_texts *s, const json_t *root, int64_t offset, struct err *err) {
    const json_t *id = json_object_get(root, "id");
    const json_t *schema = json_object_get(root, "schema");
    if (!json_is_integer(id) || json_integer_value(id) < 1 || json_integer_value(id) > SCHEMA_ID_MAX ||
        !json_is_string(schema))
        return rubbish(err, s, offset, "not a schema record");
    uint32_t number = (uint32_t)json_integer_value(id);
    struct slice text = slice_make(json_string_value(schema), json_string_length(schema));
    if (text.len > SCHEMA_BYTES_MAX)
        return rubbish(err, s, offset, "a schema larger than 4 MB");
    if (!schema_texts_known(s, number)) {
        schema_texts_add(s, number, text);
    } else if (!slice_eq(s->texts[number], text)) {
        return rubbish(err, s, offset, "a second schema under an id that is taken");
    }
    return OK;
}

enum code schema_texts_learn(struct schema_texts *s, struct slice record, int64_t offset, struct err *err) {
    json_error_t why;
    if (record.len > 2 * SCHEMA_BYTES_MAX + 4096)
        return rubbish(err, s, offset, "a record larger than any schema's");
    json_t *root = record.len ? json_loadb(record.data, record.len, JSON_REJECT_DUPLICATES, &why) : NULL;
    enum code code = root ? learn_json(s, root, offset, err) : rubbish(err, s, offset, "not JSON");
    json_decref(root);
    return code;
}

enum code schema_texts_record(const struct schema_texts *s, const char *subject, struct slice text,
                              struct schema_record *ret, struct err *err) {
    if (text.len > SCHEMA_BYTES_MAX)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "the schema of '%s' has %zu bytes, more than 4 MB",
                       subject, text.len);
    ret->id = s->n ? s->n : 1;
    if (ret->id > SCHEMA_ID_MAX)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "topic '%s' holds %d schemas, which is the limit",
                       s->topic, SCHEMA_ID_MAX);
    json_t *root =
        json_pack("{s:i,s:s,s:s%}", "id", (int)ret->id, "subject", subject, "schema", text.data, text.len);
    ret->json = root ? json_dumps(root, JSON_COMPACT) : NULL;
    json_decref(root);
    if (!ret->json)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "the schema of '%s' is not UTF-8", subject);
    snprintf(ret->key, sizeof ret->key, "%" PRIu32, ret->id);
    return OK;
}
