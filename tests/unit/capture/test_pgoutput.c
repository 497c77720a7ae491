/* The parser of pgoutput's frames: what it reads, and that no bytes can lead it outside of its frame. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include "capture/postgres/pgoutput.h"
#include "capture/postgres/visible.h"

static struct pgoutput *frame; /* large: one for all tests */

/* ---- writing frames ---- */

static void put_number(struct buf *b, uint64_t v, int bytes) {
    for (int i = bytes - 1; i >= 0; i--)
        buf_putc(b, (char)(v >> (8 * i)));
}
static void put_name(struct buf *b, const char *name) {
    buf_put(b, name, strlen(name) + 1);
}
static void put_text(struct buf *b, const char *text) {
    buf_putc(b, 't');
    put_number(b, strlen(text), 4);
    buf_puts(b, text);
}

static void put_begin(struct buf *b) {
    buf_putc(b, 'B');
    put_number(b, 0x16B374D848, 8);
    put_number(b, 1000000, 8);
    put_number(b, 731, 4);
}
static void put_commit(struct buf *b) {
    buf_putc(b, 'C');
    buf_putc(b, 0);
    put_number(b, 0x16B374D848, 8);
    put_number(b, 0x16B374D878, 8);
    put_number(b, 1000000, 8);
}
static void put_relation(struct buf *b) {
    buf_putc(b, 'R');
    put_number(b, 16385, 4);
    put_name(b, "public");
    put_name(b, "orders");
    buf_putc(b, 'd');
    put_number(b, 2, 2);
    buf_putc(b, 1);
    put_name(b, "id");
    put_number(b, 20, 4);
    put_number(b, 0xFFFFFFFF, 4);
    buf_putc(b, 0);
    put_name(b, "note");
    put_number(b, 25, 4);
    put_number(b, 0xFFFFFFFF, 4);
}
static void put_row(struct buf *b) {
    put_number(b, 3, 2);
    put_text(b, "7");
    buf_putc(b, 'n');
    buf_putc(b, 'u');
}
static void put_insert(struct buf *b) {
    buf_putc(b, 'I');
    put_number(b, 16385, 4);
    buf_putc(b, 'N');
    put_row(b);
}
static void put_update(struct buf *b) {
    buf_putc(b, 'U');
    put_number(b, 16385, 4);
    buf_putc(b, 'K');
    put_row(b);
    buf_putc(b, 'N');
    put_row(b);
}
static void put_delete(struct buf *b) {
    buf_putc(b, 'D');
    put_number(b, 16385, 4);
    buf_putc(b, 'O');
    put_row(b);
}
static void put_truncate(struct buf *b) {
    buf_putc(b, 'T');
    put_number(b, 2, 4);
    buf_putc(b, 3);
    put_number(b, 16385, 4);
    put_number(b, 16390, 4);
}
static void put_type(struct buf *b) {
    buf_putc(b, 'Y');
    put_number(b, 16400, 4);
    put_name(b, "shop");
    put_name(b, "mood");
}
static void put_origin(struct buf *b) {
    buf_putc(b, 'O');
    put_number(b, 1, 8);
    put_name(b, "elsewhere");
}
static void put_message(struct buf *b) {
    buf_putc(b, 'M');
    buf_putc(b, 1);
    put_number(b, 1, 8);
    put_name(b, "prefix");
    put_number(b, 3, 4);
    buf_puts(b, "abc");
}

typedef void put_f(struct buf *b);
static put_f *const all[] = {put_begin,  put_commit,   put_relation, put_insert, put_update,
                             put_delete, put_truncate, put_type,     put_origin, put_message};
enum { N_ALL = sizeof all / sizeof *all };

/* Parses a copy that ends exactly where the frame does, so that the address sanitizer sees any step over
 * it. */
static const char *parse(const char *data, size_t len) {
    char *copy = malloc(len + !len);
    memcpy(copy, data, len);
    const char *why = pgoutput_parse(slice_make(copy, len), frame);
    free(copy);
    return why;
}

/* ---- reading ---- */

