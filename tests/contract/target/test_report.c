/* A replica seen from outside: what `status` tells of it, and what `doctor` finds. */
#include <jansson.h>

#include "target_case.h"

/* What the target tells, in its own spelling of JSON: "owner [position] | table reason", "-" for none. */
static const char *told(struct process *a) {
    static char text[512];
    CLEANUP_BUF json = {0};
    assert_ok(a, ops->status(a->options, &a->env, 5000, &json, &a->err));
    json_t *page = json_loadb(json.data, json.len, 0, NULL);
    json_t *worker = json_array_get(json_object_get(page, "workers"), 0);
    json_t *parked = json_array_get(json_object_get(page, "parked"), 0),
           *owner = json_object_get(worker, "owner");
    assert_true(json_is_array(json_object_get(page, "workers")) &&
                json_is_array(json_object_get(page, "parked")));
    char *position = json_dumps(json_object_get(worker, "position"), JSON_COMPACT);
    snprintf(text, sizeof text, "%s %s | %s %s", json_is_string(owner) ? json_string_value(owner) : "-",
             position ? position : "-", parked ? json_string_value(json_object_get(parked, "table")) : "-",
             parked ? json_string_value(json_object_get(parked, "reason")) : "-");
    free(position);
    json_decref(page);
    return text;
}

static void status_tells_who_how_far_and_what_stands(void **state) {
    (void)state;
    struct process a;
    process_open(&a, "a", OPTIONS());
    assert_string_equal(told(&a), "- - | - -");
    assert_ok(&a, claim(&a));
    a.progress.position = (struct position){1, 2, 3};
    assert_ok(&a, commit(&a));
    assert_string_equal(told(&a), "a [1,2,3] | - -");
    assert_ok(&a, ops->park(a.target, "shop", "items", "because \"it\"", &a.err));
    assert_string_equal(told(&a), "a [1,2,3] | items because \"it\"");
    assert_ok(&a, ops->park(a.target, "shop", "items", NULL, &a.err));
    assert_string_equal(told(&a), "a [1,2,3] | - -");
    process_end(&a);
}

static void the_doctor_reads_and_changes_nothing(void **state) {
    (void)state;
    struct process a;
    CLEANUP_BUF findings = {0}, list = {0};
    process_open(&a, "a", OPTIONS());
    assert_ok(&a, ops->check(a.options, &a.env, 5000, &findings, &a.err));
    buf_printf(&list, "[%s]", buf_cstr(&findings));
    json_t *found = json_loadb(list.data, list.len, 0, NULL), *f;
    assert_true(json_array_size(found) > 0);
    size_t i;
    json_array_foreach(found, i, f) {
        assert_string_equal(json_string_value(json_object_get(f, "level")), "ok");
        assert_true(json_is_string(json_object_get(f, "what")));
    }
    json_decref(found);
    assert_false(has_table("millrace.sink_worker"));
    process_end(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(status_tells_who_how_far_and_what_stands),
        CASE(the_doctor_reads_and_changes_nothing),
    };
    return walk_targets(tests, sizeof tests / sizeof *tests);
}
