/* Confluent schema registry API, "Subjects" and "Schemas"
 * (docs.confluent.io/platform/current/schema-registry/develop/api.html). */
#include "schemas/registry.h"

#include <curl/curl.h>
#include <jansson.h>
#include <stddef.h>

#include "base/clock.h"
#include "schemas/id_map.h"
#include "schemas/registry_http.h"
#include "schemas/schema_same.h"

static const struct option options[] = {
    {.name = "registry",
     .type = OPT_SECRET,
     .offset = offsetof(struct registry_config, url),
     .help = "Base URL of a registry that speaks Confluent's API, e.g. http://localhost:8081, or "
             ".../apis/ccompat/v7 for Apicurio. Without it schemas travel in the journal."},
    {.name = "user",
     .type = OPT_TEXT,
     .offset = offsetof(struct registry_config, user),
     .help = "User for HTTP basic authentication."},
    {.name = "password",
     .type = OPT_SECRET,
     .offset = offsetof(struct registry_config, password),
     .help = "Password for HTTP basic authentication."},
    {.name = "ca_file",
     .type = OPT_TEXT,
     .offset = offsetof(struct registry_config, ca_file),
     .help = "PEM file of the authorities that may sign the registry's certificate; default: the system's."},
    {.name = "cert_file",
     .type = OPT_TEXT,
     .offset = offsetof(struct registry_config, cert_file),
     .help = "PEM file of our own certificate, where the registry asks for one."},
    {.name = "key_file",
     .type = OPT_TEXT,
     .offset = offsetof(struct registry_config, key_file),
     .help = "PEM file of the private key of cert_file."},
    {.name = "timeout",
     .type = OPT_DURATION,
     .offset = offsetof(struct registry_config, timeout_ms),
     .fallback = "5s",
     .min = 100,
     .max = 600000,
     .help = "Longest time one question to the registry may take, repetitions included."},
    {.name = NULL},
};

const struct option_table registry_options = {
    .name = "schemas",
    .summary = "where Avro schemas are kept",
    .options = options,
    .size = sizeof(struct registry_config),
};

struct known { /* what was put: the same text under the same subject is not sent again */
    uint64_t hash;
    char *subject;
    struct buf json;
    uint32_t id;
};

struct registry {
    struct schema_store store;
    struct registry_http *http;
    struct known *known;
    size_t n_known, cap_known;
    struct id_map texts; /* id -> struct buf: the schema's text as the registry tells it */
};

/* ---- replies ---- */

#define CLEANUP_JSON __attribute__((cleanup(json_decrefp))) json_t

/* The reply as a JSON object; NULL if it is anything else, or nested deeper than any reply of this API. */
static json_t *reply_object(const struct http_reply *reply) {
    if (reply->too_large || !json_depth_within(buf_slice(&reply->body), 16))
        return NULL;
    json_t *json = json_loadb(reply->body.data, reply->body.len, JSON_ALLOW_NUL, NULL);
    if (json_is_object(json))
        return json;
    json_decref(json);
    return NULL;
}

/* The registry's own words, shortened. */
static void reply_words(const struct http_reply *reply, char words[512]) {
    CLEANUP_JSON *json = reply_object(reply);
    const char *message = json_string_value(json_object_get(json, "message"));
    if (message)
        snprintf(words, 512, "%s", message);
    else
        snprintf(words, 512, "%.*s", (int)(reply->body.len < 200 ? reply->body.len : 200),
                 reply->body.len ? reply->body.data : "");
}

static enum code refused(const struct registry *r, const struct http_reply *reply, const char *what,
                         struct err *err) {
    char words[512];
    if (reply->too_large)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema registry %s, %s: the answer is larger than %d bytes",
                       registry_http_url(r->http), what, REPLY_BYTES_MAX);
    reply_words(reply, words);
    if (reply->status == 404)
        return err_set(
            err, FATAL, ERR_REGISTRY_REFUSED,
            "%s does not look like a schema registry (%s: HTTP 404 %s); check the path in schemas.registry",
            registry_http_url(r->http), what, words);
    return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "schema registry %s, %s: HTTP %ld %s",
                   registry_http_url(r->http), what, reply->status, words);
}

