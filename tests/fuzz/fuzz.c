#include "fuzz.h"

#include <math.h>

#include "schemas/decode.h"
#include "schemas/decode_value.h"

/* ---- the tape ---- */

void tape_init(struct tape *tape, const uint8_t *data, size_t size) {
    *tape = (struct tape){.p = data, .end = data + size};
}

void tape_free(struct tape *tape) {
    for (int i = 0; i < tape->n_chunks; i++)
        free(tape->chunks[i]);
    tape->n_chunks = 0;
}

uint64_t tape_number(struct tape *tape, int bytes) {
    uint64_t number = 0;
    for (int i = 0; i < bytes && tape->p < tape->end; i++)
        number |= (uint64_t)*tape->p++ << (8 * i);
    return number;
}

static struct slice take(struct tape *tape, size_t len) {
    size_t left = (size_t)(tape->end - tape->p);
    if (len > left)
        len = left;
    if (tape->n_chunks == CHUNKS_MAX)
        return (struct slice){"", 0};
    char *copy = xmalloc(len ? len : 1);
    if (len)
        memcpy(copy, tape->p, len);
    tape->p += len;
    tape->chunks[tape->n_chunks++] = copy;
    return slice_make(copy, len);
}

struct slice tape_chunk(struct tape *tape) {
    return take(tape, tape_number(tape, 2));
}

struct slice tape_rest(struct tape *tape) {
    return take(tape, SIZE_MAX);
}

const char *tape_text(struct tape *tape) {
    struct slice chunk = tape_chunk(tape);
    if (tape->n_chunks == 0 || chunk.len == 0)
        return "";
    char *text = xstrndup(chunk.data, strnlen(chunk.data, chunk.len));
    free(tape->chunks[tape->n_chunks - 1]);
    tape->chunks[tape->n_chunks - 1] = text;
    return text;
}

void tape_put(struct buf *to, struct slice bytes) {
    HOLDS(bytes.len <= UINT16_MAX, "a chunk of %zu bytes", bytes.len);
    buf_putc(to, (char)bytes.len);
    buf_putc(to, (char)(bytes.len >> 8));
    buf_put_slice(to, bytes);
}

/* ---- schemas in memory ---- */

struct fuzz_store {
    struct schema_store base;
    struct buf *texts;
    uint32_t n, cap;
};

static enum code store_put(struct schema_store *base, const char *subject, struct slice json,
                           uint32_t *ret_id, struct err *err) {
    struct fuzz_store *s = (struct fuzz_store *)base;
    if (!text_valid(json))
        return err_set(err, FATAL, ERR_REGISTRY_REFUSED, "the schema of '%s' is not UTF-8", subject);
    for (uint32_t i = 0; i < s->n; i++)
        if (slice_eq(buf_slice(&s->texts[i]), json))
            return *ret_id = i, OK;
    if (s->n == s->cap)
        s->texts = xrealloc(s->texts, (s->cap = s->cap * 2 + 8) * sizeof *s->texts);
    s->texts[s->n] = (struct buf){0};
    buf_put_slice(&s->texts[s->n], json);
    *ret_id = s->n++;
    return OK;
}

static enum code store_get(struct schema_store *base, uint32_t id, struct slice *ret_json, struct err *err) {
    struct fuzz_store *s = (struct fuzz_store *)base;
    if (id >= s->n)
        return err_set(err, REJECT, ERR_SCHEMA_UNKNOWN, "nobody knows schema %u", id);
    *ret_json = buf_slice(&s->texts[id]);
    return OK;
}

static void store_free(struct schema_store *base) {
    struct fuzz_store *s = (struct fuzz_store *)base;
    for (uint32_t i = 0; i < s->n; i++)
        buf_free(&s->texts[i]);
    free(s->texts);
    free(s);
}

struct schema_store *fuzz_store_new(void) {
    struct fuzz_store *s = xcalloc(1, sizeof *s);
    s->base = (struct schema_store){.put = store_put, .get = store_get, .free = store_free};
    return &s->base;
}

/* ---- values ---- */

/* Avro keeps the bits of a double; a NaN is one whatever its bits are (a float of 32 bits may quieten it). */
static bool double_same(double a, double b) {
    return (isnan(a) && isnan(b)) || memcmp((const char *)&a, (const char *)&b, sizeof a) == 0;
}

bool value_same(const struct value *a, const struct value *b) {
    if (a->tag != b->tag)
        return false;
    switch (a->tag) {
    case VALUE_INT:
        return a->i == b->i;
    case VALUE_FLOAT:
        return double_same(a->d, b->d);
    case VALUE_TEXT:
    case VALUE_BYTES:
        return slice_eq(a->s, b->s);
    case VALUE_POINT:
        return double_same(a->xy[0], b->xy[0]) && double_same(a->xy[1], b->xy[1]);
    case VALUE_ABSENT:
    case VALUE_NULL:
        break;
    }
    return true;
}

