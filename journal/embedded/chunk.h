/* A chunk: records of one partition as bytes, and their checksum, which SQLite does not have.
 *
 *   record   flags (1 byte), varint offset - previous offset, zigzag varint time - previous time,
 *            [varint n, key], [varint n, value], [varint n, headers]
 *   headers  varint count, then for each: a number of those below, or 0, varint n, name; varint n + 1, value
 * (0: null)
 *
 * The previous offset of the first record is first - 1, the previous time 0. Varints are those of LEB128. */
#pragma once

#include "base/err.h"
#include "journal/journal.h"

/* What the chunk's row says beside its bytes; covered by the checksum. */
struct chunk_head {
    int64_t part;        /* partitions.id */
    int64_t first, last; /* every offset lies between */
    int64_t ts_us;       /* of its newest record */
};

struct chunk { /* one that is being written; zero-initialised is empty */
    struct buf bytes;
    int64_t first, last, ts_us;
    int64_t previous_us;
};

/* A record read; everything points into the chunk's bytes. */
struct chunk_record {
    int64_t offset, ts_us;
    struct slice key, value; /* data == NULL: null */
    struct slice headers;    /* as they are written; data == NULL: none */
};

static inline bool chunk_empty(const struct chunk *c) {
    return c->bytes.len == 0;
}
/* Keeps the memory. */
static inline void chunk_clear(struct chunk *c) {
    buf_clear(&c->bytes);
}
void chunk_free(struct chunk *c);
/* Appends a record; its offset is larger than that of the one before. The first one's is the chunk's
 * first. */
void chunk_put(struct chunk *c, const struct chunk_record *record);
/* Writes headers, as chunk_record wants them, to `out`. */
void chunk_headers(struct buf *out, const struct journal_header *headers, int n);
uint32_t chunk_crc(const struct chunk_head *head, struct slice bytes);

struct chunk_cursor {
    struct chunk_head head;
    const char *p, *end;
    int64_t offset, ts_us; /* of the record before */
};
/* False: the checksum says that it is damaged. `bytes` is borrowed. */
MUST_CHECK bool chunk_open(struct chunk_cursor *c, const struct chunk_head *head, uint32_t crc,
                           struct slice bytes);
/* OK; AGAIN: no more; REJECT: damaged, though the checksum is right. */
MUST_CHECK enum code chunk_next(struct chunk_cursor *c, struct chunk_record *ret);
/* The value of the header of that name, empty if there is none, or none that can be read. */
struct slice chunk_header(struct slice headers, const char *name);
