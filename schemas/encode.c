/* Debezium's envelope (3.5 and later) written straight to Avro binary in Confluent framing.
 *
 *   value:  0 | schema id | before ? row | after ? row | source | transaction: null | op | ts_ms, ts_us,
 * ts_ns source: head | ts_ms | snapshot | db | sequence | ts_us, ts_ns | place | txId, lsn | xmin, origin,
 * origin_lsn: null
 *
 * head (version, connector, name), db and place (schema, table) never change in an encoder's life and are
 * kept encoded. */
#include "schemas/encode.h"

#include "schemas/avro_schema.h"
#include "schemas/encode_value.h"
#include <assert.h>
#include <stdio.h>

#ifndef MILLRACE_VERSION
#define MILLRACE_VERSION "0.1.0"
#endif

#define FRAME_BYTES 5
/* The source block beside its constant parts: five longs with branches, snapshot, sequence. The envelope's
 * end. */
#define SOURCE_ROOM   160
#define TAIL_ROOM     64
#define KEY_SHOWN_MAX 64

struct encoder {
    struct arena arena;
    const struct table *table;
    struct slice head, db, place;
    char key_frame[FRAME_BYTES], value_frame[FRAME_BYTES];
    struct slice truncate_key; /* framed */
};

/* ---- making ---- */

/* Confluent framing: magic byte 0, then the schema's id. */
static void frame_write(char *out, uint32_t id) {
    out[0] = 0;
    for (int i = 0; i < 4; i++)
        out[1 + i] = (char)(id >> (24 - 8 * i));
}

static struct slice encode_texts(struct arena *arena, const char *const *texts) {
    CLEANUP_BUF buf = {0};
    for (; *texts; texts++) {
        struct slice text = slice_of(*texts);
        char *at = buf_room(&buf, VARINT_BYTES_MAX + text.len);
        buf.len = (size_t)(text_write(at, text) - buf.data);
    }
    return arena_copy(arena, buf_slice(&buf));
}

static void compile_constants(struct encoder *e, const struct encoder_identity *identity) {
    const struct table *table = e->table;
    e->head = encode_texts(
        &e->arena, (const char *const[]){MILLRACE_VERSION, identity->connector, identity->name, NULL});
    e->db = encode_texts(&e->arena, (const char *const[]){identity->database, NULL});
    e->place = encode_texts(&e->arena, (const char *const[]){table->schema, table->name, NULL});
}

/* What the maker of a table promises; everything after relies on it. */
static void check_table(const struct table *table) {
    assert(table->n_columns >= 0 && table->n_columns <= 1600);
    assert(table->n_key >= 0 && table->n_key <= table->n_columns);
    for (int i = 0; i < table->n_columns; i++) {
        const struct column *column = &table->columns[i];
        assert((unsigned)column->kind < KIND_COUNT);
        assert(column->kind != KIND_BITS || column->length > 0);
        if (column->kind == KIND_DECIMAL) {
            assert(column->scale >= 0 && column->scale <= column->precision);
            assert(column->precision >= 1 && column->precision <= 1000);
        }
    }
    for (int i = 0; i < table->n_key; i++) {
        assert(table->key[i] >= 0 && table->key[i] < table->n_columns);
        assert(table->columns[table->key[i]].key == i + 1);
    }
}

static enum code register_one(struct schema_store *store, const char *subject, const struct buf *json,
                              char *frame, struct err *err) {
    uint32_t id;
    enum code code = schema_put(store, subject, buf_slice(json), &id, err);
    if (code == OK)
        frame_write(frame, id);
    return code;
}

/* The key of a truncate has a subject of its own: under "<topic>-key" it would break the subject's
 * compatibility. */
