/* Reading chunks of one partition: what writers, readers and upkeep have in common. */
#pragma once

#include "journal/embedded/chunk.h"
#include "journal/embedded/store.h"

struct part { /* a row of partitions */
    int64_t id;
    int64_t low, next; /* held: low <= offset < next */
};

/* A chunk that was read, its bytes copied. Zero-initialised is empty. */
struct part_chunk {
    int64_t id; /* of its row */
    struct chunk_head head;
    uint32_t crc;
    struct buf bytes;
};
static inline void part_chunk_free(struct part_chunk *c) {
    buf_free(&c->bytes);
}

/* AGAIN: there is no such topic or partition. */
MUST_CHECK enum code part_find(struct store *s, const char *topic, int partition, struct part *ret,
                               struct err *err);

/* One statement each, so that what it says of the partition and the chunk is of one moment. */
enum part_read { PART_GONE, PART_END, PART_CHUNK };
/* The first chunk whose last offset is at least `offset`, of those that are visible. *ret_part: what is held
 * now. */
MUST_CHECK enum code part_read_at(struct store *s, int64_t part, int64_t offset, struct part *ret_part,
                                  struct part_chunk *chunk, enum part_read *ret, struct err *err);
/* The newest visible chunk whose last offset is below `offset`. */
MUST_CHECK enum code part_read_before(struct store *s, int64_t part, int64_t offset, struct part_chunk *chunk,
                                      enum part_read *ret, struct err *err);
/* The first chunk with from <= last < to, visible or not (upkeep.c). */
MUST_CHECK enum code part_read_between(struct store *s, int64_t part, int64_t from, int64_t to,
                                       struct part_chunk *chunk, enum part_read *ret, struct err *err);

/* FATAL/JOURNAL_CORRUPT: its checksum does not fit; named by topic, partition and offset. */
MUST_CHECK enum code part_chunk_open(const struct part_chunk *chunk, const struct store *s, const char *topic,
                                     int partition, struct chunk_cursor *ret, struct err *err);
/* FATAL/JOURNAL_CORRUPT as above: what is read at `offset` makes no sense. */
enum code part_damaged(const struct store *s, const char *topic, int partition, int64_t offset,
                       struct err *err);
