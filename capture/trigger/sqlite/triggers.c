/* The triggers' text.
 *
 * REPLACE removes rows that are in its way without firing their delete triggers (unless the application's
 * connection has recursive_triggers on). So a BEFORE trigger writes down the rows that could be in the way
 * ('r' of an insert, 'q' of an update), with the row that is to come; whether they went is known to the
 * reader (replaced.c), for a statement that ignores or updates them, or fails, leaves no such insert behind.
 *
 * SQLite fires the newest trigger first. Ours must be the newest of their table: an AFTER trigger of the
 * application's that fired before ours could change the row again, and that change would come first. */
#include "capture/trigger/sqlite/sqlite.h"

const char lnow[] = "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)";

void put_ltrigger_name(struct buf *sql, int64_t shape, enum ltrigger which) {
    static const char *const names[] = {"insert", "update", "delete", "replace", "displace"};
    buf_printf(sql, "millrace_%lld_%s", (long long)shape, names[which]);
}

void put_lvalues(struct buf *sql, int from, int n) {
    for (int i = 0; i < n; i++)
        buf_printf(sql, ", v%d", from + i);
}

void put_lcolumns(struct buf *sql, const struct ltable *t, const char *before) {
    for (int i = 0; i < t->n_columns; i++) {
        buf_printf(sql, ", %s", before);
        put_lident(sql, t->columns[i].name);
    }
}

void put_lrowid(struct buf *sql, const struct ltable *t, const char *before) {
    if (t->rowid)
        buf_printf(sql, "%s%s", before, t->rowid);
    else
        buf_puts(sql, "NULL");
}

static void put_into(struct buf *sql, int n) {
    buf_puts(sql, "INSERT INTO millrace_changes (shape, op, at, number");
    put_lvalues(sql, 1, n);
    buf_puts(sql, ") ");
}

static void put_head(struct buf *sql, const struct ltable *t, int64_t shape, enum ltrigger which,
                     const char *when) {
    buf_puts(sql, "CREATE TRIGGER ");
    put_ltrigger_name(sql, shape, which);
    buf_printf(sql, " %s ON ", when);
    put_lident(sql, t->name);
    buf_puts(sql, " ");
}

/* AFTER the row has changed: 'i' NEW, 'u' OLD and NEW, 'd' OLD. */
static void put_after(struct buf *sql, const struct ltable *t, int64_t shape, enum ltrigger which) {
    static const char *const events[] = {"AFTER INSERT", "AFTER UPDATE", "AFTER DELETE"};
    const char *number = which == LTRIGGER_INSERT ? "NEW." : "OLD.";
    put_head(sql, t, shape, which, events[which]);
    buf_puts(sql, "BEGIN ");
    put_into(sql, which == LTRIGGER_UPDATE ? 2 * t->n_columns : t->n_columns);
    buf_printf(sql, "VALUES (%lld, '%c', %s, ", (long long)shape, "iud"[which], lnow);
    put_lrowid(sql, t, number);
    if (which != LTRIGGER_INSERT)
        put_lcolumns(sql, t, "OLD.");
    if (which != LTRIGGER_DELETE)
        put_lcolumns(sql, t, "NEW.");
    buf_puts(sql, "); END");
}

/* ---- rows that are in the way ---- */

static const struct lcolumn *column_of(const struct ltable *t, const char *name) {
    for (int i = 0; i < t->n_columns; i++)
        if (strcasecmp(t->columns[i].name, name) == 0)
            return &t->columns[i];
    return NULL;
}

/* REPLACE makes a NULL that must not be the column's default. */
static void put_coming(struct buf *sql, const struct lcolumn *column) {
    bool falls_back = column->not_null && column->fallback;
    buf_puts(sql, falls_back ? "ifnull(NEW." : "NEW.");
    put_lident(sql, column->name);
    if (falls_back)
        buf_printf(sql, ", %s)", column->fallback);
}

