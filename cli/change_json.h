/* Changes as JSON, with their row values: for the commands whose purpose that is. */
#pragma once

#include <jansson.h>

#include "schemas/change.h"

/* {"position":{"generation":..,"commit":"0/0","ordinal":..},"commit_us":..,"op":..,"schema":..,"table":..,"before":..,"after":..};
 * the caller's to decref. */
json_t *change_json(const struct change *change);
/* {"column":value,...}; null where there is no row. Bytes as "\\x...". */
json_t *row_json(const struct table *table, const struct value *row);
const char *change_word(enum op op); /* insert, update, ... */