static enum code register_truncate_key(struct encoder *e, struct schema_store *store, struct err *err) {
    CLEANUP_BUF json = {0};
    avro_schema_truncate_key(&json);
    char frame[FRAME_BYTES];
    enum code code = register_one(store, "millrace.TruncateKey", &json, frame, err);
    if (code != OK)
        return code;
    const char *name = arena_printf(&e->arena, "%s.%s", e->table->schema, e->table->name);
    struct slice text = encode_texts(&e->arena, (const char *const[]){name, NULL});
    char *key = arena_alloc(&e->arena, FRAME_BYTES + text.len);
    memcpy(key, frame, FRAME_BYTES);
    memcpy(key + FRAME_BYTES, text.data, text.len);
    e->truncate_key = slice_make(key, FRAME_BYTES + text.len);
    return OK;
}

static enum code register_schemas(struct encoder *e, const char *topic, struct schema_store *store,
                                  struct err *err) {
    CLEANUP_BUF json = {0};
    avro_schema_value(e->table, topic, &json);
    enum code code =
        register_one(store, arena_printf(&e->arena, "%s-value", topic), &json, e->value_frame, err);
    if (code != OK || e->table->n_key == 0)
        return code;
    buf_clear(&json);
    avro_schema_key(e->table, topic, &json);
    code = register_one(store, arena_printf(&e->arena, "%s-key", topic), &json, e->key_frame, err);
    return code == OK ? register_truncate_key(e, store, err) : code;
}

enum code encoder_new(const struct table *table, const char *topic, const struct encoder_identity *identity,
                      struct schema_store *store, struct encoder **ret, struct err *err) {
    check_table(table);
    struct encoder *e = xcalloc(1, sizeof *e);
    e->table = table_copy(table, &e->arena);
    compile_constants(e, identity);
    enum code code = register_schemas(e, topic, store, err);
    if (code == OK)
        *ret = e;
    else
        encoder_free(e);
    return code;
}

void encoder_free(struct encoder *encoder) {
    if (!encoder)
        return;
    arena_free(&encoder->arena);
    free(encoder);
}

const struct table *encoder_table(const struct encoder *encoder) {
    return encoder->table;
}

/* ---- refusing ---- */

static void show_bytes(struct slice bytes, struct buf *out) {
    buf_puts(out, "\\x");
    for (size_t i = 0; i < bytes.len; i++)
        buf_printf(out, "%02x", (unsigned char)bytes.data[i]);
}

static void show_value(const struct value *value, struct buf *out) {
    bool sized = value->tag == VALUE_TEXT || value->tag == VALUE_BYTES;
    if (sized && value->s.len * (value->tag == VALUE_BYTES ? 2 : 1) > KEY_SHOWN_MAX)
        buf_printf(out, "(%zu bytes)", value->s.len);
    else if (value->tag == VALUE_TEXT)
        buf_put_slice(out, value->s);
    else if (value->tag == VALUE_BYTES)
        show_bytes(value->s, out);
    else if (value->tag == VALUE_INT)
        buf_printf(out, "%lld", (long long)value->i);
    else if (value->tag == VALUE_FLOAT)
        buf_printf(out, "%.17g", value->d);
    else if (value->tag == VALUE_POINT)
        buf_printf(out, "(%.17g,%.17g)", value->xy[0], value->xy[1]);
    else
        buf_puts(out, value->tag == VALUE_NULL ? "NULL" : "absent");
}

/* ", key (id=5)" */
static void show_key(const struct table *table, const struct value *row, struct buf *out) {
    if (table->n_key == 0)
        return;
    buf_puts(out, ", key (");
    size_t enough = out->len + 1000; /* the error's text has an end, and the reason comes last */
    for (int i = 0; i < table->n_key && out->len < enough; i++) {
        buf_printf(out, "%s%s=", i ? ", " : "", table->columns[table->key[i]].name);
        show_value(&row[table->key[i]], out);
    }
    buf_puts(out, ")");
}

static enum code refuse(const struct table *table, const struct value *row, int column, const char *reason,
                        int *ret_column, struct err *err) {
    *ret_column = column;
    CLEANUP_BUF key = {0};
    show_key(table, row, &key);
    return err_set(err, REJECT, ERR_VALUE_NOT_CARRIED, "table %s.%s%s, column %s: %s", table->schema,
                   table->name, buf_cstr(&key), table->columns[column].name, reason);
}

