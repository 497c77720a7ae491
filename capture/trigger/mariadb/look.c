/* What may be wrong with an installation, its tables and the server. */
#include <inttypes.h>
#include <stdio.h>

#include "base/log.h"
#include "capture/trigger/mariadb/mariadb.h"

#define INSTALL  "millrace source install --config FILE"
#define SNAPSHOT "millrace capture --config FILE --resnapshot"

static const char doing[] = "looking at the installation";

/* ---- the installation ---- */

static enum code look_source(struct maria_feed *f, struct feed_look *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_puts(&sql, "SELECT installation, format, changes = ");
    maria_put_incarnation(&sql, f->options->database, "changes");
    buf_puts(&sql, ", (SELECT GROUP_CONCAT(COLUMN_NAME, ' ', COLUMN_TYPE, ' ', EXTRA ORDER BY "
                   "ORDINAL_POSITION) FROM information_schema.COLUMNS"
                   " WHERE TABLE_NAME = 'changes' AND TABLE_SCHEMA = ");
    maria_put_string(&sql, f->options->database);
    buf_printf(&sql, ") FROM %s", f->source_table);
    enum code code = maria_query(f->control, doing, buf_cstr(&sql), &rows, err);
    MYSQL_ROW row = code == OK ? mysql_fetch_row(rows) : NULL;
    if (code)
        return code;
    static const char shape[] = "id bigint(20) unsigned auto_increment,tbl int(10) unsigned ,op char(1) ,old "
                                "longblob ,new longblob ,at timestamp(6) ";
    CLEANUP_BUF what = {0};
    ret->installed = row != NULL;
    snprintf(ret->identity, sizeof ret->identity, "%s", row ? field_text(row, 0) : "");
    if (!row || field_number(row, 1) != REGISTRY_FORMAT) {
        buf_printf(&what, "the installation in database %s is not whole, or of another version of Millrace",
                   f->options->database);
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, "installation", buf_cstr(&what),
                  "millrace source uninstall --config FILE; then " INSTALL);
    } else if (strcmp(field_text(row, 3), shape) != 0) {
        buf_printf(&what, "the change table %s was altered: %s", f->changes, field_text(row, 3));
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, "change-table", buf_cstr(&what),
                  "millrace source uninstall --config FILE; then " INSTALL "; then " SNAPSHOT);
    } else if (!field_number(row, 2)) {
        buf_printf(&what, "the change table %s was emptied, rebuilt or made anew by somebody else",
                   f->changes);
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, "change-table", buf_cstr(&what),
                  INSTALL "; then " SNAPSHOT);
    }
    return OK;
}

static enum code look_size(struct maria_feed *f, struct feed_look *ret, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_puts(&sql, "SELECT TABLE_NAME, TABLE_ROWS, DATA_LENGTH + INDEX_LENGTH, IFNULL(AUTO_INCREMENT, 1) - 1 "
                   "FROM information_schema.TABLES"
                   " WHERE TABLE_NAME IN ('changes', 'cuts') AND TABLE_SCHEMA = ");
    maria_put_string(&sql, f->options->database);
    enum code code = maria_query(f->control, doing, buf_cstr(&sql), &rows, err);
    for (MYSQL_ROW row; code == OK && (row = mysql_fetch_row(rows));) {
        if (strcmp(row[0], "cuts") == 0)
            ret->last_id = field_number(row, 3);
        else {
            ret->rows = (int64_t)field_number(row, 1);
            ret->bytes = (int64_t)field_number(row, 2);
        }
    }
    if (code == OK && ret->bytes / 4 >= f->options->change_table_bytes / 5) {
        CLEANUP_BUF what = {0};
        buf_printf(&what, "the change table holds %" PRId64 " MB of the %" PRId64 " MB of change_table_bytes",
                   ret->bytes >> 20, f->options->change_table_bytes >> 20);
        feed_find(ret, FEED_WARN, ERR_NONE, "change-table-size", buf_cstr(&what),
                  "see that capture runs and its journal takes; then the rows are deleted");
    }
    return code;
}

/* ---- tables ---- */

static void find_table(struct feed_look *ret, enum err_id id, const char *name, const struct maria_table *t,
                       const char *what, const char *mend) {
    CLEANUP_BUF text = {0};
    buf_printf(&text, "table %s.%s %s", t->schema, t->name, what);
    feed_find(ret, id == ERR_NONE ? FEED_WARN : FEED_ERROR, id, name, buf_cstr(&text), mend);
}

static bool is_stale(const struct maria_table *t) {
    return *t->incarnation_now && strcmp(t->incarnation, t->incarnation_now) != 0;
}

static void look_table(struct feed_look *ret, const struct maria_table *t,
                       const struct maria_catalog *server) {
    const struct maria_table *now = maria_catalog_find(server, t->schema, t->name);
    CLEANUP_BUF why = {0};
    enum err_id refused = now ? maria_refused(now, &why) : ERR_NONE;
    if (!now)
        find_table(ret, ERR_SOURCE_TABLE, "", t,
                   "is not there any more (dropped or renamed), or the account has lost its rights on it",
                   "bring it back, or, if that was meant: " INSTALL);
    else if (refused != ERR_NONE)
        feed_find(ret, FEED_ERROR, refused, "", buf_cstr(&why), "or exclude the table; then " INSTALL);
    else if (strcmp(t->made, t->made_now) != 0)
        find_table(ret, ERR_SOURCE_TRIGGERS, "", t,
                   "lacks triggers, or they were made anew by somebody else: changes may have been missed",
                   INSTALL "; then " SNAPSHOT);
    else if (!maria_same_shape(t, now))
        find_table(ret, ERR_SOURCE_TRIGGERS, "", t,
                   "has other columns than its triggers record; after DROP or RENAME COLUMN its writers fail "
                   "until it is mended",
                   INSTALL " (no new snapshot is needed after ADD, DROP and RENAME COLUMN)");
    if (now && is_stale(t))
        find_table(ret, ERR_NONE, "rows-without-changes", t,
                   "was truncated or rebuilt, which no trigger sees", SNAPSHOT);
}

