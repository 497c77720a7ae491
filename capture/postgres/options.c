/* What can be set for a PostgreSQL source. The table is also the manual. */
#include "capture/postgres/options.h"

#include <libpq-fe.h>
#include <stdio.h>

static const char *const partial_choices[] = {"refuse", "history", NULL};
static const char *const silent_choices[] = {"stop", "warn", NULL};
static const char *const numeric_choices[] = {"precise", "string", NULL};

#define AT(field) offsetof(struct pg_options, field)
static const struct option options[] = {
    {"url", OPT_SECRET, AT(url), NULL, true, 0, 0, NULL,
     "Connection URL, postgres://user@host:port/database. Without sslmode, verify-full is used unless the "
     "host is local."},
    {"tables", OPT_LIST, AT(tables), "[\"public.*\"]", false, 0, 0, NULL,
     "Tables to capture: patterns schema.table with * and ?; a leading '!' excludes."},
    {"columns", OPT_MAP, AT(columns), NULL, false, 0, 0, NULL,
     "Columns to capture, by \"schema.table\": \"a,b\" takes only these, \"!a,!b\" all but these. Key "
     "columns cannot be left out."},
    {"publication", OPT_TEXT, AT(publication), NULL, false, 0, 0, NULL,
     "Name of the publication; default millrace_ and the source's name."},
    {"slot", OPT_TEXT, AT(slot), NULL, false, 0, 0, NULL,
     "Name of the replication slot; default millrace_ and the source's name, reduced to a-z, 0-9 and _."},
    {"publish_via_root", OPT_BOOL, AT(publish_via_root), "false", false, 0, 0, NULL,
     "Changes of a partition appear as changes of its partitioned table instead of the partition."},
    {"snapshot_workers", OPT_INT, AT(snapshot_workers), "2", false, 1, PG_WORKERS_MAX, NULL,
     "Connections that read the initial snapshot in parallel."},
    {"partial_rows", OPT_ENUM, AT(partial_rows), "refuse", false, 0, 0, partial_choices,
     "What to do with a table whose updates may leave out large values: refuse it, or keep the topic's whole "
     "history."},
    {"silent_changes", OPT_ENUM, AT(silent_changes), "stop", false, 0, 0, silent_choices,
     "What to do when a command changed rows of a table without an event in the log (a volatile default, "
     "ALTER "
     "COLUMN TYPE ... USING, SET LOGGED, a renamed enum label): stop until a new snapshot, or warn."},
    {"numeric", OPT_ENUM, AT(numeric), "precise", false, 0, 0, numeric_choices,
     "numeric(p,s) as an exact decimal (NaN stops), or every numeric as a string."},
    {"create", OPT_BOOL, AT(create), "true", false, 0, 0, NULL,
     "Create the publication and the slot if they are missing, and add selected tables to the publication."},
    {0},
};

const struct option_table pgsource_options = {
    .name = "postgres",
    .summary = "PostgreSQL 14 to 18, from its write-ahead log through pgoutput; no server extension",
    .options = options,
    .size = sizeof(struct pg_options),
};

void pgsource_publication(const struct pg_options *o, const char *source_name, char *ret) {
    if (o->publication)
        snprintf(ret, PG_NAME_MAX, "%s", o->publication);
    else
        snprintf(ret, PG_NAME_MAX, "millrace_%s", source_name);
}

void pgsource_slot(const struct pg_options *o, const char *source_name, char *ret) {
    if (o->slot) {
        snprintf(ret, PG_NAME_MAX, "%s", o->slot);
        return;
    }
    snprintf(ret, PG_NAME_MAX, "millrace_%s", source_name);
    for (char *p = ret; *p; p++) {
        if (*p >= 'A' && *p <= 'Z')
            *p = (char)(*p - 'A' + 'a');
        else if (!(*p >= 'a' && *p <= 'z') && !(*p >= '0' && *p <= '9'))
            *p = '_';
    }
}

const char *pgsource_database(const void *opaque) {
    struct pg_options *o =
        (struct pg_options *)opaque; /* the cached name is the one field that is not set from YAML */
    if (o->database[0] || !o->url)
        return o->database;
    PQconninfoOption *parts = PQconninfoParse(o->url, NULL);
    const char *name = NULL, *user = NULL;
    for (PQconninfoOption *p = parts; p && p->keyword; p++) {
        if (strcmp(p->keyword, "dbname") == 0)
            name = p->val;
        if (strcmp(p->keyword, "user") == 0)
            user = p->val;
    }
    if (!name)
        name = getenv("PGDATABASE");
    if (!name)
        name = user ? user : getenv("PGUSER");
    if (name)
        snprintf(o->database, sizeof o->database, "%s", name);
    PQconninfoFree(parts);
    return o->database;
}

/* ---- selection ---- */

/* The pattern's first dot parts schema from table; a pattern without one means any schema's table of that
 * name. */
static bool pattern_takes(const char *pattern, struct slice schema, struct slice name) {
    const char *dot = strchr(pattern, '.');
    if (!dot)
        return slice_glob(slice_of(pattern), name);
    return slice_glob(slice_make(pattern, (size_t)(dot - pattern)), schema) &&
           slice_glob(slice_of(dot + 1), name);
}

enum selection selection_of_table(const struct pg_options *o, struct slice schema, struct slice name) {
    enum selection ret = SELECTION_NONE;
    for (size_t i = 0; i < o->tables.n; i++) {
        const char *pattern = o->tables.items[i];
        bool exclude = pattern[0] == '!';
        if (!pattern_takes(pattern + exclude, schema, name))
            continue;
        if (exclude)
            return SELECTION_EXCLUDED;
        ret = SELECTION_TAKEN;
    }
    return ret;
}

bool selection_column_at(const char *list, int i, struct slice *ret) {
    const char *p = list;
    while (*p) {
        size_t len = strcspn(p, ",");
        struct slice item = {p, len};
        while (item.len && (*item.data == ' ' || *item.data == '!'))
            item.data++, item.len--;
        while (item.len && item.data[item.len - 1] == ' ')
            item.len--;
        if (item.len && i-- == 0) {
            *ret = item;
            return true;
        }
        p += len + (p[len] == ',');
    }
    return false;
}

static bool list_excludes(const char *list) {
    return list[strspn(list, " ")] == '!';
}

bool selection_has_column(const struct pg_options *o, struct slice schema, struct slice name,
                          struct slice column) {
    for (size_t i = 0; i < o->columns.n; i++) {
        const char *key = o->columns.keys[i], *list = o->columns.values[i];
        size_t len = strlen(key);
        if (len != schema.len + 1 + name.len || memcmp(key, schema.data, schema.len) != 0 ||
            key[schema.len] != '.' || memcmp(key + schema.len + 1, name.data, name.len) != 0)
            continue;
        bool named = false;
        struct slice item;
        for (int k = 0; !named && selection_column_at(list, k, &item); k++)
            named = slice_eq(item, column);
        return named != list_excludes(list);
    }
    return true;
}
