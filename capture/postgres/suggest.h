/* What quickstart suggests of a PostgreSQL source: of its log, or of triggers where the log may not be
 * read. */
#pragma once

#include "capture/postgres/tables.h"

source_suggest_f pgsource_suggest;          /* REJECT: logical decoding is not allowed */
source_suggest_f pgsource_suggest_triggers; /* for capture/trigger/postgres */
