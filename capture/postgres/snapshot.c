#include "capture/postgres/snapshot.h"

#include <stdio.h>
#include <unistd.h>

#include "base/log.h"
#include "capture/postgres/snapshot_plan.h"

#define PROGRESS_US INT64_C(5000000)

enum worker_phase { WORKER_FREE, WORKER_ASKED, WORKER_COPYING, WORKER_ENDING };
struct worker {
    PGconn *conn;
    enum worker_phase phase;
    int task;
};

enum phase { PHASE_SLOT, PHASE_TRUNCATES, PHASE_ROWS, PHASE_DONE };
struct snapshot {
    struct snapshot_want want;
    PGconn *replication;
    struct pgdecoder *decoder;
    enum phase phase;
    uint64_t lsn;       /* the consistent point */
    int64_t started_us; /* wall clock: commit time of its rows */
    int64_t started_mono_us, progress_us;
    struct snapshot_plan plan;
    struct worker workers[PG_WORKERS_MAX];
    int n_workers, current; /* current: the worker that is being drained */
    int truncated, next_task, units_done;
    uint64_t ordinal, rows;
    char *row; /* the line in hand, libpq's */
    struct pgoutput_row fields;
};

/* ---- beginning ---- */

static enum code ask_for_slot(struct snapshot *s, struct err *err) {
    CLEANUP_BUF sql = {0};
    bool modern = PQserverVersion(s->replication) >= 170000;
    if (s->want.temporary)
        buf_printf(&sql, "CREATE_REPLICATION_SLOT \"%.40s_tmp_%d\" TEMPORARY LOGICAL pgoutput ", s->want.slot,
                   (int)getpid());
    else
        buf_printf(&sql, "CREATE_REPLICATION_SLOT \"%s\" LOGICAL pgoutput ", s->want.slot);
    buf_puts(&sql, !modern             ? "EXPORT_SNAPSHOT"
                   : s->want.temporary ? "(SNAPSHOT 'export')"
                                       : "(SNAPSHOT 'export', FAILOVER)");
    if (!PQsendQuery(s->replication, buf_cstr(&sql)))
        return pgsource_error(s->replication, NULL, err, "creating the replication slot");
    return OK;
}

void snapshot_close(struct snapshot *s) {
    if (!s)
        return;
    PQfreemem(s->row);
    for (int i = 0; i < s->n_workers; i++)
        PQfinish(s->workers[i].conn); /* NULL is fine */
    snapshot_plan_free(&s->plan);
    free(s);
}

static enum code join_workers(struct snapshot *s, const char *name, struct err *err) {
    CLEANUP_BUF sql = {0};
    buf_puts(&sql, "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET TRANSACTION SNAPSHOT ");
    put_literal(&sql, name);
    for (int i = 0; i < s->n_workers; i++) {
        CLEANUP_RESULT *res = NULL;
        enum code code = pgsource_query(s->workers[i].conn, s->want.env, 10000, "joining the snapshot",
                                        buf_cstr(&sql), &res, err);
        if (code)
            return code;
    }
    return OK;
}

/* Every worker joins the view, and the plan is made inside it. */
static enum code begin_at(struct snapshot *s, const char *view, struct err *err) {
    enum code code = join_workers(s, view, err);
    if (code)
        return code;
    catalog_use(s->decoder->catalog, s->workers[0].conn);
    code = snapshot_plan_make(s->workers[0].conn, s->want.options, s->want.env, s->want.publication,
                              s->decoder->catalog, &s->plan, err);
    if (code)
        return code;
    s->phase = PHASE_TRUNCATES;
    log_info("capture", "snapshot begun", F_LSN("at", s->lsn), F_INT("tables", s->plan.n_units),
             F_INT("pieces", s->plan.n_tasks), F_INT("rows_estimate", s->plan.rows),
             F_INT("workers", s->n_workers));
    return OK;
}

static enum code begin(struct snapshot *s, struct err *err) {
    CLEANUP_RESULT *res = NULL;
    enum code code =
        pgsource_wait(s->replication, s->want.env, 10000, "creating the replication slot", &res, err);
    if (code)
        return code;
    if (PQntuples(res) != 1 || PQnfields(res) < 3 || PQgetisnull(res, 0, 2))
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "the source made a slot without a snapshot");
    s->lsn = lsn_parse(pgsource_text(res, 0, 1));
    return begin_at(s, pgsource_text(res, 0, 2), err);
}

