/* quickstart: whether an SQLite replica holds rows already where ours are to be written. Changes nothing. */
#include <stdlib.h>
#include <unistd.h>

#include "sink/sqlite/sqlite.h"

static enum code has_rows(struct db *db, const char *flat, bool *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_STMT *there = NULL, *row = NULL;
    *ret = false;
    enum code code =
        db_ask(db, "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1 COLLATE nocase",
               PARAMS(P_TEXT(flat)), &there, err);
    if (code != OK || !there)
        return code;
    buf_puts(&sql, "SELECT 1 FROM ");
    lite_put_ident(&sql, flat);
    buf_puts(&sql, " LIMIT 1");
    code = db_ask(db, buf_cstr(&sql), NO_PARAMS, &row, err);
    *ret = code == OK && row;
    return code;
}

static enum code look_at_tables(struct db *db, const struct suggest_ask *ask, struct suggestion *ret,
                                struct err *err) {
    enum code code = OK;
    for (int i = 0; db->conn && i < ask->n_tables && code == OK; i++) {
        struct table table = {.schema = (char *)(uintptr_t)ask->tables[i].schema,
                              .name = (char *)(uintptr_t)ask->tables[i].name};
        const char *flat = flat_name(&table, &ret->arena);
        bool rows;
        code = has_rows(db, flat, &rows, err);
        if (code == OK && rows)
            buf_printf(&ret->notes,
                       "%s is there and holds rows, and the sink stops on rows that it did not write: empty "
                       "it, or use rename:\n",
                       flat);
    }
    return code;
}

enum code lite_suggest(const struct suggest_ask *ask, const struct target_env *env, int64_t wait_ms,
                       struct suggestion *ret, struct err *err) {
    if (strncmp(ask->url, "sqlite:", 7) != 0)
        return AGAIN;
    const char *path = ask->url + (strncmp(ask->url, "sqlite://", 9) == 0 ? 9 : 7);
    CLEANUP_FREE char *here = *path == '/' ? NULL : getcwd(NULL, 0);
    const char *whole =
        here ? arena_printf(&ret->arena, "%s/%s", here, path) : arena_strdup(&ret->arena, path);
    struct sqlite_options options = {.path = whole};
    struct db db;
    enum code code = db_open(&db, &options, env, DB_LOOK, wait_ms, err);
    if (code == OK)
        code = look_at_tables(&db, ask, ret, err);
    db_close(&db);
    ret->identity = arena_printf(&ret->arena, "sqlite %s", whole);
    buf_puts(&ret->yaml, "path: ");
    suggest_put_text(&ret->yaml, whole, false);
    buf_putc(&ret->yaml, '\n');
    return code;
}