static void put_unique(struct buf *sql, const struct ltable *t, const struct lunique *unique) {
    buf_puts(sql, "(");
    for (int i = 0; i < unique->n; i++) {
        buf_puts(sql, i ? " AND o." : "o.");
        put_lident(sql, unique->columns[i]);
        buf_puts(sql, " COLLATE ");
        put_lident(sql, unique->collations[i]);
        buf_puts(sql, " = ");
        put_coming(sql, column_of(t, unique->columns[i]));
    }
    buf_puts(sql, ")");
}

static void put_uniques(struct buf *sql, const struct ltable *t) {
    for (int i = 0; i < t->n_uniques; i++) {
        buf_puts(sql, i ? " OR " : "");
        put_unique(sql, t, &t->uniques[i]);
    }
}

static void put_in_the_way(struct buf *sql, const struct ltable *t) {
    put_uniques(sql, t);
    if (t->rowid)
        buf_printf(sql, "%so.%s = NEW.%s", t->n_uniques ? " OR " : "", t->rowid, t->rowid);
}

/* The row that is updated is never in its own way. */
static void put_not_itself(struct buf *sql, const struct ltable *t) {
    const char *word = "";
    if (t->rowid) {
        buf_printf(sql, "o.%s <> OLD.%s", t->rowid, t->rowid);
        return;
    }
    buf_puts(sql, "NOT (");
    for (int i = 0; i < t->n_columns; i++) {
        if (t->without_rowid && !t->columns[i].key)
            continue;
        buf_printf(sql, "%so.", word);
        put_lident(sql, t->columns[i].name);
        buf_puts(sql, " IS OLD.");
        put_lident(sql, t->columns[i].name);
        word = " AND ";
    }
    buf_puts(sql, ")");
}

/* WHEN a unique value changes at all. */
static void put_when(struct buf *sql, const struct ltable *t) {
    buf_puts(sql, "WHEN ");
    if (t->rowid)
        buf_printf(sql, "OLD.%s <> NEW.%s", t->rowid, t->rowid);
    else
        buf_puts(sql, "0");
    for (int i = 0; i < t->n_uniques; i++)
        for (int k = 0; k < t->uniques[i].n; k++) {
            buf_puts(sql, " OR OLD.");
            put_lident(sql, t->uniques[i].columns[k]);
            buf_puts(sql, " COLLATE BINARY IS NOT NEW.");
            put_lident(sql, t->uniques[i].columns[k]);
        }
    buf_puts(sql, " ");
}

/* In place of the time stands whether another value than the row's number is in the way: the number of a row
 * that is inserted is not known before it is there. */
static void put_before(struct buf *sql, const struct ltable *t, int64_t shape, enum ltrigger which) {
    bool update = which == LTRIGGER_DISPLACE;
    put_head(sql, t, shape, which, update ? "BEFORE UPDATE" : "BEFORE INSERT");
    if (update)
        put_when(sql, t);
    buf_puts(sql, "BEGIN ");
    put_into(sql, 2 * t->n_columns);
    buf_printf(sql, "SELECT %lld, '%c', ", (long long)shape, update ? 'q' : 'r');
    if (t->n_uniques) {
        buf_puts(sql, "ifnull(");
        put_uniques(sql, t);
        buf_puts(sql, ", 0)");
    } else
        buf_puts(sql, "0");
    buf_puts(sql, ", ");
    put_lrowid(sql, t, "o.");
    put_lcolumns(sql, t, "o.");
    put_lcolumns(sql, t, "NEW.");
    buf_puts(sql, " FROM ");
    put_lident(sql, t->name);
    buf_puts(sql, " AS o WHERE (");
    put_in_the_way(sql, t);
    buf_puts(sql, ")");
    if (update) {
        buf_puts(sql, " AND ");
        put_not_itself(sql, t);
    }
    buf_puts(sql, "; END");
}

void put_ltrigger(struct buf *sql, const struct ltable *t, int64_t shape, enum ltrigger which) {
    if (which <= LTRIGGER_DELETE)
        put_after(sql, t, shape, which);
    else if (t->n_uniques || t->rowid)
        put_before(sql, t, shape, which);
}
