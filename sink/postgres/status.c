/* What `millrace status` tells of a replica. */
#include "sink/postgres/postgres.h"

static const char status_sql[] =
    "SELECT pg_catalog.json_build_object("
    "'workers', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('worker', w.worker, "
    "'workers', w.workers,"
    " 'owner', w.owner, 'seen_s', CASE WHEN pg_catalog.isfinite(w.seen) THEN"
    "  pg_catalog.round(EXTRACT(epoch FROM pg_catalog.clock_timestamp() - w.seen)::numeric, 3) END,"
    " 'epoch', w.epoch, 'commit_seq', w.commit_seq, 'position', pg_catalog.json_build_array(w.generation, "
    "w.commit_lsn, w.ordinal),"
    " 'commit_us', w.commit_us, 'rebuild', w.rebuild) ORDER BY w.worker) FROM millrace.sink_worker w WHERE "
    "w.sink = $1), '[]'),"
    "'parked', COALESCE((SELECT pg_catalog.json_agg(pg_catalog.json_build_object('schema', s.schema, "
    "'table', s.name,"
    " 'reason', s.parked_reason, 'since', s.parked_at) ORDER BY s.schema, s.name)"
    " FROM millrace.sink_table s WHERE s.sink = $1 AND s.parked_reason IS NOT NULL), '[]'))::text";

enum code pg_status(const void *options, const struct target_env *env, int64_t wait_ms, struct buf *json,
                    struct err *err) {
    struct session s;
    bool exists = false;
    CLEANUP_RESULT *result = NULL;
    enum code code = session_open(&s, options, env, wait_ms, err);
    if (code != OK)
        return code;
    s.deadline_us = clock_mono(env->clock) + wait_ms * 1000;
    code = progress_schema_exists(&s, &exists, err);
    if (code == OK && exists)
        code = session_run(&s, status_sql, 1, &env->sink, &result, err);
    if (code == OK)
        buf_puts(json, exists ? result_name(result, 0, 0) : "{\"workers\":[],\"parked\":[]}");
    session_close(&s);
    return code;
}
