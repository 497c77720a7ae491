/* What a real registry cannot be made to do: a small server of our own, on a thread, says it from a
 * script. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "schemas/registry.h"
#include "schemas/schema_same.h"

/* ---- the server ---- */

struct answer {
    int status;
    const char *body;   /* NULL with repeat: nothing */
    size_t repeat;      /* instead of body: that many bytes 'x' */
    size_t claim;       /* Content-Length, if it is not the body's length */
    bool silent;        /* reads the question and says nothing until the client goes */
    const char *header; /* one more header line */
};

enum { QUESTIONS_MAX = 64 };
struct server {
    int listener, port;
    pthread_t thread;
    const struct answer *answers; /* one per question; the last one repeats */
    size_t n_answers;
    size_t n_questions; /* read after server_stop */
    char questions[QUESTIONS_MAX][4096];
};

/* Reads one question: head and Content-Length bytes of body. False if the client went away. */
static bool question_read(int fd, char *text, size_t size) {
    size_t len = 0, want = size;
    while (len < want) {
        ssize_t n = read(fd, text + len, size - 1 - len);
        if (n <= 0)
            return false;
        len += (size_t)n;
        text[len] = '\0';
        char *body = strstr(text, "\r\n\r\n"), *length = strcasestr(text, "Content-Length:");
        if (body)
            want = (size_t)(body + 4 - text) + (length && length < body ? strtoul(length + 15, NULL, 10) : 0);
        if (len == size - 1)
            return false;
    }
    return true;
}

static void write_all(int fd, const char *data, size_t len) {
    while (len > 0) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return;
        data += n;
        len -= (size_t)n;
    }
}

static void answer_write(int fd, const struct answer *answer) {
    size_t len = answer->body ? strlen(answer->body) : answer->repeat;
    CLEANUP_BUF out = {0};
    buf_printf(&out,
               "HTTP/1.1 %d Word\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
               "%zu\r\n%s\r\n",
               answer->status, answer->claim ? answer->claim : len, answer->header ? answer->header : "");
    if (answer->body)
        buf_puts(&out, answer->body);
    else
        memset(buf_room(&out, len), 'x', len), out.len += len;
    write_all(fd, out.data, out.len);
}

static void *serve(void *arg) {
    struct server *server = arg;
    for (;;) {
        int fd = accept(server->listener, NULL, NULL);
        if (fd < 0)
            return NULL;
        size_t i = server->n_questions < server->n_answers ? server->n_questions : server->n_answers - 1;
        if (question_read(fd, server->questions[server->n_questions % QUESTIONS_MAX], 4096)) {
            char byte;
            server->n_questions++;
            if (server->answers[i].silent)
                while (read(fd, &byte, 1) > 0)
                    continue;
            else
                answer_write(fd, &server->answers[i]);
        }
        close(fd);
    }
}

static void server_start(struct server *server, const struct answer *answers, size_t n) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    *server = (struct server){.answers = answers, .n_answers = n};
    server->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(server->listener, (struct sockaddr *)&address, sizeof address), 0);
    assert_int_equal(listen(server->listener, 16), 0);
    assert_int_equal(getsockname(server->listener, (struct sockaddr *)&address, &size), 0);
    server->port = ntohs(address.sin_port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve, server), 0);
}

static void server_stop(struct server *server) {
    shutdown(server->listener, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->listener);
}

/* ---- a registry over it ---- */

struct run {
    struct server server;
    struct schema_store *store;
    struct err err;
    char url[128];
};

static void run_open(struct run *run, const struct answer *answers, size_t n, const char *credentials,
                     int64_t timeout_ms) {
    *run = (struct run){0};
    server_start(&run->server, answers, n);
    snprintf(run->url, sizeof run->url, "http://%s127.0.0.1:%d/base/", credentials, run->server.port);
    struct registry_config config = {.url = run->url, .timeout_ms = timeout_ms};
    if (registry_open(&config, &run->store, &run->err) != OK)
        fail_msg("%s", run->err.text);
}

static void run_close(struct run *run) {
    schema_store_free(run->store);
    server_stop(&run->server);
}

#define RUN(run, timeout_ms, ...)                   \
    const struct answer answers_[] = {__VA_ARGS__}; \
    struct run run;                                 \
    run_open(&run, answers_, sizeof answers_ / sizeof *answers_, "", timeout_ms)

static void assert_error(const struct run *run, enum code code, enum code wanted, enum err_id id,
                         const char *words) {
    if (code != wanted || run->err.id != id || !strstr(run->err.text, words))
        fail_msg("%s %s: %s", code_name(code), err_name(run->err.id), run->err.text);
}

