/* Records of the journal, with the schemas they name, through the decoder and everything a sink does before
 * SQL.
 *
 *   tape   = chunk (schema 0: the envelope's) chunk (schema 1: the key's) record*
 *   record = chunk (header) chunk (key) chunk (other key) chunk (value; empty: a tombstone) */
#pragma once

#include "fuzz.h"

/* `schemas`: the schema texts go through everything else that reads schemas, too. */
void record_run(const uint8_t *data, size_t size, bool schemas);
