/* Answers of a schema registry, through libcurl and all that reads them.
 *
 *   tape   = question (1 byte) id (2 bytes) answer*
 *   answer = 0..7 chunk (a whole answer with one of eight statuses and this body) | other chunk (raw bytes of
 * HTTP)
 *
 * A thread answers on a socket. */
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "fuzz.h"
#include "schemas/registry.h"
#include "schemas/schema_same.h"

enum { ANSWERS_MAX = 16, TIMEOUT_MS = 20 };

static struct buf answers[ANSWERS_MAX];
static int n_answers;
static atomic_int given;
static char socket_name[64];

/* Trying again costs nothing while there are answers. */
int64_t __wrap_backoff_next_ms(struct backoff *b, const struct clock *c);
int64_t __wrap_backoff_next_ms(struct backoff *b, const struct clock *c) {
    (void)b, (void)c;
    return atomic_load(&given) < n_answers ? 0 : TIMEOUT_MS;
}

/* ---- the peer ---- */

CURL *__real_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void);
CURL *__wrap_curl_easy_init(void) {
    CURL *curl = __real_curl_easy_init();
    curl_easy_setopt(curl, CURLOPT_ABSTRACT_UNIX_SOCKET, socket_name);
    return curl;
}

static size_t body_length(const char *request) {
    const char *length = strcasestr(request, "content-length:");
    return length ? strtoul(length + strlen("content-length:"), NULL, 10) : 0;
}

/* A question is read to its end, so that closing does not cut off the answer. */
static bool read_question(int fd) {
    char request[1 << 16];
    size_t n = 0;
    for (;;) {
        ssize_t got = read(fd, request + n, sizeof request - 1 - n);
        if (got <= 0)
            return false;
        n += (size_t)got;
        request[n] = 0;
        const char *end = strstr(request, "\r\n\r\n");
        if (end && n >= (size_t)(end + 4 - request) + body_length(request))
            return true;
    }
}

static void *peer(void *arg) {
    int listener = *(int *)arg;
    for (;;) {
        int fd = accept(listener, NULL, NULL);
        if (fd >= 0 && read_question(fd) && atomic_load(&given) < n_answers) {
            struct slice answer = buf_slice(&answers[atomic_load(&given)]);
            atomic_fetch_add(&given, 1);
            (void)!send(fd, answer.data, answer.len, MSG_NOSIGNAL);
        }
        close(fd);
    }
    return NULL;
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    static int listener;
    (void)argc, (void)argv;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int n = snprintf(socket_name, sizeof socket_name, "millrace-fuzz-%d", (int)getpid());
    memcpy(address.sun_path + 1, socket_name, (size_t)n);
    listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + (size_t)n);
    pthread_t thread;
    if (bind(listener, (struct sockaddr *)&address, len) || listen(listener, 16) ||
        pthread_create(&thread, NULL, peer, &listener))
        abort();
    return 0;
}

/* ---- questions ---- */

static void read_answers(struct tape *tape) {
    static const char *const statuses[8] = {
        "200 OK",       "404 Not Found",    "409 Conflict", "422 Unprocessable",
        "500 Internal", "401 Unauthorized", "301 Moved",    "429 Too Many"};
    atomic_store(&given, 0);
    for (n_answers = 0; n_answers < ANSWERS_MAX && !tape_over(tape); n_answers++) {
        struct buf *answer = &answers[n_answers];
        unsigned form = (unsigned)tape_number(tape, 1);
        struct slice body = tape_chunk(tape);
        buf_clear(answer);
        if (form < 8)
            buf_printf(answer, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n", statuses[form], body.len);
        buf_put_slice(answer, body);
    }
}

static void put_and_get(struct schema_store *store) {
    const struct slice schema =
        slice_of("{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"fields\":["
                 "{\"name\":\"i\",\"type\":\"int\"}]}");
    uint32_t id = 0;
    struct slice text;
    struct err err;
    enum code code = schema_put(store, "shop.public.t-value", schema, &id, &err);
    if (code != OK) {
        HOLDS(code == RETRY || code == FATAL, "code %d: %s", code, err.text);
        return;
    }
    HOLDS(schema_get(store, id, &text, &err) == OK, "%s", err.text);
    HOLDS(schema_same(text, schema), "another schema stands under the id");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const struct registry_config config = {.url = "http://user:word@registry.example:8081/base/",
                                           .timeout_ms = TIMEOUT_MS};
    struct tape tape;
    struct schema_store *store = NULL;
    struct slice text;
    struct err err;
    tape_init(&tape, data, size);
    unsigned question = (unsigned)tape_number(&tape, 1) % 3;
    uint32_t id = (uint32_t)tape_number(&tape, 2);
    read_answers(&tape);
    if (question == 0) {
        (void)!registry_check(&config, &err);
    } else {
        HOLDS(registry_open(&config, &store, &err) == OK, "%s", err.text);
        if (question == 1)
            put_and_get(store);
        else if (schema_get(store, id, &text, &err) == OK)
            HOLDS(schema_get(store, id, &text, &err) == OK, "known, and then not: %s", err.text);
        schema_store_free(store);
    }
    tape_free(&tape);
    return 0;
}
