/* Avro binary by hand, unchecked: tests write wrong bytes with it, too. */
#pragma once

#include "base/slice.h"

void put_raw(struct buf *out, uint64_t raw); /* a varint */
void put_long(struct buf *out, int64_t n);
void put_bytes(struct buf *out, const void *data, size_t len);
void put_text(struct buf *out, const char *text);
void put_double(struct buf *out, double d);
void put_float(struct buf *out, float f);

/* What stands before a record: the registry's frame; and the "millrace" header, without bitmap. */
void put_frame(struct buf *out, uint32_t id);
void put_header(struct buf *out, uint8_t flags, uint64_t generation, uint64_t commit, uint64_t ordinal,
                uint32_t shape);
