/* The printers that values.c puts into its table; the contract of each is pg_print_f (values.h). */
#pragma once

#include "sink/values/values.h"

#define DAY_US            INT64_C(86400000000)
#define DATE_MIN          INT64_C(-2440588)   /* 4714-11-24 BC */
#define DATE_MAX          INT64_C(2145042905) /* 5874897-12-31 */
#define TIMESTAMP_MIN     (DATE_MIN * DAY_US)
#define TIMESTAMP_DAY_END INT64_C(106762940) /* 294277-01-01 */
#define EPOCH_DAYS        INT64_C(10957)     /* PostgreSQL counts from 2000-01-01 */
#define EPOCH_US          (EPOCH_DAYS * DAY_US)

/* values.c */
pg_print_f pg_print_text, pg_print_bytes;

/* values_number.c */
pg_print_f pg_print_bool, pg_print_bool_word, pg_print_bit, pg_print_int;
pg_print_f pg_print_float32, pg_print_float64, pg_print_point;

/* values_hstore.c */
pg_print_f pg_print_hstore;

/* values_time.c */
pg_print_f pg_print_date, pg_print_time, pg_print_timestamp, pg_print_zoned_timestamp;
/* What KIND_ZONED_TIMESTAMP says (not an infinity), as microseconds since 2000, which 1970 could
 * not count. NULL, or the reason why it is none. */
const char *pg_zoned_timestamp_us(struct slice text, int64_t *ret);
