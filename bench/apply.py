"""Draining a backlog into a replica: the sink from Kafka against PostgreSQL's own logical replication from WAL.

Both begin from copies of one database with the same 1,000,000 rows (in the server's buffers), behind by the same 1,000,000 changes:
ours with the changes in the topics and no capture process, native replication with a disabled subscription whose slot holds the WAL.
The clock runs from the start of the sink's process, or from ALTER SUBSCRIPTION ... ENABLE, until the last transaction's mark is
visible in the replica; then all rows are compared with the source's. Both commit with synchronous_commit = off (native
replication's default)."""
import time

import workload
from measure import Stopwatch, Side, figure, in_turn, reached

CHANGES, CHANGES_QUICK = 1_000_000, 150_000
KINDS = {"apply_inserts": workload.inserts, "apply_updates": workload.updates, "apply_mixed": workload.mixed}


class Backlog:
    """A source that is `changes` ahead of the topics' readers, and a replica server with the database both sides begin from."""

    def __init__(self, bench, name):
        self.bench, self.changes = bench, CHANGES_QUICK if bench.quick else CHANGES
        self.world = bench.world(name)
        self.source, self.template = self.world.source, self.world.replica
        self.runs = 0
        workload.fill(self.source, self.changes)
        self.source.sql("CREATE TABLE mark (id int PRIMARY KEY); CREATE PUBLICATION native FOR TABLE rows, mark")
        self.capture = self.world.millrace(self._config(self.template), "capture", "capture")
        self._make_template()
        self.slot = f"native_{name}"
        self.source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (self.slot,))
        KINDS[name](self.source, self.changes, self.changes)
        self.source.sql("INSERT INTO mark VALUES (1)")
        self.contents = self.source.sql(workload.CONTENTS)
        self._captured()
        self.capture.term(30)

    def _config(self, replica):
        return self.world.config(sinks=[self.world.sink("replica", replica)], registry=False, log={"level": "info"},
                                 source={"tables": ["public.rows", "public.mark"], "partial_rows": "history"})

    def _make_template(self):
        sink = self.world.millrace(self._config(self.template), "sink", "template")
        query = "SELECT count(*) FROM rows"
        reached(lambda: self.template.value("SELECT to_regclass('rows') IS NOT NULL") and self.template.value(query), self.changes,
                120, "rows in the template", 0.2, sink.alive)
        self._captured()
        sink.term(30)
        self.template.sql("VACUUM (FREEZE, ANALYZE) rows")
        self.template.sql("CREATE EXTENSION pg_prewarm")

    def _captured(self):
        """Until the journal holds everything the source has committed."""
        end = self.source.lsn()
        reached(lambda: self.source.value("SELECT confirmed_flush_lsn >= %s::pg_lsn FROM pg_replication_slots WHERE slot_name = %s",
                                          (end, self.capture.config["source"]["postgres"]["slot"])), True, 300,
                "changes in Kafka", 0.2, self.capture.alive)

    def _copy(self):
        self.runs += 1
        server, name = self.template.server, f"{self.template.name}_{self.runs}"
        server.sql(f'CREATE DATABASE "{name}" TEMPLATE "{self.template.name}" STRATEGY FILE_COPY')
        server.sql("CHECKPOINT")
        self.source.server.sql("CHECKPOINT")
        copy = server.database(name, create=False)
        copy.sql("SELECT pg_prewarm('rows'), pg_prewarm('rows_pkey')")
        return copy

    def _finished(self, replica, alive=None):
        connection = replica.connect()
        cursor = connection.cursor()

        def look():
            cursor.execute("SELECT count(*) FROM mark")
            return cursor.fetchone()[0]
        reached(look, 1, 300, "the last transaction in the replica", 0.01, alive)
        return connection

    def _judge(self, replica):
        found = replica.sql(workload.CONTENTS)
        if found != self.contents:
            raise RuntimeError(f"the replica is not what the source is: {found} instead of {self.contents}")

    def drop(self):
        self.source.sql("SELECT pg_drop_replication_slot(%s)", (self.slot,))
        self.world.end()

    def ours(self):
        replica = self._copy()
        sink = self.world.millrace(self._config(replica), name=f"sink{self.runs}", start=False)
        sink.start("sink")
        watch = Stopwatch(sink.process.pid)
        watch.cpu = 0  # the process itself is what began
        self._finished(replica, sink.alive).close()
        side = watch.read(self.changes)
        sink.term(30)
        self._judge(replica)
        replica.server.drop_database(replica.name)
        return side

    def native(self):
        replica = self._copy()
        slot = f"{self.slot}_{self.runs}"
        self.source.sql("SELECT pg_copy_logical_replication_slot(%s, %s)", (self.slot, slot))
        replica.sql(f"CREATE SUBSCRIPTION s CONNECTION '{self.source.url()}' PUBLICATION native"
                    f" WITH (create_slot = false, slot_name = {slot}, copy_data = false, enabled = false)")
        began = time.monotonic()
        replica.sql("ALTER SUBSCRIPTION s ENABLE")
        self._finished(replica).close()
        wall = time.monotonic() - began
        self._judge(replica)
        replica.sql("ALTER SUBSCRIPTION s DISABLE")
        replica.sql("ALTER SUBSCRIPTION s SET (slot_name = NONE)")
        replica.sql("DROP SUBSCRIPTION s")
        replica.server.drop_database(replica.name)
        reached(lambda: self.source.value("SELECT NOT active FROM pg_replication_slots WHERE slot_name = %s", (slot,)), True, 30,
                "the walsender's end")
        self.source.sql("SELECT pg_drop_replication_slot(%s)", (slot,))
        return Side(self.changes / wall)


def figures(bench):
    for name in KINDS:
        if not bench.wanted(name):
            continue
        bench.say(f"{name}: {KINDS[name].__doc__}")
        backlog = Backlog(bench, name)
        yield figure(name, "rows/s", in_turn(bench.runs, backlog.ours, backlog.native, bench.say))
        backlog.drop()
