/* Reads the frames of PostgreSQL's output plugin pgoutput, protocol version 1 (PostgreSQL manual, "Logical
 * Replication Message Formats"). Pure: bytes in, struct out; no length from outside is believed; nothing is
 * allocated. */
#pragma once

#include "base/slice.h"

enum { PGOUTPUT_COLUMNS_MAX = 1664 }; /* the server's own limit for a tuple */

/* One column of a tuple as it was sent. */
struct pgoutput_field {
    char kind;         /* 'n' null, 'u' unchanged TOAST (not sent), 't' text */
    struct slice text; /* 't': borrowed from the frame */
};
struct pgoutput_row {
    int n;
    struct pgoutput_field fields[PGOUTPUT_COLUMNS_MAX];
};

struct pgoutput_column {
    bool identity; /* part of the replica identity */
    struct slice name;
    uint32_t type;
    int32_t typmod;
};
struct pgoutput_relation {
    uint32_t relid;
    struct slice schema, name; /* schema is "" for pg_catalog on the wire */
    char identity;             /* pg_class.relreplident: d n f i */
    int n;
    struct pgoutput_column columns[PGOUTPUT_COLUMNS_MAX];
};

/* One frame. Only the members of its type are set. Large: make one and keep it. */
struct pgoutput {
    char type;                         /* B C O R Y I U D T M */
    uint64_t commit_lsn;               /* B: of the commit record ("final LSN"); C: the same */
    uint64_t end_lsn;                  /* C: end of the commit record: the LSN to confirm */
    int64_t commit_us;                 /* B, C: microseconds since 1970 */
    uint32_t xid;                      /* B */
    uint32_t relid;                    /* I U D R; Y: the type's oid */
    char old_kind;                     /* U, D: 'K' key only, 'O' whole old row, 0 none */
    bool cascade, restart;             /* T */
    uint32_t n_relids;                 /* T */
    struct slice relids;               /* T: n_relids big-endian numbers; see pgoutput_relid */
    struct slice schema, name;         /* Y: the type's; O: name only */
    struct pgoutput_relation relation; /* R */
    struct pgoutput_row old, new;      /* U, D: old; I, U: new */
};

/* Reads one frame; all slices borrow from `bytes`. Returns NULL, or why the bytes are no frame (static
 * text). */
const char *pgoutput_parse(struct slice bytes, struct pgoutput *ret);

/* The i-th relation of a Truncate, i < n_relids. */
uint32_t pgoutput_relid(const struct pgoutput *frame, uint32_t i);
