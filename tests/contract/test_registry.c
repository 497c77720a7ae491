/* A real schema registry (Apicurio's Confluent API, Confluent's own, Karapace) does what the code believes of
 * it. MILLRACE_TEST_REGISTRY is its base URL; tests/run starts one and sets it. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <curl/curl.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "schemas/registry.h"
#include "schemas/schema_same.h"

struct fixture {
    const char *url;
    struct schema_store *store;
    struct err err;
    char subject[128]; /* new in every test */
};

static int setup(void **state) {
    static struct fixture fixture;
    static int n;
    fixture.url = getenv("MILLRACE_TEST_REGISTRY");
    if (!fixture.url) {
        fprintf(stderr, "MILLRACE_TEST_REGISTRY is not set: start the tests with tests/run, or set it to the "
                        "base URL of a schema registry\n");
        return -1;
    }
    struct registry_config config = {.url = fixture.url, .timeout_ms = 10000};
    if (registry_open(&config, &fixture.store, &fixture.err) != OK) {
        fprintf(stderr, "%s\n", fixture.err.text);
        return -1;
    }
    snprintf(fixture.subject, sizeof fixture.subject, "contract-%d-%lld.%d-value", (int)getpid(),
             (long long)clock_wall(&clock_system), n++);
    *state = &fixture;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    schema_store_free(f->store);
    f->store = NULL;
    return 0;
}

static uint32_t put(struct fixture *f, const char *json) {
    uint32_t id = 0;
    if (schema_put(f->store, f->subject, slice_of(json), &id, &f->err) != OK)
        fail_msg("%s", f->err.text);
    return id;
}

/* A second store sees only what the registry itself keeps. */
static struct schema_store *another(struct fixture *f) {
    struct registry_config config = {.url = f->url, .timeout_ms = 10000};
    struct schema_store *store;
    if (registry_open(&config, &store, &f->err) != OK)
        fail_msg("%s", f->err.text);
    return store;
}

#define RECORD(fields) \
    "{\"type\":\"record\",\"name\":\"Value\",\"namespace\":\"shop.public.t\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"

static void a_schema_comes_back_with_every_attribute(void **state) {
    struct fixture *f = *state;
    static const char json[] = "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"shop.public.t\","
                               "\"fields\":[{\"name\":\"before\",\"type\":[\"null\","
                               "{\"type\":\"record\",\"name\":\"Value\",\"fields\":[{\"name\":\"balance\","
                               "\"type\":{\"type\":\"bytes\",\"scale\":2,\"precision\":12,"
                               "\"connect.version\":1,\"connect.parameters\":{\"scale\":\"2\"},\"connect."
                               "default\":\"\\u0000\",\"connect.name\":"
                               "\"org.apache.kafka.connect.data.Decimal\",\"logicalType\":\"decimal\"},"
                               "\"default\":\"\\u0000\",\"millrace.type\":\"numeric(12,2)\","
                               "\"millrace.name\":\"gr\u00fc\u00dfe "
                               "\\\"x\\\"\",\"millrace.key\":1}],\"connect.name\":\"shop.public.t.Value\","
                               "\"millrace.table\":[\"public\",\"t\"],"
                               "\"millrace.types\":[{\"enum\":[\"public\",\"mood\"],\"labels\":[\"sad\","
                               "\"ok\"]}]}],\"default\":null},"
                               "{\"name\":\"after\",\"type\":[\"null\",\"Value\"],\"default\":null}],"
                               "\"connect.version\":2,\"connect.name\":\"shop.public.t.Envelope\"}";
    uint32_t id = put(f, json);
    struct schema_store *store = another(f);
    struct slice text;
    if (schema_get(store, id, &text, &f->err) != OK)
        fail_msg("%s", f->err.text);
    assert_true(schema_same(text, slice_of(json)));
    schema_store_free(store);
}

static void the_same_text_gives_the_same_id(void **state) {
    struct fixture *f = *state;
    uint32_t first = put(f, RECORD(FIELD("a", "\"int\""))), again = 0, elsewhere = 0;
    struct schema_store *store = another(f);
    assert_int_equal(schema_put(store, f->subject, slice_of(RECORD(FIELD("a", "\"int\""))), &again, &f->err),
                     OK);
    assert_int_equal(again, first);
    f->subject[0] = 'C';
    elsewhere = put(f, RECORD(FIELD("a", "\"int\"")));
    assert_int_equal(elsewhere, first);
    schema_store_free(store);
}

