/* What the encoder writes the decoder reads: every kind, every operation, tables with odd names. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <stdio.h>

#include "memory_store.h"
#include "schemas/decode.h"
#include "schemas/encode.h"
#include "tests/values.h"

static const struct encoder_identity identity = {
    .connector = "postgresql", .name = "shop", .database = "shopdb"};
static const char *const labels[] = {"sad", "ok", "so,so", NULL};

struct fixture {
    struct memory_store memory;
    struct decoder *decoder;
    struct encoder *encoder;
    struct arena arena;
    struct buf key, value, other;
    char header[HEADER_BYTES_MAX];
    struct err err;
};

static int setup(void **state) {
    struct fixture *f = xcalloc(1, sizeof *f);
    memory_init(&f->memory);
    f->decoder = decoder_new(&f->memory.store);
    *state = f;
    return 0;
}

static int teardown(void **state) {
    struct fixture *f = *state;
    encoder_free(f->encoder);
    decoder_free(f->decoder);
    schema_store_free(&f->memory.store);
    arena_free(&f->arena);
    buf_free(&f->key);
    buf_free(&f->value);
    buf_free(&f->other);
    free(f);
    return 0;
}

/* One nullable column per kind, named after it, and a key column "id". */
static struct table *every_kind(struct arena *arena, int n_key) {
    struct table *table = arena_zalloc(arena, sizeof *table);
    table->schema = "public";
    table->name = "every kind";
    table->n_columns = KIND_COUNT + 1;
    table->columns = arena_zalloc(arena, (KIND_COUNT + 1) * sizeof *table->columns);
    table->columns[0] =
        (struct column){.name = "id", .type = "integer", .kind = KIND_INT32, .length = -1, .key = n_key};
    for (int i = 0; i < KIND_COUNT; i++) {
        struct column *column = &table->columns[i + 1];
        *column = (struct column){.name = kind_name((enum kind)i),
                                  .type = kind_name((enum kind)i),
                                  .kind = (enum kind)i,
                                  .length = -1,
                                  .nullable = true};
        if (i == KIND_BITS)
            column->length = 11;
        if (i == KIND_DECIMAL)
            column->precision = 40, column->scale = 5;
        if (i == KIND_ENUM)
            column->labels = labels, column->type = "public.mood";
    }
    table->key = arena_zalloc(arena, sizeof *table->key);
    table->n_key = n_key;
    table->types = arena_zalloc(arena, sizeof *table->types);
    table->types[0] =
        (struct user_type){.kind = USER_TYPE_ENUM, .schema = "public", .name = "mood", .labels = labels};
    table->n_types = 1;
    table->digest = table_digest(table);
    return table;
}

static void encoder_start(struct fixture *f, const struct table *table) {
    if (encoder_new(table, "shop.public.t", &identity, &f->memory.store, &f->encoder, &f->err) != OK)
        fail_msg("%s", f->err.text);
}

/* change -> bytes -> change */
static struct change round_trip(struct fixture *f, const struct change *change) {
    struct change back;
    int column;
    buf_clear(&f->key);
    buf_clear(&f->value);
    buf_clear(&f->other);
    if (encoder_change(f->encoder, change, 1700000001000000, &f->key, &f->value, &column, &f->err) != OK)
        fail_msg("%s", f->err.text);
    if (change->other && encoder_key(f->encoder, change->other, &f->other, &column, &f->err) != OK)
        fail_msg("%s", f->err.text);
    size_t header = header_write(change, f->header);
    struct encoded record = {.key = buf_slice(&f->key),
                             .value = buf_slice(&f->value),
                             .header = slice_make(f->header, header),
                             .other_key = buf_slice(&f->other)};
    if (decoder_change(f->decoder, &record, &f->arena, &back, &f->err) != OK)
        fail_msg("%s", f->err.text);
    assert_int_equal(back.op, change->op);
    assert_int_equal(position_cmp(back.position, change->position), 0);
    assert_int_equal(back.commit_us, change->commit_us);
    assert_int_equal(back.lsn, change->lsn);
    assert_int_equal(back.xid, change->xid);
    assert_int_equal(back.snapshot, change->snapshot);
    assert_int_equal(back.moved_partial, change->moved_partial);
    assert_int_equal(back.restart_identity, change->restart_identity);
    return back;
}

