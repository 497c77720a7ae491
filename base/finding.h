/* What `millrace doctor` found: JSON objects separated by ',', each
 * {"level":"error|warn|ok","id":"...","what":"...","mend":"..."}. */
#pragma once

#include "base/slice.h"

/* Appends one. Bytes that are no UTF-8 (a name in a SQL_ASCII database) become '?': no finding is lost for
 * them. `mend` NULL: "". */
void finding_put(struct buf *findings, const char *level, const char *id, const char *what, const char *mend);
