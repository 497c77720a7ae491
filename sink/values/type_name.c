#include "sink/values/type_name.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Builtins of more than one word, without their modifiers. */
static const char *const phrases[] = {
    "double precision",
    "character varying",
    "bit varying",
    "timestamp without time zone",
    "timestamp with time zone",
    "time without time zone",
    "time with time zone",
    "interval year",
    "interval month",
    "interval day",
    "interval hour",
    "interval minute",
    "interval second",
    "interval year to month",
    "interval day to hour",
    "interval day to minute",
    "interval day to second",
    "interval hour to minute",
    "interval hour to second",
    "interval minute to second",
};
static const char *const tails[] = {" with time zone", " without time zone"};

static bool is_lower(char c) {
    return (c >= 'a' && c <= 'z') || c == '_';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

/* Length of the identifier at p, 0 if there is none. */
static size_t ident_length(const char *p) {
    const char *q = p;
    if (*q == '"') {
        for (q++; *q; q++) {
            if (*q != '"')
                continue;
            if (q[1] != '"')
                return q - p > 1 ? (size_t)(q - p) + 1 : 0;
            q++;
        }
        return 0;
    }
    if (!is_lower(*q))
        return 0;
    while (is_lower(*q) || is_digit(*q) || *q == '$')
        q++;
    return (size_t)(q - p);
}

/* "name", "schema.name" or one of the phrases. Returns its length. */
static size_t base_length(const char *text) {
    size_t longest = 0;
    for (size_t i = 0; i < sizeof phrases / sizeof *phrases; i++) {
        size_t n = strlen(phrases[i]);
        if (n > longest && strncmp(text, phrases[i], n) == 0 && !is_lower(text[n]))
            longest = n;
    }
    if (longest)
        return longest;
    size_t n = ident_length(text);
    if (n == 0 || text[n] != '.')
        return n;
    size_t m = ident_length(text + n + 1);
    return m ? n + 1 + m : 0;
}

/* "(12,2)" or "(Point,4326)": returns what follows, NULL if it is malformed. */
static const char *parse_mods(const char *p, struct type_name *ret) {
    for (int i = 0; i < 4; i++) {
        p++;
        const char *begin = p;
        bool number = is_digit(*p) || (*p == '-' && is_digit(p[1]));
        if (number)
            p++;
        while (is_digit(*p) || (!number && (is_lower(*p) || (*p >= 'A' && *p <= 'Z'))))
            p++;
        if (p == begin || p - begin > 20)
            return NULL;
        if (!number || p - begin > 9 || i >= 2)
            ret->n_mods = -1;
        else if (ret->n_mods >= 0)
            ret->mods[ret->n_mods++] = (int)strtol(begin, NULL, 10);
        if (*p == ')')
            return p + 1;
        if (*p != ',')
            return NULL;
    }
    return NULL;
}

bool type_parse(const char *text, struct type_name *ret) {
    *ret = (struct type_name){.n_mods = 0};
    size_t n = base_length(text);
    if (n == 0 || n > sizeof ret->base - 24)
        return false;
    memcpy(ret->base, text, n);
    const char *p = text + n;
    if (*p == '(' && !(p = parse_mods(p, ret)))
        return false;
    bool tailed = strcmp(ret->base, "timestamp") == 0 || strcmp(ret->base, "time") == 0;
    for (size_t i = 0; tailed && i < 2; i++)
        if (strncmp(p, tails[i], strlen(tails[i])) == 0) {
            memcpy(ret->base + n, tails[i], strlen(tails[i]) + 1);
            p += strlen(tails[i]);
            break;
        }
    ret->array = strcmp(p, "[]") == 0;
    return *p == 0 || ret->array;
}

/* ---- widening ---- */

static bool is(const struct type_name *t, const char *base) {
    return strcmp(t->base, base) == 0;
}

static int integer_digits(const struct type_name *t) {
    return is(t, "smallint") ? 5 : is(t, "integer") ? 10 : is(t, "bigint") ? 19 : 0;
}

/* Types whose one modifier is a maximum: none at all is the widest. */
static bool one_limit(const struct type_name *t) {
    static const char *const limited[] = {"character varying",           "bit varying",
                                          "timestamp without time zone", "timestamp with time zone",
                                          "time without time zone",      "time with time zone"};
    for (size_t i = 0; i < sizeof limited / sizeof *limited; i++)
        if (is(t, limited[i]))
            return true;
    return strncmp(t->base, "interval", 8) == 0;
}

static bool numeric_holds(const struct type_name *to, int digits, int scale) {
    if (to->n_mods == 0)
        return true;
    int to_scale = to->n_mods == 2 ? to->mods[1] : 0;
    return to->n_mods > 0 && to_scale >= scale && to->mods[0] - to_scale >= digits;
}

static bool same_base_widens(const struct type_name *from, const struct type_name *to) {
    if (from->n_mods == to->n_mods && from->n_mods >= 0 &&
        memcmp(from->mods, to->mods, sizeof from->mods) == 0)
        return true;
    if (from->n_mods < 0 || to->n_mods < 0)
        return false;
    if (one_limit(from))
        return to->n_mods == 0 || (from->n_mods == 1 && to->mods[0] >= from->mods[0]);
    if (is(from, "character"))
        return from->n_mods == 1 && to->n_mods == 1 && to->mods[0] >= from->mods[0];
    if (!is(from, "numeric"))
        return false;
    if (from->n_mods == 0)
        return to->n_mods == 0;
    int scale = from->n_mods == 2 ? from->mods[1] : 0;
    return numeric_holds(to, from->mods[0] - scale, scale);
}

bool type_widens(const struct type_name *from, const struct type_name *to) {
    if (from->array != to->array)
        return false;
    if (is(from, to->base))
        return same_base_widens(from, to);
    if (integer_digits(from) && integer_digits(to))
        return integer_digits(from) < integer_digits(to);
    if (integer_digits(from) && is(to, "numeric"))
        return numeric_holds(to, integer_digits(from), 0);
    if (is(from, "real") && is(to, "double precision"))
        return true;
    if (is(from, "character varying") && is(to, "text"))
        return true;
    if (is(from, "text") && is(to, "character varying"))
        return to->n_mods == 0;
    return false;
}

bool type_holds_any(const struct type_name *type) {
    return !type->array && type->n_mods == 0 && (is(type, "text") || is(type, "character varying"));
}
