/* {"k":"v","n":null} printed as hstore reads it: "k"=>"v", "n"=>NULL. JSON by RFC 8259; hstore by its manual,
 * F.18.1. */
#include <assert.h>

#include "sink/values/values_print.h"

struct cursor {
    const char *p, *end;
};

static void skip_space(struct cursor *in) {
    while (in->p < in->end && (*in->p == ' ' || *in->p == '\t' || *in->p == '\n' || *in->p == '\r'))
        in->p++;
}

static bool take(struct cursor *in, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(in->end - in->p) < len || memcmp(in->p, word, len) != 0)
        return false;
    in->p += len;
    return true;
}

static bool take_mark(struct cursor *in, const char *mark) {
    skip_space(in);
    return take(in, mark);
}

/* Four hexadecimal digits; 0 if they are not there (and U+0000 has no place in PostgreSQL). */
static uint32_t take_hex4(struct cursor *in) {
    uint32_t n = 0;
    if (in->end - in->p < 4)
        return 0;
    for (int i = 0; i < 4; i++, in->p++) {
        uint32_t digit = (uint32_t)(unsigned char)*in->p - '0',
                 letter = ((uint32_t)(unsigned char)*in->p | 0x20) - 'a';
        if (digit > 9 && letter > 5)
            return 0;
        n = n << 4 | (digit <= 9 ? digit : letter + 10);
    }
    return n;
}

/* After \u: one code unit, or the two of a surrogate pair. */
static uint32_t take_code_point(struct cursor *in) {
    uint32_t high = take_hex4(in);
    if ((high & 0xf800) != 0xd800)
        return high;
    if (high >= 0xdc00 || !take(in, "\\u"))
        return 0;
    uint32_t low = take_hex4(in);
    return (low & 0xfc00) == 0xdc00 ? 0x10000 + ((high & 0x3ff) << 10) + (low & 0x3ff) : 0;
}

static void put_utf8(struct buf *out, uint32_t c) {
    if (c < 0x80) {
        buf_putc(out, (char)c);
    } else if (c < 0x800) {
        buf_putc(out, (char)(0xc0 | c >> 6));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else if (c < 0x10000) {
        buf_putc(out, (char)(0xe0 | c >> 12));
        buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    } else {
        buf_putc(out, (char)(0xf0 | c >> 18));
        buf_putc(out, (char)(0x80 | (c >> 12 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c >> 6 & 0x3f)));
        buf_putc(out, (char)(0x80 | (c & 0x3f)));
    }
}

/* After a backslash of JSON: the character it stands for, 0 if none. */
static uint32_t take_escape(struct cursor *in) {
    if (in->p == in->end)
        return 0;
    char c = *in->p++;
    switch (c) {
    case '"':
    case '\\':
    case '/':
        return (uint32_t)c;
    case 'b':
        return '\b';
    case 'f':
        return '\f';
    case 'n':
        return '\n';
    case 'r':
        return '\r';
    case 't':
        return '\t';
    case 'u':
        return take_code_point(in);
    default:
        return 0;
    }
}

/* A JSON string as an hstore string: in quotes, with \ before " and \. */
static bool put_string(struct cursor *in, struct buf *out) {
    if (!take_mark(in, "\""))
        return false;
    buf_putc(out, '"');
    while (in->p < in->end && *in->p != '"') {
        uint32_t c = (unsigned char)*in->p++;
        bool escaped = c == '\\';
        if (escaped && (c = take_escape(in)) == 0)
            return false;
        if (c == '"' || c == '\\')
            buf_putc(out, '\\');
        if (escaped)
            put_utf8(out, c);
        else
            buf_putc(out, (char)c);
    }
    buf_putc(out, '"');
    return take(in, "\"");
}

static bool put_pair(struct cursor *in, struct buf *out) {
    if (!put_string(in, out) || !take_mark(in, ":"))
        return false;
    buf_puts(out, "=>");
    if (!take_mark(in, "null"))
        return put_string(in, out);
    buf_puts(out, "NULL");
    return true;
}

static bool put_object(struct cursor *in, struct buf *out) {
    if (!take_mark(in, "{"))
        return false;
    if (take_mark(in, "}"))
        return true;
    do {
        if (!put_pair(in, out))
            return false;
        if (take_mark(in, "}"))
            return true;
        buf_puts(out, ", ");
    } while (take_mark(in, ","));
    return false;
}

const char *pg_print_hstore(const struct column *column, const struct value *value, struct buf *out) {
    (void)column;
    assert(value->tag == VALUE_TEXT);
    struct cursor in = {value->s.data, value->s.data + value->s.len};
    bool whole = put_object(&in, out);
    skip_space(&in);
    return whole && in.p == in.end ? NULL : "not a JSON object of strings and nulls, as hstore needs";
}
