/* Avro schemas from a registry or the journal, hostile ones, and records that claim to be of them. */
#include "record_run.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    record_run(data, size, true);
    return 0;
}