#define SCHEMA "{\"type\":\"int\",\"millrace.type\":\"integer\"}"
#define ESCAPED \
    "{\\\"millrace.type\\\" : \\\"integer\\\", \\\"type\\\":\\\"int\\\"}" /* the same, written anew */
#define STORED \
    { 200, "{\"schema\":\"" ESCAPED "\",\"schemaType\":\"AVRO\"}" }

static enum code put(struct run *run, uint32_t *ret_id) {
    return schema_put(run->store, "shop.public.t-value", slice_of(SCHEMA), ret_id, &run->err);
}

static void a_put_is_sent_once_read_back_once_and_then_remembered(void **state) {
    uint32_t id = 0;
    struct slice text;
    (void)state;
    RUN(run, 5000, {200, "{\"id\":7}"}, STORED);
    for (int i = 0; i < 3; i++)
        assert_int_equal(put(&run, &id), OK);
    assert_int_equal(id, 7);
    assert_int_equal(schema_get(run.store, 7, &text, &run.err), OK);
    assert_true(schema_same(text, slice_of(SCHEMA)));
    run_close(&run);
    assert_int_equal(run.server.n_questions, 2);
    assert_non_null(
        strstr(run.server.questions[0], "POST /base/subjects/shop.public.t-value/versions HTTP/1.1\r\n"));
    assert_non_null(strstr(run.server.questions[0], "application/vnd.schemaregistry.v1+json"));
    assert_non_null(strstr(run.server.questions[0], "{\"schema\":\"{\\\"type\\\":\\\"int\\\",\\\"millrace."
                                                    "type\\\":\\\"integer\\\"}\",\"schemaType\":\"AVRO\"}"));
    assert_null(strstr(run.server.questions[0], "Authorization"));
    assert_non_null(strstr(run.server.questions[1], "GET /base/schemas/ids/7 HTTP/1.1\r\n"));
}

static void trouble_that_heals_within_the_timeout_is_not_seen(void **state) {
    uint32_t id = 0;
    (void)state;
    RUN(run, 5000, {500, "{\"error_code\":50003,\"message\":\"no leader\"}"}, {429, "slower"},
        {200, "{\"id\":", .claim = 8}, {200, "{\"id\":7}"}, {503, ""}, STORED);
    if (put(&run, &id) != OK)
        fail_msg("%s", run.err.text);
    assert_int_equal(id, 7);
    run_close(&run);
    assert_int_equal(run.server.n_questions, 6);
}

static void trouble_that_stays_is_a_retry_within_the_timeout(void **state) {
    static const struct answer cases[] = {{500, "{\"message\":\"no leader\"}"},
                                          {503, ""},
                                          {429, ""},
                                          {200, "{\"id\":7", .claim = 20},
                                          {.silent = true}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t id;
        RUN(run, 300, cases[i]);
        int64_t begin = clock_mono(&clock_system);
        assert_error(&run, put(&run, &id), RETRY, ERR_REGISTRY_UNREACHABLE, "shop.public.t-value");
        assert_in_range(clock_mono(&clock_system) - begin, 100000, 2000000);
        run_close(&run);
    }
}

static void a_registry_that_is_not_there_is_a_retry(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 200, {500, ""});
    server_stop(&run.server);
    assert_error(&run, put(&run, &id), RETRY, ERR_REGISTRY_UNREACHABLE, "does not answer");
    schema_store_free(run.store);
}

