/* The printers that values.c puts into its table; the contract of each is pg_print_f (values.h). */
#pragma once

#include "sink/postgres/values.h"

/* values.c */
pg_print_f pg_print_text, pg_print_bytes;

/* values_number.c */
pg_print_f pg_print_bool, pg_print_bool_word, pg_print_bit, pg_print_int;
pg_print_f pg_print_float32, pg_print_float64, pg_print_point;

/* values_hstore.c */
pg_print_f pg_print_hstore;

/* values_time.c */
pg_print_f pg_print_date, pg_print_time, pg_print_timestamp, pg_print_zoned_timestamp;
