/* The judges: schemas that Debezium itself printed (golden/), and Avro C. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#include <avro.h>
#include <jansson.h>
#include <stdio.h>

#include "schemas/avro_schema.h"

#define TOPIC "fulfillment.public.customers"

/* ---- the table of the golden sample ---- */

static const char *const moods[] = {"sad", "ok", "happy", NULL};
static struct column customers_columns[] = {
    {.name = "id", .type = "integer", .kind = KIND_INT32, .key = 1},
    {.name = "first_name", .type = "text", .kind = KIND_TEXT},
    {.name = "email", .type = "text", .kind = KIND_TEXT, .nullable = true},
    {.name = "small", .type = "smallint", .kind = KIND_INT16, .nullable = true},
    {.name = "balance", .type = "numeric(12,2)", .kind = KIND_DECIMAL, .precision = 12, .scale = 2},
    {.name = "balance_null",
     .type = "numeric(12,2)",
     .kind = KIND_DECIMAL,
     .precision = 12,
     .scale = 2,
     .nullable = true},
    {.name = "created", .type = "timestamp with time zone", .kind = KIND_ZONED_TIMESTAMP},
    {.name = "updated", .type = "timestamp without time zone", .kind = KIND_TIMESTAMP, .nullable = true},
    {.name = "birthday", .type = "date", .kind = KIND_DATE, .nullable = true},
    {.name = "mood", .type = "mood", .kind = KIND_ENUM, .labels = moods},
    {.name = "doc", .type = "jsonb", .kind = KIND_JSON, .nullable = true},
    {.name = "flags", .type = "bit(10)", .kind = KIND_BITS, .length = 10, .nullable = true},
    {.name = "photo", .type = "bytea", .kind = KIND_BYTES, .nullable = true},
    {.name = "active", .type = "boolean", .kind = KIND_BOOL},
    {.name = "real4", .type = "real", .kind = KIND_FLOAT32, .nullable = true},
    {.name = "dnull", .type = "text", .kind = KIND_TEXT, .nullable = true},
    {.name = "pt", .type = "point", .kind = KIND_POINT, .nullable = true},
};
static int first_column[] = {0};
static const struct table customers = {
    .schema = "public",
    .name = "customers",
    .columns = customers_columns,
    .n_columns = sizeof customers_columns / sizeof *customers_columns,
    .key = first_column,
    .n_key = 1,
};

/* Columns of the golden sample in forms that Millrace carries as text. */
static const char *const not_ours[] = {"anynum", "tags", "hmap"};

/* ---- JSON ---- */

static json_t *parse(struct slice text) {
    json_error_t problem;
    json_t *json = json_loadb(text.data, text.len, JSON_ALLOW_NUL, &problem);
    if (!json)
        fail_msg("not JSON: %s at %d in %.*s", problem.text, problem.position, (int)text.len, text.data);
    return json;
}

static json_t *parse_file(const char *path) {
    json_error_t problem;
    json_t *json = json_load_file(path, JSON_ALLOW_NUL, &problem);
    if (!json)
        fail_msg("%s: %s", path, problem.text);
    return json;
}

static void remove_ours(json_t *json) {
    const char *name;
    json_t *item;
    void *next;
    json_object_foreach_safe(json, next, name, item) {
        if (strncmp(name, "millrace.", 9) == 0)
            json_object_del(json, name);
        else
            remove_ours(item);
    }
    size_t i;
    json_array_foreach(json, i, item) remove_ours(item);
}

/* A type without its default; an object that says nothing more than its type is that type. */
static json_t *without_default(json_t *type) {
    json_object_del(type, "connect.default");
    if (json_object_size(type) == 1)
        return json_incref(json_object_get(type, "type"));
    return json_incref(type);
}

/* A golden column as Debezium prints it where the column has no DEFAULT. */
static void remove_default(json_t *field) {
    json_t *type = json_object_get(field, "type");
    json_object_del(field, "default");
    if (!json_is_array(type)) {
        json_object_set_new(field, "type", without_default(type));
        return;
    }
    json_t *first = json_array_get(type, 0);
    bool null_first = json_is_string(first) && strcmp(json_string_value(first), "null") == 0;
    json_t *other = without_default(json_array_get(type, null_first ? 1 : 0));
    json_object_set_new(field, "type", json_pack("[s,o]", "null", other));
    json_object_set_new(field, "default", json_null());
}

