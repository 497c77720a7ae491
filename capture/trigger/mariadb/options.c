/* What can be set for a MariaDB source with triggers. The table is also the manual. */
#include "capture/trigger/mariadb/options.h"

#include <stdio.h>

static const char *const tls_choices[] = {"verify", "require", "off", NULL};
static const char *const dates_choices[] = {"typed", "string", NULL};

#define AT(field) offsetof(struct maria_options, field)
static const struct option options[] = {
    {"url", OPT_SECRET, AT(url), NULL, true, 0, 0, NULL,
     "Connection URL, mysql://user:password@host:port/database, or ?socket=PATH in the place of a host."},
    {"tables", OPT_LIST, AT(tables), NULL, false, 0, 0, NULL,
     "Tables to capture: patterns database.table with * and ?; a leading '!' excludes. Default: all tables "
     "of the "
     "URL's database."},
    {"database", OPT_TEXT, AT(database), "millrace", false, 0, 0, NULL,
     "Database that holds the change table and what belongs to it; each pipeline needs one of its own."},
    {"change_table_bytes", OPT_BYTES, AT(change_table_bytes), "1GB", false, 1 << 20, 0, NULL,
     "Budget of the change table; status, doctor and metrics warn from four fifths of it on."},
    {"dates", OPT_ENUM, AT(dates), "typed", false, 0, 0, dates_choices,
     "DATE, DATETIME and TIMESTAMP as dates and times (a zero date such as 0000-00-00 stops), or all as "
     "strings."},
    {"tls", OPT_ENUM, AT(tls), "verify", false, 0, 0, tls_choices,
     "Verify the server's certificate and name, only encrypt, or neither. A local host or socket is not "
     "asked for TLS."},
    {"tls_ca", OPT_TEXT, AT(tls_ca), NULL, false, 0, 0, NULL,
     "File with the certificates to trust; default: the system's."},
    {0},
};

const struct option_table maria_options = {
    .name = "mariadb_triggers",
    .summary = "MariaDB 10.6 and newer, through triggers and a change table; neither binary log nor "
               "replication rights",
    .options = options,
    .size = sizeof(struct maria_options),
};

/* ---- URL ---- */

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Undoes %41; NULL where it is none. */
static const char *decoded(const char *text, size_t len, struct arena *arena) {
    char *out = arena_alloc(arena, len + 1);
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        if (text[i] != '%') {
            out[n++] = text[i];
            continue;
        }
        if (i + 2 >= len || hex(text[i + 1]) < 0 || hex(text[i + 2]) < 0)
            return NULL;
        out[n++] = (char)(hex(text[i + 1]) * 16 + hex(text[i + 2]));
        i += 2;
    }
    out[n] = 0;
    return strlen(out) == n ? out : NULL;
}

static bool parse_account(const char *text, size_t len, struct arena *arena, struct maria_url *ret) {
    const char *colon = memchr(text, ':', len);
    size_t user = colon ? (size_t)(colon - text) : len;
    ret->user = decoded(text, user, arena);
    if (colon)
        ret->password = decoded(colon + 1, len - user - 1, arena);
    return ret->user && (!colon || ret->password);
}

static bool parse_host(const char *text, size_t len, struct arena *arena, struct maria_url *ret) {
    const char *colon = memrchr(text, ':', len), *bracket = memchr(text, ']', len);
    size_t host = len;
    if (colon && (!bracket || colon > bracket)) {
        char *end;
        unsigned long port = strtoul(colon + 1, &end, 10);
        if (end != text + len || port == 0 || port > 65535)
            return false;
        ret->port = (unsigned)port;
        host = (size_t)(colon - text);
    }
    if (host > 1 && text[0] == '[' && text[host - 1] == ']')
        ret->host = decoded(text + 1, host - 2, arena);
    else if (host)
        ret->host = decoded(text, host, arena);
    return !host || ret->host;
}

bool maria_url_parse(const char *url, struct arena *arena, struct maria_url *ret) {
    *ret = (struct maria_url){0};
    const char *p = url ? strstr(url, "://") : NULL;
    if (!p || !(strncmp(url, "mysql://", 8) == 0 || strncmp(url, "mariadb://", 10) == 0))
        return false;
    p += 3;
    size_t authority = strcspn(p, "/?");
    const char *at = memrchr(p, '@', authority), *host = at ? at + 1 : p;
    if (at && !parse_account(p, (size_t)(at - p), arena, ret))
        return false;
    if (!parse_host(host, (size_t)(p + authority - host), arena, ret))
        return false;
    p += authority;
    size_t path = *p == '/' ? strcspn(p + 1, "?") : 0;
    if (path && !(ret->database = decoded(p + 1, path, arena)))
        return false;
    p += *p == '/' ? path + 1 : 0;
    if (!*p)
        return true;
    if (strncmp(p, "?socket=", 8) != 0 || strchr(p, '&'))
        return false;
    ret->socket = decoded(p + 8, strlen(p + 8), arena);
    return ret->socket && *ret->socket;
}

const char *maria_database(const void *opaque) {
    struct maria_options *o =
        (struct maria_options *)opaque; /* the cached name is the one field that is not set from YAML */
    if (o->captured[0])
        return o->captured;
    struct arena arena = {0};
    struct maria_url url;
    if (maria_url_parse(o->url, &arena, &url) && url.database)
        snprintf(o->captured, sizeof o->captured, "%s", url.database);
    arena_free(&arena);
    return o->captured;
}

/* ---- selection ---- */

/* The pattern's first dot parts database from table; a pattern without one means any database's table of that
 * name. */
static bool pattern_takes(const char *pattern, const char *schema, const char *name) {
    const char *dot = strchr(pattern, '.');
    if (!dot)
        return slice_glob(slice_of(pattern), slice_of(name));
    return slice_glob(slice_make(pattern, (size_t)(dot - pattern)), slice_of(schema)) &&
           slice_glob(slice_of(dot + 1), slice_of(name));
}

bool maria_selects(const struct maria_options *o, const char *schema, const char *name) {
    if (strcmp(schema, o->database) == 0)
        return false;
    if (!o->tables.n)
        return strcmp(schema, maria_database(o)) == 0;
    bool taken = false;
    for (size_t i = 0; i < o->tables.n; i++) {
        const char *pattern = o->tables.items[i];
        bool exclude = pattern[0] == '!';
        if (!pattern_takes(pattern + exclude, schema, name))
            continue;
        if (exclude)
            return false;
        taken = true;
    }
    return taken;
}
