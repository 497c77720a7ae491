#include "base/utf8.h"

#include <stdbool.h>

static bool follows(const char *p, size_t n) {
    for (size_t i = 1; i <= n; i++)
        if (((unsigned char)p[i] & 0xC0) != 0x80)
            return false;
    return true;
}

size_t utf8_length(const char *p) {
    unsigned char c = (unsigned char)p[0], d = c ? (unsigned char)p[1] : 0;
    if (c < 0x80)
        return 1;
    if (c >= 0xC2 && c < 0xE0)
        return follows(p, 1) ? 2 : 0;
    if (c >= 0xE0 && c < 0xF0) /* neither overlong nor a surrogate */
        return follows(p, 2) && !(c == 0xE0 && d < 0xA0) && !(c == 0xED && d >= 0xA0) ? 3 : 0;
    if (c >= 0xF0 && c < 0xF5)
        return follows(p, 3) && !(c == 0xF0 && d < 0x90) && !(c == 0xF4 && d >= 0x90) ? 4 : 0;
    return 0;
}
