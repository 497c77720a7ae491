#include "schemas/decode.h"

#include <endian.h>

#include "schemas/decode_cursor.h"
#include "schemas/decode_plan.h"
#include "schemas/decode_value.h"
#include "schemas/encode.h"
#include "schemas/id_map.h"

struct decoder {
    struct schema_store *store;
    struct id_map envelopes, keys; /* schema id -> struct plan */
};

struct decoder *decoder_new(struct schema_store *store) {
    struct decoder *decoder = xcalloc(1, sizeof *decoder);
    decoder->store = store;
    return decoder;
}

static void plan_free_item(void *plan) {
    plan_free(plan);
}

void decoder_free(struct decoder *decoder) {
    if (!decoder)
        return;
    id_map_free(&decoder->envelopes, plan_free_item);
    id_map_free(&decoder->keys, plan_free_item);
    free(decoder);
}

/* ---- the header ---- */

enum { HEADER_FLAGS = 31 };

static uint64_t big64(const char *p) {
    uint64_t n;
    memcpy(&n, p, sizeof n);
    return be64toh(n);
}

static uint32_t big32(const char *p) {
    uint32_t n;
    memcpy(&n, p, sizeof n);
    return be32toh(n);
}

enum code header_read(struct slice header, struct position *ret, uint8_t *ret_flags, struct err *err) {
    if (header.len == 0)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT,
                       "record without a '" HEADER_NAME "' header: Millrace did not write it");
    if (header.data[0] != HEADER_VERSION)
        return err_set(
            err, REJECT, ERR_JOURNAL_CORRUPT,
            "record header of version %d, and this Millrace reads version %d: another one wrote it",
            (unsigned char)header.data[0], HEADER_VERSION);
    if (header.len < HEADER_FIXED || header.len > HEADER_BYTES_MAX)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "record header of %zu bytes", header.len);
    if ((unsigned char)header.data[1] & ~HEADER_FLAGS)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "record header with unknown flags 0x%02x",
                       (unsigned char)header.data[1]);
    *ret_flags = (uint8_t)header.data[1];
    *ret = (struct position){big64(header.data + 2), big64(header.data + 10), big64(header.data + 18)};
    return OK;
}

/* The bitmap of ABSENT columns; bits past the last column mean that header and value do not belong
 * together. */
static bool bitmap_fits(struct slice absent, int n_columns) {
    size_t whole = (size_t)n_columns / 8, bits = (size_t)n_columns % 8;
    if (absent.len > whole + (bits != 0))
        return false;
    return absent.len <= whole || (unsigned char)absent.data[whole] >> bits == 0;
}

static bool bitmap_has(struct slice absent, int i) {
    return (size_t)i / 8 < absent.len && (unsigned char)absent.data[i / 8] >> (i % 8) & 1;
}

/* ---- one record ---- */

struct reading { /* one record while it is read */
    struct cursor c;
    const struct plan *plan;
    struct arena *arena;
    struct slice absent; /* bitmap of `after` */
    struct change *ret;
    int column; /* where reading failed, -1 = outside any row */
    int64_t ts_ms;
    bool has_ts_us;
};

/* Rows before the change: only the key of a keyed table can be believed, for a source that does not know the
 * rest writes null or zero there. */
static bool read_before(struct reading *r, struct value *row) {
    const struct table *table = r->plan->table;
    for (int i = 0; i < table->n_columns; i++) {
        const struct plan_column *column = &r->plan->columns[i];
        r->column = i;
        row[i].tag = VALUE_ABSENT;
        bool believed = table->n_key == 0 || table->columns[i].key;
        if (!(believed ? value_read(&r->c, column, r->arena, &row[i]) : value_skip(&r->c, column->shape, 1)))
            return false;
    }
    return true;
}

static bool read_after(struct reading *r, struct value *row) {
    const struct table *table = r->plan->table;
    const struct plan_column *column = r->plan->columns;
    for (int i = 0; i < table->n_columns; i++, column++) {
        r->column = i;
        if (__builtin_expect(bitmap_has(r->absent, i), false)) {
            row[i].tag = VALUE_ABSENT;
            if (table->columns[i].key)
                return cursor_fail(&r->c, "the header says that a key column is absent");
            if (!value_skip(&r->c, column->shape, 1))
                return false;
        } else if (!value_read(&r->c, column, r->arena, &row[i])) {
            return false;
        }
    }
    return true;
}

