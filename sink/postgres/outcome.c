#include "sink/postgres/outcome.h"

#include <ctype.h>
#include <stdio.h>

#include "base/slice.h"

/* Longest prefix wins. */
static const struct {
    const char *prefix;
    struct outcome outcome;
} table[] = {
    {"08", {RETRY, ERR_TARGET_UNREACHABLE}}, /* connection exception */
    {"0A", {REJECT, ERR_TARGET_TABLE}},      /* feature not supported */
    {"21", {REJECT, ERR_TARGET_CONSTRAINT}}, /* cardinality: one key twice by the replica's equality */
    {"22", {REJECT, ERR_TARGET_VALUE}},      /* data exception */
    {"23", {REJECT, ERR_TARGET_CONSTRAINT}}, /* integrity constraint violation */
    {"25", {RETRY, ERR_TARGET_UNREACHABLE}}, /* transaction state: the session is not what we think it is */
    {"25006",
     {RETRY, ERR_TARGET_FULL}}, /* read-only transaction: a standby, or default_transaction_read_only */
    {"26000",
     {RETRY, ERR_TARGET_UNREACHABLE}},       /* prepared statement gone: a pooler gave us another session */
    {"28", {FATAL, ERR_TARGET_REFUSED}},     /* authorization */
    {"3D000", {FATAL, ERR_TARGET_REFUSED}},  /* no such database */
    {"3F000", {REJECT, ERR_TARGET_TABLE}},   /* no such schema */
    {"40", {RETRY, ERR_TARGET_UNREACHABLE}}, /* serialization failure, deadlock */
    {"42", {REJECT, ERR_TARGET_TABLE}},      /* the shape is not what we think it is */
    {"42501", {FATAL, ERR_TARGET_REFUSED}},  /* insufficient privilege */
    {"42P05",
     {RETRY, ERR_TARGET_UNREACHABLE}},       /* prepared statement exists: a pooler gave us another session */
    {"428C9", {REJECT, ERR_TARGET_TABLE}},   /* generated always */
    {"44", {REJECT, ERR_TARGET_CONSTRAINT}}, /* with check option */
    {"53", {RETRY, ERR_TARGET_FULL}},        /* disk, memory, connections */
    {"54", {REJECT, ERR_TARGET_VALUE}},      /* program limit: row too big */
    {"55", {RETRY, ERR_TARGET_UNREACHABLE}}, /* object in use, lock not available */
    {"57", {RETRY, ERR_TARGET_UNREACHABLE}}, /* shutdown, crash, starting up, cancelled */
    {"58", {RETRY, ERR_TARGET_FULL}},        /* system error: input, output */
    {"P0", {REJECT, ERR_TARGET_CONSTRAINT}}, /* raised by a trigger of the replica */
    {"XX", {RETRY, ERR_TARGET_UNREACHABLE}}, /* internal error */
};

struct outcome outcome_of(const char *sqlstate) {
    struct outcome found = {RETRY, ERR_TARGET_UNREACHABLE};
    size_t longest = 0;
    for (size_t i = 0; sqlstate && i < sizeof table / sizeof *table; i++) {
        size_t n = strlen(table[i].prefix);
        if (n > longest && strncmp(sqlstate, table[i].prefix, n) == 0) {
            found = table[i].outcome;
            longest = n;
        }
    }
    return found;
}

/* Values stand between double quotes, and may hold some themselves: all from the first to the last goes. */
static void hide_quoted(struct buf *out, const char *text) {
    const char *first = strchr(text, '"'), *last = strrchr(text, '"');
    if (!first)
        buf_puts(out, text);
    else if (first == last)
        buf_printf(out, "%.*s\"...\"", (int)(first - text), text);
    else
        buf_printf(out, "%.*s\"...\"%s", (int)(first - text), text, last + 1);
}

/* What a function of the replica says with RAISE may hold anything of the row, under any SQLSTATE. */
static bool is_raised(const PGresult *result, const char *sqlstate) {
    const char *function = PQresultErrorField(result, PG_DIAG_SOURCE_FUNCTION);
    return (sqlstate && strncmp(sqlstate, "P0", 2) == 0) ||
           (function && strcmp(function, "exec_stmt_raise") == 0);
}