/* ---- GET ---- */

static bool reply_good(const struct http_reply *reply) {
    return reply->status >= 200 && reply->status < 300 && !reply->too_large;
}

/* "Schema not found" and "wrong path" are both 404; the first one has a number. */
static bool reply_unknown_schema(const struct http_reply *reply) {
    CLEANUP_JSON *json = reply_object(reply);
    return reply->status == 404 && json_integer_value(json_object_get(json, "error_code")) == 40403;
}

/* Takes the schema text out of {"schema": "...", "schemaType": "AVRO", "references": []}; the last two may be
 * missing. */
static enum code reply_text(const struct registry *r, const struct http_reply *reply, uint32_t id,
                            struct buf *text, struct err *err) {
    CLEANUP_JSON *json = reply_object(reply);
    const json_t *schema = json_object_get(json, "schema");
    const char *type = json_string_value(json_object_get(json, "schemaType"));
    if (!json_is_string(schema))
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema registry %s, schema %u: the answer holds no schema",
                       registry_http_url(r->http), id);
    if (type && strcmp(type, "AVRO") != 0)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema %u of registry %s is of type %.50s, not Avro", id, registry_http_url(r->http),
                       type);
    if (json_array_size(json_object_get(json, "references")))
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema %u of registry %s refers to other schemas, which is not supported", id,
                       registry_http_url(r->http));
    buf_put(text, json_string_value(schema), json_string_length(schema));
    return OK;
}

static enum code text_reply(const struct registry *r, const struct http_reply *reply, uint32_t id,
                            struct buf *text, struct err *err) {
    char what[64];
    snprintf(what, sizeof what, "schema %u", id);
    if (reply_unknown_schema(reply))
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "schema registry %s does not know schema %u",
                       registry_http_url(r->http), id);
    return reply_good(reply) ? reply_text(r, reply, id, text, err) : refused(r, reply, what, err);
}

static enum code text_fetch(struct registry *r, uint32_t id, int64_t deadline_us, struct buf *text,
                            struct err *err) {
    struct http_reply reply = {0};
    char path[64];
    snprintf(path, sizeof path, "/schemas/ids/%u", id);
    enum code code = registry_http_call(r->http, path, NULL, deadline_us, &reply, err);
    if (code == OK)
        code = text_reply(r, &reply, id, text, err);
    buf_free(&reply.body);
    return code;
}

static void text_keep(struct registry *r, uint32_t id, struct buf text) {
    struct buf *kept = xmalloc(sizeof *kept);
    *kept = text;
    id_map_put(&r->texts, id, kept);
}

static enum code registry_get(struct schema_store *store, uint32_t id, struct slice *ret_json,
                              struct err *err) {
    struct registry *r = (struct registry *)store;
    const struct buf *kept = id_map_get(&r->texts, id);
    if (!kept) {
        struct buf text = {0};
        enum code code = text_fetch(r, id, registry_http_deadline(r->http), &text, err);
        if (code != OK)
            return code;
        text_keep(r, id, text);
        kept = id_map_get(&r->texts, id);
    }
    *ret_json = buf_slice(kept);
    return OK;
}

/* ---- PUT ---- */

static uint64_t hash_of(const char *subject, struct slice json) {
    uint64_t hash = UINT64_C(14695981039346656037);
    for (const char *p = subject; *p; p++)
        hash = (hash ^ (unsigned char)*p) * UINT64_C(1099511628211);
    for (size_t i = 0; i < json.len; i++)
        hash = (hash ^ (unsigned char)json.data[i]) * UINT64_C(1099511628211);
    return hash;
}

