/* Values as tests write them down: initialisers of a struct value. */
#pragma once

#include "schemas/change.h"

#define INT(n) \
    { .tag = VALUE_INT, .i = (n) }
#define FLOAT(n) \
    { .tag = VALUE_FLOAT, .d = (n) }
#define TEXT(t)                                       \
    {                                                 \
        .tag = VALUE_TEXT, .s = {(t), sizeof(t) - 1 } \
    }
#define BYTES(t)                                       \
    {                                                  \
        .tag = VALUE_BYTES, .s = {(t), sizeof(t) - 1 } \
    }
#define POINT(x, y)                           \
    {                                         \
        .tag = VALUE_POINT, .xy = {(x), (y) } \
    }
#define SQL_NULL \
    { .tag = VALUE_NULL }
#define ABSENT \
    { .tag = VALUE_ABSENT }

/* The values of a row, one per column of its table. */
#define ROW(...)             \
    (const struct value[]) { \
        __VA_ARGS__          \
    }