/* ---- key ---- */

enum code encoder_key(struct encoder *encoder, const struct value *row, struct buf *key, int *ret_column,
                      struct err *err) {
    const struct table *table = encoder->table;
    if (table->n_key == 0)
        return OK;
    size_t start = key->len;
    buf_put(key, encoder->key_frame, FRAME_BYTES);
    for (int i = 0; i < table->n_key; i++) {
        int column = table->key[i];
        const char *reason = value_write_key(&table->columns[column], &row[column], key);
        if (reason) {
            key->len = start;
            return refuse(table, row, column, reason, ret_column, err);
        }
    }
    return OK;
}

/* ---- envelope ---- */

static const char *row_write(const struct table *table, const struct value *row, enum absent_form form,
                             struct buf *out, int *ret_column) {
    if (!row) {
        buf_putc(out, 0);
        return NULL;
    }
    buf_putc(out, 2);
    for (int i = 0; i < table->n_columns; i++) {
        const char *reason = value_write(&table->columns[i], &row[i], form, out);
        if (reason) {
            *ret_column = i;
            return reason;
        }
    }
    return NULL;
}

/* ["null","long"] with a long in it. */
static char *some_write(char *out, int64_t number) {
    *out++ = 2;
    return varint_write(out, number);
}

static int64_t micros_to_millis(int64_t micros) {
    return micros / 1000 - (micros % 1000 < 0);
}

/* Null where nanoseconds leave their 64 bits (year 2262). */
static char *nanos_write(char *out, int64_t micros) {
    int64_t nanos;
    if (!__builtin_mul_overflow(micros, 1000, &nanos))
        return some_write(out, nanos);
    *out++ = 0;
    return out;
}

static char *copy_slice(char *out, struct slice bytes) {
    memcpy(out, bytes.data, bytes.len);
    return out + bytes.len;
}

static char *decimal_digits(char *out, uint64_t number) {
    char digits[20];
    int at = sizeof digits;
    do {
        digits[--at] = (char)('0' + number % 10);
        number /= 10;
    } while (number);
    memcpy(out, digits + at, sizeof digits - (size_t)at);
    return out + sizeof digits - at;
}

/* ["<commit>","<lsn>"], the first null in a snapshot. At most 47 bytes, so its length is one byte. */
static char *sequence_write(char *out, const struct change *change) {
    char *length = out + 1, *text = out + 2, *at = text;
    *out = 2;
    if (change->snapshot) {
        at = copy_slice(at, slice_make("[null,\"", 7));
    } else {
        at = copy_slice(at, slice_make("[\"", 2));
        at = decimal_digits(at, change->position.commit);
        at = copy_slice(at, slice_make("\",\"", 3));
    }
    at = decimal_digits(at, change->lsn);
    at = copy_slice(at, slice_make("\"]", 2));
    *length = (char)((at - text) * 2);
    return at;
}

static void source_write(const struct encoder *e, const struct change *change, struct buf *out) {
    char *at = buf_room(out, SOURCE_ROOM + e->head.len + e->db.len + e->place.len);
    at = copy_slice(at, e->head);
    at = varint_write(at, micros_to_millis(change->commit_us));
    *at++ = 0; /* snapshot: the union's first branch is the text */
    at = text_write(at, change->snapshot ? slice_make("true", 4) : slice_make("false", 5));
    at = copy_slice(at, e->db);
    at = sequence_write(at, change);
    at = some_write(at, change->commit_us);
    at = nanos_write(at, change->commit_us);
    at = copy_slice(at, e->place);
    if (change->snapshot)
        *at++ = 0;
    else
        at = some_write(at, (int64_t)change->xid);
    at = some_write(at, (int64_t)change->lsn);
    memset(at, 0, 3); /* xmin, origin, origin_lsn: null */
    out->len = (size_t)(at + 3 - out->data);
}

