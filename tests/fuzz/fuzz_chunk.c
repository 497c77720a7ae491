/* Chunks of the embedded journal, past their checksum: whatever the bytes are, no offset lies outside of the
 * chunk, and records that are read are the same when they are written again.
 *
 *   tape = number (8) first, number (8) length of the range, number (8) time, chunk */
#include "fuzz.h"
#include "journal/embedded/chunk.h"

static const char *const names[] = {"millrace", "__debezium.oldkey", "__debezium.newkey", "x"};

static bool same(struct slice a, struct slice b) {
    return !a.data == !b.data && slice_eq(a, b);
}

static void write_again(const struct chunk_head *head, struct chunk *again,
                        const struct chunk_record *records, size_t n) {
    struct chunk_cursor cursor;
    struct chunk_record r;
    struct chunk_head of_again = {head->part, again->first, again->last, again->ts_us};
    struct slice bytes = buf_slice(&again->bytes);
    HOLDS(chunk_open(&cursor, &of_again, chunk_crc(&of_again, bytes), bytes), "opens");
    for (size_t i = 0; i < n; i++) {
        HOLDS(chunk_next(&cursor, &r) == OK, "record %zu", i);
        HOLDS(r.offset == records[i].offset && r.ts_us == records[i].ts_us, "numbers of %zu", i);
        HOLDS(same(r.key, records[i].key) && same(r.value, records[i].value) &&
                  same(r.headers, records[i].headers),
              "bytes of %zu", i);
    }
    HOLDS(chunk_next(&cursor, &r) == AGAIN, "no more");
}

enum { MANY = 1000 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct chunk_record records[MANY];
    struct tape tape;
    struct chunk again = {0};
    struct chunk_cursor cursor;
    enum code code = OK;
    size_t n = 0;
    tape_init(&tape, data, size);
    int64_t first = (int64_t)(tape_number(&tape, 8) >> 1), range = (int64_t)(tape_number(&tape, 8) >> 1);
    struct chunk_head head = {.part = 1, .first = first, .ts_us = (int64_t)tape_number(&tape, 8)};
    head.last = range > INT64_MAX - 1 - first ? INT64_MAX - 1 : first + range;
    struct slice bytes = tape_rest(&tape);
    if (head.first <= head.last && chunk_open(&cursor, &head, chunk_crc(&head, bytes), bytes)) {
        for (int64_t before = head.first - 1; n < MANY && (code = chunk_next(&cursor, &records[n])) == OK;
             n++) {
            HOLDS(records[n].offset > before && records[n].offset <= head.last, "offset of %zu", n);
            before = records[n].offset;
            for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
                struct slice value = chunk_header(records[n].headers, names[i]);
                HOLDS(!value.data ||
                          (value.data >= bytes.data && value.data + value.len <= bytes.data + bytes.len),
                      "header");
            }
            chunk_put(&again, &records[n]);
        }
        HOLDS(code == OK || code == AGAIN || code == REJECT, "code");
        if (n)
            write_again(&head, &again, records, n);
    }
    chunk_free(&again);
    tape_free(&tape);
    return 0;
}
