/* Every text form of PostgreSQL's types: text -> value -> Avro -> value -> text that the replica reads -> the
 * same value.
 *
 *   tape = type (1 byte) typmod (4 bytes) text */
#include "capture/postgres/decode.h"
#include "fuzz.h"
#include "sink/values/values.h"

static const char *const moods[] = {"sad", "ok", "happy", "so \"so\"", NULL};

/* Types that differ in how they are read. The text of those with modifiers is made by modified(). */
static const struct pg_type types[] = {
    {16, -1, 'b', 'B', "pg_catalog", "bool", "boolean", NULL},
    {17, -1, 'b', 'U', "pg_catalog", "bytea", "bytea", NULL},
    {20, -1, 'b', 'N', "pg_catalog", "int8", "bigint", NULL},
    {21, -1, 'b', 'N', "pg_catalog", "int2", "smallint", NULL},
    {23, -1, 'b', 'N', "pg_catalog", "int4", "integer", NULL},
    {25, -1, 'b', 'S', "pg_catalog", "text", "text", NULL},
    {114, -1, 'b', 'U', "pg_catalog", "json", "json", NULL},
    {142, -1, 'b', 'U', "pg_catalog", "xml", "xml", NULL},
    {600, -1, 'b', 'G', "pg_catalog", "point", "point", NULL},
    {700, -1, 'b', 'N', "pg_catalog", "float4", "real", NULL},
    {701, -1, 'b', 'N', "pg_catalog", "float8", "double precision", NULL},
    {790, -1, 'b', 'N', "pg_catalog", "money", "money", NULL},
    {1007, -1, 'b', 'A', "pg_catalog", "_int4", "integer[]", NULL},
    {1082, -1, 'b', 'D', "pg_catalog", "date", "date", NULL},
    {1083, 3, 'b', 'D', "pg_catalog", "time", "time(3) without time zone", NULL},
    {1083, -1, 'b', 'D', "pg_catalog", "time", "time without time zone", NULL},
    {1114, 3, 'b', 'D', "pg_catalog", "timestamp", "timestamp(3) without time zone", NULL},
    {1114, -1, 'b', 'D', "pg_catalog", "timestamp", "timestamp without time zone", NULL},
    {1184, -1, 'b', 'D', "pg_catalog", "timestamptz", "timestamp with time zone", NULL},
    {1186, -1, 'b', 'T', "pg_catalog", "interval", "interval", NULL},
    {1266, -1, 'b', 'D', "pg_catalog", "timetz", "time with time zone", NULL},
    {1560, 1, 'b', 'V', "pg_catalog", "bit", "bit(1)", NULL},
    {1560, 0, 'b', 'V', "pg_catalog", "bit", NULL, NULL},
    {1700, -1, 'b', 'N', "pg_catalog", "numeric", "numeric", NULL},
    {1700, 0, 'b', 'N', "pg_catalog", "numeric", NULL, NULL},
    {2950, -1, 'b', 'U', "pg_catalog", "uuid", "uuid", NULL},
    {3614, -1, 'b', 'U', "pg_catalog", "tsvector", "tsvector", NULL},
    {3904, -1, 'r', 'R', "pg_catalog", "int4range", "int4range", NULL},
    {90001, -1, 'b', 'U', "public", "hstore", "public.hstore", NULL},
    {90002, -1, 'b', 'U', "public", "ltree", "public.ltree", NULL},
    {90003, -1, 'e', 'E', "shop", "mood", "shop.mood", moods},
    {90004, -1, 'c', 'C', "shop", "pair", "shop.pair", NULL},
};

/* numeric(p,s), as its typmod has it, and bit(n). */
static void modified(struct pg_type *type, uint32_t bits, char text[32]) {
    int precision = (int)(bits >> 16) % 1000 + 1, scale = (int)(bits & 0xFFFF) % (precision + 1);
    bool numeric = type->oid == 1700;
    type->typmod = numeric ? (precision << 16 | scale) + 4 : precision;
    if (numeric)
        snprintf(text, 32, "numeric(%d,%d)", precision, scale);
    else
        snprintf(text, 32, "bit(%d)", precision);
    type->text = text;
}

