/* A table, its encoder, one record of it, and what Avro C makes of that. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "avro_judge.h"
#include "memory_store.h"
#include "schemas/encode.h"
#include "tests/values.h"

#define NOW   INT64_C(1700000001234567)
#define TOPIC "shop.public.t"
extern const struct encoder_identity identity;

struct fixture {
    struct memory_store memory;
    struct encoder *encoder;
    struct buf key, value, text; /* the record; what seen() printed */
    struct judge judge;
    bool judged;
    int column; /* that was refused */
    struct err err;
};

int encode_setup(void **state);
int encode_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, encode_setup, encode_teardown)

/* ---- tables and changes ---- */

#define NUMERIC(p, s) \
    { "c", "numeric", KIND_DECIMAL, .precision = (p), .scale = (s) }
#define KIND(k) \
    { "c", "x", KIND_##k }

/* public.t, without a key. */
struct table table_of(struct column *columns, int n);
/* A change at a fixed place of the source. */
struct change change_of(enum op op, const struct table *table, const struct value *before,
                        const struct value *after);

/* ---- encoding ---- */

/* Encodes with a new encoder, for the change's table. */
enum code encode(struct fixture *f, const struct change *change);
/* Encodes and judges; then f->judge.value is the envelope. */
void encode_ok(struct fixture *f, const struct change *change);
/* A field of the envelope, and of the key, as text; valid until the next one. */
const char *seen(struct fixture *f, const char *path);
const char *key_seen(struct fixture *f, const char *path);
