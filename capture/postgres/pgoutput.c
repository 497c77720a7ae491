/* The parser of pgoutput's frames. Every read goes through a cursor that cannot leave the frame: once it has
 * run out, all further reads give zero and the frame is refused at its end. */
#include "capture/postgres/pgoutput.h"

#include <assert.h>

#define US_1970_TO_2000 INT64_C(946684800000000)

struct cursor {
    const char *p, *end;
    bool short_; /* something was read past the end */
};

static const char *take(struct cursor *c, size_t n) {
    if ((size_t)(c->end - c->p) < n) {
        c->short_ = true;
        c->p = c->end;
        return NULL;
    }
    const char *p = c->p;
    c->p += n;
    return p;
}

static uint64_t big_endian(struct cursor *c, size_t n) {
    const unsigned char *p = (const unsigned char *)take(c, n);
    uint64_t v = 0;
    for (size_t i = 0; p && i < n; i++)
        v = v << 8 | p[i];
    return v;
}
static char read_char(struct cursor *c) {
    return (char)big_endian(c, 1);
}
static uint16_t read_u16(struct cursor *c) {
    return (uint16_t)big_endian(c, 2);
}
static uint32_t read_u32(struct cursor *c) {
    return (uint32_t)big_endian(c, 4);
}
static uint64_t read_u64(struct cursor *c) {
    return big_endian(c, 8);
}

static int64_t read_time(struct cursor *c) {
    return (int64_t)(read_u64(c) +
                     (uint64_t)US_1970_TO_2000); /* unsigned: a hostile time may wrap, not trap */
}

static struct slice read_name(struct cursor *c) {
    const char *nul = memchr(c->p, 0, (size_t)(c->end - c->p));
    if (!nul) {
        c->short_ = true;
        c->p = c->end;
        return (struct slice){"", 0};
    }
    struct slice s = {c->p, (size_t)(nul - c->p)};
    c->p = nul + 1;
    return s;
}

static const char *read_row(struct cursor *c, struct pgoutput_row *row) {
    row->n = 0;
    int n = read_u16(c);
    if (n > PGOUTPUT_COLUMNS_MAX)
        return "a tuple has more columns than a table can have";
    for (int i = 0; i < n; i++) {
        struct pgoutput_field *f = &row->fields[i];
        f->kind = read_char(c);
        f->text = (struct slice){"", 0};
        if (f->kind == 't') {
            uint32_t len = read_u32(c);
            const char *p = take(c, len);
            if (!p)
                return "a value is longer than its frame";
            f->text = (struct slice){p, len};
        } else if (f->kind != 'n' && f->kind != 'u') {
            return c->short_ ? "the frame is cut short" : "a value is neither null, unchanged nor text";
        }
    }
    row->n = n;
    return NULL;
}

static const char *read_relation(struct cursor *c, struct pgoutput *m) {
    struct pgoutput_relation *r = &m->relation;
    r->n = 0;
    r->relid = m->relid = read_u32(c);
    r->schema = read_name(c);
    if (r->schema.len == 0)
        r->schema = slice_of("pg_catalog");
    r->name = read_name(c);
    r->identity = read_char(c);
    if (!c->short_ && (r->identity == 0 || !strchr("dnfi", r->identity)))
        return "the replica identity is unknown";
    int n = read_u16(c);
    if (n > PGOUTPUT_COLUMNS_MAX)
        return "a relation has more columns than a table can have";
    for (int i = 0; i < n && !c->short_; i++) {
        struct pgoutput_column *col = &r->columns[i];
        col->identity = read_char(c) & 1;
        col->name = read_name(c);
        col->type = read_u32(c);
        col->typmod = (int32_t)read_u32(c);
    }
    r->n = n;
    return NULL;
}

static const char *read_insert(struct cursor *c, struct pgoutput *m) {
    m->relid = read_u32(c);
    if (read_char(c) != 'N')
        return "an insert has no new tuple";
    return read_row(c, &m->new);
}

static const char *read_update(struct cursor *c, struct pgoutput *m) {
    m->relid = read_u32(c);
    char part = read_char(c);
    m->old_kind = 0;
    if (part == 'K' || part == 'O') {
        m->old_kind = part;
        const char *why = read_row(c, &m->old);
        if (why)
            return why;
        part = read_char(c);
    }
    if (part != 'N')
        return "an update has no new tuple";
    return read_row(c, &m->new);
}

static const char *read_delete(struct cursor *c, struct pgoutput *m) {
    m->relid = read_u32(c);
    m->old_kind = read_char(c);
    if (m->old_kind != 'K' && m->old_kind != 'O')
        return "a delete has no old tuple";
    return read_row(c, &m->old);
}

static const char *read_truncate(struct cursor *c, struct pgoutput *m) {
    m->n_relids = read_u32(c);
    unsigned char flags = (unsigned char)read_char(c);
    m->cascade = flags & 1;
    m->restart = flags & 2;
    if (m->n_relids > (size_t)(c->end - c->p) / 4)
        return "a truncate names more relations than it holds";
    size_t len = (size_t)m->n_relids * 4;
    m->relids = (struct slice){take(c, len), len};
    return NULL;
}

static const char *read_message(struct cursor *c, struct pgoutput *m) {
    read_char(c); /* flags: transactional or not */
    read_u64(c);  /* its LSN: never a position */
    m->name = read_name(c);
    if (!take(c, read_u32(c)))
        return "a logical message is longer than its frame";
    return NULL;
}

static const char *read_body(struct cursor *c, struct pgoutput *m) {
    switch (m->type) {
    case 'B':
        m->commit_lsn = read_u64(c);
        m->commit_us = read_time(c);
        m->xid = read_u32(c);
        return NULL;
    case 'C':
        read_char(c); /* flags: unused */
        m->commit_lsn = read_u64(c);
        m->end_lsn = read_u64(c);
        m->commit_us = read_time(c);
        return NULL;
    case 'O':
        read_u64(c); /* the LSN at the origin */
        m->name = read_name(c);
        return NULL;
    case 'Y':
        m->relid = read_u32(c);
        m->schema = read_name(c);
        m->name = read_name(c);
        return NULL;
    case 'R':
        return read_relation(c, m);
    case 'I':
        return read_insert(c, m);
    case 'U':
        return read_update(c, m);
    case 'D':
        return read_delete(c, m);
    case 'T':
        return read_truncate(c, m);
    case 'M':
        return read_message(c, m);
    default:
        return "the frame's type is unknown";
    }
}

const char *pgoutput_parse(struct slice bytes, struct pgoutput *ret) {
    struct cursor c = {bytes.data, bytes.data + bytes.len, false};
    if (bytes.len == 0)
        return "the frame is empty";
    ret->type = read_char(&c);
    const char *why = read_body(&c, ret);
    if (c.short_)
        return "the frame is cut short";
    if (!why && c.p != c.end)
        return "the frame has bytes after its end";
    return why;
}

uint32_t pgoutput_relid(const struct pgoutput *frame, uint32_t i) {
    assert(frame->type == 'T' && i < frame->n_relids);
    struct cursor c = {frame->relids.data + (size_t)i * 4, frame->relids.data + frame->relids.len, false};
    return read_u32(&c);
}
