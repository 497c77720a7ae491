/* Schemas that a journal keeps itself, in topic <prefix>.schemas: key = decimal id, value =
 * {"id":..,"subject":..,"schema":".."}.
 *
 * Ids count from 1, given by the one writer; a schema is written in the transaction that first uses it (or
 * before), so whoever can read a change can read its schema. Ids are never used twice: compaction keeps one
 * record per id. */
#pragma once

#include "base/err.h"
#include "base/slice.h"

#define SCHEMA_ID_MAX    1000000
#define SCHEMA_BYTES_MAX (4 << 20)

/* Texts by id and ids by text. Zero-initialised but for the topic is empty and valid. */
struct schema_texts {
    const char *topic;              /* borrowed: for messages */
    struct slice *texts;            /* by id; data owned, NULL = unknown */
    uint32_t n, cap;                /* ids below n may be known */
    uint32_t *slots, n_slots, used; /* hash of texts to ids, 0 = empty */
};
void schema_texts_free(struct schema_texts *s);

static inline bool schema_texts_known(const struct schema_texts *s, uint32_t id) {
    return id < s->n && s->texts[id].data;
}
/* 0: unknown. */
uint32_t schema_texts_id(const struct schema_texts *s, struct slice text);
/* Copies the text; the id must not be known. */
void schema_texts_add(struct schema_texts *s, uint32_t id, struct slice text);
/* Takes over a record of the topic. FATAL/REGISTRY_REFUSED: rubbish, named by its offset. */
MUST_CHECK enum code schema_texts_learn(struct schema_texts *s, struct slice record, int64_t offset,
                                        struct err *err);
/* The id that a new text gets, and its record (to be freed) and key. FATAL/REGISTRY_REFUSED: too large, too
 * many, not UTF-8. */
struct schema_record {
    uint32_t id;
    char key[16];
    char *json;
};
MUST_CHECK enum code schema_texts_record(const struct schema_texts *s, const char *subject, struct slice text,
                                         struct schema_record *ret, struct err *err);
