/* A sink's row filter: column (= | != | <>) literal, column is [not] null, joined by `and`.
 *
 * Texts are compared byte by byte, as the source prints them; numbers by their value; booleans with true and
 * false. What a literal cannot be compared with (dates, times, bytes, points) is refused when the filter
 * meets the table: a filter that silently takes no row would be a replica that silently lacks them. */
#pragma once

#include "schemas/change.h"

enum comparison { IS_EQUAL, IS_DIFFERENT, IS_NULL, IS_NOT_NULL };
enum literal_form {
    LITERAL_TEXT,
    LITERAL_PADDED,
    LITERAL_UUID,
    LITERAL_INTEGER,
    LITERAL_FLOAT,
    LITERAL_DECIMAL
};

/* [-]whole[.part] without what does not count: leading zeros, trailing zeros of the part, the minus of a
 * zero. */
struct decimal_parts {
    bool minus;
    struct slice whole, part;
};

struct condition {
    const char *column;
    int index; /* in the table's columns; from here on set by condition_bind */
    enum comparison comparison;
    enum literal_form form;
    struct slice text;
    int64_t integer;
    double number;
    struct decimal_parts decimal;
};

enum { CONDITIONS_MAX = 16 };
/* How many conditions, 1..CONDITIONS_MAX, into `ret`; -1 if the text is not understood. Strings live in the
 * arena. */
int filter_parse(const char *text, struct arena *arena, struct condition *ret);
/* Finds the column and reads the literal as its kind needs it. NULL, or why that cannot be (static text). */
const char *condition_bind(struct condition *condition, const struct table *table);
/* The value is not ABSENT. */
bool condition_holds(const struct condition *condition, const struct value *value);
