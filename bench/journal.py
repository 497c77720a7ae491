"""The embedded journal alone, in a process of its own (bench/journal.c): the reference of these figures is the bound we hold ourselves to.

append_and_read: changes of 200 bytes appended in transactions of 20,000, each with its fsync, while a second thread reads them back; the
time ends with the last one read. append, read: one after the other. commit, seen: milliseconds (99th percentile) that a transaction of one
change takes, and until a waiting reader has it. A ratio below 1 (above 1 for the milliseconds) means that a bound is broken."""
import json
import shutil
import subprocess

from harness import PROJECT
from measure import Side, figure

CHANGES, QUICK_CHANGES, SINGLE, BATCH = 2_000_000, 400_000, 3000, 20_000
BOUND_PER_S, BOUND_MS = 300_000, 10


def build():
    done = subprocess.run(["cmake", "--build", "build/release", "--target", "bench_journal"], cwd=PROJECT, text=True, capture_output=True)
    if done.returncode:
        raise RuntimeError(f"bench_journal cannot be built:\n{(done.stdout + done.stderr)[-3000:]}")
    return PROJECT / "build" / "release" / "bench_journal"


class Alone:
    def __init__(self, bench):
        self.program, self.directory = build(), bench.run.sub("journal").path
        self.changes = QUICK_CHANGES if bench.quick else CHANGES

    def run(self, what, anew=True, changes=None, batch=BATCH):
        if anew:
            shutil.rmtree(self.directory)
            self.directory.mkdir(mode=0o700)
        command = [self.program, self.directory, str(changes or self.changes), str(batch), what]
        return json.loads(subprocess.run(command, check=True, text=True, capture_output=True, timeout=300).stdout)


def side(found):
    return Side(found["changes_per_s"], found["cpu_s"] / found["changes"] * 1e6, found["rss_mb"])


def figures(bench):
    alone, bound = Alone(bench), Side(BOUND_PER_S)
    if bench.wanted("append_and_read"):
        yield figure("append_and_read", "changes/s", [(side(alone.run("both")), bound) for _ in range(bench.runs)])
    if bench.wanted("append") or bench.wanted("read"):
        pairs = [(side(alone.run("append")), side(alone.run("read", anew=False))) for _ in range(bench.runs)]
        yield figure("append", "changes/s", [(a, bound) for a, _ in pairs])
        yield figure("read", "changes/s", [(r, bound) for _, r in pairs])
    if bench.wanted("commit") or bench.wanted("seen"):
        found = [alone.run("single", changes=SINGLE, batch=1) for _ in range(bench.runs)]
        yield figure("commit", "ms", [(Side(f["commit_p99_ms"], rss_mb_peak=f["rss_mb"]), Side(BOUND_MS)) for f in found])
        yield figure("seen", "ms", [(Side(f["seen_p99_ms"], rss_mb_peak=f["rss_mb"]), Side(BOUND_MS)) for f in found])
