/* Names of the source in a file that knows no schemas and takes A for a. */
#include <stdio.h>
#include <strings.h>

#include "sink/sqlite/sqlite.h"

void lite_put_ident(struct buf *sql, const char *name) {
    buf_putc(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_putc(sql, '"');
        buf_putc(sql, *name);
    }
    buf_putc(sql, '"');
}

const char *flat_name(const struct table *table, struct arena *arena) {
    if (strcmp(table->schema, "public") == 0 || strcmp(table->schema, "main") == 0)
        return table->name;
    return arena_printf(arena, "%s_%s", table->schema, table->name);
}

/* No overlong forms and no surrogates: others would read another name than we wrote. */
static bool is_utf8(const char *text) {
    const unsigned char *p = (const unsigned char *)text;
    while (*p) {
        int more = *p < 0x80 ? 0 : *p < 0xC2 ? -1 : *p < 0xE0 ? 1 : *p < 0xF0 ? 2 : *p < 0xF5 ? 3 : -1;
        unsigned first = *p++;
        if (more < 0 || (first == 0xE0 && *p < 0xA0) || (first == 0xED && *p > 0x9F) ||
            (first == 0xF0 && *p < 0x90) || (first == 0xF4 && *p > 0x8F))
            return false;
        for (; more > 0; more--)
            if ((*p++ & 0xC0) != 0x80)
                return false;
    }
    return true;
}

enum { NAME_MAX_BYTES = 255, COLUMNS_MAX = 1990 };

static bool name_ok(const char *name) {
    return *name && strlen(name) <= NAME_MAX_BYTES && is_utf8(name);
}

static bool reserved(const char *flat) {
    return strncasecmp(flat, "sqlite_", 7) == 0 || strncasecmp(flat, "millrace_", 9) == 0;
}

static enum code check_columns(const struct table *table, const char *flat, struct err *err) {
    for (int i = 0; i < table->n_columns; i++) {
        const char *name = table->columns[i].name;
        if (!name_ok(name))
            return err_set(err, REJECT, ERR_TARGET_TABLE,
                           "column '%.100s' of table %s has a name that the replica cannot hold (1 to 255 "
                           "bytes of UTF-8): "
                           "rename it in the sink's configuration",
                           name, flat);
        for (int k = 0; k < i; k++)
            if (strcasecmp(name, table->columns[k].name) == 0)
                return err_set(err, REJECT, ERR_TARGET_TABLE,
                               "columns %s and %s of table %s are the same name in SQLite, which takes A for "
                               "a: rename one of "
                               "them in the sink's configuration",
                               table->columns[k].name, name, flat);
    }
    return OK;
}

enum code names_check(const struct table *table, const char *flat, struct err *err) {
    if (!name_ok(table->name) || !name_ok(table->schema) || !name_ok(flat))
        return err_set(err, REJECT, ERR_TARGET_TABLE,
                       "table '%.100s.%.100s' has a name that the replica cannot hold (1 to 255 bytes of "
                       "UTF-8): rename it in "
                       "the sink's configuration",
                       table->schema, table->name);
    if (reserved(flat))
        return err_set(
            err, REJECT, ERR_TARGET_TABLE,
            "table %s.%s would be %s in the replica, and such names are SQLite's (sqlite_) or Millrace's "
            "(millrace_) own: rename it in the sink's configuration",
            table->schema, table->name, flat);
    if (table->n_columns == 0 || table->n_columns > COLUMNS_MAX)
        return err_set(
            err, REJECT, ERR_TARGET_TABLE,
            "table %s.%s has %d columns, and SQLite takes 1 to %d: leave it out (tables) in the sink's "
            "configuration",
            table->schema, table->name, table->n_columns, COLUMNS_MAX);
    return check_columns(table, flat, err);
}
