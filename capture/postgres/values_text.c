/* Text and what looks like it: bytea, bit strings, uuid, hstore. Everything that becomes text is checked to
 * be UTF-8 without NUL here, because nobody after us does: a server whose encoding is SQL_ASCII sends any
 * bytes. */
#include "capture/postgres/values_read.h"

/* ---- text ---- */

static inline bool continues(unsigned char c) {
    return (c & 0xc0) == 0x80;
}

/* Length of the character at `p`, 0 if it is not UTF-8 (RFC 3629: shortest form, no surrogates) or is NUL. */
static size_t utf8_char(const unsigned char *p, size_t left) {
    if (p[0] < 0x80)
        return p[0] != 0;
    if (left >= 2 && p[0] >= 0xc2 && p[0] <= 0xdf)
        return continues(p[1]) ? 2 : 0;
    if (left >= 3 && (p[0] & 0xf0) == 0xe0) {
        bool overlong = p[0] == 0xe0 && p[1] < 0xa0, surrogate = p[0] == 0xed && p[1] >= 0xa0;
        return !overlong && !surrogate && continues(p[1]) && continues(p[2]) ? 3 : 0;
    }
    if (left >= 4 && p[0] >= 0xf0 && p[0] <= 0xf4) {
        bool overlong = p[0] == 0xf0 && p[1] < 0x90, beyond = p[0] == 0xf4 && p[1] >= 0x90;
        return !overlong && !beyond && continues(p[1]) && continues(p[2]) && continues(p[3]) ? 4 : 0;
    }
    return 0;
}

/* Eight bytes at a time while they are ASCII. */
static const char *check_text(struct slice text) {
    const unsigned char *p = (const unsigned char *)text.data, *end = p + text.len;
    const uint64_t ones = UINT64_C(0x0101010101010101), highs = ones << 7;
    while (p < end) {
        uint64_t word;
        if (end - p >= 8 && (memcpy(&word, p, 8), ((word - ones) | word) & highs) == 0) {
            p += 8;
            continue;
        }
        size_t n = utf8_char(p, (size_t)(end - p));
        if (n == 0)
            return *p ? "not valid UTF-8" : "a NUL inside text";
        p += n;
    }
    return NULL;
}

const char *pg_read_text(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)column, (void)scratch;
    *ret = (struct value){VALUE_TEXT, {.s = text}};
    return check_text(text);
}

const char *pg_read_bits(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)scratch;
    if (text.len != (size_t)column->length)
        return "not a bit string of its type's length";
    for (size_t i = 0; i < text.len; i++)
        if (text.data[i] != '0' && text.data[i] != '1')
            return "not a bit string";
    *ret = (struct value){VALUE_TEXT, {.s = text}};
    return NULL;
}

/* ---- hexadecimal ---- */

/* 16 and above: not a digit. uuid prints lower case, and so does bytea. */
static inline unsigned hex_digit(char c) {
    unsigned digit = (unsigned char)c - (unsigned)'0', letter = (unsigned char)c - (unsigned)'a';
    return digit <= 9 ? digit : letter <= 5 ? letter + 10 : 16;
}

const char *pg_read_uuid(const struct column *column, struct slice text, struct arena *scratch,
                         struct value *ret) {
    (void)column, (void)scratch;
    if (text.len != 36)
        return "not a uuid";
    for (size_t i = 0; i < 36; i++) {
        bool hyphen = i == 8 || i == 13 || i == 18 || i == 23;
        if (hyphen ? text.data[i] != '-' : hex_digit(text.data[i]) > 15)
            return "not a uuid";
    }
    *ret = (struct value){VALUE_TEXT, {.s = text}};
    return NULL;
}

/* \x0123ab */
const char *pg_read_bytes(const struct column *column, struct slice text, struct arena *scratch,
                          struct value *ret) {
    (void)column;
    if (text.len < 2 || text.len % 2 || text.data[0] != '\\' || text.data[1] != 'x')
        return "not bytea as hex";
    size_t len = text.len / 2 - 1;
    char *bytes = arena_alloc(scratch, len);
    const char *p = text.data + 2;
    unsigned wrong = 0;
    for (size_t i = 0; i < len; i++) {
        unsigned high = hex_digit(p[2 * i]), low = hex_digit(p[2 * i + 1]);
        wrong |= high | low;
        bytes[i] = (char)(high << 4 | low);
    }
    if (wrong & 16)
        return "not bytea as hex";
    *ret = (struct value){VALUE_BYTES, {.s = slice_make(bytes, len)}};
    return NULL;
}

/* ---- hstore: "k"=>"v", "n"=>NULL becomes {"k":"v","n":null} ---- */

/* A control character grows by five bytes; nothing else in the text grows, and two braces come around it. */
static size_t hstore_json_size(struct slice text) {
    size_t controls = 0;
    for (size_t i = 0; i < text.len; i++)
        controls += (unsigned char)text.data[i] < 0x20;
    return text.len + 5 * controls + 2;
}

static bool take(const char **p, const char *end, const char *word) {
    size_t len = strlen(word);
    if ((size_t)(end - *p) < len || memcmp(*p, word, len) != 0)
        return false;
    *p += len;
    return true;
}

static char *put_json_char(char *out, char c) {
    static const char digits[] = "0123456789abcdef";
    if ((unsigned char)c < 0x20) {
        memcpy(out, "\\u00", 4);
        out[4] = digits[c >> 4];
        out[5] = digits[c & 15];
        return out + 6;
    }
    if (c == '"' || c == '\\')
        *out++ = '\\';
    *out++ = c;
    return out;
}

/* "..." with \ before each " and \ (contrib/hstore/hstore_io.c, cpw). NULL if it is not that. */
static char *hstore_string(const char **p, const char *end, char *out) {
    if (!take(p, end, "\""))
        return NULL;
    *out++ = '"';
    const char *s = *p;
    for (; s < end && *s != '"'; s++) {
        if (*s == '\\' && (++s == end || (*s != '"' && *s != '\\')))
            return NULL;
        out = put_json_char(out, *s);
    }
    if (s == end)
        return NULL;
    *out++ = '"';
    *p = s + 1;
    return out;
}

static char *hstore_pair(const char **p, const char *end, char *out) {
    out = hstore_string(p, end, out);
    if (!out || !take(p, end, "=>"))
        return NULL;
    *out++ = ':';
    if (!take(p, end, "NULL"))
        return hstore_string(p, end, out);
    memcpy(out, "null", 4);
    return out + 4;
}

const char *pg_read_hstore(const struct column *column, struct slice text, struct arena *scratch,
                           struct value *ret) {
    (void)column;
    const char *reason = check_text(text);
    if (reason)
        return reason;
    char *start = arena_alloc(scratch, hstore_json_size(text)), *out = start;
    const char *p = text.data, *end = p + text.len;
    *out++ = '{';
    while (p < end) {
        out = hstore_pair(&p, end, out);
        if (!out || (p < end && (!take(&p, end, ", ") || p == end)))
            return "not an hstore";
        *out++ = p < end ? ',' : '}';
    }
    if (text.len == 0)
        *out++ = '}';
    *ret = (struct value){VALUE_TEXT, {.s = slice_make(start, (size_t)(out - start))}};
    return NULL;
}
