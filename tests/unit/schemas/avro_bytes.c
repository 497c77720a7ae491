#include "avro_bytes.h"

void put_raw(struct buf *out, uint64_t raw) {
    for (; raw >= 0x80; raw >>= 7)
        buf_putc(out, (char)(raw | 0x80));
    buf_putc(out, (char)raw);
}

void put_long(struct buf *out, int64_t n) {
    put_raw(out, (uint64_t)n << 1 ^ (uint64_t)(n >> 63));
}

void put_bytes(struct buf *out, const void *data, size_t len) {
    put_long(out, (int64_t)len);
    buf_put(out, data, len);
}

void put_text(struct buf *out, const char *text) {
    put_bytes(out, text, strlen(text));
}

void put_double(struct buf *out, double d) {
    uint64_t bits;
    memcpy(&bits, &d, sizeof bits);
    for (int i = 0; i < 8; i++)
        buf_putc(out, (char)(bits >> (8 * i)));
}

void put_float(struct buf *out, float f) {
    uint32_t bits;
    memcpy(&bits, &f, sizeof bits);
    for (int i = 0; i < 4; i++)
        buf_putc(out, (char)(bits >> (8 * i)));
}

void put_frame(struct buf *out, uint32_t id) {
    char frame[5] = {0, (char)(id >> 24), (char)(id >> 16), (char)(id >> 8), (char)id};
    buf_put(out, frame, sizeof frame);
}

void put_header(struct buf *out, uint8_t flags, uint64_t generation, uint64_t commit, uint64_t ordinal,
                uint32_t shape) {
    const uint64_t numbers[] = {generation, commit, ordinal};
    buf_putc(out, 2);
    buf_putc(out, (char)flags);
    for (int n = 0; n < 3; n++)
        for (int shift = 56; shift >= 0; shift -= 8)
            buf_putc(out, (char)(numbers[n] >> shift));
    for (int shift = 24; shift >= 0; shift -= 8)
        buf_putc(out, (char)(shape >> shift));
}
