/* The labels of an enum, in their order: lists that end with NULL; a list may be NULL. */
#pragma once

#include <stdbool.h>

#include "base/arena.h"

/* `now` lacks one of `old`: a label can be renamed, but never dropped. */
bool labels_lost(const char *const *old, const char *const *now);
/* The same labels in the same order, and neither is NULL. */
bool labels_same(const char *const *a, const char *const *b);
/* Today's labels, then those of `old` and `label` where today does not have them. The labels themselves are
 * borrowed. */
const char *const *labels_join(const char *const *today, const char *const *old, const char *label,
                               struct arena *arena);
