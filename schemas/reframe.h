/* Records that go from one schema store to another: their bytes stay, the ids in them become the other
 * store's. */
#pragma once

#include "schemas/store.h"

struct reframer;
/* The stores are borrowed. */
struct reframer *reframer_new(struct schema_store *from, struct schema_store *to);
void reframer_free(struct reframer *r);

/* Each writes to `out` (cleared first) and knows the subject of a schema by the record's topic, as
 * encoder_new does. A NULL slice gives an empty buf. REJECT/JOURNAL_CORRUPT: not framed. Errors of schema_get
 * and schema_put. */
MUST_CHECK enum code reframe_key(struct reframer *r, const char *topic, struct slice framed, struct buf *out,
                                 struct err *err);
MUST_CHECK enum code reframe_value(struct reframer *r, const char *topic, struct slice framed,
                                   struct buf *out, struct err *err);
/* The "millrace" header: that of a tombstone names the schema of the delete before it. */
MUST_CHECK enum code reframe_header(struct reframer *r, const char *topic, struct slice header,
                                    struct buf *out, struct err *err);
