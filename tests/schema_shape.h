/* What a record's header must tell of its schema. */
#pragma once

#include "schemas/decode_plan.h"

/* The low four bytes of the digest of the table that an envelope's schema describes; 0: it describes none. */
static inline uint32_t schema_shape(struct slice json) {
    struct plan *plan = plan_envelope(json);
    uint32_t shape = plan->table ? (uint32_t)plan->table->digest : 0;
    plan_free(plan);
    return shape;
}
