/* Threads: `run` is the thread; the writer's thread calls the functions of the header's second part. They
 * share what is atomic, and the condition. */
#include "journal/embedded/upkeep.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>

#include "base/log.h"
#include "base/metrics.h"

#define LOG_PAGES     (4u << 20 >> 12)  /* the thread writes the log back when it holds so many */
#define LOG_PAGES_MAX (32u << 20 >> 12) /* the writer helps when it holds so many */
#define HELP_MS       1000
#define PASS_S        30
#define LOCK_MS       1000
#define COMPLAIN_US   INT64_C(3600000000)

struct upkeep {
    const struct embedded_journal *journal;
    struct journal_env env; /* without the stop: a commit on the way out needs its room too */
    struct store store;
    int64_t epoch;
    pthread_t thread;
    bool started;
    pthread_mutex_t lock;
    pthread_cond_t wanted;    /* with the lock: `ending` or `work` was set */
    pthread_mutex_t log_lock; /* who writes the log back: SQLite lets only one, and the other does not wait */
    bool work;
    atomic_bool ending;
    atomic_llong full_at, used;
    atomic_uint log_pages; /* in the log, as the writer saw it last */
    unsigned help_at;      /* writer: log_pages from which on it helps */
    int64_t complained_us;
    struct metric *m_used;
};

/* ---- the writer's side ---- */

static void want(struct upkeep *u) {
    pthread_mutex_lock(&u->lock);
    u->work = true;
    pthread_cond_signal(&u->wanted);
    pthread_mutex_unlock(&u->lock);
}

void upkeep_committed(struct upkeep *u, int64_t full_at) {
    if (full_at >= 0)
        atomic_store(&u->full_at, full_at);
    if (atomic_load(&u->log_pages) >= LOG_PAGES)
        want(u);
}

static int on_commit(void *arg, sqlite3 *db, const char *name, int pages) {
    struct upkeep *u = arg;
    (void)db, (void)name;
    atomic_store(&u->log_pages, (unsigned)pages);
    return SQLITE_OK;
}

void upkeep_relieve(struct upkeep *u, struct store *writer) {
    unsigned pages = atomic_load(&u->log_pages);
    if (pages < LOG_PAGES_MAX)
        u->help_at = LOG_PAGES_MAX;
    if (pages < u->help_at)
        return;
    int64_t deadline_us = writer->deadline_us;
    writer->deadline_us = embedded_deadline(writer->env, HELP_MS);
    /* Waits for the thread, writes back the little that is left, and for readers to be through with the log:
     * the next transaction begins it anew. */
    pthread_mutex_lock(&u->log_lock);
    (void)sqlite3_wal_checkpoint_v2(writer->db, NULL, SQLITE_CHECKPOINT_RESTART, NULL, NULL);
    pthread_mutex_unlock(&u->log_lock);
    writer->deadline_us = deadline_us;
    u->help_at = pages + LOG_PAGES_MAX; /* if a reader stands in the way: not again at once */
}

void upkeep_used(struct upkeep *u, int64_t used) {
    atomic_store(&u->used, used);
    metric_set(u->m_used, (double)used);
}

enum code upkeep_full(const struct embedded_journal *j, int64_t used, struct err *err) {
    return err_set(
        err, RETRY, ERR_JOURNAL_FULL,
        "journal file '%s' holds %" PRId64 " MB of the %" PRId64
        " MB that journal.embedded.budget allows: capture takes no more, and the source keeps the rest. "
        "Raise the "
        "budget (the disk must have it), or let less be kept: compaction_lag, delete_retention, retention, "
        "retention_bytes. Capture goes on by itself",
        j->path, used >> 20, j->options->budget_bytes >> 20);
}

/* ---- the thread's side ---- */

enum code upkeep_part_next(struct store *s, int64_t after, struct upkeep_part *ret, struct err *err) {
    sqlite3_stmt *row;
    enum code code = store_row(s, SQL_PARTITIONS, &row, err, "i", after);
    if (code != OK)
        return code;
    const char *topic = (const char *)sqlite3_column_text(row, 1);
    *ret = (struct upkeep_part){.id = sqlite3_column_int64(row, 0),
                                .partition = sqlite3_column_int(row, 2),
                                .compacted = sqlite3_column_int(row, 3) != 0,
                                .low = sqlite3_column_int64(row, 4),
                                .next = sqlite3_column_int64(row, 5)};
    snprintf(ret->topic, sizeof ret->topic, "%s", topic ? topic : "");
    store_end(row);
    return OK;
}

enum code upkeep_begin(struct upkeep_pass *p, struct err *err) {
    p->store->deadline_us = embedded_deadline(p->store->env, LOCK_MS);
    return store_begin(p->store, false, p->epoch, err);
}

static enum code pass(struct upkeep *u, int64_t deadline_us, struct err *err) {
    int64_t budget = u->journal->options->budget_bytes;
    struct upkeep_pass p = {
        .store = &u->store,
        .epoch = u->epoch,
        .now_us = clock_wall(u->env.clock),
        .full_at = atomic_load(&u->full_at),
        .hurry = atomic_load(&u->used) > budget - budget / 8,
        .deadline_us = deadline_us,
        .ending = &u->ending,
    };
    enum code code = upkeep_retain(&p, err);
    return code == OK ? upkeep_compact(&p, err) : code;
}

