/* What the fuzz targets share: taking an input apart, schemas in memory, and comparing changes.
 *
 * A target reads its input as a tape: numbers, and chunks of a length in two bytes and the bytes. Chunks are
 * copied to memory of exactly their size, so that the address sanitizer sees a read one byte past their
 * end. */
#pragma once

#include <stdio.h>

#include "base/arena.h"
#include "schemas/change.h"
#include "schemas/encode.h"
#include "schemas/store.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed);
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t size_max); /* libFuzzer's own */

/* A property that must hold whatever the bytes are: says which did not, and ends the program. */
#define HOLDS(condition, ...)                                                              \
    do {                                                                                   \
        if (!(condition)) {                                                                \
            fprintf(stderr, "%s:%d: does not hold: %s: ", __FILE__, __LINE__, #condition); \
            fprintf(stderr, __VA_ARGS__);                                                  \
            fputc('\n', stderr);                                                           \
            abort();                                                                       \
        }                                                                                  \
    } while (0)

/* ---- the tape ---- */

enum { CHUNKS_MAX = 4096 };
struct tape {
    const uint8_t *p, *end;
    void *chunks[CHUNKS_MAX]; /* freed by tape_free */
    int n_chunks;
};
void tape_init(struct tape *tape, const uint8_t *data, size_t size);
void tape_free(struct tape *tape);
static inline bool tape_over(const struct tape *tape) {
    return tape->p == tape->end || tape->n_chunks == CHUNKS_MAX;
}
uint64_t tape_number(struct tape *tape, int bytes); /* little-endian; what is missing is 0 */
struct slice tape_chunk(struct tape *tape);         /* cut where the tape ends */
struct slice tape_rest(struct tape *tape);
const char *tape_text(struct tape *tape); /* a chunk up to its first NUL, NUL-terminated */
/* Appends a chunk: how seeds are written. */
void tape_put(struct buf *to, struct slice bytes);

/* ---- schemas in memory ---- */

/* Refuses what is no UTF-8, as every real store does. */
struct schema_store *fuzz_store_new(void);

/* ---- changes ---- */

/* One record for each kind of change; the encoder is for the change's table. Refused is fine; what is
 * accepted must come back as it was, from the record and from a delete's tombstone, and hash to the same
 * partition. */
struct round_trip {
    struct schema_store *store;
    struct encoder *encoder;
    struct decoder *decoder;
};
void round_trip_open(struct round_trip *rt);
void round_trip_close(struct round_trip *rt);
/* Returns whether the change was accepted. */
bool round_trip(struct round_trip *rt, const struct change *change);

bool value_same(const struct value *a, const struct value *b);
/* The tag is its kind's, NULL or ABSENT; text is UTF-8 without NUL. */
void value_check(const struct column *column, const struct value *value);