static void assert_same(const struct value *a, const struct value *b, const char *name) {
    bool same = a->tag == b->tag;
    if (same && a->tag == VALUE_INT)
        same = a->i == b->i;
    if (same && a->tag == VALUE_FLOAT)
        same = memcmp((const char *)&a->d, (const char *)&b->d, sizeof a->d) == 0;
    if (same && (a->tag == VALUE_TEXT || a->tag == VALUE_BYTES))
        same = slice_eq(a->s, b->s);
    if (same && a->tag == VALUE_POINT)
        same = memcmp((const char *)a->xy, (const char *)b->xy, sizeof a->xy) == 0;
    if (!same)
        fail_msg("%s came back otherwise (tags %d, %d)", name, a->tag, b->tag);
}

static void assert_rows(const struct value *a, const struct value *b, const struct table *table) {
    assert_int_equal(a != NULL, b != NULL);
    for (int i = 0; a && b && i < table->n_columns; i++)
        assert_same(&a[i], &b[i], table->columns[i].name);
}

/* Values at the edges of each kind. */
static const struct {
    enum kind kind;
    struct value value;
} edges[] = {
    {KIND_BOOL, INT(0)},
    {KIND_BOOL, INT(1)},
    {KIND_INT16, INT(-32768)},
    {KIND_INT16, INT(32767)},
    {KIND_INT32, INT(INT32_MIN)},
    {KIND_INT32, INT(INT32_MAX)},
    {KIND_INT64, INT(INT64_MIN)},
    {KIND_INT64, INT(INT64_MAX)},
    {KIND_INT64, INT(0)},
    {KIND_INT64, INT(-1)},
    {KIND_FLOAT32, FLOAT(1.5)},
    {KIND_FLOAT32, FLOAT(-0.0)},
    {KIND_FLOAT32, FLOAT(INFINITY)},
    {KIND_FLOAT64, FLOAT(5e-324)},
    {KIND_FLOAT64, FLOAT(-INFINITY)},
    {KIND_FLOAT64, FLOAT(-0.0)},
    {KIND_DECIMAL, TEXT("0.00000")},
    {KIND_DECIMAL, TEXT("-0.00001")},
    {KIND_DECIMAL, TEXT("99999999999999999999999999999999999.99999")},
    {KIND_DECIMAL, TEXT("-99999999999999999999999999999999999.99999")},
    {KIND_DECIMAL, TEXT("1.28000")},
    {KIND_DECIMAL, TEXT("-1.28000")},
    {KIND_TEXT, TEXT("")},
    {KIND_TEXT, TEXT("gr\xc3\xbc\xc3\x9f dich \xf0\x9f\x98\x80")},
    {KIND_JSON, TEXT("{\"a\": 1.10}")},
    {KIND_XML, TEXT("<a/>")},
    {KIND_UUID, TEXT("b68a35a7-17ad-35b3-af2a-ae46edb4545a")},
    {KIND_ENUM, TEXT("so,so")},
    {KIND_LTREE, TEXT("a.b")},
    {KIND_TSVECTOR, TEXT("'a':1")},
    {KIND_BYTES, BYTES("")},
    {KIND_BYTES, BYTES("\0\xff\x80")},
    {KIND_BITS, TEXT("00000000000")},
    {KIND_BITS, TEXT("11111111111")},
    {KIND_BITS, TEXT("10000000001")},
    {KIND_BITS, TEXT("00000001000")},
    {KIND_DATE, INT(DATE_INFINITY)},
    {KIND_DATE, INT(DATE_MINUS_INFINITY)},
    {KIND_DATE, INT(-2440588)},
    {KIND_TIME_MS, INT(86400000000)},
    {KIND_TIME_MS, INT(1000)},
    {KIND_TIME, INT(86400000000)},
    {KIND_TIMESTAMP_MS, INT(-1000)},
    {KIND_TIMESTAMP_MS, INT(TIMESTAMP_INFINITY)},
    {KIND_TIMESTAMP_MS, INT(TIMESTAMP_MINUS_INFINITY)},
    {KIND_TIMESTAMP, INT(-211813488000000000)},
    {KIND_TIMESTAMP, INT(TIMESTAMP_INFINITY)},
    {KIND_TIMESTAMP, INT(TIMESTAMP_MINUS_INFINITY)},
    {KIND_ZONED_TIMESTAMP, TEXT("2024-01-02T03:04:05.123456Z")},
    {KIND_ZONED_TIMESTAMP, TEXT("-infinity")},
    {KIND_ZONED_TIME, TEXT("03:04:05.5+05:30")},
    {KIND_INTERVAL, TEXT("P1Y-2M3DT-4H5M6.78S")},
    {KIND_POINT, POINT(1.5, -0.0)},
};

