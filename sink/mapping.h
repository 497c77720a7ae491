/* Which source tables a sink takes, under which names, and which of their rows.
 *
 *   tables: ["shop.*", "!shop.log"]      "schema.table"; '*' any run of characters, '?' one; '!' excludes
 *   rename: { "shop": "report", "shop.orders": "bills", "shop.orders.memo": "note" }
 *   where:  { "shop.orders": "region = 'eu' and closed is not null" } */
#pragma once

#include "base/option.h"
#include "schemas/change.h"

/* One version of a source table as this sink sees it. */
struct mapped {
    const struct table *source; /* identity of the version; borrowed */
    struct table *table;        /* names of the replica; NULL: not taken */
    const char *filter;         /* `where` as it is configured; NULL: every row */
    struct condition *where;    /* in the mapping's arena; NULL: every row */
    int n_where;
};

struct mapping; /* caches by version */
/* Checks patterns, renames and filters: two tables cannot become one. FATAL/CONFIG names the key. The lists
 * are borrowed. */
MUST_CHECK enum code mapping_new(const struct text_list *tables, const struct text_map *where,
                                 const struct text_map *rename, struct mapping **ret, struct err *err);
void mapping_free(struct mapping *m);
/* The mapping of a version; lives as long as `m`. REJECT/TARGET_TABLE: a filter names a column that is not
 * there. */
MUST_CHECK enum code mapping_find(struct mapping *m, const struct table *source, const struct mapped **ret,
                                  struct err *err);
/* Does the row pass? REJECT/TARGET_VALUE: a column of the filter is ABSENT. */
MUST_CHECK enum code mapped_match(const struct mapped *mapped, const struct value *row, bool *ret,
                                  struct err *err);