/* It is tried again with the next pass, and said once in an hour. Capture can go on: what cannot be compacted
 * is kept. */
static void complain(struct upkeep *u, enum code code, const struct err *err) {
    int64_t now = clock_mono(u->env.clock);
    if (code == OK || code == AGAIN || err->id == ERR_JOURNAL_FENCED || atomic_load(&u->ending) ||
        (u->complained_us && now - u->complained_us < COMPLAIN_US))
        return;
    u->complained_us = now;
    if (code == FATAL)
        log_error("journal", "upkeep of the journal failed", F_STR("path", u->journal->path),
                  F_STR("why", err->text));
    else
        log_warn("journal", "upkeep of the journal failed and is tried again",
                 F_STR("path", u->journal->path), F_STR("why", err->text));
}

static void write_back(struct upkeep *u) {
    struct err err = {0};
    u->store.deadline_us = embedded_deadline(&u->env, LOCK_MS);
    pthread_mutex_lock(&u->log_lock);
    int rc = sqlite3_wal_checkpoint_v2(u->store.db, NULL, SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
    pthread_mutex_unlock(&u->log_lock);
    if (rc != SQLITE_OK && (rc & 0xff) != SQLITE_BUSY)
        complain(u, store_error(&u->store, rc, "write its log back", &err), &err);
}

/* True: there is work; false: the time for a pass has come, or the end. */
static bool wait_for_work(struct upkeep *u, const struct timespec *until) {
    pthread_mutex_lock(&u->lock);
    while (!u->work && !atomic_load(&u->ending))
        if (pthread_cond_timedwait(&u->wanted, &u->lock, until) == ETIMEDOUT)
            break;
    bool work = u->work;
    u->work = false;
    pthread_mutex_unlock(&u->lock);
    return work;
}

static void *run(void *arg) {
    struct upkeep *u = arg;
    struct timespec until;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += 1;
    while (!atomic_load(&u->ending)) {
        struct err err = {0};
        if (wait_for_work(u, &until)) {
            write_back(u);
        } else if (!atomic_load(&u->ending)) {
            complain(u, pass(u, INT64_MAX, &err), &err);
            write_back(u);
            clock_gettime(CLOCK_MONOTONIC, &until);
            until.tv_sec += PASS_S;
        }
    }
    return NULL;
}

/* ---- life ---- */

static enum code check_room(struct upkeep *u, int64_t deadline_us, struct err *err) {
    int64_t used = 0, budget = u->journal->options->budget_bytes;
    enum code code = store_used(&u->store, &used, err);
    upkeep_used(u, used);
    if (code != OK || used < budget)
        return code;
    code = pass(u, deadline_us, err);
    if (code == OK || code == AGAIN)
        code = store_used(&u->store, &used, err);
    upkeep_used(u, used);
    return code == OK && used >= budget ? upkeep_full(u->journal, used, err) : code;
}

static void init_condition(struct upkeep *u) {
    pthread_condattr_t attributes;
    pthread_mutex_init(&u->lock, NULL);
    pthread_mutex_init(&u->log_lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&u->wanted, &attributes);
    pthread_condattr_destroy(&attributes);
}

enum code upkeep_start(struct store *writer, int64_t epoch, int64_t full_at, int64_t deadline_us,
                       struct upkeep **ret, struct err *err) {
    struct upkeep *u = xcalloc(1, sizeof *u);
    u->journal = writer->journal;
    u->env = (struct journal_env){.clock = &clock_system};
    u->epoch = epoch;
    atomic_init(&u->full_at, full_at);
    init_condition(u);
    u->m_used =
        metric_get(METRIC_GAUGE, "millrace_journal_used_bytes", "Bytes that the journal's file holds.", NULL);
    metric_set(metric_get(METRIC_GAUGE, "millrace_journal_budget_bytes", "Bytes that it may hold.", NULL),
               (double)u->journal->options->budget_bytes);
    enum code code = store_open(&u->store, u->journal, &u->env, STORE_UPKEEP, deadline_us, err);
    if (code == AGAIN)
        code = err_set(err, RETRY, ERR_JOURNAL_UNREACHABLE, "journal file '%s' was removed just now",
                       u->journal->path);
    if (code == OK)
        code = check_room(u, deadline_us, err);
    if (code == OK && pthread_create(&u->thread, NULL, run, u) != 0)
        code = err_set(err, RETRY, ERR_SYSTEM, "journal file '%s': no thread can be made", u->journal->path);
    u->started = code == OK;
    if (code == OK) {
        sqlite3_wal_hook(writer->db, on_commit, u);
        *ret = u;
    } else {
        upkeep_stop(u);
    }
    return code;
}

void upkeep_stop(struct upkeep *u) {
    if (!u)
        return;
    if (u->started) {
        pthread_mutex_lock(&u->lock);
        atomic_store(&u->ending, true);
        pthread_cond_signal(&u->wanted);
        pthread_mutex_unlock(&u->lock);
        sqlite3_interrupt(u->store.db);
        pthread_join(u->thread, NULL);
    }
    store_close(&u->store);
    pthread_cond_destroy(&u->wanted);
    pthread_mutex_destroy(&u->lock);
    pthread_mutex_destroy(&u->log_lock);
    free(u);
}
