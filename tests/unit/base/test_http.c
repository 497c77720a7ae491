#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <string.h>

#include "base/http.h"
#include "base/metrics.h"

static int serve_metrics(void *arg, struct buf *out, const char **ret_content_type) {
    (void)arg;
    *ret_content_type = "text/plain; version=0.0.4";
    metrics_print(out);
    return 200;
}

static int serve_ready(void *arg, struct buf *out, const char **ret_content_type) {
    (void)ret_content_type;
    buf_puts(out, arg);
    return 503;
}

static int serve_nothing(void *arg, struct buf *out, const char **ret_content_type) {
    (void)arg, (void)out, (void)ret_content_type;
    return 204;
}

static char not_yet[] = "not yet\n";
static const struct http_route routes[] = {
    {"/metrics", serve_metrics, NULL}, {"/readyz", serve_ready, not_yet}, {"/nothing", serve_nothing, NULL}};
static struct http_server *server;

/* ---- a client ---- */

struct reply {
    long status;
    struct buf body, headers;
};
static struct reply reply;

static size_t keep(char *data, size_t size, size_t n, void *arg) {
    buf_put(arg, data, size * n);
    return size * n;
}

static CURL *client(const char *host, const char *path) {
    CURL *curl = curl_easy_init();
    CLEANUP_FREE char *url = xasprintf("http://%s:%d%s", host, http_port(server), path);
    buf_clear(&reply.body);
    buf_clear(&reply.headers);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    curl_easy_setopt(curl, CURLOPT_PATH_AS_IS, 1L);
    curl_easy_setopt(curl, CURLOPT_TIMEOUT, 20L);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &reply.body);
    curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, keep);
    curl_easy_setopt(curl, CURLOPT_HEADERDATA, &reply.headers);
    return curl;
}

static long perform(CURL *curl) {
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK)
        fail_msg("%s", curl_easy_strerror(code));
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &reply.status);
    curl_easy_cleanup(curl);
    buf_cstr(&reply.body);
    buf_cstr(&reply.headers);
    return reply.status;
}

static long get(const char *path) {
    return perform(client("127.0.0.1", path));
}

static void start(const char *listen_on) {
    struct err err;
    if (http_start(listen_on, routes, 3, &server, &err) != OK)
        fail_msg("%s", err.text);
}

static int setup(void **state) {
    (void)state;
    start("127.0.0.1:0");
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_stop(server);
    server = NULL;
    buf_free(&reply.body);
    buf_free(&reply.headers);
    return 0;
}

/* ---- tests ---- */

static void metrics_are_served(void **state) {
    (void)state;
    metric_set(metric_get(METRIC_GAUGE, "served_bytes", "S.", NULL), 7);
    assert_true(http_port(server) > 0);
    assert_int_equal(get("/metrics"), 200);
    assert_non_null(strstr(reply.body.data, "\nserved_bytes 7\n"));
    assert_non_null(strcasestr(reply.headers.data, "Content-Type: text/plain; version=0.0.4\r\n"));
    assert_non_null(strcasestr(reply.headers.data, "Cache-Control: no-store\r\n"));
}

static void a_handler_chooses_status_and_body(void **state) {
    (void)state;
    assert_int_equal(get("/readyz"), 503);
    assert_string_equal(reply.body.data, "not yet\n");
    assert_int_equal(get("/nothing"), 204);
    assert_int_equal(get("/readyz?verbose=1"), 503);
}

static void what_is_no_route_is_not_found(void **state) {
    (void)state;
    assert_int_equal(get("/"), 404);
    assert_int_equal(get("/metrics/"), 404);
    assert_int_equal(get("/../metrics"), 404);
    assert_int_equal(get("/metric"), 404);
}

static void head_has_headers_and_no_body(void **state) {
    (void)state;
    CURL *curl = client("127.0.0.1", "/readyz");
    curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
    assert_int_equal(perform(curl), 503);
    assert_int_equal(reply.body.len, 0);
    assert_non_null(strcasestr(reply.headers.data, "Content-Length: 8\r\n"));
}