static void rubbish_is_refused(void **state) {
    static const struct answer cases[] = {
        {200, ""},
        {200, "<html>"},
        {200, "[]"},
        {200, "{}"},
        {200, "{\"id\":\"7\"}"},
        {200, "{\"id\":-1}"},
        {200, "{\"id\":4294967296}"},
        {200, "{\"id\":7.5}"},
        {200, "{\"id\":7}{"},
        {200, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["},
        {418, "teapot"},
        {422, "{\"error_code\":42201,\"message\":\"Invalid schema\"}"},
        {404, "{\"error_code\":404}"},
        {200, .repeat = (4 << 20) + 1},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        uint32_t id;
        RUN(run, 5000, cases[i]);
        assert_error(&run, put(&run, &id), FATAL, ERR_REGISTRY_REFUSED, "shop.public.t-value");
        run_close(&run);
        assert_int_equal(run.server.n_questions, 1);
    }
}

static void rubbish_instead_of_a_schema_is_refused(void **state) {
    static const struct answer cases[] = {
        {200, ""},
        {200, "{}"},
        {200, "{\"schema\":5}"},
        {200, "{\"schema\":\"x\",\"schemaType\":\"PROTOBUF\"}"},
        {404, "<html>not here</html>"},
        {200, "{\"schema\":\"x\",\"references\":[{\"name\":\"a\",\"subject\":\"b\",\"version\":1}]}"},
        {200, .repeat = (4 << 20) + 1},
    };
    struct slice text;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(run, 5000, cases[i]);
        assert_error(&run, schema_get(run.store, 3, &text, &run.err), FATAL, ERR_REGISTRY_REFUSED, "");
        run_close(&run);
    }
}

static void a_schema_that_nobody_knows_is_rejected_and_asked_for_again(void **state) {
    struct slice text;
    (void)state;
    RUN(run, 5000, {404, "{\"error_code\":40403,\"message\":\"Schema not found\"}"},
        {200, "{\"schema\":\"\\\"int\\\"\"}"});
    assert_error(&run, schema_get(run.store, 3, &text, &run.err), REJECT, ERR_SCHEMA_UNKNOWN, "3");
    assert_int_equal(schema_get(run.store, 3, &text, &run.err), OK);
    assert_true(slice_is(text, "\"int\""));
    run_close(&run);
}

static void an_incompatible_schema_names_subject_and_remedy(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 5000,
        {409, "{\"error_code\":409,\"message\":\"READER_FIELD_MISSING_DEFAULT_VALUE at /fields/3\"}"});
    assert_error(&run, put(&run, &id), FATAL, ERR_SCHEMA_INCOMPATIBLE,
                 "READER_FIELD_MISSING_DEFAULT_VALUE at /fields/3");
    assert_non_null(strstr(run.err.text, "set compatibility of subject 'shop.public.t-value' to NONE"));
    run_close(&run);
}

static void an_id_that_stands_for_another_schema_is_found(void **state) {
    uint32_t id = 0;
    (void)state;
    RUN(run, 5000, {200, "{\"id\":7}"}, {200, "{\"schema\":\"\\\"long\\\"\"}"});
    assert_error(&run, put(&run, &id), FATAL, ERR_REGISTRY_REFUSED, "another schema");
    assert_int_equal(id, 0);
    run_close(&run);
}

static void an_id_given_twice_is_found_without_asking(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 5000, {200, "{\"id\":7}"}, STORED, {200, "{\"id\":7}"});
    assert_int_equal(put(&run, &id), OK);
    assert_error(&run, schema_put(run.store, "other", slice_of("\"long\""), &id, &run.err), FATAL,
                 ERR_REGISTRY_REFUSED, "another schema");
    run_close(&run);
    assert_int_equal(run.server.n_questions, 3);
}

static void an_id_that_is_not_known_everywhere_yet_is_asked_for_again(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 5000, {200, "{\"id\":7}"}, {404, "{\"error_code\":40403}"}, STORED);
    assert_int_equal(put(&run, &id), OK);
    run_close(&run);
    assert_int_equal(run.server.n_questions, 3);
}

static void redirects_are_not_followed(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 5000, {302, "", .header = "Location: http://127.0.0.1:1/elsewhere\r\n"});
    assert_error(&run, put(&run, &id), FATAL, ERR_REGISTRY_REFUSED, "redirects");
    run_close(&run);
    assert_int_equal(run.server.n_questions, 1);
}

static void refused_credentials_are_fatal(void **state) {
    uint32_t id;
    (void)state;
    RUN(run, 5000, {401, ""}, {403, ""});
    assert_error(&run, put(&run, &id), FATAL, ERR_REGISTRY_REFUSED, "schemas.password");
    assert_error(&run, put(&run, &id), FATAL, ERR_REGISTRY_REFUSED, "403");
    run_close(&run);
}

static void credentials_in_the_url_are_used_and_never_shown(void **state) {
    const struct answer answers[] = {{500, ""}};
    struct run run;
    uint32_t id;
    (void)state;
    run_open(&run, answers, 1, "me:s%3Acret@", 200);
    assert_error(&run, put(&run, &id), RETRY, ERR_REGISTRY_UNREACHABLE, "/base");
    assert_null(strstr(run.err.text, "cret"));
    assert_null(strstr(run.err.text, "me:"));
    run_close(&run);
    assert_non_null(strstr(run.server.questions[0], "Authorization: Basic bWU6czpjcmV0\r\n"));
}

static void the_environment_sets_no_proxy(void **state) {
    uint32_t id;
    (void)state;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    RUN(run, 5000, {200, "{\"id\":7}"}, STORED);
    assert_int_equal(put(&run, &id), OK);
    run_close(&run);
    unsetenv("http_proxy");
}

