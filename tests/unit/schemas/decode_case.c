#include "decode_case.h"

#include "tests/schema_shape.h"

int decode_setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    memory_init(&f->memory);
    f->decoder = decoder_new(&f->memory.store);
    *state = f;
    return 0;
}

int decode_teardown(void **state) {
    struct fixture *f = *state;
    decoder_free(f->decoder);
    schema_store_free(&f->memory.store);
    arena_free(&f->arena);
    buf_free(&f->value);
    buf_free(&f->header);
    buf_free(&f->key);
    free(f);
    return 0;
}

void begin(struct fixture *f, const char *schema) {
    buf_clear(&f->value);
    buf_clear(&f->header);
    buf_clear(&f->key);
    put_header(&f->header, 0, 1, 0x16B3748, 7, schema_shape(slice_of(schema)));
    put_frame(&f->value, memory_add(&f->memory, schema));
}

void put_source_and_op(struct fixture *f, const char *op) {
    put_text(&f->value, "0.1");
    put_long(&f->value, 1700000000123);
    put_long(&f->value, 0);
    put_text(&f->value, "false");
    put_long(&f->value, 1);
    put_long(&f->value, 1700000000123456);
    put_long(&f->value, 1);
    put_long(&f->value, 4711);
    put_long(&f->value, 1);
    put_long(&f->value, 0x16B3700);
    put_text(&f->value, op);
    put_long(&f->value, 1);
    put_long(&f->value, 1700000000999);
}

void put_row(struct fixture *f, int64_t id, const char *note) {
    put_long(&f->value, 1);
    put_long(&f->value, id);
    put_long(&f->value, 1);
    put_text(&f->value, note);
    put_long(&f->value, 1);
    put_bytes(&f->value, "\x04\xd2", 2);
}

struct encoded record_of(const struct fixture *f) {
    return (struct encoded){
        .value = buf_slice(&f->value), .header = buf_slice(&f->header), .other_key = buf_slice(&f->key)};
}

enum code decode(struct fixture *f) {
    struct encoded record = record_of(f);
    arena_reset(&f->arena);
    f->err = (struct err){0};
    return decoder_change(f->decoder, &record, &f->arena, &f->change, &f->err);
}

void write_create(struct fixture *f, const char *schema) {
    begin(f, schema);
    put_long(&f->value, 0);
    put_row(f, 5, "hello");
    put_source_and_op(f, "c");
}

void assert_ok(struct fixture *f) {
    enum code code = decode(f);
    if (code != OK)
        fail_msg("%s: %s", code_name(code), f->err.text);
}

void assert_rejected(struct fixture *f, const char *words) {
    assert_int_equal(decode(f), REJECT);
    assert_int_equal(f->err.id, ERR_JOURNAL_CORRUPT);
    if (!strstr(f->err.text, words))
        fail_msg("'%s' is not in: %s", words, f->err.text);
}

void assert_text(const struct value *value, const char *text) {
    assert_int_equal(value->tag, VALUE_TEXT);
    if (!slice_is(value->s, text))
        fail_msg("'%.*s' is not '%s'", (int)value->s.len, value->s.data, text);
}