static struct value *row_new(struct arena *arena, int n_columns) {
    return arena_alloc(arena, ((size_t)n_columns + 1) * sizeof(struct value));
}

static bool read_row(struct reading *r, const struct plan_field *field, bool before,
                     const struct value **ret) {
    bool null;
    if (!cursor_optional(&r->c, field->null_at, &null))
        return false;
    *ret = NULL;
    if (null)
        return true;
    struct value *row = row_new(r->arena, r->plan->n_columns);
    if (!(before ? read_before(r, row) : read_after(r, row)))
        return false;
    r->column = -1;
    *ret = row;
    return true;
}

static bool read_number(struct cursor *c, const struct plan_field *field, int64_t *ret, bool *ret_null) {
    *ret = 0;
    if (!cursor_optional(c, field->null_at, ret_null))
        return false;
    return *ret_null || cursor_long(c, ret);
}

static bool read_op(struct reading *r, const struct plan_field *field) {
    bool null;
    struct slice op;
    if (!cursor_optional(&r->c, field->null_at, &null))
        return false;
    if (null)
        return cursor_fail(&r->c, "no operation");
    if (!cursor_bytes(&r->c, &op))
        return false;
    switch (op.len == 1 ? op.data[0] : 0) {
    case OP_READ:
    case OP_CREATE:
    case OP_UPDATE:
    case OP_DELETE:
    case OP_TRUNCATE:
        r->ret->op = (enum op)op.data[0];
        return true;
    default:
        return cursor_fail(&r->c, "an operation other than r, c, u, d, t");
    }
}

static bool read_fields(struct reading *r, const struct plan_fields *fields);

static bool read_source(struct reading *r, const struct plan_field *field) {
    bool null;
    if (!cursor_optional(&r->c, field->null_at, &null))
        return false;
    return null || read_fields(r, &r->plan->source);
}

/* Most of a source block is gone past: text and numbers without a call. */
static inline bool skip_field(struct cursor *c, const struct plan_field *field) {
    bool null;
    int64_t number;
    struct slice text;
    if (!cursor_optional(c, field->null_at, &null))
        return false;
    if (null)
        return true;
    switch (field->value->type) {
    case SHAPE_BYTES:
    case SHAPE_STRING:
        return cursor_bytes(c, &text);
    case SHAPE_LONG:
        return cursor_long(c, &number);
    default:
        return value_skip(c, field->value, 1);
    }
}

static bool read_field(struct reading *r, const struct plan_field *field) {
    int64_t number;
    bool null;
    switch (field->slot) {
    case SLOT_SKIP:
        return skip_field(&r->c, field);
    case SLOT_BEFORE:
        return read_row(r, field, true, &r->ret->before);
    case SLOT_AFTER:
        return read_row(r, field, false, &r->ret->after);
    case SLOT_SOURCE:
        return read_source(r, field);
    case SLOT_OP:
        return read_op(r, field);
    case SLOT_TS_US:
        if (!read_number(&r->c, field, &r->ret->commit_us, &null))
            return false;
        r->has_ts_us = !null;
        return true;
    case SLOT_TS_MS:
        return read_number(&r->c, field, &r->ts_ms, &null);
    case SLOT_XID:
        if (!read_number(&r->c, field, &number, &null))
            return false;
        r->ret->xid = (uint64_t)number;
        return true;
    case SLOT_LSN:
        if (!read_number(&r->c, field, &number, &null))
            return false;
        r->ret->lsn = (uint64_t)number;
        return true;
    }
    return false;
}

static bool read_fields(struct reading *r, const struct plan_fields *fields) {
    for (int i = 0; i < fields->n; i++)
        if (!read_field(r, &fields->fields[i]))
            return false;
    return true;
}

