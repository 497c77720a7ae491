/* Deletes confirmed rows, in batches small enough that a writer who waits for us hardly notices. Each batch
 * says in the same transaction how far it is confirmed. */
#include "base/log.h"
#include "capture/trigger/sqlite/sqlite.h"

enum { SWEEP_ROWS = 4000, SWEEP_SOON = 1000, SWEEP_US = 500000, PATIENCE_MS_MAX = 200 };

/* The newest row stays: the next id depends on it. */
static enum code sweep_to(struct lsource *s, int64_t to, struct err *err) {
    CLEANUP_BUF sql = {0};
    int64_t end = to < s->low + SWEEP_ROWS ? to : s->low + SWEEP_ROWS;
    buf_printf(
        &sql,
        "BEGIN IMMEDIATE; DELETE FROM millrace_changes WHERE id <= %lld AND id < (SELECT max(id) FROM "
        "millrace_changes); UPDATE millrace_source SET confirmed = %lld WHERE confirmed < %lld; COMMIT",
        (long long)end, (long long)end, (long long)end);
    lfile_patience(&s->file, s->sweep_ms);
    enum code code = lfile_run(&s->file, buf_cstr(&sql), err);
    lfile_patience(&s->file, 0);
    if (code != OK)
        return code;
    s->low = s->confirmed = end;
    return OK;
}

enum code lsource_sweep(struct lsource *s, struct err *err) {
    int64_t to = s->forgotten < s->safe ? s->forgotten : s->safe, now = clock_mono(s->env.clock);
    if (to > s->read)
        to = s->read;
    if (to <= s->confirmed || (to - s->confirmed < SWEEP_SOON && now - s->swept_us < SWEEP_US))
        return OK;
    enum code code = sweep_to(s, to, err);
    if (code == OK) {
        s->swept_us = to - s->confirmed > 0 ? 0 : now;
        s->sweep_ms = 0;
    } else if (code == AGAIN) { /* the writers are quicker: next time we wait for them */
        s->sweep_ms = s->sweep_ms ? s->sweep_ms * 2 : 5;
        if (s->sweep_ms > PATIENCE_MS_MAX)
            s->sweep_ms = PATIENCE_MS_MAX;
    } else if (code == RETRY && lfile_in_place(&s->file, err) == OK) {
        log_warn("capture", "confirmed rows of the change table cannot be deleted now; tried again later",
                 F_STR("path", s->options->path), F_STR("why", err->text));
        s->swept_us = now + 10 * SWEEP_US;
        return OK;
    }
    return code == AGAIN ? OK : code;
}
