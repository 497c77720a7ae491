#include "capture/postgres/claim.h"

#include "base/log.h"

enum code claim_take(PGconn *sql, const struct source_env *env, const char *slot, struct err *err) {
    static const char ask[] =
        "SELECT pg_try_advisory_lock(k), (SELECT pid FROM pg_locks l JOIN pg_database d ON d.oid = "
        "l.database "
        "WHERE locktype = 'advisory' AND datname = current_database() AND granted AND objsubid = 1 AND "
        "(classid::bigint << 32 | objid::bigint) = k LIMIT 1) FROM hashtextextended('millrace snapshot ' || ";
    CLEANUP_BUF text = {0};
    buf_puts(&text, ask);
    put_literal(&text, slot);
    buf_puts(&text, ", 0) k");
    CLEANUP_RESULT *res = NULL;
    enum code code = pgsource_query(sql, env, 10000, "claiming the snapshot", buf_cstr(&text), &res, err);
    if (code || pgsource_text(res, 0, 0)[0] == 't')
        return code;
    return err_set(
        err, RETRY, ERR_SLOT_ACTIVE,
        "another capture is taking the snapshot for replication slot %s, on the server's process %s", slot,
        pgsource_text(res, 0, 1));
}

void claim_leave(PGconn *sql, const struct source_env *env) {
    CLEANUP_RESULT *res = NULL;
    struct err lost;
    if (pgsource_query(sql, env, 10000, "leaving the snapshot", "SELECT pg_advisory_unlock_all()", &res,
                       &lost) != OK)
        log_debug("capture", "the claim went with its session", F_STR("error", lost.text));
}