static void other_methods_are_not_allowed(void **state) {
    (void)state;
    const char *const methods[] = {"POST", "PUT", "DELETE", "OPTIONS", "BREW"};
    for (size_t i = 0; i < sizeof methods / sizeof *methods; i++) {
        CURL *curl = client("127.0.0.1", "/metrics");
        curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, methods[i]);
        assert_int_equal(perform(curl), 405);
        assert_non_null(strcasestr(reply.headers.data, "Allow: GET, HEAD\r\n"));
    }
}

static void the_body_of_a_request_is_not_read(void **state) {
    (void)state;
    CURL *curl = client("127.0.0.1", "/metrics");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, "a=b");
    assert_int_equal(perform(curl), 405);
    assert_int_equal(get("/metrics"), 200);
}

static void headers_larger_than_the_memory_of_a_connection_are_refused(void **state) {
    (void)state;
    char header[50000] = "X-Large: ";
    memset(header + 9, 'x', sizeof header - 10);
    header[sizeof header - 1] = '\0';
    CURL *curl = client("127.0.0.1", "/metrics");
    struct curl_slist *list = curl_slist_append(NULL, header);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, list);
    CURLcode code = curl_easy_perform(curl);
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_true(code != CURLE_OK || status == 431 || status == 413);
    curl_easy_cleanup(curl);
    curl_slist_free_all(list);
    assert_int_equal(get("/readyz"), 503);
}

static void without_a_host_it_is_the_loopback(void **state) {
    (void)state;
    const char *const addresses[] = {":0", "0", "localhost:0"};
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        start(addresses[i]);
        assert_int_equal(get("/readyz"), 503);
        teardown(NULL);
    }
}

static void an_ipv6_address_stands_in_brackets(void **state) {
    (void)state;
    struct err err;
    if (http_start("[::1]:0", routes, 3, &server, &err) != OK) {
        assert_int_equal(err.id, ERR_SYSTEM); /* a machine without IPv6 */
        skip();
    }
    assert_int_equal(perform(client("[::1]", "/readyz")), 503);
    teardown(NULL);
}

static void a_bad_address_is_an_error_of_the_configuration(void **state) {
    (void)state;
    const char *const bad[] = {"",       ":",       "127.0.0.1:", "127.0.0.1:http", "127.0.0.1:65536",
                               "::1:80", "[::1:80", "[]:x",       "127.0.0.1:-1",   "host.invalid:1"};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct err err = {0};
        assert_int_equal(http_start(bad[i], routes, 3, &server, &err), FATAL);
        assert_int_equal(err.id, ERR_CONFIG);
        assert_null(server);
    }
}

static void an_address_in_use_is_an_error_of_the_system(void **state) {
    (void)state;
    start("127.0.0.1:0");
    CLEANUP_FREE char *same = xasprintf("127.0.0.1:%d", http_port(server));
    struct http_server *second;
    struct err err = {0};
    assert_int_equal(http_start(same, routes, 3, &second, &err), FATAL);
    assert_int_equal(err.id, ERR_SYSTEM);
    assert_non_null(strstr(err.text, "Address already in use"));
    assert_null(second);
    teardown(NULL);
}

static void stopping_nothing_is_fine(void **state) {
    (void)state;
    http_stop(NULL);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(metrics_are_served, setup, teardown),
        cmocka_unit_test_setup_teardown(a_handler_chooses_status_and_body, setup, teardown),
        cmocka_unit_test_setup_teardown(what_is_no_route_is_not_found, setup, teardown),
        cmocka_unit_test_setup_teardown(head_has_headers_and_no_body, setup, teardown),
        cmocka_unit_test_setup_teardown(other_methods_are_not_allowed, setup, teardown),
        cmocka_unit_test_setup_teardown(the_body_of_a_request_is_not_read, setup, teardown),
        cmocka_unit_test_setup_teardown(headers_larger_than_the_memory_of_a_connection_are_refused, setup,
                                        teardown),
        cmocka_unit_test(without_a_host_it_is_the_loopback),
        cmocka_unit_test(an_ipv6_address_stands_in_brackets),
        cmocka_unit_test(a_bad_address_is_an_error_of_the_configuration),
        cmocka_unit_test(an_address_in_use_is_an_error_of_the_system),
        cmocka_unit_test(stopping_nothing_is_fine),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
