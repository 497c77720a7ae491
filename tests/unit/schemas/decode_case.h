/* A decoder and one record, written by hand byte by byte. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "avro_bytes.h"
#include "memory_store.h"
#include "schemas/decode.h"

/* ---- schemas: the table of most tests is (id int4, note text, amount numeric(12,2)), key (id) ---- */

#define ROW_FIELDS                                                                                          \
    "{\"name\":\"id\",\"type\":\"int\",\"millrace.type\":\"integer\",\"millrace.key\":1},"                  \
    "{\"name\":\"note\",\"type\":[\"null\",\"string\"],\"default\":null,\"millrace.type\":\"text\"},"       \
    "{\"name\":\"amount\",\"type\":[\"null\",{\"type\":\"bytes\",\"scale\":2,\"precision\":12,\"connect."   \
    "version\":1,"                                                                                          \
    "\"connect.parameters\":{\"scale\":\"2\",\"connect.decimal.precision\":\"12\"},"                        \
    "\"connect.name\":\"org.apache.kafka.connect.data.Decimal\",\"logicalType\":\"decimal\"}],\"default\":" \
    "null,"                                                                                                 \
    "\"millrace.type\":\"numeric(12,2)\"}"
#define ROW_OPEN  "{\"type\":\"record\",\"name\":\"Value\",\"fields\":["
#define ROW_CLOSE "],\"connect.name\":\"shop.public.t.Value\",\"millrace.table\":[\"public\",\"t\"]}"
#define SOURCE                                                                                              \
    "{\"name\":\"source\",\"type\":{\"type\":\"record\",\"name\":\"Source\",\"namespace\":\"io.debezium\"," \
    "\"fields\":["                                                                                          \
    "{\"name\":\"version\",\"type\":\"string\"},{\"name\":\"ts_ms\",\"type\":\"long\"},"                    \
    "{\"name\":\"snapshot\",\"type\":[{\"type\":\"string\",\"connect.default\":\"false\"},\"null\"],"       \
    "\"default\":\"false\"},"                                                                               \
    "{\"name\":\"ts_us\",\"type\":[\"null\",\"long\"],\"default\":null},"                                   \
    "{\"name\":\"txId\",\"type\":[\"null\",\"long\"],\"default\":null},"                                    \
    "{\"name\":\"lsn\",\"type\":[\"null\",\"long\"],\"default\":null}]}}"
#define ENVELOPE_OPEN \
    "{\"type\":\"record\",\"name\":\"Envelope\",\"namespace\":\"shop.public.t\",\"fields\":["
#define BEFORE(row)      "{\"name\":\"before\",\"type\":[\"null\"," row "],\"default\":null},"
#define AFTER            "{\"name\":\"after\",\"type\":[\"null\",\"Value\"],\"default\":null},"
#define OP               "{\"name\":\"op\",\"type\":\"string\"}"
#define TAIL             OP ",{\"name\":\"ts_ms\",\"type\":[\"null\",\"long\"],\"default\":null}"
#define ENVELOPE_CLOSE   "]}"
#define ENVELOPE(fields) ENVELOPE_OPEN BEFORE(ROW_OPEN fields ROW_CLOSE) AFTER SOURCE "," TAIL ENVELOPE_CLOSE
#define KEY_SCHEMA                                                                       \
    "{\"type\":\"record\",\"name\":\"Key\",\"namespace\":\"shop.public.t\",\"fields\":[" \
    "{\"name\":\"id\",\"type\":\"int\",\"millrace.type\":\"integer\"}]}"

/* ---- the case ---- */

struct fixture {
    struct memory_store memory;
    struct decoder *decoder;
    struct arena arena;
    struct buf value, header, key; /* the record, as it grows */
    struct change change;          /* what decode() made of it */
    struct err err;
};

int decode_setup(void **state);
int decode_teardown(void **state);
#define TEST(name) cmocka_unit_test_setup_teardown(name, decode_setup, decode_teardown)

/* ---- writing a record ---- */

/* Begins a record of the schema: its header and frame. */
void begin(struct fixture *f, const char *schema);
/* A row (id, note, 12.34), as one of the two of an envelope. */
void put_row(struct fixture *f, int64_t id, const char *note);
/* What follows the rows of an ENVELOPE. */
void put_source_and_op(struct fixture *f, const char *op);
/* A whole create of row (5, "hello", 12.34). */
void write_create(struct fixture *f, const char *schema);

/* ---- reading it ---- */

struct encoded record_of(const struct fixture *f);
enum code decode(struct fixture *f);
void assert_ok(struct fixture *f);
/* It is REJECT/JOURNAL_CORRUPT, and the text has these words. */
void assert_rejected(struct fixture *f, const char *words);
void assert_text(const struct value *value, const char *text);
