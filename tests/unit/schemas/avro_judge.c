#include "avro_judge.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "schemas/avro_schema.h"

static void judge_rewrite(struct judge *j, struct slice body) {
    size_t size = 0;
    assert_int_equal(avro_value_sizeof(&j->value, &size), 0);
    assert_int_equal(size, body.len);
    char *again = xmalloc(size + 16);
    avro_writer_t writer = avro_writer_memory(again, (int64_t)size + 16);
    assert_int_equal(avro_value_write(writer, &j->value), 0);
    assert_int_equal(avro_writer_tell(writer), body.len);
    assert_memory_equal(again, body.data, body.len);
    avro_writer_free(writer);
    free(again);
}

void judge_open(struct judge *j, struct memory_store *memory, struct slice framed) {
    assert_true(framed.len >= 5);
    assert_int_equal(framed.data[0], 0);
    uint32_t id = 0;
    for (int i = 1; i < 5; i++)
        id = id << 8 | (unsigned char)framed.data[i];
    assert_true(id < memory->n);
    CLEANUP_BUF stripped = {0};
    assert_int_equal(avro_schema_strip(buf_slice(&memory->texts[id]), &stripped, NULL), OK);
    assert_int_equal(avro_schema_from_json_length(stripped.data, stripped.len, &j->schema), 0);
    j->iface = avro_generic_class_from_schema(j->schema);
    assert_int_equal(avro_generic_value_new(j->iface, &j->value), 0);
    struct slice body = slice_make(framed.data + 5, framed.len - 5);
    avro_reader_t reader = avro_reader_memory(body.data, (int64_t)body.len);
    if (avro_value_read(reader, &j->value) != 0)
        fail_msg("Avro C cannot read it: %s", avro_strerror());
    avro_reader_free(reader);
    judge_rewrite(j, body);
}

void judge_close(struct judge *j) {
    avro_value_decref(&j->value);
    avro_value_iface_decref(j->iface);
    avro_schema_decref(j->schema);
}

static avro_value_t branch(avro_value_t value) {
    avro_value_t inner = value;
    if (value.iface && avro_value_get_type(&value) == AVRO_UNION)
        assert_int_equal(avro_value_get_current_branch(&value, &inner), 0);
    return inner;
}

avro_value_t judge_field(avro_value_t value, const char *path) {
    while (*path) {
        char name[64];
        size_t len = strcspn(path, ".");
        snprintf(name, sizeof name, "%.*s", (int)len, path);
        avro_value_t inner = {0};
        value = branch(value);
        if (!value.iface || avro_value_get_by_name(&value, name, &inner, NULL) != 0)
            fail_msg("no field %s", name);
        value = inner;
        path += len + (path[len] == '.');
    }
    return branch(value);
}

static void print_hex(struct buf *out, const void *data, size_t len) {
    for (size_t i = 0; i < len; i++)
        buf_printf(out, "%02x", ((const unsigned char *)data)[i]);
}

static void print_double(struct buf *out, double number) {
    if (isnan(number))
        buf_puts(out, "nan");
    else
        buf_printf(out, "%.17g", number);
}

static void print_number(avro_value_t value, struct buf *out) {
    int32_t i32 = 0;
    int64_t i64 = 0;
    float f = 0;
    double d = 0;
    if (!value.iface)
        return;
    switch (avro_value_get_type(&value)) {
    case AVRO_INT32:
        assert_int_equal(avro_value_get_int(&value, &i32), 0);
        buf_printf(out, "%d", i32);
        break;
    case AVRO_INT64:
        assert_int_equal(avro_value_get_long(&value, &i64), 0);
        buf_printf(out, "%lld", (long long)i64);
        break;
    case AVRO_FLOAT:
        assert_int_equal(avro_value_get_float(&value, &f), 0);
        print_double(out, (double)f);
        break;
    default:
        assert_int_equal(avro_value_get_double(&value, &d), 0);
        print_double(out, d);
    }
}

const char *judge_print(avro_value_t value, struct buf *out) {
    const void *bytes = "";
    const char *text = "";
    size_t len = 0;
    int flag = 0;
    buf_clear(out);
    if (!value.iface)
        return "";
    switch (avro_value_get_type(&value)) {
    case AVRO_NULL:
        buf_puts(out, "null");
        break;
    case AVRO_BOOLEAN:
        assert_int_equal(avro_value_get_boolean(&value, &flag), 0);
        buf_puts(out, flag ? "true" : "false");
        break;
    case AVRO_STRING:
        assert_int_equal(avro_value_get_string(&value, &text, &len), 0);
        buf_put(out, text, len ? len - 1 : 0); /* Avro C counts the NUL that it adds */
        break;
    case AVRO_BYTES:
        assert_int_equal(avro_value_get_bytes(&value, &bytes, &len), 0);
        print_hex(out, bytes, len);
        break;
    case AVRO_RECORD:
        print_number(judge_field(value, "x"), out);
        buf_putc(out, ' ');
        print_number(judge_field(value, "y"), out);
        break;
    default:
        print_number(value, out);
    }
    return buf_cstr(out);
}
