#include "sink/filter.h"

#include <ctype.h>
#include <errno.h>

/* ---- the language ---- */

struct scanner {
    const char *at;
    struct arena *arena;
};

static void skip_space(struct scanner *s) {
    while (isspace((unsigned char)*s->at))
        s->at++;
}

static bool take_word(struct scanner *s, const char *word) {
    skip_space(s);
    size_t n = strlen(word);
    if (strncasecmp(s->at, word, n) != 0)
        return false;
    if (isalpha((unsigned char)*word) && (isalnum((unsigned char)s->at[n]) || s->at[n] == '_'))
        return false;
    s->at += n;
    return true;
}

/* Text between `quote`s, doubled quotes inside meaning one. NULL: not closed. */
static char *take_quoted(struct scanner *s, char quote) {
    char *out = arena_alloc(s->arena, strlen(s->at) + 1), *end = out;
    for (s->at++; *s->at; s->at++) {
        if (*s->at == quote && s->at[1] != quote) {
            s->at++;
            *end = 0;
            return out;
        }
        if (*s->at == quote)
            s->at++;
        *end++ = *s->at;
    }
    return NULL;
}

static char *take_plain(struct scanner *s) {
    const char *begin = s->at;
    while (isalnum((unsigned char)*s->at) || *s->at == '_' || *s->at == '.' || *s->at == '-' ||
           *s->at == '+' || (unsigned char)*s->at >= 0x80)
        s->at++;
    return s->at == begin ? NULL : arena_strndup(s->arena, begin, (size_t)(s->at - begin));
}

static char *take_operand(struct scanner *s, char quote) {
    skip_space(s);
    return *s->at == quote ? take_quoted(s, quote) : take_plain(s);
}

static bool take_condition(struct scanner *s, struct condition *ret) {
    ret->column = take_operand(s, '"');
    if (!ret->column)
        return false;
    if (take_word(s, "is")) {
        ret->comparison = take_word(s, "not") ? IS_NOT_NULL : IS_NULL;
        return take_word(s, "null");
    }
    if (take_word(s, "!=") || take_word(s, "<>"))
        ret->comparison = IS_DIFFERENT;
    else if (take_word(s, "="))
        ret->comparison = IS_EQUAL;
    else
        return false;
    char *literal = take_operand(s, '\'');
    ret->text = slice_of(literal);
    return literal != NULL;
}

int filter_parse(const char *text, struct arena *arena, struct condition *ret) {
    struct scanner s = {text, arena};
    for (int n = 0; n < CONDITIONS_MAX; n++) {
        if (!take_condition(&s, &ret[n]))
            return -1;
        skip_space(&s);
        if (!*s.at)
            return n + 1;
        if (!take_word(&s, "and"))
            return -1;
    }
    return -1;
}

/* ---- literals ---- */

static size_t digits(const char *p, const char *end) {
    const char *start = p;
    while (p < end && *p >= '0' && *p <= '9')
        p++;
    return (size_t)(p - start);
}

static bool decimal_read(struct slice text, struct decimal_parts *ret) {
    const char *p = text.data, *end = p + text.len;
    bool minus = p < end && *p == '-';
    if (p < end && (*p == '-' || *p == '+'))
        p++;
    struct slice whole = {p, digits(p, end)}, part = {"", 0};
    p += whole.len;
    if (p < end && *p == '.') {
        part = slice_make(p + 1, digits(p + 1, end));
        p += 1 + part.len;
    }
    if (p != end || whole.len + part.len == 0)
        return false;
    for (; whole.len && *whole.data == '0'; whole.len--)
        whole.data++;
    while (part.len && part.data[part.len - 1] == '0')
        part.len--;
    *ret = (struct decimal_parts){minus && whole.len + part.len > 0, whole, part};
    return true;
}

static bool decimal_same(const struct decimal_parts *a, const struct decimal_parts *b) {
    return a->minus == b->minus && slice_eq(a->whole, b->whole) && slice_eq(a->part, b->part);
}

