/* Values of rows as parameters of a statement, in text form. */
#pragma once

#include "sink/postgres/postgres.h"

struct params {
    struct buf text;     /* all values, NUL-terminated */
    size_t *at;          /* offset of each in text, SIZE_MAX for NULL */
    const char **values; /* made from them when the text no longer moves */
    int n;
};

/* Room for each column twice. */
void params_init(struct params *p, const struct replica *r);
void params_free(struct params *p);
/* Column i of a row. REJECT/TARGET_VALUE if it is absent or has no text form. */
MUST_CHECK enum code params_add(struct params *p, const struct replica *r, int i, const struct value *row,
                                struct err *err);
/* The key's columns in key order. */
MUST_CHECK enum code params_key(struct params *p, const struct replica *r, const struct value *row,
                                struct err *err);
/* Written columns that are present; the key among them only with `keys`. */
MUST_CHECK enum code params_row(struct params *p, const struct replica *r, const struct value *row, bool keys,
                                struct err *err);
/* For libpq; valid until the next call for `p`. */
const char *const *params_values(struct params *p);
