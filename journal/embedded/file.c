/* The file and its place: may it be used, how it is made, is it still there. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "journal/embedded/store.h"
#include "journal/embedded/tick.h"
#include "journal/process.h"

/* ---- its place ---- */

/* The write-ahead log needs memory that all processes share, and locks and fsync that hold what they say. */
static const struct {
    unsigned type;
    const char *name;
} remote[] = {
    {0x6969, "NFS"},     {0x517b, "SMB"},      {0xff534d42, "CIFS"}, {0xfe534d42, "SMB2"}, {0x01021997, "9P"},
    {0x5346414f, "AFS"}, {0x73757245, "CODA"}, {0x00c36400, "CEPH"}, {0x564c, "NCP"},
};

static char *directory_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (!slash)
        return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static enum code check_directory(const char *directory, struct err *err) {
    struct stat st;
    struct statfs fs;
    if (stat(directory, &st) < 0 || statfs(directory, &fs) < 0)
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "directory '%s' of the journal: %s; make it for the user that runs millrace (install "
                       "-d -o USER -m "
                       "700 %s), or choose journal.embedded.path",
                       directory, strerror(errno), directory);
    if (!S_ISDIR(st.st_mode))
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "'%s' is not a directory: choose journal.embedded.path", directory);
    if ((st.st_mode & S_IWOTH) && !(st.st_mode & S_ISVTX))
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "anybody may replace files in directory '%s', and the journal holds the rows of the "
                       "source; mend: "
                       "chmod o-w %s",
                       directory, directory);
    for (size_t i = 0; i < sizeof remote / sizeof *remote; i++)
        if ((unsigned)fs.f_type == remote[i].type)
            return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                           "directory '%s' of the journal is on a network file system (%s), whose locks and "
                           "fsync cannot be "
                           "trusted: choose a journal.embedded.path on a local disk",
                           directory, remote[i].name);
    return OK;
}

enum code store_place(const struct embedded_journal *j, struct err *err) {
    struct stat st;
    CLEANUP_FREE char *directory = directory_of(j->path);
    enum code code = check_directory(directory, err);
    if (code != OK)
        return code;
    if (stat(j->path, &st) < 0) {
        if (errno == ENOENT)
            return AGAIN;
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED, "journal file '%s': %s", j->path, strerror(errno));
    }
    if (!S_ISREG(st.st_mode))
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "'%s' is not a file: choose another journal.embedded.path", j->path);
    if (st.st_uid != geteuid() && geteuid() != 0)
        return err_set(err, FATAL, ERR_JOURNAL_REFUSED,
                       "journal file '%s' belongs to another user: run millrace as its owner", j->path);
    return OK;
}

enum code store_same_file(const struct store *s, struct err *err) {
    struct stat st;
    if (stat(s->journal->path, &st) == 0 && st.st_dev == s->device && st.st_ino == s->inode)
        return OK;
    return err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE,
                   "journal file '%s' was removed or replaced while it was in use: opening it anew",
                   s->journal->path);
}

/* ---- making it ---- */

static const char form[] =
    "CREATE TABLE pipeline (id INTEGER PRIMARY KEY CHECK (id = 1), prefix TEXT NOT NULL, epoch INTEGER NOT "
    "NULL, "
    "compaction_lag_ms INTEGER NOT NULL, delete_retention_ms INTEGER NOT NULL, retention_ms INTEGER NOT "
    "NULL, "
    "retention_bytes INTEGER NOT NULL) STRICT;"
    "CREATE TABLE topics (id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, partitions "
    "INTEGER NOT NULL, "
    "compacted INTEGER NOT NULL) STRICT;"
    "CREATE TABLE partitions (id INTEGER PRIMARY KEY AUTOINCREMENT, topic INTEGER NOT NULL, partition "
    "INTEGER NOT NULL, "
    "low INTEGER NOT NULL DEFAULT 0, next INTEGER NOT NULL DEFAULT 0, UNIQUE (topic, partition)) STRICT;"
    "CREATE TABLE chunks (id INTEGER PRIMARY KEY, part INTEGER NOT NULL, first INTEGER NOT NULL, last "
    "INTEGER NOT NULL, "
    "ts_us INTEGER NOT NULL, bytes INTEGER NOT NULL, crc INTEGER NOT NULL, records BLOB NOT NULL) STRICT;"
    "CREATE INDEX chunks_at ON chunks (part, last, ts_us, bytes);" /* upkeep needs no more of a chunk */
    "CREATE TABLE cleanings (part INTEGER NOT NULL, upto INTEGER NOT NULL, at_ms INTEGER NOT NULL, "
    "PRIMARY KEY (part, upto)) STRICT, WITHOUT ROWID;";

