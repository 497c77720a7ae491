/* Hostile records under schemas that are right: only what follows the two schemas is mutated. */
#include "record_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    record_run(data, size, false);
    return 0;
}

static size_t chunk_end(const uint8_t *data, size_t size, size_t at) {
    if (size - at < 2)
        return size;
    size_t len = data[at] | (size_t)data[at + 1] << 8;
    return len < size - at - 2 ? at + 2 + len : size;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t size_max, unsigned seed) {
    (void)seed;
    size_t records = chunk_end(data, size, chunk_end(data, size, 0));
    if (records >= size_max)
        return LLVMFuzzerMutate(data, size, size_max);
    return records + LLVMFuzzerMutate(data + records, size - records, size_max - records);
}