static void remove_defaults(json_t *record) {
    json_t *fields = json_object_get(record, "fields");
    for (size_t i = json_array_size(fields); i-- > 0;) {
        json_t *field = json_array_get(fields, i);
        const char *name = json_string_value(json_object_get(field, "name"));
        bool ours = true;
        for (size_t n = 0; n < sizeof not_ours / sizeof *not_ours; n++)
            ours = ours && strcmp(name, not_ours[n]) != 0;
        if (ours)
            remove_default(field);
        else
            json_array_remove(fields, i);
    }
}

static json_t *value_record(json_t *envelope) {
    json_t *before = json_array_get(json_object_get(envelope, "fields"), 0);
    return json_array_get(json_object_get(before, "type"), 1);
}

static json_t *field_named(json_t *record, const char *name) {
    size_t i;
    json_t *field;
    json_array_foreach(json_object_get(record, "fields"), i, field) {
        if (strcmp(json_string_value(json_object_get(field, "name")), name) == 0)
            return field;
    }
    fail_msg("no field %s", name);
    return NULL;
}

/* Equal even in the order of fields and attributes. Takes both. */
static void assert_json_equal(json_t *ours, json_t *golden) {
    char *a = json_dumps(ours, JSON_COMPACT), *b = json_dumps(golden, JSON_COMPACT);
    assert_string_equal(a, b);
    assert_true(json_equal(ours, golden));
    free(a);
    free(b);
    json_decref(ours);
    json_decref(golden);
}

/* Avro C reads the stripped text. */
static void assert_avro_parses(struct slice text) {
    CLEANUP_BUF stripped = {0};
    struct err err = {0};
    assert_int_equal(avro_schema_strip(text, &stripped, &err), OK);
    avro_schema_t schema;
    if (avro_schema_from_json_length(stripped.data, stripped.len, &schema) != 0)
        fail_msg("%s in %s", avro_strerror(), buf_cstr(&stripped));
    avro_schema_decref(schema);
}

static const char *value_text(const struct table *table, const char *topic, struct buf *out) {
    buf_clear(out);
    avro_schema_value(table, topic, out);
    assert_avro_parses(buf_slice(out));
    return buf_cstr(out);
}

static const char *key_text(const struct table *table, const char *topic, struct buf *out) {
    buf_clear(out);
    avro_schema_key(table, topic, out);
    assert_avro_parses(buf_slice(out));
    return buf_cstr(out);
}

/* ---- golden ---- */

static void the_envelope_is_what_debezium_prints(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    value_text(&customers, TOPIC, &out);
    json_t *ours = parse(buf_slice(&out));
    remove_ours(ours);
    json_t *golden = parse_file("tests/unit/schemas/golden/customers-value.json");
    remove_defaults(value_record(golden));
    assert_json_equal(ours, golden);
}

static void the_key_is_what_debezium_prints(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    key_text(&customers, TOPIC, &out);
    json_t *ours = parse(buf_slice(&out));
    remove_ours(ours);
    json_t *golden = parse_file("tests/unit/schemas/golden/customers-key.json");
    remove_defaults(golden);
    assert_json_equal(ours, golden);
}

static void avro_c_reads_the_golden_envelope_once_it_is_stripped(void **state) {
    (void)state;
    json_t *golden = parse_file("tests/unit/schemas/golden/customers-value.json");
    char *text = json_dumps(golden, JSON_COMPACT);
    assert_avro_parses(slice_of(text));
    free(text);
    json_decref(golden);
}

/* ---- kinds ---- */

static const struct {
    struct column column;
    const char *field;
} forms[] = {
    {{"c", "boolean", KIND_BOOL}, "{'name':'c','type':'boolean','millrace.type':'boolean'}"},
    {{"c", "smallint", KIND_INT16},
     "{'name':'c','type':{'type':'int','connect.type':'int16'},'millrace.type':'smallint'}"},
    {{"c", "bigint", KIND_INT64}, "{'name':'c','type':'long','millrace.type':'bigint'}"},
    {{"c", "double precision", KIND_FLOAT64},
     "{'name':'c','type':'double','millrace.type':'double precision'}"},
    {{"c", "character varying(10)", KIND_TEXT, .nullable = true},
     "{'name':'c','type':['null','string'],'default':null,'millrace.type':'character varying(10)'}"},
    {{"c", "numeric(30,0)", KIND_DECIMAL, .precision = 30},
     "{'name':'c','type':{'type':'bytes','scale':0,'precision':30,'connect.version':1,'connect.parameters':{'"
     "scale':'0',"
     "'connect.decimal.precision':'30'},'connect.name':'org.apache.kafka.connect.data.Decimal','logicalType':"
     "'decimal'},"
     "'millrace.type':'numeric(30,0)'}"},
    {{"c", "xml", KIND_XML, .nullable = true},
     "{'name':'c','type':['null',{'type':'string','connect.version':1,'connect.name':'io.debezium.data.Xml'}]"
     ","
     "'default':null,'millrace.type':'xml'}"},
    {{"c", "time(3)", KIND_TIME_MS},
     "{'name':'c','type':{'type':'int','connect.version':1,'connect.name':'io.debezium.time.Time'},'millrace."
     "type':'time(3)'}"},
    {{"c", "m", KIND_ENUM, .labels = (const char *const[]){"a\"b", "c,d", "\\", NULL}},
     "{'name':'c','type':{'type':'string','connect.version':1,'connect.parameters':{'allowed':'a\\\"b,c,d,"
     "\\\\'},"
     "'connect.name':'io.debezium.data.Enum'},'millrace.type':'m'}"},
    {{"c", "bit(70)", KIND_BITS, .length = 70, .nullable = true},
     "{'name':'c','type':['null',{'type':'bytes','connect.version':1,'connect.parameters':{'length':'70'},"
     "'connect.name':'io.debezium.data.Bits'}],'default':null,'millrace.type':'bit(70)'}"},
};

