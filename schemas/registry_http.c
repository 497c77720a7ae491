/* libcurl easy interface, one handle kept alive per registry (https://curl.se/libcurl/c/). */
#include "schemas/registry_http.h"

#include <curl/curl.h>
#include <poll.h>
#include <pthread.h>

#include "base/clock.h"

struct registry_http {
    CURL *curl;
    struct curl_slist *headers;
    char *url;             /* without user, password and trailing slash */
    char *user, *password; /* from the config, else from the URL */
    int64_t timeout_ms;
    char words[CURL_ERROR_SIZE];
};

static void curl_start(void) {
    curl_global_init(CURL_GLOBAL_DEFAULT);
}

/* ---- opening ---- */

/* A part of the URL, decoded and ours to free; NULL if it is not there. */
static char *url_part(CURLU *url, CURLUPart part, unsigned flags) {
    char *text = NULL, *copy = NULL;
    if (curl_url_get(url, part, &text, flags) == CURLUE_OK)
        copy = xstrdup(text);
    curl_free(text);
    return copy;
}

/* Takes the URL apart: scheme checked, user and password out of it. */
static enum code url_read(struct registry_http *http, const char *text, CURLU *url, struct err *err) {
    CURLUcode bad = curl_url_set(url, CURLUPART_URL, text, 0);
    if (bad)
        return err_set(err, FATAL, ERR_CONFIG, "schemas.registry is not a URL (%s); write http://host:port",
                       curl_url_strerror(bad));
    CLEANUP_FREE char *scheme = url_part(url, CURLUPART_SCHEME, 0),
                      *query = url_part(url, CURLUPART_QUERY, 0);
    if (!scheme || (strcmp(scheme, "http") != 0 && strcmp(scheme, "https") != 0))
        return err_set(err, FATAL, ERR_CONFIG, "schemas.registry must begin with http:// or https://");
    if (query)
        return err_set(err, FATAL, ERR_CONFIG, "schemas.registry must not have a query ('?')");
    http->user = url_part(url, CURLUPART_USER, CURLU_URLDECODE);
    http->password = url_part(url, CURLUPART_PASSWORD, CURLU_URLDECODE);
    curl_url_set(url, CURLUPART_USER, NULL, 0);
    curl_url_set(url, CURLUPART_PASSWORD, NULL, 0);
    curl_url_set(url, CURLUPART_FRAGMENT, NULL, 0);
    http->url = url_part(url, CURLUPART_URL, 0);
    for (size_t n = strlen(http->url); n > 0 && http->url[n - 1] == '/'; n--)
        http->url[n - 1] = '\0';
    return OK;
}

static size_t take_body(char *data, size_t size, size_t count, void *arg) {
    struct http_reply *reply = arg;
    size_t n = size * count;
    reply->too_large = n > REPLY_BYTES_MAX - reply->body.len;
    if (reply->too_large)
        return 0;
    buf_put(&reply->body, data, n);
    return n;
}

/* What holds for every request of this handle. */
static void curl_prepare(struct registry_http *http, const struct registry_config *config) {
    CURL *curl = http->curl;
    http->headers = curl_slist_append(http->headers, "Content-Type: application/vnd.schemaregistry.v1+json");
    http->headers =
        curl_slist_append(http->headers, "Accept: application/vnd.schemaregistry.v1+json, application/json");
    http->headers = curl_slist_append(http->headers, "Expect:");
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, http->headers);
    curl_easy_setopt(curl, CURLOPT_USERAGENT, "millrace/" MILLRACE_VERSION);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, http->words);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 1L);
    curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 2L);
    curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (config->ca_file)
        curl_easy_setopt(curl, CURLOPT_CAINFO, config->ca_file);
    if (config->cert_file)
        curl_easy_setopt(curl, CURLOPT_SSLCERT, config->cert_file);
    if (config->key_file)
        curl_easy_setopt(curl, CURLOPT_SSLKEY, config->key_file);
    if (http->user) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERNAME, http->user);
        curl_easy_setopt(curl, CURLOPT_PASSWORD, http->password ? http->password : "");
    }
}