static enum code look_tables(struct maria_feed *f, struct feed_look *ret,
                             const struct maria_catalog *registry, struct err *err) {
    struct maria_catalog server = {0};
    int live = 0;
    enum code code = maria_catalog_server(f->control, f->options, &server, err);
    for (int i = 0; code == OK && i < registry->n; i++) {
        if (!registry->tables[i].live || !registry->tables[i].selected)
            continue;
        live++;
        look_table(ret, &registry->tables[i], &server);
    }
    for (int i = 0; code == OK && i < server.n; i++)
        if (!maria_catalog_find(registry, server.tables[i].schema, server.tables[i].name))
            find_table(ret, f->rows ? ERR_NONE : ERR_SOURCE_TRIGGERS, "table-without-triggers",
                       &server.tables[i], "is taken by `tables` and has no triggers: it is not captured",
                       INSTALL "; the rows that are there come with it");
    if (code == OK && !live)
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TABLE, "",
                  "no table that `tables` takes (or the database in `url`) has triggers", INSTALL);
    maria_catalog_free(&server);
    return code;
}

/* ---- the server ---- */

static enum code look_server(struct maria_feed *f, struct feed_look *ret, struct err *err) {
    uint64_t flush, read_only;
    enum code code =
        maria_number(f->control, doing, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit", &flush, err);
    if (code == OK)
        code = maria_number(f->control, doing, "SELECT @@GLOBAL.read_only", &read_only, err);
    if (code)
        return code;
    if (flush != 1)
        feed_find(ret, FEED_WARN, ERR_NONE, "flush-log",
                  "innodb_flush_log_at_trx_commit is not 1: a crash of the server loses commits that may "
                  "have been shipped",
                  "SET GLOBAL innodb_flush_log_at_trx_commit = 1");
    if (read_only)
        feed_find(ret, FEED_WARN, ERR_NONE, "read-only",
                  "the server is read_only: it is a replica, or locked for maintenance; nothing can be "
                  "captured meanwhile",
                  "point url at the primary");
    return OK;
}

enum code maria_look(struct feed *feed, int64_t wait_ms, struct feed_look *ret, struct err *err) {
    (void)wait_ms;
    struct maria_feed *f = maria_self(feed);
    struct maria_catalog registry = {0};
    bool installed;
    enum code code = maria_installed(f->control, f->options, &installed, err);
    if (code == OK && !installed) {
        feed_find(ret, FEED_ERROR, ERR_SOURCE_TRIGGERS, "installation",
                  "the source has no change table and no triggers", INSTALL);
        return OK;
    }
    if (code == OK)
        code = look_source(f, ret, err);
    if (code == OK)
        code = look_size(f, ret, err);
    if (code == OK)
        code = look_server(f, ret, err);
    if (code == OK)
        code = maria_catalog_registry(f->control, f->options, &registry, err);
    if (code == OK)
        code = maria_catalog_marks(f->control, f->options, &registry, err);
    if (code == OK)
        code = look_tables(f, ret, &registry, err);
    maria_catalog_free(&registry);
    if (code == OK && !ret->findings)
        feed_find(ret, FEED_OK, ERR_NONE, "triggers", "change table and triggers are as installed", NULL);
    return code;
}

/* ---- while it is read ---- */

enum code maria_look_for_stale(struct maria_feed *f, struct err *err) {
    struct maria_catalog registry = {0};
    enum code code = maria_catalog_registry(f->control, f->options, &registry, err);
    if (code == OK)
        code = maria_catalog_marks(f->control, f->options, &registry, err);
    for (int i = 0; code == OK && i < registry.n && !f->stale; i++) {
        const struct maria_table *t = &registry.tables[i];
        if (t->live && t->selected && is_stale(t))
            f->stale =
                xasprintf("table %s.%s was truncated or rebuilt, which no trigger sees", t->schema, t->name);
    }
    maria_catalog_free(&registry);
    return code;
}

enum code maria_look_begin(struct maria_feed *f, struct err *err) {
    CLEANUP_BUF sql = {0};
    CLEANUP_ROWS *rows = NULL;
    buf_printf(&sql, "SELECT installation FROM %s", f->source_table);
    enum code code = maria_query(f->control, doing, buf_cstr(&sql), &rows, err);
    MYSQL_ROW row = code == OK ? mysql_fetch_row(rows) : NULL;
    snprintf(f->installation, sizeof f->installation, "%s", row ? field_text(row, 0) : "");
    return code;
}

enum code maria_look_again(struct maria_feed *f, struct err *err) {
    struct feed_look look = {0};
    enum code code = maria_look(&f->feed, 0, &look, err);
    if (code == OK)
        code = feed_look_judge(&look, err);
    if (code == OK && strcmp(look.identity, f->installation) != 0)
        code = err_set(err, FATAL, ERR_NEEDS_RESNAPSHOT,
                       "the installation in the source was made anew while it was read: changes may have "
                       "been missed; take a new snapshot: " SNAPSHOT);
    f->held_bytes = (uint64_t)(look.bytes > 0 ? look.bytes : 0);
    feed_look_free(&look);
    return code ? code : maria_look_for_stale(f, err);
}