static void tail_write(const struct change *change, int64_t now_us, struct buf *out) {
    char *at = buf_room(out, TAIL_ROOM);
    *at++ = 0; /* transaction: null */
    *at++ = 2; /* op: a text of one byte */
    *at++ = (char)change->op;
    at = some_write(at, micros_to_millis(now_us));
    at = some_write(at, now_us);
    at = nanos_write(at, now_us);
    out->len = (size_t)(at - out->data);
}

static enum code envelope_write(struct encoder *e, const struct change *change, int64_t now_us,
                                struct buf *value, int *ret_column, struct err *err) {
    const struct table *table = e->table;
    size_t start = value->len;
    buf_put(value, e->value_frame, FRAME_BYTES);
    int column = -1;
    const struct value *row = change->before;
    const char *reason = row_write(table, row, ABSENT_EMPTY, value, &column);
    if (!reason) {
        row = change->after;
        reason = row_write(table, row, ABSENT_PLACEHOLDER, value, &column);
    }
    if (reason) {
        value->len = start;
        return refuse(table, row, column, reason, ret_column, err);
    }
    source_write(e, change, value);
    tail_write(change, now_us, value);
    return OK;
}

enum code encoder_change(struct encoder *encoder, const struct change *change, int64_t now_us,
                         struct buf *key, struct buf *value, int *ret_column, struct err *err) {
    size_t start = key->len;
    enum code code = OK;
    assert(change->op != OP_TRUNCATE || (!change->before && !change->after));
    if (change->op == OP_TRUNCATE) {
        buf_put_slice(key, encoder->truncate_key); /* empty if the table has no key */
    } else {
        const struct value *row = change->after ? change->after : change->before;
        assert(row);
        code = encoder_key(encoder, row, key, ret_column, err);
    }
    if (code == OK)
        code = envelope_write(encoder, change, now_us, value, ret_column, err);
    if (code != OK)
        key->len = start;
    return code;
}

/* ---- header ---- */

static char *u64_write(char *out, uint64_t number) {
    number = __builtin_bswap64(number);
    memcpy(out, &number, 8);
    return out + 8;
}

static char *u32_write(char *out, uint32_t number) {
    number = __builtin_bswap32(number);
    memcpy(out, &number, 4);
    return out + 4;
}

static size_t absent_bitmap_write(const struct change *change, char *out) {
    size_t len = 0;
    if (!change->after)
        return 0;
    for (int i = 0; i < change->table->n_columns; i++) {
        if (change->after[i].tag != VALUE_ABSENT)
            continue;
        size_t byte = (size_t)i / 8;
        while (len <= byte)
            out[len++] = 0;
        out[byte] = (char)((unsigned char)out[byte] | 1u << (i % 8));
    }
    return len;
}

static char *header_start(const struct change *change, unsigned flags, char *at) {
    *at++ = HEADER_VERSION;
    *at++ = (char)flags;
    at = u64_write(at, change->position.generation);
    at = u64_write(at, change->position.commit);
    at = u64_write(at, change->position.ordinal);
    return u32_write(at, (uint32_t)change->table->digest);
}

size_t header_write(const struct change *change, char *out) {
    assert(change->table->n_columns <= 1600);
    unsigned flags =
        (change->snapshot ? HEADER_SNAPSHOT : 0) | (change->moved_partial ? HEADER_MOVED_PARTIAL : 0) |
        (change->restart_identity ? HEADER_RESTART_IDENTITY : 0) | (change->other ? HEADER_HAS_OTHER : 0);
    char *at = header_start(change, flags, out);
    return (size_t)(at - out) + absent_bitmap_write(change, at);
}

size_t header_write_tombstone(const struct change *change, struct slice framed_value, char *out) {
    assert(change->op == OP_DELETE && framed_value.len > FRAME_BYTES);
    char *at =
        header_start(change, HEADER_TOMBSTONE | (change->moved_partial ? HEADER_MOVED_PARTIAL : 0), out);
    memcpy(at, framed_value.data + 1, 4);
    return (size_t)(at - out) + 4;
}
