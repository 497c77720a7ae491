"""From the commit at the source until the replica shows it, at a steady rate: Millrace through Kafka with transactions against a
native subscription, on the same source, one after the other.

A transaction is committed every 10 ms, each row with the number of its transaction. Its time runs from the moment COMMIT has
returned to the client until a session on the replica, which asks every millisecond, is told of that number: what is measured
includes half a millisecond of asking. The load is open: a transaction that is late is not waited for by the next. What the first
seconds of a turn show (prepared statements, a pause that finds its length) is left out, and before the first turn the broker gets the
same load without a clock: a JVM compiles its ways through a transaction only after thousands of them."""
import multiprocessing
import statistics
import time

from measure import Side, Stopwatch, figure, in_turn

EVERY_S, WARM_S, QUICK_WARM_S, SECONDS, QUICK_SECONDS = 0.010, 10, 3, 30, 6
BROKER_S, QUICK_BROKER_S = 60, 25
TABLE = """CREATE TABLE item (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, txn int, name text, price numeric(12,2),
at timestamptz, note text); ALTER TABLE item REPLICA IDENTITY FULL"""
INSERT = """PREPARE put(int, int) AS INSERT INTO item (txn, name, price, at, note) SELECT $1, 'name ' || g, g / 100.0,
clock_timestamp(), repeat(md5(g::text), 3) FROM generate_series(1, $2) g"""
FIGURES = {1000: {"latency_1k_p50": 50, "latency_1k_p99": 99}, 10000: {"latency_10k_p50": 50, "latency_10k_p99": 99}}


def put(pipe, url, rows, count):
    """The load: `count` transactions; sends back when each COMMIT returned."""
    import psycopg2
    session = psycopg2.connect(url)
    session.autocommit = True
    cursor, done = session.cursor(), []
    cursor.execute(INSERT)
    begin = time.monotonic()
    for n in range(count):
        time.sleep(max(0.0, begin + n * EVERY_S - time.monotonic()))
        cursor.execute("EXECUTE put(%s, %s)", (n + 1, rows))
        done.append(time.monotonic())
    pipe.send(done)


def watch(pipe, url, count):
    """Sends back when each transaction was first seen on the replica."""
    import psycopg2
    session = psycopg2.connect(url)
    session.autocommit = True
    cursor, seen, end = session.cursor(), [], None
    cursor.execute("PREPARE newest AS SELECT max(txn) FROM item")
    pipe.send("ready")
    while len(seen) < count and (end is None or time.monotonic() < end):
        cursor.execute("EXECUTE newest")
        newest, now = cursor.fetchone()[0] or 0, time.monotonic()
        if newest > len(seen):
            seen += [now] * (newest - len(seen))
            end = now + 60
        time.sleep(0.001)
    pipe.send(seen)


def spawn(function, *args):
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()
    context.Process(target=function, args=(theirs, *args), daemon=True).start()
    return ours


def percentile(values, percent):
    """The smallest value that at least `percent` of them do not exceed."""
    values = sorted(values)
    return values[max(0, -(-len(values) * percent // 100) - 1)]


class Rate:
    """One rate: both sides run on tables that are emptied before each turn."""

    def __init__(self, bench, rate, journal=None):
        self.bench, self.rate, self.world = bench, rate, bench.world(f"latency{rate}")
        self.warm = round((QUICK_WARM_S if bench.quick else WARM_S) / EVERY_S)
        self.count = self.warm + round((QUICK_SECONDS if bench.quick else SECONDS) / EVERY_S)
        self.latencies = {"ours": [], "reference": []}
        for database in (self.world.source, self.world.replica, self.world.replica2):
            database.sql(TABLE + "; CREATE INDEX ON item (txn)")
        self.world.source.sql("CREATE PUBLICATION native FOR TABLE item")
        self.world.replica2.sql(f"CREATE SUBSCRIPTION native CONNECTION '{self.world.source.url()}' PUBLICATION native"
                                f" WITH (slot_name = {self.world.prefix}_native, enabled = false)")
        self.millrace = self.world.millrace(self.world.config(journal=journal, registry=False, log={"format": "logfmt", "level": "info"}),
                                            start=False)

    def _load(self, replica, count):
        watcher = spawn(watch, replica.url(), count)
        watcher.recv()
        loader = spawn(put, self.world.source.url(), round(self.rate * EVERY_S), count)
        done, seen = loader.recv(), watcher.recv()
        if len(seen) != count:
            raise RuntimeError(f"the replica shows {len(seen)} of {count} transactions")
        return done, seen

    def _measure(self, replica, pid=None):
        stopwatch = Stopwatch(pid) if pid else None
        done, seen = self._load(replica, self.count)
        latencies = [(s - d) * 1000 for d, s in zip(done, seen)][self.warm:]
        late = statistics.mean(b - a for a, b in zip(done[self.warm:], done[self.warm + 1:])) / EVERY_S
        if late > 1.02:
            raise RuntimeError(f"the load was {late:.2f} times slower than {self.rate} rows/s: this machine is too busy")
        side = stopwatch.read(self.count * round(self.rate * EVERY_S)) if pid else Side(0)
        side.value = percentile(latencies, 50)
        return side, latencies

    def _turn(self, name, replica, pid=None):
        side, latencies = self._measure(replica, pid)
        self.latencies[name].append(latencies)
        self.bench.say(f"  {self.rate} rows/s {name}: p50 {percentile(latencies, 50):.1f} p95 {percentile(latencies, 95):.1f}"
                       f" p99 {percentile(latencies, 99):.1f} max {max(latencies):.1f} ms")
        return side

    def _empty(self):
        self.world.source.sql("TRUNCATE item")

    def _wait_count(self, replica):
        deadline = time.monotonic() + 60
        while replica.value("SELECT count(*) FROM item"):
            if time.monotonic() > deadline:
                raise TimeoutError("the replica was not emptied")
            time.sleep(0.05)

    def _start(self):
        self.millrace.start("run")
        self._empty()
        self.millrace.wait_log("owner", 60)
        self._wait_count(self.world.replica)

    def warm_broker(self):
        self._start()
        self._load(self.world.replica, round((QUICK_BROKER_S if self.bench.quick else BROKER_S) / EVERY_S))
        self.millrace.term(within_s=30)

    def ours(self):
        self._start()
        side = self._turn("ours", self.world.replica, self.millrace.process.pid)
        self.millrace.term(within_s=30)
        return side

    def reference(self):
        self.world.replica2.sql("ALTER SUBSCRIPTION native ENABLE")
        self._empty()
        self._wait_count(self.world.replica2)
        side = self._turn("reference", self.world.replica2)
        self.world.replica2.sql("ALTER SUBSCRIPTION native DISABLE")
        return side

    def figure(self, name, percent, sides):
        pairs = []
        for i, (ours, reference) in enumerate(sides):
            pairs.append((Side(percentile(self.latencies["ours"][i], percent), ours.cpu_us_per_row, ours.rss_mb_peak),
                          Side(percentile(self.latencies["reference"][i], percent))))
        return figure(name, "ms", pairs)


def figures(bench):
    cold = True
    for rate, names in FIGURES.items():
        if not any(bench.wanted(name) for name in names):
            continue
        bench.say(f"{rate} rows/s")
        turns = Rate(bench, rate)
        if cold:
            turns.warm_broker()
        cold = False
        sides = in_turn(bench.runs, turns.ours, turns.reference, bench.say)
        for name, percent in names.items():
            if bench.wanted(name):
                yield turns.figure(name, percent, sides)
