/* Logs: one line, one event; logfmt or JSON on stderr. error = someone must act, warn = we act, info = start,
 * stop, state, debug = per batch. Never row values, never secrets.
 *
 *   log_info("capture", "slot created", F_STR("slot", name), F_LSN("at", lsn));
 *   => ts=2026-01-02T03:04:05.678Z level=info room=capture msg="slot created" slot=shop at=0/16B3748 */
#pragma once

#include "base/slice.h"

enum log_level { LOG_ERROR, LOG_WARN, LOG_INFO, LOG_DEBUG };

struct log_field {
    const char *name;
    enum { FIELD_STR, FIELD_I64, FIELD_F64, FIELD_LSN, FIELD_BOOL } type;
    union {
        const char *str;
        int64_t i64;
        double f64;
    };
};
#define F_STR(n, v)  ((struct log_field){.name = (n), .type = FIELD_STR, .str = (v)})
#define F_INT(n, v)  ((struct log_field){.name = (n), .type = FIELD_I64, .i64 = (int64_t)(v)})
#define F_NUM(n, v)  ((struct log_field){.name = (n), .type = FIELD_F64, .f64 = (v)})
#define F_LSN(n, v)  ((struct log_field){.name = (n), .type = FIELD_LSN, .i64 = (int64_t)(v)})
#define F_BOOL(n, v) ((struct log_field){.name = (n), .type = FIELD_BOOL, .i64 = (v)})

/* printf arguments of an LSN: printf("%X/%X", LSN_ARGS(lsn)) */
#define LSN_FMT       "%X/%X"
#define LSN_ARGS(lsn) (unsigned)((uint64_t)(lsn) >> 32), (unsigned)((uint64_t)(lsn)&0xFFFFFFFFu)

/* @threads any. Set once at start. */
void log_setup(enum log_level level, bool json);
bool log_on(enum log_level level);
void log_write(enum log_level level, const char *room, const char *message, const struct log_field *fields,
               size_t n);

#define LOG_AT(level, room, message, ...)                                                       \
    do {                                                                                        \
        if (log_on(level)) {                                                                    \
            const struct log_field fields_[] = {{0}, ##__VA_ARGS__};                            \
            log_write(level, room, message, fields_ + 1, sizeof fields_ / sizeof *fields_ - 1); \
        }                                                                                       \
    } while (0)
#define log_error(room, ...) LOG_AT(LOG_ERROR, room, __VA_ARGS__)
#define log_warn(room, ...)  LOG_AT(LOG_WARN, room, __VA_ARGS__)
#define log_info(room, ...)  LOG_AT(LOG_INFO, room, __VA_ARGS__)
#define log_debug(room, ...) LOG_AT(LOG_DEBUG, room, __VA_ARGS__)