static void each_kind_is_printed_in_its_form(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    for (size_t i = 0; i < sizeof forms / sizeof *forms; i++) {
        struct column column = forms[i].column;
        struct table table = {.schema = "s", .name = "t", .columns = &column, .n_columns = 1};
        char expected[1024];
        snprintf(expected, sizeof expected, "'fields':[%s],'connect.name':'p.s.t.Value'", forms[i].field);
        for (char *c = expected; *c; c++)
            *c = *c == '\'' ? '"' : *c;
        if (!strstr(value_text(&table, "p.s.t", &out), expected))
            fail_msg("%s is not in %s", expected, out.data);
    }
}

static void avro_c_reads_a_table_with_every_kind_twice(void **state) {
    (void)state;
    struct column columns[KIND_COUNT * 2];
    char names[KIND_COUNT * 2][16];
    int key[KIND_COUNT];
    for (int i = 0; i < KIND_COUNT * 2; i++) {
        snprintf(names[i], sizeof names[i], "c%d", i);
        columns[i] = (struct column){.name = names[i],
                                     .type = "x",
                                     .kind = (enum kind)(i / 2),
                                     .length = 9,
                                     .precision = 9,
                                     .scale = 9,
                                     .nullable = i % 2,
                                     .labels = moods};
        if (i % 2 == 0) {
            key[i / 2] = i;
            columns[i].key = i / 2 + 1;
        }
    }
    struct table table = {"s", "t", columns, KIND_COUNT * 2, key, KIND_COUNT};
    CLEANUP_BUF out = {0};
    value_text(&table, "p.s.t", &out);
    assert_non_null(strstr(out.data, "[\"null\",\"io.debezium.data.geometry.Point\"]"));
    key_text(&table, "p.s.t", &out);
}

/* ---- names and attributes of ours ---- */

static const char *name_of(const char *text, struct buf *out) {
    buf_clear(out);
    avro_name(text, out);
    return buf_cstr(out);
}

static void a_name_that_avro_forbids_is_adjusted(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    assert_string_equal(name_of("plain_Name9", &out), "plain_Name9");
    assert_string_equal(name_of("a-b c.d", &out), "a_b_c_d");
    assert_string_equal(name_of("9lives", &out), "_9lives");
    assert_string_equal(name_of("", &out), "_");
    assert_string_equal(name_of("gr\xc3\xb6\xc3\x9f"
                                "e",
                                &out),
                        "gr__e");
    assert_string_equal(name_of("\xf0\x9f\x98\x80", &out), "_");
}

static void columns_that_collide_after_adjustment_are_numbered(void **state) {
    (void)state;
    struct column columns[] = {{"a-b", "text", KIND_TEXT},
                               {"a_b", "text", KIND_TEXT},
                               {"a b", "text", KIND_TEXT},
                               {"a_b_2", "text", KIND_TEXT},
                               {"c", "text", KIND_TEXT}};
    struct table table = {.schema = "s", .name = "t", .columns = columns, .n_columns = 5};
    CLEANUP_BUF out = {0};
    value_text(&table, "p.s.t", &out);
    json_t *json = parse(buf_slice(&out)), *record = value_record(json);
    const char *const expected[][2] = {
        {"a_b", "a-b"}, {"a_b_2", "a_b"}, {"a_b_3", "a b"}, {"a_b_2_2", "a_b_2"}, {"c", NULL}};
    for (size_t i = 0; i < 5; i++) {
        json_t *exact = json_object_get(field_named(record, expected[i][0]), "millrace.name");
        if (expected[i][1])
            assert_string_equal(json_string_value(exact), expected[i][1]);
        else
            assert_null(exact);
    }
    json_decref(json);
}

