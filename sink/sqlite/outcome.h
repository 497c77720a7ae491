/* What a failure of SQLite means for the caller. */
#pragma once

#include <sqlite3.h>

#include "base/err.h"

struct outcome {
    enum code code;
    enum err_id id;
};

/* By an extended result code ("Result and Error Codes" of SQLite's manual) and the errno behind it, 0 if
 * there is none. */
struct outcome lite_outcome_of(int result, int system_errno);
/* Whether SQLite's sentence about such a failure can be shown: it names tables and columns. Those of triggers
 * are written by the file's owner and may quote rows. */
bool outcome_may_quote(int result);