static void every_kind_comes_back_as_it_was(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 1);
    bool seen[KIND_COUNT] = {false};
    encoder_start(f, table);
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++) {
        struct value row[KIND_COUNT + 1] = {INT(5)};
        for (int c = 1; c <= KIND_COUNT; c++)
            row[c].tag = VALUE_NULL;
        row[edges[i].kind + 1] = edges[i].value;
        seen[edges[i].kind] = true;
        struct change change = {.op = OP_CREATE,
                                .table = table,
                                .position = {1, 2, i},
                                .after = row,
                                .commit_us = -5,
                                .lsn = UINT64_MAX,
                                .xid = 7};
        struct change back = round_trip(f, &change);
        assert_rows(row, back.after, table);
        assert_null(back.before);
    }
    for (int kind = 0; kind < KIND_COUNT; kind++)
        if (!seen[kind])
            fail_msg("no value of kind %s was tried", kind_name((enum kind)kind));
}

static void the_table_that_comes_back_has_the_same_digest(void **state) {
    struct fixture *f = *state;
    struct table *table = every_kind(&f->arena, 1);
    struct value row[KIND_COUNT + 1] = {INT(5)};
    static const char *const attributes[] = {"x", "y y", NULL}, *const types[] = {"integer", "numeric(3,1)",
                                                                                  NULL};
    struct user_type user_types[] = {
        table->types[0],
        {.kind = USER_TYPE_COMPOSITE,
         .schema = "sch\"ema",
         .name = "pair",
         .labels = attributes,
         .label_types = types},
        {.kind = USER_TYPE_EXTENSION, .name = "hstore"},
    };
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = VALUE_NULL;
    table->schema = "my.sch-ema";
    table->name = "\xc3\xbc";
    table->partial = true;
    table->types = user_types;
    table->n_types = 3;
    table->columns[1].name = "1st";
    table->columns[2].name = "_1st";
    table->columns[3].name = "a b\"c\\d\te";
    table->columns[4].nullable = false;
    row[4] = (struct value)INT(1);
    table->digest = table_digest(table);
    encoder_start(f, table);
    struct change back = round_trip(f, &(struct change){.op = OP_CREATE, .table = table, .after = row});
    assert_string_equal(back.table->schema, table->schema);
    assert_string_equal(back.table->name, table->name);
    for (int i = 0; i < table->n_columns; i++)
        assert_string_equal(back.table->columns[i].name, table->columns[i].name);
    assert_true(table_digest(back.table) == table_digest(table));
    assert_true(back.table->digest == table->digest);
}

static void rows_before_are_as_much_as_can_be_believed(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 1);
    struct value row[KIND_COUNT + 1] = {INT(5)}, after[KIND_COUNT + 1] = {INT(5)};
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = after[c].tag = VALUE_ABSENT;
    encoder_start(f, table);
    struct change back = round_trip(f, &(struct change){.op = OP_DELETE, .table = table, .before = row});
    assert_rows(row, back.before, table);
    after[3] = (struct value)INT(12);
    back = round_trip(
        f, &(struct change){.op = OP_UPDATE, .table = table, .after = after, .position = {3, 4, 5}});
    assert_rows(after, back.after, table);
}