enum code snapshot_open(const struct snapshot_want *want, PGconn *replication, struct pgdecoder *decoder,
                        struct snapshot **ret, struct err *err) {
    struct snapshot *s = xcalloc(1, sizeof *s);
    s->want = *want;
    s->replication = replication;
    s->decoder = decoder;
    s->started_us = clock_wall(want->env->clock);
    s->started_mono_us = s->progress_us = clock_mono(want->env->clock);
    enum code code = OK;
    for (; s->n_workers < want->options->snapshot_workers && s->n_workers < PG_WORKERS_MAX && code == OK;
         s->n_workers++)
        code = pgsource_connect(want->options, want->env, PG_SESSION_SQL, 10000,
                                &s->workers[s->n_workers].conn, err);
    if (code == OK)
        code = want->view ? begin_at(s, want->view, err) : ask_for_slot(s, err);
    if (code) {
        snapshot_close(s);
        return code;
    }
    *ret = s;
    return OK;
}

static void log_progress(struct snapshot *s) {
    int64_t now = clock_mono(s->want.env->clock);
    if (now - s->progress_us < PROGRESS_US)
        return;
    s->progress_us = now;
    double seconds = (double)(now - s->started_mono_us) / 1e6, rate = (double)s->rows / seconds;
    if (s->phase == PHASE_SLOT) {
        log_info("capture", "waiting for transactions that are open at the source to end",
                 F_NUM("seconds", seconds));
        return;
    }
    double left = s->plan.rows > (double)s->rows ? s->plan.rows - (double)s->rows : 0;
    log_info("capture", "snapshot", F_INT("rows", s->rows), F_INT("rows_estimate", s->plan.rows),
             F_NUM("rows_per_s", rate), F_NUM("seconds_left", rate > 0 ? left / rate : 0),
             F_INT("tables_done", s->units_done), F_INT("tables", s->plan.n_units));
}

/* ---- items ---- */

static struct position position_next(struct snapshot *s) {
    return (struct position){s->want.generation, 0, ++s->ordinal};
}

static void make_change(struct snapshot *s, enum op op, const struct table *table, const struct value *after,
                        struct source_item *ret) {
    *ret = (struct source_item){.type = ITEM_CHANGE};
    ret->change = (struct change){
        .op = op,
        .table = table,
        .position = position_next(s),
        .after = after,
        .snapshot = true,
        .commit_us = s->started_us,
        .lsn = s->lsn,
    };
    ret->position = ret->change.position;
    ret->commit_us = s->started_us;
}

static void leave_workers(struct snapshot *s) {
    for (int i = 0; i < s->n_workers; i++) {
        PQfinish(s->workers[i].conn);
        s->workers[i].conn = NULL;
    }
}

static enum code finish(struct snapshot *s, struct source_item *ret) {
    double seconds = (double)(clock_mono(s->want.env->clock) - s->started_mono_us) / 1e6;
    *ret = (struct source_item){
        .type = ITEM_COMMIT, .position = {s->want.generation, 0, s->ordinal}, .commit_us = s->started_us};
    s->phase = PHASE_DONE;
    leave_workers(s); /* and with them the locks on the tables */
    log_info("capture", "snapshot read", F_INT("rows", s->rows), F_NUM("seconds", seconds),
             F_LSN("at", s->lsn));
    return OK;
}

static enum code read_line(struct snapshot *s, struct worker *w, int len, struct source_item *ret,
                           struct err *err) {
    struct relation *r = s->plan.units[s->plan.tasks[w->task].unit].relation;
    const char *why = decode_copy_line(r, s->row, (size_t)len, &s->fields);
    if (why)
        return err_set(err, FATAL, ERR_SOURCE_PROTOCOL, "reading %s.%s: %s", r->table->schema, r->table->name,
                       why);
    enum code code = decode_row(s->decoder, r, &s->fields, 0, s->decoder->after, err);
    if (code)
        return code;
    s->rows++;
    make_change(s, OP_READ, r->table, s->decoder->after, ret);
    return OK;
}

/* ---- workers ---- */

static const char reading[] = "reading the snapshot";

static enum code worker_ask(struct snapshot *s, struct worker *w, struct err *err) {
    w->task = s->next_task++;
    if (!PQsendQuery(w->conn, s->plan.tasks[w->task].sql))
        return pgsource_error(w->conn, NULL, err, reading);
    w->phase = WORKER_ASKED;
    return OK;
}

/* Takes results while there are any; OK when the phase has changed, AGAIN when the server has to speak. */
static enum code worker_result(struct snapshot *s, struct worker *w, struct err *err) {
    if (PQisBusy(w->conn)) {
        if (!PQconsumeInput(w->conn))
            return pgsource_error(w->conn, NULL, err, reading);
        if (PQisBusy(w->conn))
            return AGAIN;
    }
    CLEANUP_RESULT *res = PQgetResult(w->conn);
    if (!res) {
        struct snapshot_unit *unit = &s->plan.units[s->plan.tasks[w->task].unit];
        s->units_done += --unit->tasks_left == 0;
        w->phase = WORKER_FREE;
        return OK;
    }
    ExecStatusType status = PQresultStatus(res);
    if (status == PGRES_COPY_OUT)
        w->phase = WORKER_COPYING;
    else if (status != PGRES_COMMAND_OK)
        return pgsource_error(w->conn, res, err, reading);
    return OK;
}

