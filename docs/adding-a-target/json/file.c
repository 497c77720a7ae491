#include "sink/json/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/slice.h"

static enum code failed(const struct file *f, const char *what, struct err *err) {
    enum err_id id =
        errno == ENOSPC || errno == EDQUOT || errno == EROFS ? ERR_TARGET_FULL : ERR_TARGET_UNREACHABLE;
    return err_set(err, RETRY, id, "%s: %s: %s", f->path, what, strerror(errno));
}

void file_forget(struct file *f) {
    json_decref(f->root);
    f->root = NULL;
}

/* *in NULL: there is no file. */
static enum code open_file(const struct file *f, FILE **in, int64_t *version, struct err *err) {
    *version = 0;
    *in = fopen(f->path, "re");
    if (!*in)
        return errno == ENOENT ? OK : failed(f, "reading", err);
    if (fscanf(*in, "millrace-json 1 %" SCNd64 "\n", version) == 1)
        return OK;
    fclose(*in);
    *in = NULL;
    return err_set(err, FATAL, ERR_TARGET_CORRUPT, "%s is no replica of ours, or damaged: move it away",
                   f->path);
}

enum code file_read(struct file *f, struct err *err) {
    FILE *in;
    json_error_t why;
    int64_t version;
    enum code code = open_file(f, &in, &version, err);
    if (code != OK)
        return code;
    if (!f->root || f->version != version) {
        file_forget(f);
        f->version = version;
        f->root = in ? json_loadf(in, 0, &why) : json_object();
    }
    if (in)
        fclose(in);
    return f->root ? OK
                   : err_set(err, FATAL, ERR_TARGET_CORRUPT, "%s is damaged (%s): move it away", f->path,
                             why.text);
}

/* Waits for the lock, which others hold only while they write; the system lets go of it for who dies. */
static enum code lock(const struct file *f, int *ret_fd, struct err *err) {
    enum { PATIENCE_US = 10000000, STEP_US = 10000 };
    CLEANUP_FREE char *path = xasprintf("%s.lock", f->path);
    int64_t end = clock_mono(f->clock) + PATIENCE_US;
    *ret_fd = open(path, O_CREAT | O_RDWR | O_CLOEXEC, 0666);
    if (*ret_fd < 0)
        return failed(f, "locking", err);
    while (flock(*ret_fd, LOCK_EX | LOCK_NB) != 0) {
        int64_t now = clock_mono(f->clock);
        if (errno != EWOULDBLOCK || now > end || stop_asked(f->stop)) {
            close(*ret_fd);
            return failed(f, "locking", err);
        }
        stop_poll(f->stop, NULL, 0, now, now + STEP_US);
    }
    return OK;
}

static enum code check_version(const struct file *f, struct err *err) {
    FILE *in;
    int64_t version;
    enum code code = open_file(f, &in, &version, err);
    if (in)
        fclose(in);
    if (code == OK && version != f->version)
        return err_set(err, RETRY, ERR_TARGET_UNREACHABLE, "%s was written by another process meanwhile",
                       f->path);
    return code;
}

static bool put(const struct file *f, const char *path, int64_t version) {
    FILE *out = fopen(path, "we");
    if (!out)
        return false;
    bool done = fprintf(out, "millrace-json 1 %" PRId64 "\n", version) > 0 &&
                json_dumpf(f->root, out, JSON_INDENT(1)) == 0 && fflush(out) == 0 && fsync(fileno(out)) == 0;
    return fclose(out) == 0 && done;
}

static bool sync_directory(const char *path) {
    CLEANUP_FREE char *directory = xstrdup(path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = 0;
    int fd = open(slash ? directory : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    if (fd >= 0)
        close(fd);
    return done;
}

enum code file_write(struct file *f, struct err *err) {
    CLEANUP_FREE char *next = xasprintf("%s.next", f->path);
    int fd;
    enum code code = lock(f, &fd, err);
    if (code != OK)
        return code;
    int64_t version = clock_wall(f->clock); /* grows also over files that were deleted */
    if (version <= f->version)
        version = f->version + 1;
    code = check_version(f, err);
    if (code == OK && !(put(f, next, version) && rename(next, f->path) == 0 && sync_directory(f->path)))
        code = failed(f, "writing", err);
    if (code == OK)
        f->version = version;
    close(fd);
    return code;
}