static const char *bind_bool(struct condition *c) {
    bool yes = slice_is(c->text, "true") || slice_is(c->text, "t") || slice_is(c->text, "1");
    bool no = slice_is(c->text, "false") || slice_is(c->text, "f") || slice_is(c->text, "0");
    c->form = LITERAL_INTEGER;
    c->integer = yes;
    return yes || no ? NULL : "which is compared with true or false only";
}

static const char *bind_integer(struct condition *c) {
    char *end;
    errno = 0;
    c->form = LITERAL_INTEGER;
    c->integer = strtoll(c->text.data, &end, 10);
    return c->text.len && !*end && !errno ? NULL : "which is compared with integers only";
}

static const char *bind_float(struct condition *c, bool narrow) {
    char *end;
    c->form = LITERAL_FLOAT;
    c->number = narrow ? (double)strtof(c->text.data, &end) : strtod(c->text.data, &end);
    return c->text.len && !*end ? NULL : "which is compared with numbers only";
}

static const char *bind_decimal(struct condition *c) {
    c->form = LITERAL_DECIMAL;
    return decimal_read(c->text, &c->decimal) ? NULL : "which is compared with decimal numbers only";
}

static struct slice without_blanks(struct slice text) {
    while (text.len && text.data[text.len - 1] == ' ')
        text.len--;
    return text;
}

static const char *bind_text(struct condition *c, const struct column *column) {
    bool padded = strncmp(column->type, "character(", 10) == 0,
         number = strncmp(column->type, "numeric", 7) == 0;
    c->form = padded ? LITERAL_PADDED : LITERAL_TEXT;
    if (padded)
        c->text = without_blanks(c->text);
    else if (number && strcmp(column->type, "numeric[]") != 0 && decimal_read(c->text, &c->decimal))
        c->form = LITERAL_DECIMAL; /* NaN and the infinities stay texts */
    return NULL;
}

const char *condition_bind(struct condition *c, const struct table *table) {
    const struct column *column = table_column(table, c->column);
    if (!column)
        return "which is not there";
    c->index = (int)(column - table->columns);
    if (c->comparison == IS_NULL || c->comparison == IS_NOT_NULL)
        return NULL;
    switch (column->kind) {
    case KIND_BOOL:
        return bind_bool(c);
    case KIND_INT16:
    case KIND_INT32:
    case KIND_INT64:
        return bind_integer(c);
    case KIND_FLOAT32:
    case KIND_FLOAT64:
        return bind_float(c, column->kind == KIND_FLOAT32);
    case KIND_DECIMAL:
        return bind_decimal(c);
    case KIND_UUID:
        c->form = LITERAL_UUID;
        return NULL;
    case KIND_TEXT:
    case KIND_JSON:
    case KIND_XML:
    case KIND_ENUM:
    case KIND_LTREE:
    case KIND_TSVECTOR:
    case KIND_BITS:
        return bind_text(c, column);
    default:
        return "which is of a type that only `is null` and `is not null` can be asked of";
    }
}

/* ---- rows ---- */

static bool literal_is(const struct condition *c, const struct value *v) {
    struct decimal_parts decimal;
    switch (c->form) {
    case LITERAL_TEXT:
        return slice_eq(v->s, c->text);
    case LITERAL_PADDED:
        return slice_eq(without_blanks(v->s), c->text);
    case LITERAL_UUID:
        return v->s.len == c->text.len && strncasecmp(v->s.data, c->text.data, c->text.len) == 0;
    case LITERAL_INTEGER:
        return v->i == c->integer;
    case LITERAL_FLOAT:
        return v->d == c->number || (v->d != v->d && c->number != c->number);
    case LITERAL_DECIMAL:
        return decimal_read(v->s, &decimal) && decimal_same(&decimal, &c->decimal);
    }
    return false;
}

bool condition_holds(const struct condition *c, const struct value *v) {
    bool null = v->tag == VALUE_NULL;
    switch (c->comparison) {
    case IS_NULL:
        return null;
    case IS_NOT_NULL:
        return !null;
    case IS_EQUAL:
        return !null && literal_is(c, v);
    case IS_DIFFERENT:
        return !null && !literal_is(c, v);
    }
    return false;
}
