#include "journal/embedded/tick.h"

#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/inotify.h>
#include <unistd.h>

enum code tick_make(const char *path, struct err *err) {
    int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 && (errno == EACCES || errno == EPERM || errno == EROFS))
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "cannot make '%s': %s. Let this user write it and its directory", path,
                       strerror(errno));
    if (fd < 0)
        return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "cannot make '%s': %s", path, strerror(errno));
    close(fd);
    return OK;
}

void tick_ring(const char *path) {
    int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd >= 0)
        close(fd);
}

bool tick_watch(struct tick *t, const char *path) {
    if (t->fd < 0)
        t->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    if (t->fd >= 0 && inotify_add_watch(t->fd, path, IN_CLOSE_WRITE | IN_DELETE_SELF | IN_MOVE_SELF) >= 0)
        return true;
    tick_close(t);
    return false;
}

bool tick_clear(struct tick *t) {
    _Alignas(struct inotify_event) char events[4096];
    bool here = true;
    for (ssize_t n; (n = read(t->fd, events, sizeof events)) > 0;)
        for (const char *p = events; p < events + n;) {
            const struct inotify_event *e = (const void *)p;
            here = here && !(e->mask & (IN_DELETE_SELF | IN_MOVE_SELF | IN_IGNORED));
            p += sizeof *e + e->len;
        }
    return here;
}

void tick_close(struct tick *t) {
    if (t->fd >= 0)
        close(t->fd);
    t->fd = -1;
}
