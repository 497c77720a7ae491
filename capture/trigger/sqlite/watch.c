/* (inotify(7).) */
#include <errno.h>
#include <sys/inotify.h>
#include <unistd.h>

#include "capture/trigger/sqlite/sqlite.h"

#define EVENTS (IN_MODIFY | IN_DELETE_SELF | IN_MOVE_SELF | IN_ATTRIB)

/* The -wal file comes with the first connection and goes with the last. */
static void add(struct lwatch *w) {
    if (w->on_path < 0)
        w->on_path = inotify_add_watch(w->fd, w->path, EVENTS);
    if (w->on_wal < 0)
        w->on_wal = inotify_add_watch(w->fd, w->wal, EVENTS);
}

void lwatch_open(struct lwatch *w, const char *path) {
    *w = (struct lwatch){.fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC), .on_path = -1, .on_wal = -1};
    w->path = xstrdup(path);
    w->wal = xasprintf("%s-wal", path);
    if (w->fd >= 0)
        add(w);
}

void lwatch_close(struct lwatch *w) {
    if (w->fd >= 0)
        close(w->fd);
    free(w->path);
    free(w->wal);
    *w = (struct lwatch){.fd = -1};
}

static void forget(struct lwatch *w, int which) {
    if (w->on_path == which)
        w->on_path = -1;
    if (w->on_wal == which)
        w->on_wal = -1;
}

bool lwatch_taken(struct lwatch *w) {
    char events[4096] __attribute__((aligned(__alignof__(struct inotify_event))));
    bool taken = false;
    ssize_t len;
    if (w->fd < 0)
        return false;
    while ((len = read(w->fd, events, sizeof events)) > 0) {
        taken = true;
        for (char *p = events; p < events + len;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)p;
            if (event->mask & IN_IGNORED)
                forget(w, event->wd);
            p += sizeof *event + event->len;
        }
    }
    add(w);
    return taken;
}
