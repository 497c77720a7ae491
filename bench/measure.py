"""What every bench is made of: servers set up for speed, the two sides in turn, CPU and memory of a process, figures.

A bench is a module with figures(bench), which yields a Figure at a time. Rows are counted at the far end (Kafka offsets, rows of
the replica), never by the program's own counters."""
import os
import statistics
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from harness.kafka import Kafka
from harness.postgres import Postgres
from harness.scenario import Servers, World

# A server that is not the bottleneck by its configuration: both sides of every figure use the same.
POSTGRES = {
    "shared_buffers": "1GB", "max_wal_size": "16GB", "checkpoint_timeout": "1h", "wal_level": "logical", "autovacuum": "off",
    "logical_decoding_work_mem": "64MB", "wal_sender_timeout": "10min", "log_replication_commands": "off",
    "max_replication_slots": 60, "max_wal_senders": 60,
}
KAFKA_JVM = ["-XX:+UseSerialGC", "-Xshare:auto", "-Xms256m", "-Djava.awt.headless=true"]


class Skipped(Exception):
    """This bench cannot be run here; the message says why and what to install."""


@dataclass
class Figure:
    """ours and reference in `unit` (medians); ratio: the median of the ratios of the pairs. What higher means depends on the unit:
    rows/s: better; ms: worse."""
    name: str
    ours: float
    reference: float
    ratio: float
    unit: str
    cpu_us_per_row: float | None
    rss_mb_peak: float | None
    runs: int

    def as_dict(self):
        return {k: round(v, 3) if isinstance(v, float) else v for k, v in asdict(self).items()}


@dataclass
class Side:
    """One run of one side."""
    value: float
    cpu_us_per_row: float | None = None
    rss_mb_peak: float | None = None


def figure(name, unit, pairs):
    """The figure of [(ours, reference)], each a Side."""
    def median(values):
        values = [v for v in values if v is not None]
        return statistics.median(values) if values else None
    ours = [o for o, _ in pairs]
    peaks = [o.rss_mb_peak for o in ours if o.rss_mb_peak is not None]
    return Figure(name, median(o.value for o in ours), median(r.value for _, r in pairs),
                  median(o.value / r.value for o, r in pairs), unit, median(o.cpu_us_per_row for o in ours),
                  max(peaks) if peaks else None, len(pairs))


def in_turn(runs, ours, reference, say):
    """Runs the two sides alternately, each `runs` times, and changes which goes first."""
    pairs = []
    for i in range(runs):
        sides = {}
        for which in ((ours, reference), (reference, ours))[i % 2]:
            sides[which] = which()
            say(f"  run {i + 1} of {runs}: {'ours' if which is ours else 'reference'} {sides[which].value:.6g}")
        pairs.append((sides[ours], sides[reference]))
    return pairs


def table(figures):
    rows = [("figure", "ours", "reference", "unit", "ratio", "CPU us/row", "RSS MB", "runs")]
    for f in figures:
        rows.append((f.name, f"{f.ours:,.1f}", f"{f.reference:,.1f}", f.unit, f"{f.ratio:.2f}",
                     "-" if f.cpu_us_per_row is None else f"{f.cpu_us_per_row:.2f}",
                     "-" if f.rss_mb_peak is None else f"{f.rss_mb_peak:.0f}", str(f.runs)))
    widths = [max(len(r[i]) for r in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(c.ljust(w) if i == 0 else c.rjust(w) for i, (c, w) in enumerate(zip(r, widths))) for r in rows)


# ---- processes -----------------------------------------------------------------------------------------------------------
def cpu_seconds(pid):
    """User and system time of a process with all its threads so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb_peak(pid):
    """The largest resident size so far (VmHWM)."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


class Stopwatch:
    """Wall time and CPU of one process between start and read()."""

    def __init__(self, pid):
        self.pid, self.wall, self.cpu = pid, time.monotonic(), cpu_seconds(pid)

    def read(self, rows):
        """(rows/s, CPU us/row, peak RSS in MB) since the start."""
        wall, cpu = time.monotonic() - self.wall, cpu_seconds(self.pid) - self.cpu
        return Side(rows / wall, cpu / rows * 1e6, rss_mb_peak(self.pid))


def reached(look, goal, deadline_s, what, every_s=0.02, alive=None):
    """Polls look() until it is at least `goal`; the time that took is what the caller measures."""
    end = time.monotonic() + deadline_s
    while (value := look()) < goal:
        if alive and not alive():
            raise RuntimeError(f"{what}: the process has ended at {value} of {goal}")
        if time.monotonic() > end:
            raise TimeoutError(f"{what}: only {value} of {goal} after {deadline_s} s")
        time.sleep(every_s)


# ---- the servers ---------------------------------------------------------------------------------------------------------
class Bench:
    """`quick`, `runs`, `wanted(name)`: what was asked for. `world()`: a World (tests/harness) whose source, replica and Kafka
    are this bench's own, with a database and a topic prefix of their own."""

    def __init__(self, run, binary, options):
        self.run, self.binary, self.quick = run, binary, options.quick
        self.runs = options.runs or (1 if options.quick else 3)
        self._names, self._json, self._worlds = options.figures, options.json, 0
        self.servers = BenchServers(run.sub("servers"))
        self._open = []

    def wanted(self, name):
        return not self._names or any(n in name for n in self._names)

    def say(self, text):
        print(text, file=sys.stderr, flush=True)

    def world(self, label):
        self._worlds += 1
        world = World(self.servers, self.run.sub(f"{self._worlds}-{label}"), self.binary, f"b{self._worlds}_{label}")
        world.partitions = {}  # measured is what people get
        self._open.append(world)
        return world

    def stop(self):
        for world in self._open:
            world.end(tidy=False)
        self.servers.stop()


class BenchServers(Servers):
    def _postgres(self, name, **more):
        return self._get(name, lambda: Postgres(self.run, name, settings=POSTGRES | more))

    @property
    def source(self):
        return self._postgres("source")

    @property
    def replica(self):
        return self._postgres("replica")

    @property
    def replica2(self):
        return self._postgres("replica2")

    @property
    def kafka(self):
        return self._get("kafka", lambda: Kafka(self.run, jvm=KAFKA_JVM, config={"log.segment.bytes": 268435456}))


class Sampler(threading.Thread):
    """Calls look() every `every_s` seconds until stop(); keeps [(monotonic time, value)]."""

    def __init__(self, look, every_s):
        super().__init__(daemon=True)
        self.look, self.every_s, self.samples, self._end = look, every_s, [], threading.Event()

    def run(self):
        while not self._end.wait(self.every_s):
            self.samples.append((time.monotonic(), self.look()))

    def stop(self):
        self._end.set()
        self.join()
        return self.samples
