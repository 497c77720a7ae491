/* Avro bytes to one value, by the column's kind (KIND_TABLE), and over any value without looking at it. */
#pragma once

#include "schemas/decode_cursor.h"
#include "schemas/decode_plan.h"

/* Reads one column's value. Text and bytes borrow from the record; DECIMAL and BITS are written to the arena.
 * False: see cursor->why. */
bool value_read(struct cursor *c, const struct plan_column *column, struct arena *arena, struct value *ret);
/* Goes past a value of any shape; depth: 0 at the outside. */
bool value_skip(struct cursor *c, const struct shape *shape, int depth);

/* Big-endian two's complement and scale (may be negative) as decimal text with exactly `scale` digits after
 * the point; lives in the arena. False: empty, or longer than 1000 digits need. */
enum { DECIMAL_BYTES_MAX = 420, DECIMAL_SCALE_MAX = 1000 };
bool decimal_text(struct slice unscaled, int scale, struct arena *arena, struct slice *ret);
/* True if the bytes are UTF-8 without NUL. */
bool text_valid(struct slice text);