static void put_primary(struct buf *out, const PGresult *result, const char *sqlstate) {
    const char *primary = PQresultErrorField(result, PG_DIAG_MESSAGE_PRIMARY);
    if (!primary)
        buf_puts(out, "the replica gave no reason");
    else if (is_raised(result, sqlstate))
        buf_puts(out,
                 "a function or trigger of the replica raised an error; its words are in the replica's log");
    else if (sqlstate && strncmp(sqlstate, "22", 2) == 0)
        hide_quoted(out, primary);
    else
        buf_puts(out, primary);
}

/* The column that COPY was reading: 'COPY t, line 3, column qty: "abc"' has it in its CONTEXT, before the
 * value. 'COPY t, line 3: "1 abc"' has none, and what looks like one is part of the row. */
static void put_copy_column(struct buf *out, const char *context) {
    if (!context || strncmp(context, "COPY ", 5) != 0)
        return;
    for (const char *at = context; (at = strstr(at, ", line "));) {
        at += strlen(", line ");
        size_t digits = strspn(at, "0123456789");
        at += digits;
        if (digits == 0)
            continue;
        if (strncmp(at, ", column ", 9) != 0)
            return;
        at += strlen(", column ");
        size_t n = strcspn(at, ":\n");
        if (n > 0 && n < 64)
            buf_printf(out, ", column %.*s", (int)n, at);
        return;
    }
}

static void put_field(struct buf *out, const PGresult *result, int field, const char *what) {
    const char *value = PQresultErrorField(result, field);
    if (value && *value)
        buf_printf(out, ", %s %s", what, value);
}

enum code outcome_set(const PGresult *result, const char *about, struct err *err) {
    const char *sqlstate = PQresultErrorField(result, PG_DIAG_SQLSTATE);
    struct outcome outcome = outcome_of(sqlstate);
    CLEANUP_BUF text = {0};
    if (about)
        buf_printf(&text, "%s: ", about);
    put_primary(&text, result, sqlstate);
    buf_printf(&text, " (SQLSTATE %s", sqlstate ? sqlstate : "none");
    put_field(&text, result, PG_DIAG_CONSTRAINT_NAME, "constraint");
    put_field(&text, result, PG_DIAG_COLUMN_NAME, "column");
    put_copy_column(&text, PQresultErrorField(result, PG_DIAG_CONTEXT));
    buf_putc(&text, ')');
    return err_set(err, outcome.code, outcome.id, "%s", buf_cstr(&text));
}

/* "connection to server ... failed: FATAL:  28P01: password authentication ..." -> "28P01" */
static bool find_sqlstate(const char *text, char ret[6]) {
    for (const char *p = text; (p = strstr(p, ":  ")); p++) {
        const char *q = p + 3;
        int n = 0;
        while (n < 5 && (isdigit((unsigned char)q[n]) || (q[n] >= 'A' && q[n] <= 'Z')))
            n++;
        if (n == 5 && q[5] == ':') {
            memcpy(ret, q, 5);
            ret[5] = 0;
            return true;
        }
    }
    return false;
}

enum code outcome_of_connection(const char *text, struct err *err) {
    char sqlstate[6];
    struct outcome outcome = {RETRY, ERR_TARGET_UNREACHABLE};
    if (find_sqlstate(text, sqlstate))
        outcome = outcome_of(sqlstate);
    else if (strstr(text, "certificate") || strstr(text, "does not support SSL"))
        outcome = (struct outcome){FATAL, ERR_TARGET_REFUSED};
    else if (strstr(text, "no password supplied"))
        outcome = (struct outcome){FATAL, ERR_TARGET_REFUSED};
    size_t n = strcspn(text, "\n");
    if (n == 0)
        return err_set(err, outcome.code, outcome.id, "replica: the connection was lost");
    return err_set(err, outcome.code, outcome.id, "replica: %.*s", (int)(n < 800 ? n : 800), text);
}
