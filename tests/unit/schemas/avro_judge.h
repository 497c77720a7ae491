/* Avro C as a judge of the encoder: it must read every record, and write the same bytes again. */
#pragma once

#include <avro.h>

#include "memory_store.h"

struct judge {
    avro_schema_t schema;
    avro_value_iface_t *iface;
    avro_value_t value;
};

/* Reads a framed record with the schema that its frame names, and writes it again to the same bytes. */
void judge_open(struct judge *j, struct memory_store *memory, struct slice framed);
void judge_close(struct judge *j);

/* "after.price": a field of a field, through unions. */
avro_value_t judge_field(avro_value_t value, const char *path);
/* A value as Avro C read it: numbers as text, bytes as hex, null, true, a point as its numbers. In `out`. */
const char *judge_print(avro_value_t value, struct buf *out);
