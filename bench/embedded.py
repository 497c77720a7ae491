"""One `millrace run` over the embedded journal, from PostgreSQL's log into a PostgreSQL replica.

end_to_end: a backlog of inserts, 1,000 to a transaction, lies in the source's log before either side starts; the reference is the same
process over Kafka (one broker, transactions, acks=all). Time runs from its start until the last transaction is visible in its replica; then
all rows are compared with the source's. latency: as in bench/latency.py, 1,000 rows/s, against native replication. memory_run: peak
resident size of the one process, which has drained the backlogs and then takes one transaction as large as a backlog; the reference is the
bound we hold ourselves to, and a ratio above 1 means that it is broken."""
import latency
import workload
from measure import Side, Stopwatch, figure, in_turn, reached, rss_mb_peak

CHANGES, QUICK_CHANGES, PEAK_MB = 1_000_000, 200_000, 64
LATENCY = {"latency_p50": 50, "latency_p99": 99}


class Pipeline:
    """A process with its journal and its replica; it has a slot of its own at the common source."""

    def __init__(self, world, name, journal, replica):
        self.replica, self.turns = replica, 0
        config = world.config(sinks=[world.sink("replica", replica)], journal=journal, registry=False, log={"level": "info"},
                              source={"slot": f"{world.prefix}_{name}", "publication": f"{world.prefix}_{name}", "tables": ["public.rows", "public.mark"],
                                      "partial_rows": "history"})
        self.millrace = world.millrace(config, "run", name)

    def marks(self):
        try:
            return self.replica.value("SELECT count(*) FROM mark")
        except Exception:  # the table is not there yet
            return 0

    def wait(self, marks, every_s=0.01):
        reached(self.marks, marks, 600, "transactions in the replica", every_s, self.millrace.alive)


class EndToEnd:
    def __init__(self, bench):
        self.changes, self.rows, self.backlogs = QUICK_CHANGES if bench.quick else CHANGES, 1000, 0
        world = bench.world("embedded")
        self.source = world.source
        workload.fill(self.source, self.rows)
        self.source.sql("CREATE TABLE mark (id int PRIMARY KEY); INSERT INTO mark VALUES (0)")
        self.sides = {"embedded": Pipeline(world, "embedded", "embedded", world.replica), "kafka": Pipeline(world, "kafka", None, world.replica2)}
        for side in self.sides.values():
            side.wait(1, 0.1)
            side.millrace.term(within_s=30)

    def _backlog(self):
        """One more for both sides."""
        workload.inserts(self.source, self.rows, self.changes)
        self.rows += self.changes
        self.backlogs += 1
        self.source.sql("INSERT INTO mark VALUES (%s)", (self.backlogs,))
        self.source.server.sql("CHECKPOINT")

    def drain(self, name):
        side = self.sides[name]
        side.turns += 1
        if side.turns > self.backlogs:
            self._backlog()
        side.millrace.start("run")
        watch = Stopwatch(side.millrace.process.pid)
        watch.cpu = 0  # the process itself is what began
        side.wait(side.turns + 1)
        found = watch.read(self.changes)
        self.judge(side)
        side.millrace.term(within_s=30)
        return found

    def judge(self, side):
        contents = [database.sql(workload.CONTENTS) for database in (self.source, side.replica)]
        if contents[0] != contents[1]:
            raise RuntimeError(f"the replica is not what the source is: {contents[1]} instead of {contents[0]}")

    def large(self):
        """Peak of a process that drains a backlog, and then takes as many rows in one transaction."""
        side = self.sides["embedded"]
        side.turns += 1
        self._backlog()
        side.millrace.start("run")
        side.wait(side.turns + 1)
        self.source.sql(f"INSERT INTO rows SELECT {workload.NEW} FROM generate_series({self.rows + 1}, {self.rows + self.changes}) i;"
                        f" INSERT INTO mark VALUES ({self.backlogs + 1})")
        side.wait(side.turns + 2)
        self.judge(side)
        peak = rss_mb_peak(side.millrace.process.pid)
        side.millrace.term(within_s=30)
        return Side(peak, rss_mb_peak=peak)


def figures(bench):
    if bench.wanted("end_to_end") or bench.wanted("memory_run"):
        turns = EndToEnd(bench)
        if bench.wanted("end_to_end"):
            yield figure("end_to_end", "rows/s", in_turn(bench.runs, lambda: turns.drain("embedded"), lambda: turns.drain("kafka"), bench.say))
        if bench.wanted("memory_run"):
            yield figure("memory_run", "MB", [(turns.large(), Side(PEAK_MB))])
    if any(bench.wanted(name) for name in LATENCY):
        rate = latency.Rate(bench, 1000, journal="embedded")
        sides = in_turn(bench.runs, rate.ours, rate.reference, bench.say)
        for name, percent in LATENCY.items():
            if bench.wanted(name):
                yield rate.figure(name, percent, sides)