enum code registry_http_open(const struct registry_config *config, struct registry_http **ret,
                             struct err *err) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, curl_start);
    *ret = NULL;
    if (!config->url)
        return err_set(err, FATAL, ERR_CONFIG, "schemas.registry is missing");
    struct registry_http *http = xcalloc(1, sizeof *http);
    CURLU *url = curl_url();
    http->curl = curl_easy_init();
    http->timeout_ms = config->timeout_ms > 0 ? config->timeout_ms : 5000;
    enum code code = url && http->curl
                         ? url_read(http, config->url, url, err)
                         : err_set(err, FATAL, ERR_SYSTEM, "libcurl does not start: out of memory");
    curl_url_cleanup(url);
    if (code != OK) {
        registry_http_free(http);
        return code;
    }
    if (config->user) {
        free(http->user);
        http->user = xstrdup(config->user);
    }
    if (config->password) {
        free(http->password);
        http->password = xstrdup(config->password);
    }
    curl_prepare(http, config);
    *ret = http;
    return OK;
}

void registry_http_free(struct registry_http *http) {
    if (!http)
        return;
    curl_easy_cleanup(http->curl);
    curl_slist_free_all(http->headers);
    free(http->url);
    free(http->user);
    free(http->password);
    free(http);
}

const char *registry_http_url(const struct registry_http *http) {
    return http->url;
}

int64_t registry_http_deadline(const struct registry_http *http) {
    return clock_mono(&clock_system) + http->timeout_ms * 1000;
}

/* ---- one try ---- */

static CURLcode perform(struct registry_http *http, const char *path, const struct slice *body,
                        int64_t left_us, struct http_reply *reply) {
    CURL *curl = http->curl;
    CLEANUP_FREE char *url = xasprintf("%s%s", http->url, path);
    buf_clear(&reply->body);
    reply->too_large = false;
    reply->status = 0;
    http->words[0] = '\0';
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, reply);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, (long)(left_us / 1000 + 1));
    if (body) {
        curl_easy_setopt(curl, CURLOPT_POST, 1L);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)body->len);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    CURLcode result = curl_easy_perform(curl);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply->status);
    return result;
}

/* What a transport error means: a file or a trust that a person must mend, or trouble that can heal. */
static enum code transport_code(struct registry_http *http, CURLcode result, struct err *err) {
    const char *words = http->words[0] ? http->words : curl_easy_strerror(result);
    switch (result) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "cannot trust the TLS certificate of %s: %s; set schemas.ca_file to its authority",
                       http->url, words);
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_URL_MALFORMAT:
        return err_set(err, FATAL, ERR_CONFIG, "schema registry %s: %s", http->url, words);
    default:
        return err_set(err, RETRY, ERR_REGISTRY_UNREACHABLE, "schema registry %s does not answer: %s",
                       http->url, words);
    }
}

static enum code status_code(struct registry_http *http, const struct http_reply *reply, struct err *err) {
    long status = reply->status;
    if (status == 429 || status >= 500)
        return err_set(err, RETRY, ERR_REGISTRY_UNREACHABLE, "schema registry %s answers with HTTP %ld: %.*s",
                       http->url, status, (int)(reply->body.len < 300 ? reply->body.len : 300),
                       reply->body.len ? reply->body.data : "");
    if (status == 401 || status == 403)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema registry %s refuses us with HTTP %ld; check schemas.user, schemas.password "
                       "and its rights",
                       http->url, status);
    if (status >= 300 && status < 400)
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED,
                       "schema registry %s redirects (HTTP %ld), which is not followed; set schemas.registry "
                       "to the final address",
                       http->url, status);
    return OK;
}

static enum code attempt(struct registry_http *http, const char *path, const struct slice *body,
                         int64_t left_us, struct http_reply *reply, struct err *err) {
    CURLcode result = perform(http, path, body, left_us, reply);
    bool answered = result == CURLE_OK || (result == CURLE_WRITE_ERROR && reply->too_large);
    return answered ? status_code(http, reply, err) : transport_code(http, result, err);
}

bool registry_http_wait(struct backoff *backoff, int64_t deadline_us) {
    int64_t ms = backoff_next_ms(backoff, &clock_system),
            left_ms = (deadline_us - clock_mono(&clock_system)) / 1000;
    if (left_ms <= 0)
        return false;
    poll(NULL, 0, (int)(ms < left_ms ? ms : left_ms));
    return clock_mono(&clock_system) < deadline_us;
}

enum code registry_http_call(struct registry_http *http, const char *path, const struct slice *body,
                             int64_t deadline_us, struct http_reply *reply, struct err *err) {
    struct backoff backoff = {0};
    for (;;) {
        int64_t left_us = deadline_us - clock_mono(&clock_system);
        enum code code = attempt(http, path, body, left_us > 0 ? left_us : 0, reply, err);
        if (code != RETRY || !registry_http_wait(&backoff, deadline_us))
            return code;
    }
}
