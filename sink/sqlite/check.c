/* What `millrace doctor` asks of a replica: findings as JSON objects separated by ',', each
 * {"level":"error|warn|ok","id":"...","what":"...","mend":"..."}. Nothing is changed on the replica. */
#include <errno.h>
#include <stdio.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "base/finding.h"
#include "sink/sqlite/sqlite.h"

/* SQLite makes two files beside the replica's, so the directory itself must be writable. */
static void check_directory(const char *path, struct buf *findings) {
    const char *slash = strrchr(path, '/');
    CLEANUP_FREE char *directory =
        slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
    if (access(directory, W_OK | X_OK) == 0) {
        finding_put(findings, "ok", "replica-directory", "the replica's directory can be written", "");
        return;
    }
    CLEANUP_FREE char *what = xasprintf("directory %s cannot be written: %s", directory, strerror(errno));
    CLEANUP_FREE char *mend =
        xasprintf("mkdir -p %s, and make it belong to the user that runs millrace", directory);
    finding_put(findings, "error", "replica-directory", what, mend);
}

/* WAL mode shares memory between processes through a mapped file: over a network that does not work. */
static void check_file_system(const char *path, struct buf *findings) {
    static const long network[] = {0x6969, 0x517B, 0xFF534D42, 0xFE534D42, 0x01021997};
    struct statfs fs;
    const char *slash = strrchr(path, '/');
    CLEANUP_FREE char *directory = slash ? xstrndup(path, (size_t)(slash - path) + 1) : xstrdup(".");
    if (statfs(directory, &fs) != 0)
        return;
    for (size_t i = 0; i < sizeof network / sizeof *network; i++)
        if ((long)fs.f_type == network[i])
            finding_put(findings, "error", "replica-disk", "the replica's file lies on a network file system",
                        "put it on a disk of this host: its readers must see the same memory");
}

static enum code check_file(struct db *db, struct buf *findings, struct err *err) {
    bool exists = false;
    struct err why = {0};
    if (!db->conn) {
        finding_put(findings, "ok", "replica-file", "the file is not there yet and will be created", "");
        return OK;
    }
    enum code code = lite_schema_exists(db, &exists, &why);
    if (code != OK && why.id == ERR_STOPPED)
        return err_set(err, code, why.id, "%s", why.text);
    if (code != OK)
        finding_put(findings, "error", err_name(why.id), why.text, "");
    else if (sqlite3_db_readonly(db->conn, "main") || access(db->options->path, W_OK) != 0)
        finding_put(findings, "error", "replica-file", "the file is read-only for this user",
                    "make it belong to the user that runs millrace");
    else
        finding_put(findings, "ok", "replica-file",
                    exists ? "the file is Millrace's" : "tables of Millrace's can be created in the file",
                    "");
    return OK;
}

enum code lite_check(const void *options, const struct target_env *env, int64_t wait_ms, struct buf *findings,
                     struct err *err) {
    const struct sqlite_options *o = options;
    struct db db;
    struct err why = {0};
    enum code code = db_open(&db, options, env, DB_LOOK, wait_ms, &why);
    bool was_stopped = code != OK && why.id == ERR_STOPPED;
    if (was_stopped)
        code = err_set(err, code, why.id, "%s", why.text);
    else if (code != OK)
        finding_put(findings, "error", err_name(why.id), why.text, "check the sink's path");
    check_directory(o->path, findings);
    check_file_system(o->path, findings);
    if (code == OK)
        code = check_file(&db, findings, err);
    db_close(&db);
    return was_stopped ? code : OK;
}
