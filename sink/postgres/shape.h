/* A replica's table as its catalog tells it. */
#pragma once

#include "base/arena.h"
#include "schemas/change.h"
#include "sink/postgres/session.h"

struct shape_column {
    const char *name;
    const char *type; /* as format_type() prints it, domains resolved */
    Oid oid;          /* of that type */
    bool not_null, has_default, generated;
    bool domain;   /* the column itself has a domain type */
    bool primary;  /* in the replica's primary key: cannot be NULL whatever we do */
    char identity; /* 'a' always, 'd' by default, 0 none */
};

struct shape {
    Oid oid;                /* 0: no such table */
    char kind;              /* pg_class.relkind */
    bool triggers;          /* some trigger is enabled, those of foreign keys included */
    bool referenced;        /* a foreign key of another table points here */
    bool referenced_at_all; /* ... or of this table itself */
    bool can_truncate;      /* we have the right */
    bool empty;             /* filled by shape_read_empty */
    struct shape_column *columns;
    int n_columns;
    Oid key_index;      /* unique index over exactly the key columns, usable by ON CONFLICT; 0: none */
    int n_unique;       /* other unique or exclusion indexes */
    const char **equal; /* per key column of the source table, in key order: "OPERATOR(pg_catalog.=)" */
};

/* Reads the shape of table->schema.name; strings live in the arena. OK with ret->oid == 0: not there. */
MUST_CHECK enum code shape_read(struct session *s, const struct table *table, struct arena *arena,
                                struct shape *ret, struct err *err);
/* Whether it holds no row (as we see it now). */
MUST_CHECK enum code shape_read_empty(struct session *s, const struct table *table, bool *ret,
                                      struct err *err);
const struct shape_column *shape_column(const struct shape *shape, const char *name);