void value_check(const struct column *column, const struct value *value) {
    if (value->tag == VALUE_ABSENT || value->tag == VALUE_NULL)
        return;
    HOLDS(value->tag == kind_tag(column->kind), "kind %s with tag %d", kind_name(column->kind), value->tag);
    if (value->tag == VALUE_TEXT)
        HOLDS(text_valid(value->s), "kind %s", kind_name(column->kind));
}

/* ---- changes ---- */

static const struct encoder_identity identity = {.connector = "postgresql", .name = "shop", .database = "db"};

void round_trip_open(struct round_trip *rt) {
    rt->store = fuzz_store_new();
    rt->encoder = NULL;
    rt->decoder = decoder_new(rt->store);
}

void round_trip_close(struct round_trip *rt) {
    encoder_free(rt->encoder);
    decoder_free(rt->decoder);
    schema_store_free(rt->store);
}

static bool encoder_ready(struct round_trip *rt, const struct table *table) {
    struct err err;
    if (rt->encoder && encoder_table(rt->encoder)->digest == table->digest)
        return true;
    encoder_free(rt->encoder);
    rt->encoder = NULL;
    return encoder_new(table, "shop.public.t", &identity, rt->store, &rt->encoder, &err) == OK;
}

/* What the wire carries of a row: of a `before` only the key can be believed, unless there is none. */
static void rows_check(const struct table *table, const struct value *sent, const struct value *got,
                       bool key_only) {
    HOLDS((sent != NULL) == (got != NULL), "a row is lost or made up");
    for (int i = 0; sent && i < table->n_columns; i++) {
        if (key_only && !table->columns[i].key)
            continue;
        HOLDS(value_same(&sent[i], &got[i]), "column %d of kind %s (tags %d, %d)", i,
              kind_name(table->columns[i].kind), sent[i].tag, got[i].tag);
    }
}

static void change_check(const struct change *sent, const struct change *got) {
    const struct table *table = sent->table;
    bool keyed = table->n_key > 0;
    HOLDS(got->op == sent->op, "%c, %c", sent->op, got->op);
    HOLDS(position_cmp(got->position, sent->position) == 0, "position");
    bool same_xid = got->xid == sent->xid || sent->snapshot; /* rows of a snapshot have no transaction */
    HOLDS(got->commit_us == sent->commit_us && got->lsn == sent->lsn && same_xid, "numbers");
    HOLDS(got->snapshot == sent->snapshot && got->moved_partial == sent->moved_partial &&
              got->restart_identity == sent->restart_identity,
          "flags");
    HOLDS(got->table->digest == table->digest, "the table came back as another version");
    if (sent->op == OP_TRUNCATE)
        return;
    rows_check(table, sent->after, got->after, false);
    rows_check(table, sent->before, got->before, keyed);
    rows_check(table, sent->other, got->other, true);
    const struct value *row = sent->op == OP_DELETE ? sent->before : sent->after;
    const struct value *row_got = got->op == OP_DELETE ? got->before : got->after;
    HOLDS(key_hash(table, row) == key_hash(got->table, row_got), "the key hashes otherwise");
}

static void tombstone_check(struct round_trip *rt, const struct change *change,
                            const struct encoded *record) {
    char grave[HEADER_BYTES_MAX];
    struct arena arena = {0};
    struct change got;
    struct err err;
    size_t len = header_write_tombstone(change, record->value, grave);
    struct encoded tombstone = {.key = record->key, .header = slice_make(grave, len)};
    HOLDS(decoder_change(rt->decoder, &tombstone, &arena, &got, &err) == OK, "%s", err.text);
    HOLDS(got.op == OP_DELETE && got.remnant && position_cmp(got.position, change->position) == 0,
          "tombstone");
    rows_check(change->table, change->before, got.before, true);
    arena_free(&arena);
}

bool round_trip(struct round_trip *rt, const struct change *change) {
    if (!encoder_ready(rt, change->table))
        return false;
    struct buf key = {0}, value = {0}, other = {0};
    struct arena arena = {0};
    struct err err;
    struct change got;
    char header[HEADER_BYTES_MAX];
    int column = -1;
    enum code code = encoder_change(rt->encoder, change, 1700000000000000, &key, &value, &column, &err);
    if (code == OK && change->other)
        code = encoder_key(rt->encoder, change->other, &other, &column, &err);
    if (code == OK) {
        struct encoded record = {.key = buf_slice(&key),
                                 .value = buf_slice(&value),
                                 .header = slice_make(header, header_write(change, header)),
                                 .other_key = buf_slice(&other)};
        HOLDS(decoder_change(rt->decoder, &record, &arena, &got, &err) == OK, "%s", err.text);
        change_check(change, &got);
        if (change->op == OP_DELETE && change->table->n_key)
            tombstone_check(rt, change, &record);
    } else {
        HOLDS(code == REJECT && err.id == ERR_VALUE_NOT_CARRIED && column >= 0 &&
                  column < change->table->n_columns,
              "%s", err.text);
    }
    arena_free(&arena);
    buf_free(&key);
    buf_free(&value);
    buf_free(&other);
    return code == OK;
}
