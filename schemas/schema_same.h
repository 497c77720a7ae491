/* Whether two schema texts mean the same to Avro although a registry wrote one of them anew. */
#pragma once

#include <stdbool.h>

#include "base/slice.h"

/* True if both texts are the same JSON after: attribute order, whitespace, {"type":"int"} for "int", and
 * names written with or without their namespace. Every other attribute must be equal. False also if one is
 * not JSON or nested deeper than JSON_DEPTH_MAX. */
bool schema_same(struct slice a, struct slice b);

/* True if no bracket in this JSON text stands deeper than `depth`; asked before a parser recurses over it. */
enum { JSON_DEPTH_MAX = 64 };
bool json_depth_within(struct slice json, int depth);
