/* Who may read, who is told why not, and what a source says of itself. */
#include "source_case.h"

static void a_second_reader_waits_for_the_first(void **state) {
    struct fixture *f = *state;
    stream_a_little(f);
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), OK);
    open_source(f);
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    struct source *first = f->source;
    struct source_resume resume = resume_of(f);
    assert_int_equal(ops->open(f->options, &f->env, &resume, &f->source, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    f->source = first;
    sql("INSERT INTO a VALUES (5)");
    expect(f, "c a after{id=5}", "COMMIT"); /* the first has not noticed */
    close_source(f);
    f->position.ordinal = 0;
    open_source(f);
}

static void a_snapshot_that_another_capture_takes_is_waited_for(void **state) {
    struct fixture *f = *state;
    make_table("a", "id int PRIMARY KEY");
    sql("INSERT INTO a VALUES (1)");
    open_source(f);
    struct source *first = f->source;
    struct source_resume none = {0};
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    assert_int_equal(ops->open(f->options, &f->env, &none, &f->source, &f->err), RETRY);
    assert_int_equal(f->err.id, ERR_SLOT_ACTIVE);
    f->source = first;
    pass_snapshot(f);
    assert_int_equal(ops->vacant(f->options, &f->env, &f->err), RETRY);
}

static void a_refusal_is_final_and_an_absent_database_is_not(void **state) {
    struct fixture *f = *state;
    if (option_line(f, place->refused)) {
        assert_int_equal(try_open(f, false), FATAL);
        assert_int_equal(f->err.id, ERR_SOURCE_REFUSED);
        assert_null(strstr(f->err.text, "sesame"));
    }
    assert_true(option_line(f, place->away));
    assert_int_equal(try_open(f, false), RETRY);
    assert_int_equal(f->err.id, ERR_SOURCE_UNREACHABLE);
    assert_null(strstr(f->err.text, "sesame"));
}

static const char *status(struct fixture *f, const struct source_resume *resume) {
    static struct buf json;
    buf_clear(&json);
    assert_int_equal(ops->status(options_of(f), &f->env, resume, 5000, &json, &f->err), OK);
    return buf_cstr(&json);
}

static void status_and_check_say_where_it_stands(void **state) {
    struct fixture *f = *state;
    struct source_resume none = {0};
    CLEANUP_BUF findings = {0};
    stream_a_little(f);
    struct source_resume resume = resume_of(f);
    assert_non_null(strstr(status(f, &resume), "\"state\":\"stopped\""));
    assert_int_equal(ops->check(options_of(f), &f->env, &resume, 5000, &findings, &f->err), OK);
    assert_non_null(strstr(buf_cstr(&findings), "\"level\":\"ok\""));
    assert_null(strstr(buf_cstr(&findings), "\"level\":\"error\""));
    open_source(f);
    assert_non_null(strstr(status(f, &resume), "\"state\":\"streaming\""));
    close_source(f);
    assert_true(option_line(f, place->away));
    assert_non_null(strstr(status(f, &none), "\"state\":\"unreachable\""));
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        CASE(a_second_reader_waits_for_the_first),
        CASE(a_snapshot_that_another_capture_takes_is_waited_for),
        CASE(a_refusal_is_final_and_an_absent_database_is_not),
        CASE(status_and_check_say_where_it_stands),
    };
    return walk_sources(argc, argv, tests, sizeof tests / sizeof *tests);
}
