/* One HTTP exchange with a schema registry, tried again with back-off until a deadline. Bodies are capped,
 * redirects and proxies off, http and https only. Not thread-safe. */
#pragma once

#include "base/err.h"
#include "schemas/registry.h"

struct registry_http;

/* Does not connect. The config is borrowed. A user and password inside the URL are used but never shown.
 * FATAL/CONFIG: the URL is missing or unusable. */
MUST_CHECK enum code registry_http_open(const struct registry_config *config, struct registry_http **ret,
                                        struct err *err);
void registry_http_free(struct registry_http *http);             /* NULL is fine */
const char *registry_http_url(const struct registry_http *http); /* for people: without user and password */
int64_t
registry_http_deadline(const struct registry_http *http); /* now plus the configured timeout, monotonic us */

struct http_reply {
    long status;
    struct buf body; /* at most REPLY_BYTES_MAX; the caller frees */
    bool too_large;  /* the body was larger: what is there is its beginning */
};
enum { REPLY_BYTES_MAX = 4 << 20 };

/* GETs the path, or POSTs `body` to it if that is not NULL, and fills `reply` (emptied first). Blocks until
 * `deadline_us`. OK: an answer whose status is neither 3xx, 401, 403, 429 nor 5xx.
 * RETRY/REGISTRY_UNREACHABLE: none until the deadline. FATAL/REGISTRY_REFUSED: 401, 403, 3xx, TLS that cannot
 * be trusted. FATAL/CONFIG: unusable CA or certificate file. */
MUST_CHECK enum code registry_http_call(struct registry_http *http, const char *path,
                                        const struct slice *body, int64_t deadline_us,
                                        struct http_reply *reply, struct err *err);
/* Waits one back-off step, at most until the deadline. False if the deadline has come. */
struct backoff;
bool registry_http_wait(struct backoff *backoff, int64_t deadline_us);
