/* Bytes that are text (RFC 3629). */
#pragma once

#include <stddef.h>

/* Length of the character at `p`, which ends with a NUL; 0: what stands there is no UTF-8. */
size_t utf8_length(const char *p);