static int fill(sqlite3 *db, const struct embedded_journal *j) {
    const struct embedded_options *o = j->options;
    char *sql = sqlite3_mprintf("PRAGMA page_size=%d; PRAGMA application_id=%d; PRAGMA user_version=%d;"
                                "PRAGMA synchronous=FULL; BEGIN; %s"
                                "INSERT INTO pipeline VALUES (1, %Q, 0, %lld, %lld, %lld, %lld);"
                                "COMMIT; PRAGMA journal_mode=WAL",
                                EMBEDDED_PAGE_BYTES, EMBEDDED_APPLICATION_ID, EMBEDDED_FORMAT, form,
                                j->prefix, (long long)o->compaction_lag_ms, (long long)o->delete_retention_ms,
                                (long long)o->retention_ms, (long long)o->retention_bytes);
    int rc = sql ? sqlite3_exec(db, sql, NULL, NULL, NULL) : SQLITE_NOMEM;
    sqlite3_free(sql);
    return rc;
}

static enum code cannot_make(const char *path, const char *why, int error, struct err *err) {
    bool full = error == ENOSPC || error == EDQUOT || error == EFBIG;
    bool refused = error == EACCES || error == EPERM || error == EROFS;
    return err_set(err, refused ? FATAL : RETRY,
                   full      ? ERR_JOURNAL_FULL
                   : refused ? ERR_JOURNAL_REFUSED
                             : ERR_JOURNAL_UNREACHABLE,
                   "cannot make the journal's file '%s': %s%s", path, why,
                   refused ? ". Let this user write its directory, or choose another journal.embedded.path"
                           : "");
}

static enum code fill_file(const struct embedded_journal *j, const char *path, struct err *err) {
    sqlite3 *db = NULL;
    struct store s = {.journal = j};
    int rc =
        sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
    if (rc == SQLITE_OK)
        rc = fill(db, j);
    s.db = db;
    enum code code = rc == SQLITE_OK ? OK : store_error(&s, rc, "make it", err);
    if (sqlite3_close(db) != SQLITE_OK && code == OK)
        code = cannot_make(j->path, "it cannot be closed", 0, err);
    return code;
}

/* The file's name is on disk too. */
static enum code sync_directory(const char *path, struct err *err) {
    CLEANUP_FREE char *directory = directory_of(path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bool done = fd >= 0 && fsync(fd) == 0;
    int error = errno;
    if (fd >= 0)
        close(fd);
    return done ? OK : cannot_make(path, strerror(error), error, err);
}

/* What was written to a file that is gone may have been durable: nobody but a person knows. */
static enum code check_orphan(const struct embedded_journal *j, struct err *err) {
    struct stat st;
    CLEANUP_FREE char *wal = xasprintf("%s-wal", j->path);
    if (stat(wal, &st) < 0 || st.st_size == 0 || stat(j->path, &st) == 0)
        return OK; /* or somebody has made both just now */
    return err_set(err, FATAL, ERR_JOURNAL_CORRUPT,
                   "journal file '%s' is gone and '%s', which belongs to it, is still there. Restore the "
                   "file; or, if it was "
                   "removed on purpose, remove '%s' and '%s-shm' too, and take a new snapshot",
                   j->path, wal, wal, j->path);
}

/* Under another name first, and then it is there, or another process was quicker. */
enum code store_create(const struct embedded_journal *j, struct err *err) {
    char random[RANDOM_NAME_BYTES];
    enum code code = store_place(j, err);
    if (code == AGAIN)
        code = check_orphan(j, err);
    else
        return code;
    if (code != OK)
        return code;
    random_name(random);
    CLEANUP_FREE char *made = xasprintf("%s-new-%s", j->path, random);
    int fd = open(made, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return cannot_make(j->path, strerror(errno), errno, err);
    close(fd);
    code = fill_file(j, made, err);
    if (code == OK && link(made, j->path) < 0 && errno != EEXIST)
        code = cannot_make(j->path, strerror(errno), errno, err);
    unlink(made);
    if (code == OK)
        code = sync_directory(j->path, err);
    return code == OK ? tick_make(j->tick, err) : code;
}
