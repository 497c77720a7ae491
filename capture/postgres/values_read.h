/* The readers that values.c puts into its table, one per kind; the contract of each is pg_read_f
 * (values.h). */
#pragma once

#include "capture/postgres/values.h"

/* values_number.c */
pg_read_f pg_read_bool, pg_read_int16, pg_read_int32, pg_read_int64;
pg_read_f pg_read_float32, pg_read_float64, pg_read_decimal, pg_read_money, pg_read_point;

/* values_text.c */
pg_read_f pg_read_text, pg_read_bytes, pg_read_bits, pg_read_uuid, pg_read_hstore;

/* values_time.c */
pg_read_f pg_read_date, pg_read_time, pg_read_time_ms, pg_read_timestamp, pg_read_timestamp_ms;
pg_read_f pg_read_zoned_timestamp, pg_read_zoned_time, pg_read_interval;
