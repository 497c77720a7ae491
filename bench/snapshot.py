"""Building a replica from nothing: capture's snapshot through Kafka into the sink, against pg_dump | psql.

2,000,000 rows, one table. Ours begins with no topics, no slot and an empty database, and runs as one process (`millrace run`); the
clock runs from its start until all rows are visible in the replica, whose table has its primary key. pg_dump | psql runs into an empty
database of the same server with synchronous_commit = off, until psql has ended. Then all rows are compared with the source's."""
import subprocess
import time

import workload
from measure import Side, Stopwatch, figure, in_turn, reached

ROWS, ROWS_QUICK = 2_000_000, 300_000


class Build:
    def __init__(self, bench):
        self.bench, self.rows, self.runs = bench, ROWS_QUICK if bench.quick else ROWS, 0
        self.source = bench.servers.source.database("snapshot_source")
        workload.fill(self.source, self.rows)
        self.source.sql("VACUUM (FREEZE, ANALYZE) rows")
        self.contents = self.source.sql(workload.CONTENTS)
        bench.servers.kafka  # started before the clock

    def _world(self):
        self.runs += 1
        world = self.bench.world(f"snapshot_{self.runs}")
        world.replica.server.sql("CHECKPOINT")
        return world

    def _judge(self, replica):
        found = replica.sql(workload.CONTENTS)
        keyed = replica.value("SELECT count(*) FROM pg_index WHERE indrelid = 'rows'::regclass AND indisprimary")
        if found != self.contents or keyed != 1:
            raise RuntimeError(f"the replica is not what the source is: {found} instead of {self.contents}, {keyed} primary keys")

    def ours(self):
        world = self._world()
        config = world.config(registry=False, log={"level": "info"},
                              source={"url": self.source.url(), "tables": ["public.rows"], "partial_rows": "history"})
        millrace = world.millrace(config, start=False)
        connection = world.replica.connect()
        cursor = connection.cursor()

        def look():
            """Counts only once the last row is there: counting what is not yet committed would be work for both."""
            cursor.execute("SELECT to_regclass('rows') IS NOT NULL")
            if not cursor.fetchone()[0]:
                return 0
            cursor.execute("SELECT CASE WHEN EXISTS (SELECT FROM rows WHERE id = %s) THEN (SELECT count(*) FROM rows) ELSE 0 END",
                           (self.rows,))
            return cursor.fetchone()[0]
        millrace.start("run")
        watch = Stopwatch(millrace.process.pid)
        watch.cpu = 0  # the process itself is what began
        reached(look, self.rows, 300, "rows in the replica", 0.05, millrace.alive)
        side = watch.read(self.rows)
        connection.close()
        millrace.term(30)
        self._judge(world.replica)
        self.source.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active")
        world.end()
        return side

    def dump(self):
        replica = self._world().replica
        began = time.monotonic()
        reader = subprocess.Popen(["pg_dump", "--no-publications", "--table", "rows", self.source.url()], stdout=subprocess.PIPE)
        subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-o", "/dev/null", "-c", "SET synchronous_commit = off", "-f", "-",
                        replica.url()], stdin=reader.stdout, check=True)
        wall = time.monotonic() - began
        if reader.wait():
            raise RuntimeError("pg_dump failed")
        self._judge(replica)
        replica.server.drop_database(replica.name)
        return Side(self.rows / wall)


def figures(bench):
    if bench.wanted("snapshot"):
        build = Build(bench)
        build.ours()  # a broker that has just started compiles its code: one side alone would pay for it
        yield figure("snapshot", "rows/s", in_turn(bench.runs, build.ours, build.dump, bench.say))