static const struct known *known_find(const struct registry *r, uint64_t hash, const char *subject,
                                      struct slice json) {
    for (size_t i = 0; i < r->n_known; i++) {
        const struct known *k = &r->known[i];
        if (k->hash == hash && strcmp(k->subject, subject) == 0 && slice_eq(buf_slice(&k->json), json))
            return k;
    }
    return NULL;
}

static void known_keep(struct registry *r, uint64_t hash, const char *subject, struct slice json,
                       uint32_t id) {
    if (r->n_known == r->cap_known) {
        r->cap_known = r->cap_known ? r->cap_known * 2 : 16;
        r->known = xrealloc(r->known, r->cap_known * sizeof *r->known);
    }
    struct known *k = &r->known[r->n_known++];
    *k = (struct known){.hash = hash, .subject = xstrdup(subject), .id = id};
    buf_put_slice(&k->json, json);
}

/* {"schema": "<the text, escaped>", "schemaType": "AVRO"}; NULL if the text is not UTF-8. */
static char *put_body(struct slice json) {
    CLEANUP_JSON *body = json_pack("{s:s%,s:s}", "schema", json.data, json.len, "schemaType", "AVRO");
    return body ? json_dumps(body, JSON_COMPACT) : NULL;
}

static char *put_path(const char *subject) {
    char *escaped = curl_easy_escape(NULL, subject, 0);
    char *path = xasprintf("/subjects/%s/versions", escaped ? escaped : "");
    curl_free(escaped);
    return path;
}

static enum code reply_id(const struct registry *r, const struct http_reply *reply, const char *subject,
                          uint32_t *ret_id, struct err *err) {
    CLEANUP_JSON *json = reply_object(reply);
    const json_t *id = json_object_get(json, "id");
    json_int_t number = json_integer_value(id);
    if (!json_is_integer(id) || number < 0 || number > UINT32_MAX)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema registry %s, subject '%s': the answer holds no schema id",
                       registry_http_url(r->http), subject);
    *ret_id = (uint32_t)number;
    return OK;
}

static enum code put_reply(const struct registry *r, const struct http_reply *reply, const char *subject,
                           uint32_t *ret_id, struct err *err) {
    char what[300], words[512];
    snprintf(what, sizeof what, "subject '%s'", subject);
    if (reply->status == 409) {
        reply_words(reply, words);
        return err_set(err, FATAL, ERR_SCHEMA_INCOMPATIBLE,
                       "the new schema is incompatible with the older ones of subject '%s': %s; set "
                       "compatibility of subject '%s' to NONE "
                       "(PUT %s/config/%s), or use a new topic_prefix",
                       subject, words, subject, registry_http_url(r->http), subject);
    }
    return reply_good(reply) ? reply_id(r, reply, subject, ret_id, err) : refused(r, reply, what, err);
}

/* Asks the registry for an id. */
static enum code put_send(struct registry *r, const char *subject, struct slice json, int64_t deadline_us,
                          uint32_t *ret_id, struct err *err) {
    CLEANUP_FREE char *path = put_path(subject), *body = put_body(json);
    if (!body)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "subject '%s': the schema is not UTF-8 text",
                       subject);
    struct slice bytes = slice_of(body);
    struct http_reply reply = {0};
    enum code code = registry_http_call(r->http, path, &bytes, deadline_us, &reply, err);
    if (code == OK)
        code = put_reply(r, &reply, subject, ret_id, err);
    if (code == RETRY)
        err_prefix(err, "subject '%s'", subject);
    buf_free(&reply.body);
    return code;
}

/* The text behind a fresh id. A registry of several nodes may not know it everywhere at once: asked again
 * until the deadline. */
static enum code put_read_back(struct registry *r, uint32_t id, int64_t deadline_us, struct buf *text,
                               struct err *err) {
    struct backoff backoff = {0};
    for (;;) {
        enum code code = text_fetch(r, id, deadline_us, text, err);
        if (code != REJECT)
            return code;
        if (!registry_http_wait(&backoff, deadline_us))
            return err_set(err, RETRY, ERR_REGISTRY_UNREACHABLE,
                           "schema registry %s gave id %u and then does not know it",
                           registry_http_url(r->http), id);
    }
}

