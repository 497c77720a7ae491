"""What a process of Millrace takes when little or very much happens: the reference of these figures is the bound we hold ourselves to,
and a ratio above 1 means that it is broken.

idle: processor time of a connected pipeline without changes. memory_txn: peak resident size of capture and of a sink, each a process
of its own, through one source transaction of 2,000,000 rows. memory_stall: the same through a replica that does not answer while the
source goes on writing; afterwards the replica must have every row."""
import threading
import time

from measure import Side, cpu_seconds, figure, reached, rss_mb_peak

TABLE = """CREATE TABLE item (id bigint PRIMARY KEY, amount int, name text, price numeric(12,2), at timestamptz, note text);
ALTER TABLE item REPLICA IDENTITY FULL"""
INSERT = """INSERT INTO item SELECT g, g % 100000, 'name ' || g % 1000, g % 100000 / 100.0,
timestamptz '2024-01-01' + g * interval '1 s', repeat(md5(g::text), 3) FROM generate_series({}, {}) g"""
IDLE_PERCENT, PEAK_MB = 0.5, 128
ROWS, QUICK_ROWS, STALL_S, QUICK_STALL_S, IDLE_S, QUICK_IDLE_S = 2_000_000, 200_000, 300, 12, 60, 12


class Pipeline:
    """Capture and sink as two processes, connected and idle."""

    def __init__(self, bench, label):
        self.bench, self.world = bench, bench.world(label)
        self.world.source.sql(TABLE)
        log = {"format": "logfmt", "level": "info"}
        self.capture = self.world.millrace(self.world.config(registry=False, log=log), "capture", "capture")
        self.sink = self.world.millrace(self.world.config(registry=False, log=log), "sink", "sink")
        self.world.source.sql("INSERT INTO item (id) VALUES (0)")
        self.wait(1, 120)

    def count(self):
        try:
            return self.world.replica.value("SELECT count(*) FROM item")
        except Exception:  # not there yet
            return 0

    def wait(self, rows, deadline_s):
        reached(self.count, rows, deadline_s, "rows of the replica", 0.2,
                alive=lambda: self.capture.alive() and self.sink.alive())

    def peaks(self):
        return {"capture": rss_mb_peak(self.capture.process.pid), "sink": rss_mb_peak(self.sink.process.pid)}

    def stop(self):
        for process in (self.capture, self.sink):
            process.term(within_s=30)


def idle(bench):
    pipeline, seconds = Pipeline(bench, "idle"), QUICK_IDLE_S if bench.quick else IDLE_S
    time.sleep(3)
    for name in ("capture", "sink"):
        pid = getattr(pipeline, name).process.pid
        before = cpu_seconds(pid)
        time.sleep(seconds)
        percent = (cpu_seconds(pid) - before) / seconds * 100
        yield figure(f"idle_{name}", "% CPU", [(Side(percent, rss_mb_peak=rss_mb_peak(pid)), Side(IDLE_PERCENT))])
    pipeline.stop()


def peaks(name, pipeline):
    for process, mb in pipeline.peaks().items():
        yield figure(f"{name}_{process}", "MB", [(Side(mb, rss_mb_peak=mb), Side(PEAK_MB))])


def transaction(bench):
    pipeline, rows = Pipeline(bench, "txn"), QUICK_ROWS if bench.quick else ROWS
    pipeline.world.source.sql(INSERT.format(1, rows))
    pipeline.wait(rows + 1, 600)
    yield from peaks("memory_txn", pipeline)
    pipeline.stop()


def stall(bench):
    pipeline, seconds, written = Pipeline(bench, "stall"), QUICK_STALL_S if bench.quick else STALL_S, [0]
    end = threading.Event()

    def write():
        while not end.is_set():
            pipeline.world.source.sql(INSERT.format(written[0] + 1, written[0] + 5000))
            written[0] += 5000
    writer = threading.Thread(target=write)
    writer.start()
    pipeline.world.replica.server.pause()
    try:
        time.sleep(seconds)
    finally:
        pipeline.world.replica.server.resume()
        end.set()
        writer.join()
    pipeline.wait(written[0] + 1, 600)
    yield from peaks("memory_stall", pipeline)
    pipeline.stop()


def figures(bench):
    for name, measure in (("idle", idle), ("memory_txn", transaction), ("memory_stall", stall)):
        if bench.wanted(name):
            yield from measure(bench)
