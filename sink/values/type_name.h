/* Type names as format_type() prints them. They come from the journal and end up in DDL, so they are parsed
 * by a strict grammar; what does not match is refused.
 *
 *   type      = ( qualified | builtin ) [ "(" modifier { "," modifier } ")" ] [ tail ] [ "[]" ]
 *   qualified = ident [ "." ident ]          ident = [a-z_][a-z0-9_$]* | '"' ( any char, '"' doubled ) '"'
 *   builtin   = "double precision" | "character varying" | "bit varying" | "interval" fields | ...
 *   modifier  = [-] digits | letters         tail = " with time zone" | " without time zone" */
#pragma once

#include <stdbool.h>

struct type_name {
    char base[288]; /* without modifiers and brackets: "numeric", "shop.mood", "timestamp with time zone" */
    int mods[2];    /* numeric modifiers */
    int n_mods;     /* 0..2; -1: modifiers of an extension's own form */
    bool array;
};

/* False: not in the grammar. */
bool type_parse(const char *text, struct type_name *ret);
/* True if a column of type `to` holds every value of type `from` without changing it, and ALTER ... TYPE from
 * `from` to `to` changes no value either. */
bool type_widens(const struct type_name *from, const struct type_name *to);
/* True if it is text without a limit, which holds the exact text of every type. It is also how a type that
 * changed in the source is passed: older rows of the journal have the old one, newer rows the new one. */
bool type_holds_any(const struct type_name *type);