/* One line, or AGAIN; OK with *ret_len 0 when the copy has ended. */
static enum code worker_line(struct snapshot *s, struct worker *w, int *ret_len, struct err *err) {
    int len = PQgetCopyData(w->conn, &s->row, 1);
    if (len == 0) {
        if (!PQconsumeInput(w->conn))
            return pgsource_error(w->conn, NULL, err, reading);
        len = PQgetCopyData(w->conn, &s->row, 1);
    }
    if (len == 0)
        return AGAIN;
    if (len == -2)
        return pgsource_error(w->conn, NULL, err, reading);
    if (len == -1)
        w->phase = WORKER_ENDING;
    *ret_len = len > 0 ? len : 0;
    return OK;
}

/* Moves one worker on until it has a row (OK, *ret_len > 0), has to wait (AGAIN) or has nothing left (OK,
 * 0). */
static enum code worker_step(struct snapshot *s, struct worker *w, int *ret_len, struct err *err) {
    *ret_len = 0;
    for (;;) {
        enum code code = OK;
        switch (w->phase) {
        case WORKER_FREE:
            if (s->next_task >= s->plan.n_tasks)
                return OK;
            code = worker_ask(s, w, err);
            break;
        case WORKER_ASKED:
        case WORKER_ENDING:
            code = worker_result(s, w, err);
            break;
        case WORKER_COPYING:
            code = worker_line(s, w, ret_len, err);
            if (*ret_len > 0)
                return OK;
            break;
        }
        if (code)
            return code;
    }
}

static enum code next_row(struct snapshot *s, struct source_item *ret, struct err *err) {
    bool waiting = false;
    for (int i = 0; i < s->n_workers; i++) {
        struct worker *w = &s->workers[s->current];
        int len;
        enum code code = worker_step(s, w, &len, err);
        if (code != OK && code != AGAIN)
            return code;
        if (len > 0)
            return read_line(s, w, len, ret, err); /* and stay with this worker */
        waiting |= code == AGAIN;
        s->current = (s->current + 1) % s->n_workers;
    }
    return waiting ? AGAIN : finish(s, ret);
}

enum code snapshot_next(struct snapshot *s, struct source_item *ret, struct err *err) {
    arena_reset(&s->decoder->scratch);
    PQfreemem(s->row);
    s->row = NULL;
    if ((s->rows & 1023) == 0)
        log_progress(s);
    if (s->phase == PHASE_SLOT) {
        if (!PQconsumeInput(s->replication))
            return pgsource_error(s->replication, NULL, err, "creating the replication slot");
        if (PQisBusy(s->replication))
            return AGAIN;
        enum code code = begin(s, err);
        if (code)
            return code;
    }
    while (s->phase == PHASE_TRUNCATES && s->truncated < s->plan.n_units) {
        const struct table *table = s->plan.units[s->truncated++].relation->table;
        if (table) {
            make_change(s, OP_TRUNCATE, table, NULL, ret);
            return OK;
        }
    }
    s->phase = PHASE_ROWS;
    return next_row(s, ret, err);
}

int snapshot_fds(struct snapshot *s, struct pollfd *fds, int n, int64_t *deadline_us) {
    int used = 0;
    if (s->progress_us + PROGRESS_US < *deadline_us)
        *deadline_us = s->progress_us + PROGRESS_US;
    if (s->phase == PHASE_SLOT && n > 0)
        fds[used++] = (struct pollfd){.fd = PQsocket(s->replication), .events = POLLIN};
    for (int i = 0; s->phase == PHASE_ROWS && i < s->n_workers && used < n; i++)
        if (s->workers[i].phase != WORKER_FREE)
            fds[used++] = (struct pollfd){.fd = PQsocket(s->workers[i].conn), .events = POLLIN};
    return used;
}

bool snapshot_done(const struct snapshot *s) {
    return s->phase == PHASE_DONE;
}

uint64_t snapshot_lsn(const struct snapshot *s) {
    return s->lsn;
}

struct source_progress snapshot_progress(const struct snapshot *s) {
    return (struct source_progress){
        .snapshotting = s->phase != PHASE_DONE,
        .rows_done = s->rows,
        .rows_estimate = (uint64_t)s->plan.rows,
        .tables_done = s->units_done,
        .tables = s->plan.n_units,
    };
}