static void only_http_urls_are_taken(void **state) {
    static const char *const urls[] = {NULL,
                                       "",
                                       "file:///etc/passwd",
                                       "ftp://host/",
                                       "localhost:8081",
                                       "http://",
                                       "http://h/?a=b",
                                       "http://h:99999/"};
    struct schema_store *store;
    struct err err;
    (void)state;
    for (size_t i = 0; i < sizeof urls / sizeof *urls; i++) {
        struct registry_config config = {.url = urls[i]};
        assert_int_equal(registry_open(&config, &store, &err), FATAL);
        assert_int_equal(err.id, ERR_CONFIG);
        assert_null(store);
    }
}

static void a_check_wants_a_list(void **state) {
    static const struct {
        struct answer answer;
        enum code code;
    } cases[] = {
        {{200, "[]"}, OK},    {{200, "[\"a\",\"b\"]"}, OK}, {{200, .repeat = (4 << 20) + 1}, OK},
        {{200, "{}"}, FATAL}, {{404, ""}, FATAL},           {{500, ""}, RETRY},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        RUN(run, 300, cases[i].answer);
        struct registry_config config = {.url = run.url, .timeout_ms = 1000};
        enum code code = registry_check(&config, &run.err);
        if (code != cases[i].code)
            fail_msg("case %zu: %s %s", i, code_name(code), run.err.text);
        run_close(&run);
    }
}

static void texts_are_compared_by_meaning(void **state) {
    static const struct {
        const char *a, *b;
        bool same;
    } cases[] = {
        {"\"int\"", " { \"type\" : \"int\" } ", true},
        {"\"int\"", "\"long\"", false},
        {"[\"null\",\"int\"]", "[\"int\",\"null\"]", false},
        {"{\"type\":\"int\",\"connect.name\":\"a\"}", "{\"connect.name\":\"a\",\"type\":\"int\"}", true},
        {"{\"type\":\"int\",\"connect.name\":\"a\"}", "{\"type\":\"int\"}", false},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"fields\":[{\"name\":\"x\",\"type\":["
         "\"null\",\"R\"]}]}",
         "{\"type\":\"record\",\"name\":\"a.b.R\",\"fields\":[{\"name\":\"x\",\"type\":[{\"type\":\"null\"},"
         "\"a.b.R\"]}]}",
         true},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.b\",\"fields\":[]}",
         "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a.c\",\"fields\":[]}", false},
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"x\",\"type\":\"int\",\"default\":0}]}",
         "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}", false},
        {"{\"type\":\"bytes\",\"default\":\"\\u0000\"}", "{ \"type\":\"bytes\",\"default\":\"\\u0000\"}",
         true},
        {"{\"type\":\"bytes\",\"default\":\"\\u0000\"}", "{ \"type\":\"bytes\",\"default\":\"\"}", false},
        {"{", " {", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
        assert_int_equal(schema_same(slice_of(cases[i].a), slice_of(cases[i].b)), cases[i].same);
        assert_int_equal(schema_same(slice_of(cases[i].b), slice_of(cases[i].a)), cases[i].same);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_put_is_sent_once_read_back_once_and_then_remembered),
        cmocka_unit_test(trouble_that_heals_within_the_timeout_is_not_seen),
        cmocka_unit_test(trouble_that_stays_is_a_retry_within_the_timeout),
        cmocka_unit_test(a_registry_that_is_not_there_is_a_retry),
        cmocka_unit_test(rubbish_is_refused),
        cmocka_unit_test(rubbish_instead_of_a_schema_is_refused),
        cmocka_unit_test(a_schema_that_nobody_knows_is_rejected_and_asked_for_again),
        cmocka_unit_test(an_incompatible_schema_names_subject_and_remedy),
        cmocka_unit_test(an_id_that_stands_for_another_schema_is_found),
        cmocka_unit_test(an_id_given_twice_is_found_without_asking),
        cmocka_unit_test(an_id_that_is_not_known_everywhere_yet_is_asked_for_again),
        cmocka_unit_test(redirects_are_not_followed),
        cmocka_unit_test(refused_credentials_are_fatal),
        cmocka_unit_test(credentials_in_the_url_are_used_and_never_shown),
        cmocka_unit_test(the_environment_sets_no_proxy),
        cmocka_unit_test(only_http_urls_are_taken),
        cmocka_unit_test(a_check_wants_a_list),
        cmocka_unit_test(texts_are_compared_by_meaning),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