/* What op, before and after must be to each other. */
static bool rows_fit(struct reading *r) {
    struct change *change = r->ret;
    bool wants_after = change->op != OP_DELETE && change->op != OP_TRUNCATE;
    if (change->op == OP_TRUNCATE)
        change->before = change->after = NULL;
    if (wants_after != (change->after != NULL))
        return cursor_fail(&r->c, "operation and `after` do not fit");
    if (change->op == OP_DELETE && !change->before)
        return cursor_fail(&r->c, "a delete without its row");
    if (change->op == OP_UPDATE && r->plan->table->n_key == 0 && !change->before)
        return cursor_fail(&r->c, "an update of a table without a key, without the row as it was");
    return true;
}

static bool read_envelope(struct reading *r) {
    if (!bitmap_fits(r->absent, r->plan->n_columns))
        return cursor_fail(&r->c, "the header names columns that are not in the schema");
    if (!read_fields(r, &r->plan->envelope))
        return false;
    if (r->c.p != r->c.end)
        return cursor_fail(&r->c, "bytes after the end");
    if (!r->has_ts_us && __builtin_mul_overflow(r->ts_ms, 1000, &r->ret->commit_us))
        return cursor_fail(&r->c, "commit time outside 64 bits");
    return rows_fit(r);
}

/* ---- plans and framing ---- */

/* Confluent framing: 0x00, the schema's id in four bytes. */
static enum code unframe(struct slice *bytes, uint32_t *ret_id, struct err *err) {
    if (bytes->len < 5 || bytes->data[0] != 0) {
        err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "%zu bytes that do not begin with 0x00 and a schema id",
                bytes->len);
        return REJECT;
    }
    uint32_t id;
    memcpy(&id, bytes->data + 1, sizeof id);
    *ret_id = be32toh(id);
    *bytes = slice_make(bytes->data + 5, bytes->len - 5);
    return OK;
}

typedef struct plan *plan_compile_f(struct slice json);

static enum code plan_of(struct decoder *decoder, struct id_map *map, plan_compile_f *compile, uint32_t id,
                         const struct plan **ret, struct err *err) {
    struct plan *plan = id_map_get(map, id);
    if (!plan) {
        struct slice json;
        enum code code = schema_get(decoder->store, id, &json, err);
        if (code != OK)
            return code;
        plan = compile(json);
        id_map_put(map, id, plan);
    }
    if (plan->refused) {
        err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "schema %u cannot be used: %s", id, plan->refused);
        return REJECT;
    }
    *ret = plan;
    return OK;
}

static bool key_fits(const struct table *table, const struct plan *key) {
    if (key->n_columns != table->n_key)
        return false;
    for (int i = 0; i < table->n_key; i++)
        if (key->columns[i].kind != table->columns[table->key[i]].kind)
            return false;
    return true;
}

static bool read_key(struct cursor *c, const struct table *table, const struct plan *key, struct arena *arena,
                     struct value *row) {
    for (int i = 0; i < table->n_columns; i++)
        row[i].tag = VALUE_ABSENT;
    for (int i = 0; i < table->n_key; i++)
        if (!value_read(c, &key->columns[i], arena, &row[table->key[i]]))
            return false;
    return c->p == c->end ? true : cursor_fail(c, "bytes after the end");
}

/* A row of which only the key is known: its fields stand in the order of the table's key. */
static enum code read_key_row(struct decoder *decoder, struct slice framed, const char *what,
                              struct arena *arena, const struct table *table, const struct value **ret,
                              struct err *err) {
    uint32_t id = 0;
    const struct plan *key;
    enum code code = unframe(&framed, &id, err);
    if (code == OK)
        code = plan_of(decoder, &decoder->keys, plan_key, id, &key, err);
    if (code != OK) {
        err_prefix(err, "%s of %s.%s", what, table->schema, table->name);
        return code;
    }
    if (!key_fits(table, key))
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "key schema %u does not fit the key of %s.%s", id,
                       table->schema, table->name);
    struct value *row = row_new(arena, table->n_columns);
    struct cursor c = cursor_of(framed);
    *ret = row;
    if (!read_key(&c, table, key, arena, row))
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "%s of %s.%s: %s", what, table->schema, table->name,
                       c.why);
    return OK;
}