static void the_parts_of_a_topic_become_a_legal_namespace(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    key_text(&customers, "my-shop.2024.t\xc3\xa4g..x", &out);
    assert_non_null(strstr(out.data, "\"namespace\":\"my_shop._2024.t_g._.x\""));
    assert_non_null(strstr(out.data, "\"connect.name\":\"my_shop._2024.t_g._.x.Key\""));
}

static void the_exact_names_types_and_keys_stand_beside(void **state) {
    (void)state;
    const char *attributes[] = {"a", "b c", NULL}, *attribute_types[] = {"integer", "text[]", NULL};
    struct user_type types[] = {{USER_TYPE_ENUM, "s", "mood", moods, NULL},
                                {USER_TYPE_COMPOSITE, "s", "pa\"ir", attributes, attribute_types},
                                {USER_TYPE_EXTENSION, NULL, "hstore", NULL, NULL}};
    struct column columns[] = {{"v", "text", KIND_TEXT},
                               {"b", "integer", KIND_INT32, .key = 2},
                               {"a 1", "uuid", KIND_UUID, .key = 1}};
    int key[] = {2, 1};
    struct table table = {"My Schema", "t", columns, 3, key, 2, true, types, 3};
    CLEANUP_BUF out = {0};
    value_text(&table, "p.s.t", &out);
    assert_non_null(strstr(
        out.data,
        ",\"millrace.table\":[\"My Schema\",\"t\"],\"millrace.partial\":true,\"millrace.types\":["
        "{\"enum\":[\"s\",\"mood\"],\"labels\":[\"sad\",\"ok\",\"happy\"]},"
        "{\"composite\":[\"s\",\"pa\\\"ir\"],\"attributes\":[[\"a\",\"integer\"],[\"b c\",\"text[]\"]]},"
        "{\"extension\":\"hstore\"}]}"));
    key_text(&table, "p.s.t", &out);
    assert_non_null(strstr(
        out.data,
        "\"fields\":[{\"name\":\"a_1\",\"type\":{\"type\":\"string\",\"connect.version\":1,\"connect.name\":"
        "\"io.debezium.data.Uuid\"}},{\"name\":\"b\",\"type\":\"int\"}]"));
}

static void a_keys_schema_changes_only_with_its_avro_type(void **state) {
    (void)state;
    static const char *few[] = {"sad", NULL}, *more[] = {"sad", "ok", NULL};
    struct column short_text = {"k", "varchar(10)", KIND_TEXT, .key = 1},
                  long_text = {"k", "varchar(20)", KIND_TEXT, .key = 1};
    struct column few_labels = {"k", "m", KIND_ENUM, .key = 1, .labels = few},
                  more_labels = {"k", "m", KIND_ENUM, .key = 1, .labels = more};
    struct column *pairs[][2] = {{&short_text, &long_text}, {&few_labels, &more_labels}};
    for (size_t i = 0; i < 2; i++) {
        int key[] = {0};
        struct table a = {"s", "t", pairs[i][0], 1, key, 1}, b = {"s", "t", pairs[i][1], 1, key, 1};
        CLEANUP_BUF first = {0}, second = {0};
        key_text(&a, "p.s.t", &first);
        key_text(&b, "p.s.t", &second);
        assert_string_equal(first.data, second.data);
    }
}

static void control_characters_in_names_are_escaped(void **state) {
    (void)state;
    struct column column = {"a\nb\x01", "text", KIND_TEXT};
    struct table table = {.schema = "s", .name = "t", .columns = &column, .n_columns = 1};
    CLEANUP_BUF out = {0};
    value_text(&table, "p.s.t", &out);
    json_t *json = parse(buf_slice(&out));
    assert_string_equal(
        json_string_value(json_object_get(field_named(value_record(json), "a_b_"), "millrace.name")),
        "a\nb\x01");
    json_decref(json);
}

static void a_table_of_1600_foreign_columns_and_one_of_none_have_schemas(void **state) {
    (void)state;
    static struct column columns[1600];
    static char names[1600][16];
    for (int i = 0; i < 1600; i++) {
        snprintf(names[i], sizeof names[i], "\xc3%c\xc3%c", 0x80 + i % 64, 0x80 + i / 64);
        columns[i] = (struct column){.name = names[i], .type = "text", .kind = KIND_TEXT};
    }
    struct table table = {.schema = "s", .name = "t", .columns = columns, .n_columns = 1600};
    CLEANUP_BUF out = {0};
    value_text(&table, "p.s.t", &out);
    assert_non_null(strstr(out.data, "\"name\":\"___1600\""));
    table.n_columns = 0;
    value_text(&table, "p.s.t", &out);
}

