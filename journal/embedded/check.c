#include "journal/embedded/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/finding.h"
#include "journal/embedded/writer.h"

static void check_space(struct buf *list, const struct embedded_journal *j, int64_t used) {
    struct statvfs fs;
    char text[512];
    CLEANUP_FREE char *directory = xstrdup(j->path);
    char *slash = strrchr(directory, '/');
    if (slash)
        slash[slash == directory] = 0;
    if (statvfs(slash ? directory : ".", &fs) < 0)
        return;
    int64_t room = (int64_t)fs.f_bavail * (int64_t)fs.f_frsize, more = j->options->budget_bytes - used;
    snprintf(text, sizeof text, "the journal may grow by %" PRId64 " MB and its disk has %" PRId64 " MB",
             more >> 20, room >> 20);
    finding_put(
        list, room >= more ? "ok" : "warn", "embedded.space", text,
        room >= more ? "" : "Lower journal.embedded.budget, or make room: a full disk may stop others too");
}

static void check_mode(struct buf *list, const struct embedded_journal *j) {
    struct stat st;
    char text[512];
    if (stat(j->path, &st) < 0 || !(st.st_mode & 077))
        return;
    snprintf(text, sizeof text, "other users may read or write '%s', which holds rows of the source",
             j->path);
    finding_put(list, "warn", "embedded.mode", text, "chmod 600 on the file and those beside it");
}

/* ---- the file's own health ---- */

static int over(void *arg) {
    const struct store *s = arg;
    return clock_mono(s->env->clock) >= s->deadline_us;
}

/* Every page, but not for longer than the deadline. */
static void check_pages(struct buf *list, struct store *s) {
    sqlite3_stmt *row = NULL;
    sqlite3_progress_handler(s->db, 10000, over, s);
    int rc = sqlite3_prepare_v2(s->db, "PRAGMA quick_check(1)", -1, &row, NULL);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(row);
    const char *said = rc == SQLITE_ROW ? (const char *)sqlite3_column_text(row, 0) : NULL;
    if (said && strcmp(said, "ok") == 0)
        finding_put(list, "ok", "embedded.pages", "every page of the file is whole", "");
    else if ((rc & 0xff) == SQLITE_INTERRUPT)
        finding_put(list, "ok", "embedded.pages", "the pages that were looked at in time are whole", "");
    else
        finding_put(
            list, "error", "embedded.pages", said ? said : sqlite3_errmsg(s->db),
            "The file is damaged: restore it with its -wal file, or begin a new one and take a new snapshot");
    sqlite3_finalize(row);
    sqlite3_progress_handler(s->db, 0, NULL, NULL);
}

static void check_topics(struct buf *list, struct store *s) {
    CLEANUP_BUF source = {0};
    struct arena arena = {0};
    struct ends ends = {0};
    struct commit_record *last;
    struct err err = {0};
    int64_t full;
    enum code code = known_recall(s, &ends, &arena, &last, &source, &full, &err);
    if (code == OK)
        code = last ? known_check(s, &ends, false, &err) : known_empty(s, &err);
    if (code == OK)
        finding_put(list, "ok", "embedded.topics", "topics are as the commit records say", "");
    else
        finding_put(list, "error", "embedded.topics", err.text, "");
    ends_free(&ends);
    arena_free(&arena);
}

enum code embedded_check(struct journal *journal, int64_t wait_ms, struct buf *list, struct err *err) {
    const struct embedded_journal *j = embedded_of(journal);
    const struct journal_env env = {.clock = &clock_system};
    struct store s = {0};
    int64_t used = 0;
    char text[512];
    enum code code = store_open(&s, j, &env, STORE_READER, embedded_deadline(&env, wait_ms), err);
    if (code == AGAIN) {
        snprintf(text, sizeof text, "'%s' is made when capture begins", j->path);
        finding_put(list, "ok", "embedded.file", text, "");
        check_space(list, j, 0);
        return OK;
    }
    if (code == OK)
        code = store_used(&s, &used, err);
    if (code == OK) {
        snprintf(text, sizeof text, "'%s' holds %" PRId64 " MB of at most %" PRId64 " MB", j->path,
                 used >> 20, j->options->budget_bytes >> 20);
        finding_put(list, used < j->options->budget_bytes ? "ok" : "error", "embedded.file", text,
                    used < j->options->budget_bytes ? ""
                                                    : "Raise journal.embedded.budget, or let less be kept");
        check_space(list, j, used);
        check_mode(list, j);
        check_topics(list, &s);
        s.deadline_us = embedded_deadline(&env, wait_ms / 2);
        check_pages(list, &s);
    }
    store_close(&s);
    return code;
}