/* ---- one value ---- */

/* Through Avro, as a key and as a nullable column, both in one table. */
static void through_avro(const struct column *column, const struct value *value) {
    struct column columns[2] = {*column, *column};
    columns[0].name = "k";
    columns[0].key = 1;
    columns[1].name = "v";
    columns[1].nullable = true;
    int key = 0;
    struct table table = {
        .schema = "public", .name = "t", .columns = columns, .n_columns = 2, .key = &key, .n_key = 1};
    table.digest = table_digest(&table);
    const struct value row[2] = {*value, *value};
    struct change change = {.op = OP_CREATE, .table = &table, .position = {1, 2, 3}, .after = row};
    struct round_trip trip;
    round_trip_open(&trip);
    HOLDS(round_trip(&trip, &change), "a value of type %s that was read is not carried", column->type);
    change = (struct change){.op = OP_DELETE, .table = &table, .position = {1, 2, 4}, .before = row};
    HOLDS(round_trip(&trip, &change), "a key of type %s is not carried", column->type);
    round_trip_close(&trip);
}

/* A field of COPY as the replica gets it, read as a line of COPY from a source. */
static void through_copy(const struct column *column, const struct value *value, struct slice text) {
    int to = 0;
    struct column one = *column;
    const struct table table = {.schema = "public", .name = "t", .columns = &one, .n_columns = 1};
    const struct relation relation = {.table = &table, .n_wire = 1, .to = &to};
    static struct pgoutput_row row;
    struct buf field = {0};
    HOLDS(!pg_copy_field(pg_printer(column, column->type), column, value, &field), "COPY of %s",
          column->type);
    buf_putc(&field, '\n');
    const char *why = decode_copy_line(&relation, field.data, field.len, &row);
    HOLDS(!why, "%s", why);
    HOLDS(row.fields[0].kind == 't' && slice_eq(row.fields[0].text, text), "COPY changes a %s", column->type);
    buf_free(&field);
}

static void through_replica(const struct column *column, const struct value *value, struct arena *arena) {
    struct buf text = {0};
    struct value again;
    const char *why = pg_printer(column, column->type)(column, value, &text);
    HOLDS(!why, "a %s that was read is not printed: %s", column->type, why);
    buf_cstr(&text); /* a slice that is empty has an address, too */
    bool money = column->kind == KIND_DECIMAL && strcmp(column->type, "money") == 0;
    if (!money) { /* reads plain decimals, and prints dollars */
        why = pg_reader(column)(column, buf_slice(&text), arena, &again);
        HOLDS(!why, "a %s that was printed is not read: %s", column->type, why);
        HOLDS(value_same(value, &again), "a %s is another one once printed", column->type);
    }
    through_copy(column, value, buf_slice(&text));
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const struct pg_type_policy policies[] = {{PG_NUMERIC_PRECISE}, {PG_NUMERIC_STRING}};
    struct tape tape;
    struct arena arena = {0};
    char name[32];
    tape_init(&tape, data, size);
    unsigned pick = (unsigned)tape_number(&tape, 1);
    struct pg_type type = types[pick % 64 % (sizeof types / sizeof *types)];
    uint32_t bits = (uint32_t)tape_number(&tape, 4);
    if (!type.text)
        modified(&type, bits, name);
    struct column column = {.name = "v"};
    struct value value;
    pg_column_kind(&type, &policies[pick >= 128], &column);
    if (!pg_reader(&column)(&column, tape_rest(&tape), &arena, &value)) {
        HOLDS(value.tag != VALUE_NULL && value.tag != VALUE_ABSENT, "a text that is no value");
        value_check(&column, &value);
        through_avro(&column, &value);
        through_replica(&column, &value, &arena);
    }
    arena_free(&arena);
    tape_free(&tape);
    return 0;
}
