#include "capture/trigger/sqlite/source.h"

#include "capture/trigger/sqlite/options.h"
#include "capture/trigger/trigger.h"

TRIGGER_SOURCE(sqlite_source, lsource_feed_ops, lsource_options, "sqlite", lsource_database);