static void a_begin_tells_the_commit_record_and_the_time_since_1970(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    put_begin(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    assert_int_equal(frame->type, 'B');
    assert_true(frame->commit_lsn == 0x16B374D848);
    assert_true(frame->commit_us == INT64_C(946684801000000));
    assert_int_equal(frame->xid, 731);
}

static void a_commit_tells_its_end(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    put_commit(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    assert_true(frame->end_lsn == 0x16B374D878);
}

static void a_relation_tells_its_columns_and_identity(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    put_relation(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    const struct pgoutput_relation *r = &frame->relation;
    assert_true(slice_is(r->schema, "public") && slice_is(r->name, "orders"));
    assert_int_equal(r->identity, 'd');
    assert_int_equal(r->n, 2);
    assert_true(r->columns[0].identity && !r->columns[1].identity);
    assert_true(slice_is(r->columns[1].name, "note"));
    assert_int_equal(r->columns[1].type, 25);
    assert_int_equal(r->columns[1].typmod, -1);
}

static void an_update_tells_old_and_new(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    put_update(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    assert_int_equal(frame->old_kind, 'K');
    assert_int_equal(frame->old.n, 3);
    assert_int_equal(frame->new.n, 3);
    assert_true(slice_is(frame->new.fields[0].text, "7"));
    assert_int_equal(frame->new.fields[1].kind, 'n');
    assert_int_equal(frame->new.fields[2].kind, 'u');
}

static void an_update_without_old_row_has_none(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    buf_putc(&b, 'U');
    put_number(&b, 1, 4);
    buf_putc(&b, 'N');
    put_row(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    assert_int_equal(frame->old_kind, 0);
}

static void a_truncate_tells_all_its_relations(void **state) {
    (void)state;
    CLEANUP_BUF b = {0};
    put_truncate(&b);
    assert_null(pgoutput_parse(buf_slice(&b), frame));
    assert_true(frame->cascade && frame->restart);
    assert_int_equal(frame->n_relids, 2);
    assert_int_equal(pgoutput_relid(frame, 1), 16390);
}

/* ---- hostile bytes ---- */

static void every_frame_is_read_whole_and_no_prefix_of_it_is(void **state) {
    (void)state;
    for (int i = 0; i < N_ALL; i++) {
        CLEANUP_BUF b = {0};
        all[i](&b);
        assert_null(parse(b.data, b.len));
        for (size_t len = 0; len < b.len; len++)
            assert_non_null(parse(b.data, len));
        buf_putc(&b, 'x');
        assert_non_null(parse(b.data, b.len));
    }
}

static void every_byte_may_be_anything(void **state) {
    (void)state;
    for (int i = 0; i < N_ALL; i++) {
        CLEANUP_BUF b = {0};
        all[i](&b);
        for (size_t at = 0; at < b.len; at++) {
            char kept = b.data[at];
            for (int v = 0; v < 256; v++) {
                b.data[at] = (char)v;
                const char *why = parse(b.data, b.len); /* refused or read, but never outside */
                assert_true(why == NULL || *why);
            }
            b.data[at] = kept;
        }
    }
}

static void lengths_of_two_gigabytes_and_more_are_refused(void **state) {
    (void)state;
    static const uint32_t lengths[] = {0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1000};
    for (int i = 0; i < 4; i++) {
        CLEANUP_BUF value = {0}, truncate = {0}, message = {0};
        buf_putc(&value, 'I');
        put_number(&value, 1, 4);
        buf_putc(&value, 'N');
        put_number(&value, 1, 2);
        buf_putc(&value, 't');
        put_number(&value, lengths[i], 4);
        buf_puts(&value, "short");
        assert_non_null(parse(value.data, value.len));
        buf_putc(&truncate, 'T');
        put_number(&truncate, lengths[i], 4);
        buf_putc(&truncate, 0);
        put_number(&truncate, 1, 4);
        assert_non_null(parse(truncate.data, truncate.len));
        buf_putc(&message, 'M');
        buf_putc(&message, 0);
        put_number(&message, 0, 8);
        put_name(&message, "p");
        put_number(&message, lengths[i], 4);
        assert_non_null(parse(message.data, message.len));
    }
}

static void more_columns_than_a_table_can_have_are_refused(void **state) {
    (void)state;
    CLEANUP_BUF row = {0}, relation = {0};
    buf_putc(&row, 'I');
    put_number(&row, 1, 4);
    buf_putc(&row, 'N');
    put_number(&row, 65535, 2);
    for (int i = 0; i < 65535; i++)
        buf_putc(&row, 'n');
    assert_non_null(parse(row.data, row.len));
    buf_putc(&relation, 'R');
    put_number(&relation, 1, 4);
    put_name(&relation, "s");
    put_name(&relation, "t");
    buf_putc(&relation, 'f');
    put_number(&relation, 65535, 2);
    for (int i = 0; i < 65535; i++)
        buf_put(&relation, "\0\0\0\0\0\0\0\0\0\0", 10);
    assert_non_null(parse(relation.data, relation.len));
}

static void unknown_frames_and_kinds_are_refused(void **state) {
    (void)state;
    assert_non_null(parse("", 0));
    assert_non_null(parse("S\0\0\0\1\1", 6)); /* streaming of open transactions was not asked for */
    CLEANUP_BUF b = {0};
    buf_putc(&b, 'I');
    put_number(&b, 1, 4);
    buf_putc(&b, 'N');
    put_number(&b, 1, 2);
    buf_putc(&b, 'b'); /* nor were binary values */
    put_number(&b, 1, 4);
    buf_putc(&b, 'x');
    assert_non_null(parse(b.data, b.len));
}

static void a_snapshot_shows_what_is_no_longer_running(void **state) {
    (void)state;
    assert_true(visible_in("100:100:", 99));
    assert_false(visible_in("100:100:", 100));
    assert_true(visible_in("100:105:100,103", 101));
    assert_false(visible_in("100:105:100,103", 100));
    assert_false(visible_in("100:105:100,103", 103));
    assert_false(visible_in("100:105:100,103", 105));
    assert_true(visible_in("4294967300:4294967310:4294967300", 5)); /* 4 + 2^32 runs, 5 + 2^32 does not */
    assert_false(visible_in("4294967300:4294967310:4294967300", 4));
    assert_true(visible_in("4294967300:4294967310:4294967300", 4294967290)); /* before numbers went round */
    assert_false(visible_in("4294967290:4294967290:", 3));
    assert_false(visible_in("", 1));
    assert_false(visible_in("100", 1));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_snapshot_shows_what_is_no_longer_running),
        cmocka_unit_test(a_begin_tells_the_commit_record_and_the_time_since_1970),
        cmocka_unit_test(a_commit_tells_its_end),
        cmocka_unit_test(a_relation_tells_its_columns_and_identity),
        cmocka_unit_test(an_update_tells_old_and_new),
        cmocka_unit_test(an_update_without_old_row_has_none),
        cmocka_unit_test(a_truncate_tells_all_its_relations),
        cmocka_unit_test(every_frame_is_read_whole_and_no_prefix_of_it_is),
        cmocka_unit_test(every_byte_may_be_anything),
        cmocka_unit_test(lengths_of_two_gigabytes_and_more_are_refused),
        cmocka_unit_test(more_columns_than_a_table_can_have_are_refused),
        cmocka_unit_test(unknown_frames_and_kinds_are_refused),
    };
    frame = calloc(1, sizeof *frame);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(frame);
    return failed;
}
