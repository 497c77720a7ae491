#include "capture/trigger/mariadb/source.h"

#include "capture/source_table.h"
#include "capture/trigger/mariadb/options.h"
#include "capture/trigger/trigger.h"

TRIGGER_SOURCE(mariadb_trigger_source, maria_feed_ops, maria_options, "mariadb", maria_database);