static void the_key_of_a_truncate_is_a_record_of_ours(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    avro_schema_truncate_key(&out);
    assert_avro_parses(buf_slice(&out));
    assert_string_equal(
        buf_cstr(&out),
        "{\"type\":\"record\",\"name\":\"TruncateKey\",\"namespace\":\"millrace\",\"fields\":"
        "[{\"name\":\"table\",\"type\":\"string\"}],\"connect.name\":\"millrace.TruncateKey\"}");
}

/* ---- strip ---- */

static void strip_removes_what_avro_c_cannot_read_and_nothing_else(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    const char *json =
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"default\",\"type\":{\"type\":\"bytes\","
        "\"scale\":2,\"connect.default\":\"\\u0000\",\"logicalType\":\"decimal\"},\"default\":\"\\u0000\","
        "\"millrace.type\":\"x\",\"doc\":\"d\"}],\"connect.name\":\"R\"}";
    assert_int_equal(avro_schema_strip(slice_of(json), &out, NULL), OK);
    assert_string_equal(buf_cstr(&out),
                        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"default\",\"type\":"
                        "{\"type\":\"bytes\",\"scale\":2},\"doc\":\"d\"}]}");
    buf_clear(&out);
    assert_int_equal(avro_schema_strip(slice_of("\"string\""), &out, NULL), OK);
    assert_string_equal(buf_cstr(&out), "\"string\"");
}

static enum code strip_nested(int depth, struct buf *out, struct err *err) {
    CLEANUP_BUF json = {0};
    for (int i = 0; i < depth; i++)
        buf_putc(&json, '[');
    for (int i = 0; i < depth; i++)
        buf_putc(&json, ']');
    return avro_schema_strip(buf_slice(&json), out, err);
}

static void strip_refuses_rubbish_depth_and_size(void **state) {
    (void)state;
    CLEANUP_BUF out = {0};
    struct err err = {0};
    assert_int_equal(strip_nested(32, &out, &err), OK);
    assert_int_equal(strip_nested(33, &out, &err), FATAL);
    assert_int_equal(err.id, ERR_JOURNAL_CORRUPT);
    assert_int_equal(strip_nested(1000000, &out, &err), FATAL);
    assert_int_equal(avro_schema_strip(slice_of("{\"type\":"), &out, &err), FATAL);
    assert_int_equal(avro_schema_strip(slice_of(""), &out, &err), FATAL);
    assert_int_equal(avro_schema_strip((struct slice){0}, &out, &err), FATAL);
    char *large = xmalloc(((size_t)4 << 20) + 1);
    memset(large, ' ', ((size_t)4 << 20) + 1);
    large[0] = '[';
    large[1] = ']';
    assert_int_equal(avro_schema_strip(slice_make(large, (size_t)4 << 20), &out, &err), OK);
    assert_int_equal(avro_schema_strip(slice_make(large, ((size_t)4 << 20) + 1), &out, &err), FATAL);
    free(large);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_envelope_is_what_debezium_prints),
        cmocka_unit_test(the_key_is_what_debezium_prints),
        cmocka_unit_test(avro_c_reads_the_golden_envelope_once_it_is_stripped),
        cmocka_unit_test(each_kind_is_printed_in_its_form),
        cmocka_unit_test(avro_c_reads_a_table_with_every_kind_twice),
        cmocka_unit_test(a_name_that_avro_forbids_is_adjusted),
        cmocka_unit_test(columns_that_collide_after_adjustment_are_numbered),
        cmocka_unit_test(the_parts_of_a_topic_become_a_legal_namespace),
        cmocka_unit_test(the_exact_names_types_and_keys_stand_beside),
        cmocka_unit_test(a_keys_schema_changes_only_with_its_avro_type),
        cmocka_unit_test(control_characters_in_names_are_escaped),
        cmocka_unit_test(a_table_of_1600_foreign_columns_and_one_of_none_have_schemas),
        cmocka_unit_test(the_key_of_a_truncate_is_a_record_of_ours),
        cmocka_unit_test(strip_removes_what_avro_c_cannot_read_and_nothing_else),
        cmocka_unit_test(strip_refuses_rubbish_depth_and_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