static void a_tombstone_deletes_by_itself(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 1);
    struct value row[KIND_COUNT + 1] = {INT(5)};
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = VALUE_ABSENT;
    encoder_start(f, table);
    const struct change gone = {.op = OP_DELETE, .table = table, .before = row, .position = {3, 4, 5}};
    round_trip(f, &gone);
    size_t header = header_write_tombstone(&gone, buf_slice(&f->value), f->header);
    struct encoded record = {.key = buf_slice(&f->key), .header = slice_make(f->header, header)};
    struct change back;
    assert_int_equal(decoder_change(f->decoder, &record, &f->arena, &back, &f->err), OK);
    assert_true(back.op == OP_DELETE && back.remnant);
    assert_int_equal(position_cmp(back.position, gone.position), 0);
    assert_rows(row, back.before, table);
    f->header[29] ^= 1;
    assert_int_equal(decoder_change(f->decoder, &record, &f->arena, &back, &f->err), REJECT);
    assert_int_equal(f->err.id, ERR_SCHEMA_UNKNOWN);
    f->header[29] ^= 1;
    for (size_t cut = 1; cut < header; cut++) {
        record.header.len = cut;
        assert_int_equal(decoder_change(f->decoder, &record, &f->arena, &back, &f->err), REJECT);
    }
}

static void a_table_without_key_brings_the_whole_row_before(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 0);
    struct value row[KIND_COUNT + 1] = {INT(5)};
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = VALUE_NULL;
    for (size_t i = 0; i < sizeof edges / sizeof *edges; i++)
        row[edges[i].kind + 1] = edges[i].value;
    encoder_start(f, table);
    struct change back = round_trip(f, &(struct change){.op = OP_DELETE, .table = table, .before = row});
    assert_rows(row, back.before, table);
    assert_int_equal(back.table->n_key, 0);
    assert_int_equal(f->key.len, 0);
}

static void a_moved_row_knows_its_other_key(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 1);
    struct value row[KIND_COUNT + 1] = {INT(5)}, other[KIND_COUNT + 1] = {INT(6)};
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = other[c].tag = VALUE_ABSENT;
    encoder_start(f, table);
    struct change back = round_trip(
        f, &(struct change){
               .op = OP_DELETE, .table = table, .before = row, .other = other, .moved_partial = true});
    assert_rows(other, back.other, table);
}

static void truncates_and_snapshot_rows_keep_their_flags(void **state) {
    struct fixture *f = *state;
    const struct table *table = every_kind(&f->arena, 1);
    struct value row[KIND_COUNT + 1] = {INT(5)};
    for (int c = 1; c <= KIND_COUNT; c++)
        row[c].tag = VALUE_NULL;
    encoder_start(f, table);
    struct change back = round_trip(
        f, &(struct change){.op = OP_TRUNCATE, .table = table, .restart_identity = true, .snapshot = true});
    assert_null(back.before);
    assert_null(back.after);
    back = round_trip(f, &(struct change){.op = OP_READ,
                                          .table = table,
                                          .after = row,
                                          .snapshot = true,
                                          .position = {UINT64_MAX, 0, UINT64_MAX}});
    assert_rows(row, back.after, table);
}

static void a_table_without_columns_has_a_row(void **state) {
    struct fixture *f = *state;
    struct table table = {.schema = "public", .name = "empty"};
    struct value row[1];
    table.digest = table_digest(&table);
    encoder_start(f, &table);
    struct change back = round_trip(f, &(struct change){.op = OP_CREATE, .table = &table, .after = row});
    assert_non_null(back.after);
    assert_int_equal(back.table->n_columns, 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_kind_comes_back_as_it_was),
        TEST(the_table_that_comes_back_has_the_same_digest),
        TEST(rows_before_are_as_much_as_can_be_believed),
        TEST(a_tombstone_deletes_by_itself),
        TEST(a_table_without_key_brings_the_whole_row_before),
        TEST(a_moved_row_knows_its_other_key),
        TEST(truncates_and_snapshot_rows_keep_their_flags),
        TEST(a_table_without_columns_has_a_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
