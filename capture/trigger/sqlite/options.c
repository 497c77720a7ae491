#include "capture/trigger/sqlite/options.h"

#include <stdio.h>

#define AT(field) offsetof(struct lsource_options, field)
static const struct option options[] = {
    {"path", OPT_TEXT, AT(path), NULL, true, 0, 0, NULL,
     "The database's file. Its folder must be writable: a lock file is put beside it."},
    {"tables", OPT_LIST, AT(tables), "[\"main.*\"]", false, 0, 0, NULL,
     "Tables to capture: patterns main.table with * and ?; a leading '!' excludes."},
    {"change_table_bytes", OPT_BYTES, AT(change_table_bytes), "1GB", false, 1 << 20, 0, NULL,
     "Budget of the change table; from 80 % of it on, doctor and status warn."},
    {0},
};

const struct option_table lsource_options = {
    .name = "sqlite",
    .summary = "SQLite 3.38 or newer, fed by triggers into a change table in the same file",
    .options = options,
    .size = sizeof(struct lsource_options),
};

const char *lsource_database(const void *opaque) {
    /* the cached name is the one field that is not set from YAML */
    struct lsource_options *o = (struct lsource_options *)opaque;
    const char *slash = o->path ? strrchr(o->path, '/') : NULL;
    const char *name = slash ? slash + 1 : o->path ? o->path : "";
    const char *dot = strrchr(name, '.');
    size_t len = dot && dot > name ? (size_t)(dot - name) : strlen(name);
    snprintf(o->database, sizeof o->database, "%.*s", (int)len, name);
    return o->database;
}

bool lsource_selects(const struct lsource_options *o, const char *table) {
    bool taken = false;
    CLEANUP_FREE char *name = xasprintf("main.%s", table);
    for (size_t i = 0; i < o->tables.n; i++) {
        const char *pattern = o->tables.items[i];
        bool exclude = *pattern == '!';
        pattern += exclude;
        const char *against = strchr(pattern, '.') ? name : table;
        if (!slice_glob(slice_of(pattern), slice_of(against)))
            continue;
        if (exclude)
            return false;
        taken = true;
    }
    return taken;
}