/* Finds a registry that gives one id to two schemas, or whose ids began anew: what stands under the id must
 * mean what was put. */
static enum code put_verify(struct registry *r, const char *subject, struct slice json, uint32_t id,
                            int64_t deadline_us, struct err *err) {
    const struct buf *kept = id_map_get(&r->texts, id);
    struct buf text = {0};
    if (!kept) {
        enum code code = put_read_back(r, id, deadline_us, &text, err);
        if (code != OK)
            return code;
    }
    if (schema_same(kept ? buf_slice(kept) : buf_slice(&text), json)) {
        if (!kept)
            text_keep(r, id, text);
        return OK;
    }
    buf_free(&text);
    return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                   "schema registry %s gave subject '%s' the id %u, under which another schema stands; "
                   "records written with it could not be read. "
                   "Was the registry reset or restored? Mend it, or use a new one with a new topic_prefix",
                   registry_http_url(r->http), subject, id);
}

static enum code registry_put(struct schema_store *store, const char *subject, struct slice json,
                              uint32_t *ret_id, struct err *err) {
    struct registry *r = (struct registry *)store;
    uint64_t hash = hash_of(subject, json);
    const struct known *known = known_find(r, hash, subject, json);
    if (known) {
        *ret_id = known->id;
        return OK;
    }
    int64_t deadline_us = registry_http_deadline(r->http);
    uint32_t id = 0;
    enum code code = put_send(r, subject, json, deadline_us, &id, err);
    if (code == OK)
        code = put_verify(r, subject, json, id, deadline_us, err);
    if (code != OK)
        return code;
    known_keep(r, hash, subject, json, id);
    *ret_id = id;
    return OK;
}

/* ---- opening and checking ---- */

static void text_free(void *item) {
    buf_free(item);
    free(item);
}

static void registry_free(struct schema_store *store) {
    struct registry *r = (struct registry *)store;
    for (size_t i = 0; i < r->n_known; i++) {
        free(r->known[i].subject);
        buf_free(&r->known[i].json);
    }
    free(r->known);
    id_map_free(&r->texts, text_free);
    registry_http_free(r->http);
    free(r);
}

enum code registry_open(const struct registry_config *config, struct schema_store **ret, struct err *err) {
    struct registry_http *http;
    *ret = NULL;
    enum code code = registry_http_open(config, &http, err);
    if (code != OK)
        return code;
    struct registry *r = xcalloc(1, sizeof *r);
    r->store = (struct schema_store){.put = registry_put, .get = registry_get, .free = registry_free};
    r->http = http;
    *ret = &r->store;
    return OK;
}

/* A list of subjects larger than a reply may be is an answer too. */
static enum code check_reply(const struct registry *r, const struct http_reply *reply, struct err *err) {
    if (reply->status == 200 && reply->too_large)
        return OK;
    if (!reply_good(reply))
        return refused(r, reply, "list of subjects", err);
    if (!json_depth_within(buf_slice(&reply->body), 16))
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "%s does not look like a schema registry",
                       registry_http_url(r->http));
    CLEANUP_JSON *json = json_loadb(reply->body.data, reply->body.len, JSON_ALLOW_NUL, NULL);
    if (json_is_array(json))
        return OK;
    return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                   "%s does not look like a schema registry: GET /subjects gives no list; check the path in "
                   "schemas.registry",
                   registry_http_url(r->http));
}

enum code registry_check(const struct registry_config *config, struct err *err) {
    struct registry r = {0};
    struct http_reply reply = {0};
    enum code code = registry_http_open(config, &r.http, err);
    if (code == OK)
        code = registry_http_call(r.http, "/subjects", NULL, registry_http_deadline(r.http), &reply, err);
    if (code == OK)
        code = check_reply(&r, &reply, err);
    buf_free(&reply.body);
    registry_http_free(r.http);
    return code;
}
