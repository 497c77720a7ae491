#include <stdio.h>

#include "capture/trigger/feed.h"

void feed_find(struct feed_look *look, enum feed_level level, enum err_id id, const char *name,
               const char *what, const char *mend) {
    struct feed_finding *f = xcalloc(1, sizeof *f), **at = &look->findings;
    while (*at)
        at = &(*at)->next;
    f->level = level;
    f->id = id;
    snprintf(f->name, sizeof f->name, "%s", level == FEED_ERROR ? err_name(id) : name);
    f->what = xstrdup(what);
    f->mend = xstrdup(mend ? mend : "");
    *at = f;
}

enum code feed_look_judge(const struct feed_look *look, struct err *err) {
    for (const struct feed_finding *f = look->findings; f; f = f->next)
        if (f->level == FEED_ERROR)
            return err_set(err, FATAL, f->id, "%s%s%s", f->what, *f->mend ? "; " : "", f->mend);
    return OK;
}

void feed_look_free(struct feed_look *look) {
    for (struct feed_finding *f = look->findings, *next; f; f = next) {
        next = f->next;
        free(f->what);
        free(f->mend);
        free(f);
    }
    look->findings = NULL;
}
