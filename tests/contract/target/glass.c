#include "glass.h"

#include <ctype.h>
#include <stdio.h>

#include "target_case.h"

/* "shop.items" and "millrace.sink_worker" are shop_items and millrace_sink_worker here. */
static char *flatten(const char *text) {
    static const char *const schemas[] = {"shop.", "millrace."};
    char *ret = xstrdup(text);
    for (size_t i = 0; i < 2; i++) {
        size_t n = strlen(schemas[i]);
        for (char *at = ret; (at = strstr(at, schemas[i])); at += n)
            if (at == ret || !(isalnum((unsigned char)at[-1]) || at[-1] == '_' || at[-1] == '"'))
                at[n - 1] = '_';
    }
    return ret;
}

void glass_sql(sqlite3 *db, const char *text) {
    CLEANUP_FREE char *flat = flatten(text);
    char *why = NULL;
    if (sqlite3_exec(db, flat, NULL, NULL, &why) != SQLITE_OK)
        fail_msg("%s: %s", flat, why);
}

void glass_see(sqlite3 *db, const char *text, char *ret, size_t size) {
    CLEANUP_FREE char *flat = flatten(text);
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(db, flat, -1, &stmt, NULL) != SQLITE_OK)
        fail_msg("%s: %s", flat, sqlite3_errmsg(db));
    for (int i = 0; sqlite3_step(stmt) == SQLITE_ROW; i++)
        for (int k = 0; k < sqlite3_column_count(stmt); k++)
            put_seen(ret, size, i, k, (const char *)sqlite3_column_text(stmt, k));
    if (sqlite3_finalize(stmt) != SQLITE_OK)
        fail_msg("%s: %s", flat, sqlite3_errmsg(db));
}

bool glass_has(sqlite3 *db, const char *table) {
    char query[256], found[16] = "";
    snprintf(query, sizeof query, "SELECT count(*) FROM sqlite_schema WHERE name = '%s'", table);
    glass_see(db, query, found, sizeof found);
    return strcmp(found, "0") != 0;
}

const char *glass_key_of(const char *table) {
    return see("SELECT name FROM pragma_table_info('%s') WHERE pk ORDER BY pk", table);
}
