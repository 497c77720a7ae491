#include "schemas/reframe.h"

#include "schemas/avro_schema.h"
#include "schemas/encode.h"
#include "schemas/id_map.h"

enum { ID_BYTES = 4, FRAME_BYTES = 1 + ID_BYTES };

struct known {
    uint32_t to;
};

struct reframer {
    struct schema_store *from, *to;
    struct id_map ids; /* of `from` to struct known */
    struct buf truncate_key;
};

struct reframer *reframer_new(struct schema_store *from, struct schema_store *to) {
    struct reframer *r = xcalloc(1, sizeof *r);
    r->from = from;
    r->to = to;
    avro_schema_truncate_key(&r->truncate_key);
    return r;
}

void reframer_free(struct reframer *r) {
    if (!r)
        return;
    id_map_free(&r->ids, free);
    buf_free(&r->truncate_key);
    free(r);
}

static uint32_t id_read(const char *at) {
    const unsigned char *b = (const unsigned char *)at;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static void id_put(struct buf *out, uint32_t id) {
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(out, (char)(id >> shift));
}

static enum code learn(struct reframer *r, uint32_t from, const char *topic, const char *of,
                       struct known **ret, struct err *err) {
    struct slice json;
    uint32_t to = 0;
    enum code code = schema_get(r->from, from, &json, err);
    if (code != OK)
        return code;
    bool truncate = slice_eq(json, buf_slice(&r->truncate_key));
    CLEANUP_FREE char *subject = truncate ? xstrdup("millrace.TruncateKey") : xasprintf("%s-%s", topic, of);
    code = schema_put(r->to, subject, json, &to, err);
    if (code != OK)
        return code;
    *ret = xcalloc(1, sizeof **ret);
    (*ret)->to = to;
    id_map_put(&r->ids, from, *ret);
    return OK;
}

static enum code put_id(struct reframer *r, uint32_t from, const char *topic, const char *of, struct buf *out,
                        struct err *err) {
    struct known *known = id_map_get(&r->ids, from);
    enum code code = known ? OK : learn(r, from, topic, of, &known, err);
    if (code == OK)
        id_put(out, known->to);
    return code;
}

static enum code reframe(struct reframer *r, const char *topic, const char *of, struct slice framed,
                         struct buf *out, struct err *err) {
    buf_clear(out);
    if (!framed.data)
        return OK;
    if (framed.len < FRAME_BYTES || framed.data[0] != 0)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "its %s does not begin with a schema's id", of);
    buf_putc(out, 0);
    enum code code = put_id(r, id_read(framed.data + 1), topic, of, out, err);
    if (code == OK)
        buf_put(out, framed.data + FRAME_BYTES, framed.len - FRAME_BYTES);
    return code;
}

enum code reframe_key(struct reframer *r, const char *topic, struct slice framed, struct buf *out,
                      struct err *err) {
    return reframe(r, topic, "key", framed, out, err);
}

enum code reframe_value(struct reframer *r, const char *topic, struct slice framed, struct buf *out,
                        struct err *err) {
    return reframe(r, topic, "value", framed, out, err);
}

enum code reframe_header(struct reframer *r, const char *topic, struct slice header, struct buf *out,
                         struct err *err) {
    buf_clear(out);
    if (header.len < HEADER_FIXED || !((unsigned char)header.data[1] & HEADER_TOMBSTONE)) {
        buf_put(out, header.data, header.len);
        return OK;
    }
    if (header.len != HEADER_FIXED + ID_BYTES)
        return err_set(err, REJECT, ERR_JOURNAL_CORRUPT, "the header of its tombstone has %zu bytes",
                       header.len);
    buf_put(out, header.data, HEADER_FIXED);
    return put_id(r, id_read(header.data + HEADER_FIXED), topic, "value", out, err);
}
