/* From tuples as text to rows of values. The same road for the stream's frames and the snapshot's COPY
 * lines. */
#pragma once

#include "capture/postgres/catalog.h"

struct pgdecoder {
    struct catalog *catalog;
    struct arena scratch;         /* what readers rewrite; reset per change */
    struct value *before, *after; /* PGOUTPUT_COLUMNS_MAX values each */
};
void pgdecoder_init(struct pgdecoder *decoder, struct catalog *catalog);
void pgdecoder_free(struct pgdecoder *decoder);

/* Reads a tuple. `old_kind` is 0 for a new tuple, 'K' or 'O' for an old one ('K': columns outside the
 * identity are ABSENT). Values borrow from the tuple and from scratch. May replace relation->table by a new
 * version (a NULL where none could be, a new label). REJECT/VALUE_NOT_CARRIED, FATAL/SOURCE_PROTOCOL. */
MUST_CHECK enum code decode_row(struct pgdecoder *decoder, struct relation *relation,
                                const struct pgoutput_row *row, char old_kind, struct value *ret,
                                struct err *err);

/* Fills what an update did not send from the old tuple, as far as that knows it. */
void decode_fill_unchanged(const struct relation *relation, const struct pgoutput_row *old, char old_kind,
                           struct pgoutput_row *new);
/* True if some key column's bytes differ between the tuples. */
bool decode_key_changed(const struct relation *relation, const struct pgoutput_row *old,
                        const struct pgoutput_row *new);
/* Whether a new row may be handed over: its key is known, and it is full unless the table may be partial. */
MUST_CHECK enum code decode_check_after(const struct relation *relation, const struct value *after,
                                        struct err *err);

/* One line of COPY's text format, unescaped in place, into `row` (columns that are not selected are not in
 * the line). Returns NULL, or why the line is none. */
const char *decode_copy_line(const struct relation *relation, char *line, size_t len,
                             struct pgoutput_row *ret);
