/* The same server as place_postgres.c, whose log nobody may read: what is captured there comes from
 * triggers. */
#include "place_postgres.h"

#include "source_case.h"

static void put_options(struct buf *yaml) {
    buf_printf(yaml, "url: \"%s\"\ntables: [\"public.*\"]\n", conninfo);
}

const struct place postgres_triggers_place = {
    .kind = POSTGRES_TRIGGERS,
    .schema = "public",
    .open = pgplace_open,
    .close = pgplace_close,
    .empty = pgplace_empty,
    .options = put_options,
    .in_order = "snapshot_workers: 1",
    .away = "url: \"postgres://u:sesame@127.0.0.1:1/x\"",
    .refused = pgplace_nobody,
    .session = pgplace_session,
    .end = pgplace_end,
    .run = pgplace_run,
    .backslash = "\\",
    .upsert = "ON CONFLICT (id) DO UPDATE SET n = excluded.n",
    .types = pgplace_types,
    .not_carried = {"numeric(5,2)", "'NaN'", "numeric: string"},
    .naive = "SELECT id FROM millrace.changes WHERE id >",
    .kept = "SELECT count(*) FROM millrace.changes",
    .truncates = true,
    .keyless = true,
    .transforms = true,
    .sever = pgplace_sever,
};