/* A registry that was reset gives its ids anew: what stands under the id must have the shape that was
 * written. */
static enum code check_shape(const struct table *table, struct slice header, uint32_t id, struct err *err) {
    if (__builtin_expect(big32(header.data + HEADER_SHAPE) == (uint32_t)table->digest, true))
        return OK;
    return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN,
                   "the schema under id %u is of table %s.%s, and not the one that this record was written "
                   "with: the registry was "
                   "reset, or gave one id to two schemas. Restore its subjects",
                   id, table->schema, table->name);
}

static enum code unreadable(const struct reading *r, uint32_t id, struct err *err) {
    const struct table *table = r->plan->table;
    const struct position at = r->ret->position;
    const char *column = r->column >= 0 ? table->columns[r->column].name : NULL;
    return err_set(err, REJECT, ERR_JOURNAL_CORRUPT,
                   "change (%llu, %llX, %llu) of %s.%s, schema %u%s%s%s: %s",
                   (unsigned long long)at.generation, (unsigned long long)at.commit,
                   (unsigned long long)at.ordinal, table->schema, table->name, id, column ? ", column '" : "",
                   column ? column : "", column ? "'" : "", r->c.why);
}

/* A tombstone whose delete may have been compacted away: the delete again, from its header and its key. */
static enum code read_tombstone(struct decoder *decoder, const struct encoded *record, struct arena *arena,
                                struct change *ret, struct err *err) {
    uint8_t flags = 0;
    const struct plan *plan;
    *ret = (struct change){.op = OP_DELETE, .remnant = true};
    enum code code = header_read(record->header, &ret->position, &flags, err);
    if (code != OK)
        return code;
    if (!(flags & HEADER_TOMBSTONE) || record->header.len != HEADER_FIXED + 4)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT,
                       "a record without a value whose header is no tombstone's");
    uint32_t id = big32(record->header.data + HEADER_FIXED);
    code = plan_of(decoder, &decoder->envelopes, plan_envelope, id, &plan, err);
    if (code == OK)
        code = check_shape(plan->table, record->header, id, err);
    if (code != OK)
        return code;
    ret->table = plan->table;
    ret->moved_partial = flags & HEADER_MOVED_PARTIAL;
    if (ret->table->n_key == 0)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT,
                       "a tombstone in the topic of %s.%s, which has no key", ret->table->schema,
                       ret->table->name);
    return read_key_row(decoder, record->key, "key of a tombstone", arena, ret->table, &ret->before, err);
}

enum code decoder_change(struct decoder *decoder, const struct encoded *record, struct arena *arena,
                         struct change *ret, struct err *err) {
    struct slice value = record->value;
    uint8_t flags = 0;
    uint32_t id = 0;
    if (!value.data)
        return record->header.len ? read_tombstone(decoder, record, arena, ret, err) : AGAIN;
    static const struct change empty;
    *ret = empty;
    enum code code = header_read(record->header, &ret->position, &flags, err);
    if (code == OK)
        code = unframe(&value, &id, err);
    struct reading r = {.arena = arena, .ret = ret, .column = -1};
    if (code == OK)
        code = plan_of(decoder, &decoder->envelopes, plan_envelope, id, &r.plan, err);
    if (code == OK)
        code = check_shape(r.plan->table, record->header, id, err);
    if (code != OK)
        return code;

    r.c = cursor_of(value);
    r.absent = slice_make(record->header.data + HEADER_FIXED, record->header.len - HEADER_FIXED);
    ret->table = r.plan->table;
    ret->snapshot = flags & HEADER_SNAPSHOT;
    ret->moved_partial = flags & HEADER_MOVED_PARTIAL;
    ret->restart_identity = flags & HEADER_RESTART_IDENTITY;
    if (!read_envelope(&r))
        return unreadable(&r, id, err);
    if (ret->moved_partial && (!(flags & HEADER_HAS_OTHER) || ret->table->n_key == 0))
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "moved row of %s.%s without its other key",
                       ret->table->schema, ret->table->name);
    return flags & HEADER_HAS_OTHER
               ? read_key_row(decoder, record->other_key, "other key", arena, ret->table, &ret->other, err)
               : OK;
}