static void another_text_gives_another_id(void **state) {
    struct fixture *f = *state;
    uint32_t first = put(f, RECORD(FIELD("a", "\"int\"")));
    uint32_t second = put(
        f, RECORD(FIELD("a", "\"int\"") ",{\"name\":\"b\",\"type\":[\"null\",\"int\"],\"default\":null}"));
    assert_int_not_equal(first, second);
}

static void an_id_that_was_never_given_is_unknown(void **state) {
    struct fixture *f = *state;
    struct slice text;
    assert_int_equal(schema_get(f->store, 2000000000, &text, &f->err), REJECT);
    assert_int_equal(f->err.id, ERR_SCHEMA_UNKNOWN);
}

static void set_compatibility(struct fixture *f, const char *level) {
    CURL *curl = curl_easy_init();
    CLEANUP_FREE char *url = xasprintf("%s/config/%s", f->url, f->subject),
                      *body = xasprintf("{\"compatibility\":\"%s\"}", level);
    struct curl_slist *headers =
        curl_slist_append(NULL, "Content-Type: application/vnd.schemaregistry.v1+json");
    long status = 0;
    FILE *nowhere = fopen("/dev/null", "w");
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "PUT");
    curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, nowhere);
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    assert_int_equal(curl_easy_perform(curl), CURLE_OK);
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    assert_int_equal(status, 200);
    fclose(nowhere);
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
}

/* int to text and back: refused under BACKWARD, accepted under NONE, as the message says. */
static void an_incompatible_change_is_refused_until_the_remedy_is_applied(void **state) {
    struct fixture *f = *state;
    uint32_t id = put(f, RECORD(FIELD("a", "\"int\""))), other = 0;
    set_compatibility(f, "BACKWARD");
    assert_int_equal(
        schema_put(f->store, f->subject, slice_of(RECORD(FIELD("a", "\"string\""))), &other, &f->err), FATAL);
    assert_int_equal(f->err.id, ERR_SCHEMA_INCOMPATIBLE);
    assert_non_null(strstr(f->err.text, f->subject));
    set_compatibility(f, "NONE");
    other = put(f, RECORD(FIELD("a", "\"string\"")));
    assert_int_not_equal(id, other);
    assert_int_equal(put(f, RECORD(FIELD("a", "\"int\""))), id);
}

static void what_is_no_avro_schema_is_refused(void **state) {
    struct fixture *f = *state;
    uint32_t id;
    assert_int_equal(schema_put(f->store, f->subject, slice_of("{\"type\":\"nosuch\"}"), &id, &f->err),
                     FATAL);
    assert_int_equal(f->err.id, ERR_REGISTRY_REFUSED);
    assert_non_null(strstr(f->err.text, f->subject));
}

static void a_schema_of_1600_columns_is_kept(void **state) {
    struct fixture *f = *state;
    CLEANUP_BUF json = {0};
    buf_puts(&json, "{\"type\":\"record\",\"name\":\"Value\",\"fields\":[");
    for (int i = 0; i < 1600; i++)
        buf_printf(&json,
                   "%s{\"name\":\"column_%d\",\"type\":[\"null\",{\"type\":\"string\",\"connect.name\":\"io."
                   "debezium.data.Json\"}],\"default\":null,"
                   "\"millrace.type\":\"jsonb\"}",
                   i ? "," : "", i);
    buf_puts(&json, "]}");
    put(f, buf_cstr(&json));
}

static void a_check_of_a_registry_is_ok_and_of_another_path_is_not(void **state) {
    struct fixture *f = *state;
    struct registry_config config = {.url = f->url, .timeout_ms = 10000};
    if (registry_check(&config, &f->err) != OK)
        fail_msg("%s", f->err.text);
    CLEANUP_FREE char *wrong = xasprintf("%s/no/such/path", f->url);
    config.url = wrong;
    assert_int_equal(registry_check(&config, &f->err), FATAL);
    assert_int_equal(f->err.id, ERR_REGISTRY_REFUSED);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_schema_comes_back_with_every_attribute),
        TEST(the_same_text_gives_the_same_id),
        TEST(another_text_gives_another_id),
        TEST(an_id_that_was_never_given_is_unknown),
        TEST(an_incompatible_change_is_refused_until_the_remedy_is_applied),
        TEST(what_is_no_avro_schema_is_refused),
        TEST(a_schema_of_1600_columns_is_kept),
        TEST(a_check_of_a_registry_is_ok_and_of_another_path_is_not),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
