#include "sink/postgres/sql.h"

bool sql_name_ok(struct session *s, const char *name) {
    size_t n = name ? strlen(name) : 0;
    if (n == 0 || n > 63 || !s->conn)
        return false;
    char *quoted = PQescapeIdentifier(s->conn, name, n); /* checks the encoding */
    PQfreemem(quoted);
    return quoted != NULL;
}

void sql_ident(struct buf *sql, const char *name) {
    buf_putc(sql, '"');
    for (; *name; name++) {
        if (*name == '"')
            buf_putc(sql, '"');
        buf_putc(sql, *name);
    }
    buf_putc(sql, '"');
}

void sql_qualified(struct buf *sql, const char *schema, const char *name) {
    sql_ident(sql, schema);
    buf_putc(sql, '.');
    sql_ident(sql, name);
}

bool sql_literal(struct session *s, struct buf *sql, const char *text) {
    char *quoted = s->conn ? PQescapeLiteral(s->conn, text, strlen(text)) : NULL;
    if (!quoted)
        return false;
    buf_puts(sql, quoted);
    PQfreemem(quoted);
    return true;
}

void sql_array_element(struct buf *sql, const char *text) {
    buf_putc(sql, '"');
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            buf_putc(sql, '\\');
        buf_putc(sql, *text);
    }
    buf_putc(sql, '"');
}
