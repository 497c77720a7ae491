#include "base/finding.h"

#include <jansson.h>

#include "base/utf8.h"

static json_t *text(const char *from) {
    CLEANUP_BUF clean = {0};
    for (const char *p = from ? from : ""; *p;) {
        size_t n = utf8_length(p);
        buf_put(&clean, n ? p : "?", n ? n : 1);
        p += n ? n : 1;
    }
    return json_string(buf_cstr(&clean));
}

void finding_put(struct buf *findings, const char *level, const char *id, const char *what,
                 const char *mend) {
    json_t *object = json_pack("{s:s, s:o, s:o, s:o}", "level", level, "id", text(id), "what", text(what),
                               "mend", text(mend));
    char *json = json_dumps(object, JSON_COMPACT);
    if (findings->len)
        buf_putc(findings, ',');
    buf_puts(findings, json);
    free(json);
    json_decref(object);
}
