/* The bell: how a reader in any process learns, without asking again and again, that a transaction is
 * visible.
 *
 * The file that writers ring is opened for writing and closed, which inotify tells (IN_CLOSE_WRITE), and
 * nothing is written. The write-ahead log itself would not do: it is written before the transaction is
 * visible. Where inotify is not to be had the reader has to look every TICK_POLL_MS. */
#pragma once

#include <stdbool.h>

#include "base/err.h"

#define TICK_POLL_MS 20

struct tick {
    int fd; /* of inotify, -1 = none */
};

/* Makes the file if it is missing. RETRY/JOURNAL_UNREACHABLE, FATAL/JOURNAL_REFUSED. */
MUST_CHECK enum code tick_make(const char *path, struct err *err);
/* Never fails: who does not hear it looks again within half a second. */
void tick_ring(const char *path);
/* False: there is nothing to watch, use TICK_POLL_MS. */
bool tick_watch(struct tick *t, const char *path);
/* Forgets what was rung: call before looking. False: the file is gone, watch it anew. */
bool tick_clear(struct tick *t);
void tick_close(struct tick *t);
