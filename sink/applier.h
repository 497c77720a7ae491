/* The writing half of a sink worker: one thread that does a piece of work for the replica while the crank
 * reads on.
 *
 *   crank:     read 1 | hand 1, read 2     | wait, hand 2, read 3 | ...
 *   applier:          | write 1, commit    | write 2, commit      | ...
 *
 * The session with the replica belongs to the applier from applier_hand to applier_wait, and to the crank at
 * all other times. Functions are the crank's; `work` runs on the applier's thread. */
#pragma once

#include "base/err.h"

struct applier;
typedef enum code applier_work_f(void *arg, struct err *err);

struct applier *applier_new(void); /* the thread starts with the first work */
/* Begins `work`. Nothing may be under way: applier_wait first. */
void applier_hand(struct applier *a, applier_work_f *work, void *arg);
bool applier_busy(struct applier *a); /* the work is under way */
/* Blocks until the work is done, which the stop hastens as it does every wait of the target; returns its
 * code. OK if there was none. */
MUST_CHECK enum code applier_wait(struct applier *a, struct err *err);
void applier_free(struct applier *a); /* waits; NULL is fine */
