#include "record_run.h"

#include "base/log.h"
#include "schemas/avro_schema.h"
#include "schemas/decode.h"
#include "schemas/decode_plan.h"
#include "schemas/encode.h"
#include "schemas/schema_same.h"
#include "sink/values/type_name.h"
#include "sink/values/values.h"
#include "tests/schema_shape.h"

/* A store of two schemas, as they stand on the tape. */
struct two_schemas {
    struct schema_store base;
    struct slice texts[2];
};

static enum code no_put(struct schema_store *base, const char *subject, struct slice json, uint32_t *ret_id,
                        struct err *err) {
    (void)base, (void)subject, (void)json, (void)ret_id;
    return err_set(err, FATAL, ERR_SYSTEM, "read only");
}

static enum code get(struct schema_store *base, uint32_t id, struct slice *ret_json, struct err *err) {
    const struct two_schemas *s = (const struct two_schemas *)base;
    if (id > 1)
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "nobody knows schema %u", id);
    *ret_json = s->texts[id];
    return OK;
}

/* What a sink does with a change before any SQL: print the rows, and read the types' names. */
static void use(const struct change *change) {
    const struct table *table = change->table;
    struct buf text = {0};
    struct type_name type;
    HOLDS(table->n_columns <= PLAN_COLUMNS_MAX && table->n_key <= table->n_columns, "columns");
    for (int i = 0; i < table->n_columns; i++) {
        const struct column *column = &table->columns[i];
        (void)!type_parse(column->type, &type);
        const struct value *rows[] = {change->before, change->after, change->other};
        for (int k = 0; k < 3; k++) {
            if (!rows[k])
                continue;
            value_check(column, &rows[k][i]);
            buf_clear(&text);
            (void)!pg_copy_field(pg_printer(column, column->type), column, &rows[k][i], &text);
        }
    }
    const struct value *row = change->op == OP_DELETE ? change->before : change->after;
    if (row)
        (void)key_hash(table, row);
    buf_free(&text);
}

/* Whatever was read can be written again, and then reads the same: Millrace's own schema of the table carries
 * all that the first one told. */
static void write_again(const struct change *change) {
    struct round_trip trip;
    if (change->remnant) /* only a tombstone says this */
        return;
    round_trip_open(&trip);
    round_trip(&trip, change);
    round_trip_close(&trip);
}

static void check_schema(struct slice json) {
    struct buf stripped = {0}, twice = {0};
    struct err err;
    if (avro_schema_strip(json, &stripped, &err) == OK) {
        HOLDS(avro_schema_strip(buf_slice(&stripped), &twice, &err) == OK, "%s", err.text);
        HOLDS(slice_eq(buf_slice(&stripped), buf_slice(&twice)), "stripping twice strips more");
    }
    (void)schema_same(json, buf_slice(&stripped));
    buf_free(&stripped);
    buf_free(&twice);
}

/* Each header tells the shape of the table that the first schema describes: else every schema that was
 * changed would be refused before it is used. */
static void tell_shape(struct slice header, uint32_t shape) {
    char bytes[] = {(char)(shape >> 24), (char)(shape >> 16), (char)(shape >> 8), (char)shape};
    if (header.len >= HEADER_SHAPE + sizeof bytes)
        memcpy((char *)header.data + HEADER_SHAPE, bytes, sizeof bytes);
}

void record_run(const uint8_t *data, size_t size, bool schemas) {
    struct tape tape;
    struct arena arena = {0};
    struct change change;
    struct err err;
    tape_init(&tape, data, size);
    struct two_schemas store = {.base = {.put = no_put, .get = get}};
    store.texts[0] = tape_chunk(&tape);
    store.texts[1] = tape_chunk(&tape);
    struct decoder *decoder = decoder_new(&store.base);
    if (schemas) {
        check_schema(store.texts[0]);
        check_schema(store.texts[1]);
    }
    uint32_t shape = schema_shape(store.texts[0]);
    while (!tape_over(&tape)) {
        struct encoded record;
        record.header = tape_chunk(&tape);
        tell_shape(record.header, shape);
        record.key = tape_chunk(&tape);
        record.other_key = tape_chunk(&tape);
        record.value = tape_chunk(&tape);
        if (!record.value.len)
            record.value = (struct slice){0}; /* a tombstone */
        arena_reset(&arena);
        if (decoder_change(decoder, &record, &arena, &change, &err) != OK)
            continue;
        use(&change);
        write_again(&change);
    }
    decoder_free(decoder);
    arena_free(&arena);
    tape_free(&tape);
}
