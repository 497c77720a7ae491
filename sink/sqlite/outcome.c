#include "sink/sqlite/outcome.h"

#include <errno.h>

static bool out_of_room(int system_errno) {
    return system_errno == ENOSPC || system_errno == EDQUOT || system_errno == EFBIG;
}

static bool not_allowed(int system_errno) {
    return system_errno == EACCES || system_errno == EPERM || system_errno == EISDIR ||
           system_errno == ENOTDIR || system_errno == ELOOP || system_errno == ENAMETOOLONG;
}

static struct outcome of_extended(int result, int system_errno) {
    switch (result) {
    case SQLITE_READONLY_DBMOVED:
        return (struct outcome){RETRY, ERR_TARGET_UNREACHABLE};
    case SQLITE_IOERR_CORRUPTFS:
        return (struct outcome){FATAL, ERR_TARGET_CORRUPT};
    case SQLITE_CONSTRAINT_DATATYPE:
        return (struct outcome){REJECT, ERR_TARGET_VALUE};
    }
    if (result == SQLITE_CANTOPEN && not_allowed(system_errno))
        return (struct outcome){FATAL, ERR_TARGET_REFUSED};
    if ((result & 0xff) == SQLITE_IOERR && out_of_room(system_errno))
        return (struct outcome){RETRY, ERR_TARGET_FULL};
    return (struct outcome){OK, ERR_NONE};
}

struct outcome lite_outcome_of(int result, int system_errno) {
    static const struct {
        int primary;
        struct outcome outcome;
    } rows[] = {
        {SQLITE_BUSY, {RETRY, ERR_TARGET_UNREACHABLE}},
        {SQLITE_LOCKED, {RETRY, ERR_TARGET_UNREACHABLE}},
        {SQLITE_PROTOCOL, {RETRY, ERR_TARGET_UNREACHABLE}},
        {SQLITE_IOERR, {RETRY, ERR_TARGET_UNREACHABLE}},
        {SQLITE_CANTOPEN, {RETRY, ERR_TARGET_UNREACHABLE}},
        {SQLITE_INTERRUPT, {RETRY, ERR_STOPPED}},
        {SQLITE_FULL, {RETRY, ERR_TARGET_FULL}},
        {SQLITE_NOMEM, {RETRY, ERR_TARGET_FULL}},
        {SQLITE_READONLY, {RETRY, ERR_TARGET_FULL}},
        {SQLITE_PERM, {FATAL, ERR_TARGET_REFUSED}},
        {SQLITE_AUTH, {FATAL, ERR_TARGET_REFUSED}},
        {SQLITE_CORRUPT, {FATAL, ERR_TARGET_CORRUPT}},
        {SQLITE_NOTADB, {FATAL, ERR_TARGET_CORRUPT}},
        {SQLITE_CONSTRAINT, {REJECT, ERR_TARGET_CONSTRAINT}},
        {SQLITE_TOOBIG, {REJECT, ERR_TARGET_VALUE}},
        {SQLITE_MISMATCH, {REJECT, ERR_TARGET_VALUE}},
        {SQLITE_RANGE, {REJECT, ERR_TARGET_TABLE}},
        {SQLITE_ERROR, {REJECT, ERR_TARGET_TABLE}},
    };
    struct outcome special = of_extended(result, system_errno);
    if (special.code != OK)
        return special;
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (rows[i].primary == (result & 0xff))
            return rows[i].outcome;
    return (struct outcome){RETRY, ERR_TARGET_UNREACHABLE};
}

bool outcome_may_quote(int result) {
    return result != SQLITE_CONSTRAINT_TRIGGER && result != SQLITE_CONSTRAINT_VTAB &&
           result != SQLITE_CONSTRAINT_FUNCTION;
}
