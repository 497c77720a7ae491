/* The SQLite source: its row of source_table[]. */
#pragma once

#include "capture/trigger/feed.h"

extern const struct source_ops sqlite_source;
extern const struct feed_ops lsource_feed_ops;
