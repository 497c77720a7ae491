/* MariaDB's texts of dates and times read into values. Each returns NULL, or why the kind cannot hold the
 * value. */
#pragma once

#include "base/arena.h"
#include "schemas/change.h"

const char *maria_read_date(struct slice text, struct value *ret);     /* 2024-02-29 */
const char *maria_read_datetime(struct slice text, struct value *ret); /* 2024-02-29 01:02:03.123456 */
/* Seconds since 1970 with a fraction, as UNIX_TIMESTAMP prints them; 0 is the zero date. */
const char *maria_read_instant(struct slice text, struct arena *arena,
                               struct value *ret); /* 2024-02-29T01:02:03.5Z */
const char *maria_read_instant_text(struct slice text, struct arena *arena,
                                    struct value *ret); /* 2024-02-29 01:02:03.500 */
const char *maria_read_time(struct slice text, struct arena *arena,
                            struct value *ret); /* -838:59:59.9 as PT-838H-59M-59.9S */
