/* Texts that end up in a replica's SQL, or come from its server: names of types, identifiers, error messages.
 *
 *   tape = what (1 byte) text */
#include "fuzz.h"
#include "sink/postgres/outcome.h"
#include "sink/postgres/sql.h"
#include "sink/values/type_name.h"

/* Outside of quotes an accepted type name holds nothing that could end a piece of DDL. */
static void type_is_harmless(const char *text) {
    bool quoted = false;
    for (const char *p = text; *p; p++) {
        quoted ^= *p == '"';
        bool plain = (*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z') || (*p >= '0' && *p <= '9');
        HOLDS(quoted || plain || strchr("_$.,()[]- \"", *p), "'%c' in a type name", *p);
        HOLDS(quoted || strncmp(p, "--", 2) != 0, "a comment in a type name");
    }
    HOLDS(!quoted, "an open quote in a type name");
}

static void take_type(const char *text, const char *other) {
    struct type_name type, to;
    if (!type_parse(text, &type))
        return;
    type_is_harmless(text);
    HOLDS(type.n_mods >= -1 && type.n_mods <= 2 && strlen(type.base) < sizeof type.base, "modifiers");
    if (type.n_mods >= 0)
        HOLDS(type_widens(&type, &type), "%s does not hold itself", text);
    if (type_parse(other, &to))
        (void)type_widens(&type, &to);
}

/* Undoes the doubling or the backslashes between the outer quotes. */
static void quoted_is(const struct buf *quoted, char escape, const char *text) {
    HOLDS(quoted->len >= 2 && quoted->data[0] == '"' && quoted->data[quoted->len - 1] == '"', "quotes");
    size_t end = quoted->len - 1, i = 1;
    for (; *text; text++, i++) {
        bool special = *text == '"' || (escape == '\\' && *text == '\\');
        HOLDS(!special || (i < end && quoted->data[i++] == escape), "an escape");
        HOLDS(i < end && quoted->data[i] == *text, "a character");
    }
    HOLDS(i == end, "the end");
}

static void take_name(const char *text) {
    struct buf sql = {0};
    sql_ident(&sql, text);
    quoted_is(&sql, '"', text);
    buf_clear(&sql);
    sql_array_element(&sql, text);
    quoted_is(&sql, '\\', text);
    buf_free(&sql);
}

/* A failed result whose parts are the text; what stands in quotes may be a row's value where SQLSTATE says
 * so. */
static void take_message(const char *text) {
    struct err err;
    enum code code = outcome_of_connection(text, &err);
    HOLDS(code == RETRY || code == REJECT || code == FATAL, "code %d", code);
    HOLDS(strlen(err.text) < sizeof err.text && err.text[0], "no words");
    HOLDS(!strchr(err.text, '\n'), "more than a line");
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct tape tape;
    tape_init(&tape, data, size);
    unsigned what = (unsigned)tape_number(&tape, 1) % 3;
    const char *other = what == 0 ? tape_text(&tape) : "";
    struct slice rest = tape_rest(&tape);
    char *text = xstrndup(rest.data, strnlen(rest.data, rest.len));
    if (what == 0)
        take_type(text, other);
    else if (what == 1)
        take_name(text);
    else
        take_message(text);
    free(text);
    tape_free(&tape);
    return 0;
}
