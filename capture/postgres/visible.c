#include "capture/postgres/visible.h"

#include <stdlib.h>

#define NAP_US  2000
#define WAIT_US 10000000

/* As TransactionIdPrecedes: numbers go round. */
static bool precedes(uint64_t a, uint64_t b) {
    return (int32_t)((uint32_t)a - (uint32_t)b) < 0;
}

bool visible_in(const char *snapshot, uint32_t xid) {
    char *p;
    uint64_t xmin = strtoull(snapshot, &p, 10);
    if (p == snapshot || *p != ':')
        return false;
    const char *at = p + 1;
    uint64_t xmax = strtoull(at, &p, 10);
    if (p == at || *p != ':' || !precedes(xid, xmax))
        return false;
    if (precedes(xid, xmin))
        return true;
    while (*p) {
        at = p + 1;
        uint64_t running = strtoull(at, &p, 10);
        if (p == at)
            break;
        if ((uint32_t)running == xid)
            return false;
    }
    return true;
}

enum code visible_wait(PGconn *conn, const struct source_env *env, uint32_t xid, struct err *err) {
    int64_t begun_us = clock_mono(env->clock);
    for (;;) {
        CLEANUP_RESULT *res = NULL;
        enum code code = pgsource_query(conn, env, 10000, "reading which transactions are visible",
                                        "SELECT pg_current_snapshot()::text", &res, err);
        if (code)
            return code;
        if (PQntuples(res) == 1 && visible_in(pgsource_text(res, 0, 0), xid))
            return OK;
        int64_t now_us = clock_mono(env->clock);
        if (stop_asked(env->stop))
            return err_set(err, RETRY, ERR_SOURCE_UNREACHABLE, "asked to stop");
        if (now_us - begun_us >= WAIT_US)
            return err_set(
                err, RETRY, ERR_SOURCE_UNREACHABLE,
                "transaction %u changed tables and is in the log, but the server does not show it after "
                "10 s: is it waiting for a synchronous standby (pg_stat_activity, wait_event SyncRep)?",
                xid);
        stop_poll(env->stop, NULL, 0, now_us, now_us + NAP_US);
    }
}
