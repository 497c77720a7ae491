#include "schemas/topic.h"

static bool put_plain(struct buf *out, const char *name) {
    bool changed = false;
    for (const char *c = name; *c; c++) {
        bool plain = (*c >= 'a' && *c <= 'z') || (*c >= 'A' && *c <= 'Z') || (*c >= '0' && *c <= '9') ||
                     *c == '_' || *c == '-';
        buf_putc(out, plain ? *c : '_');
        changed |= !plain;
    }
    return changed;
}

static uint32_t names_hash(const struct table *table) {
    uint32_t h = 2166136261u;
    for (const char *c = table->schema; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    h = (h ^ 0xFFu) * 16777619u; /* cannot occur in UTF-8: keeps ("a.b","c") and ("a","b.c") apart */
    for (const char *c = table->name; *c; c++)
        h = (h ^ (unsigned char)*c) * 16777619u;
    return h;
}

void topic_name(const char *prefix, const struct table *table, struct buf *out) {
    size_t begin = out->len;
    buf_printf(out, "%s.", prefix);
    bool changed = put_plain(out, table->schema);
    buf_putc(out, '.');
    changed |= put_plain(out, table->name);
    if (!changed && out->len - begin <= TOPIC_NAME_MAX)
        return;
    enum { HASH_LEN = 9 };
    if (out->len - begin > TOPIC_NAME_MAX - HASH_LEN)
        out->len = begin + TOPIC_NAME_MAX - HASH_LEN;
    buf_printf(out, "-%08x", names_hash(table));
}
