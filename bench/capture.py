"""Capture of a backlog: Millrace into Kafka (Avro, transactions, acks=all) against pg_recvlogical (pgoutput v1) into /dev/null.

The backlog lies in the slots' WAL before either side starts; each run has a slot of its own that was made before the first row, so
every run decodes the same log. Time runs from the start of the process, connecting included: for Millrace until the last row of the
backlog (a row of a second table, written last) has come out of Kafka, read_committed; for pg_recvlogical until it ends at the end
of the log. Then the rows are counted in Kafka."""
import subprocess
import time

from harness.kafka_client import Tail, kafka_count
from measure import Side, Stopwatch, figure, in_turn

ROWS, QUICK_ROWS, WARM_ROWS, PER_TRANSACTION = 2_000_000, 300_000, 600_000, 10
TABLES = """CREATE TABLE item (id bigint PRIMARY KEY, amount int, name text, price numeric(12,2), at timestamptz, note text);
ALTER TABLE item REPLICA IDENTITY FULL;
CREATE TABLE last (id bigint PRIMARY KEY)"""
INSERT = """INSERT INTO item SELECT g, g % 100000, 'name ' || g % 1000, g % 100000 / 100.0,
timestamptz '2024-01-01' + g * interval '1 s', repeat(md5(g::text), 3) FROM generate_series({}, {}) g"""


def large_transaction(database, rows):
    database.sql(INSERT.format(1, rows))


def small_transactions(database, rows):
    insert = INSERT.format(f"i * {PER_TRANSACTION} + 1", f"(i + 1) * {PER_TRANSACTION}")
    database.sql(f"DO $$ BEGIN FOR i IN 0..{rows // PER_TRANSACTION - 1} LOOP {insert}; COMMIT; END LOOP; END $$")


class Backlog:
    """One database whose log all runs of a figure read."""

    def __init__(self, bench, label, fill):
        self.bench, self.world, self.rows = bench, bench.world(label), QUICK_ROWS if bench.quick else ROWS
        self.source, self.brokers = self.world.source, self.world.kafka.brokers
        self.source.sql(TABLES)
        self._warm()
        self.ours = [self._prepare(f"r{i}") for i in range(bench.runs)]
        self.slots = [f"{self.world.prefix}_reference{i}" for i in range(bench.runs)]
        for slot in self.slots:
            self.source.sql("SELECT pg_create_logical_replication_slot(%s, 'pgoutput')", (slot,))
        bench.say(f"{label}: writing {self.rows:,} rows")
        fill(self.source, self.rows)
        self.source.sql("INSERT INTO last VALUES (1)")
        self.end = self.source.lsn()

    def _millrace(self, name):
        config = self.world.config(sinks=[], registry=False, source={"slot": f"{self.world.prefix}_{name}"},
                                   journal={"topic_prefix": f"{self.world.prefix}_{name}"},
                                   log={"format": "logfmt", "level": "info"})
        return self.world.millrace(config, "capture", name)

    def _prepare(self, name):
        """Takes the snapshot of what there is and streams, then stops: the next start begins where the slot is."""
        millrace = self._millrace(name)
        millrace.wait_log("streaming", 60)
        millrace.term(within_s=30)
        return millrace

    def _warm(self):
        """A broker that has just started compiles its code at first: not what is measured."""
        large_transaction(self.source, QUICK_ROWS if self.bench.quick else WARM_ROWS)
        self._prepare("warm")
        self._drop(f"{self.world.prefix}_warm")
        self.source.sql("TRUNCATE item")

    def _drop(self, slot):
        self.source.sql("SELECT pg_drop_replication_slot(%s)", (slot,))

    def run_ours(self):
        millrace = self.ours.pop()
        prefix = millrace.config["journal"]["kafka"]["topic_prefix"]
        before = kafka_count(self.brokers, f"{prefix}.public.item")
        with Tail(self.brokers, f"{prefix}.public.last") as last:
            start = time.monotonic()
            millrace.start("capture")
            watch = Stopwatch(millrace.process.pid)
            last.next(600, alive=millrace.alive)
            watch.wall, watch.cpu = start, 0
            side = watch.read(self.rows)
        count = kafka_count(self.brokers, f"{prefix}.public.item") - before
        if count != self.rows:
            raise RuntimeError(f"{count} rows in Kafka, {self.rows} were written")
        millrace.term(within_s=30)
        self._drop(millrace.config["source"]["postgres"]["slot"])
        self.world.kafka.delete_topics(t for t in self.world.kafka.topics() if t.startswith(f"{prefix}."))
        return side

    def run_reference(self):
        server, slot = self.source.server, self.slots.pop()
        start = time.monotonic()
        done = subprocess.run([server.bin / "pg_recvlogical", "-d", self.source.url(), "--slot", slot, "--start",
                               "--no-loop", "--endpos", self.end, "-f", "/dev/null", "-o", "proto_version=1", "-o",
                               f"publication_names=millrace_{self.world.prefix}"], text=True, capture_output=True)
        side = Side(self.rows / (time.monotonic() - start))
        if done.returncode:
            raise RuntimeError(f"pg_recvlogical failed: {done.stderr}")
        self._drop(slot)
        return side


def figures(bench):
    for name, fill in (("capture_large_txn", large_transaction), ("capture_small_txns", small_transactions)):
        if bench.wanted(name):
            backlog = Backlog(bench, name, fill)
            yield figure(name, "rows/s", in_turn(bench.runs, backlog.run_ours, backlog.run_reference, bench.say))
