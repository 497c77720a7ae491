"""Runs libFuzzer targets: two at a time, in bounded memory, each on a copy of its corpus. A crash, a leak, a hang, memory
without end or a property that does not hold is a failure, and the input that shows it is kept."""
import os
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from .clock import SLOW
from .process import Process
from .rundir import PROJECT

HERE = PROJECT / "tests" / "fuzz"
MEMORY_MB, INPUT_S = 1024, 20
_LENGTHS = {"schema": 65536, "avro": 65536, "pgoutput": 65536, "journal": 65536}  # bytes of an input at most; others 16384


def targets():
    return sorted(p.stem.removeprefix("fuzz_") for p in HERE.glob("fuzz_*.c"))


def build():
    """Builds the preset `fuzz`; raises with the compiler's words."""
    for command in (["cmake", "--preset", "fuzz"], ["cmake", "--build", "--preset", "fuzz"]):
        done = subprocess.run(command, cwd=PROJECT, text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError("\n".join((done.stdout + done.stderr).splitlines()[-60:]))


class Fuzzer:
    """One target. After run(): `failure` (None: all held), `inputs`, `edges`, `seconds`, and `kept`, the input that failed."""

    def __init__(self, name, build, run, seconds, seed):
        self.name, self.program = name, build / "fuzz" / f"fuzz_{name}"
        self.run_dir, self.seconds, self.seed = run, seconds, seed
        self.kept = build / "artifacts" / name
        self.failure, self.inputs, self.edges = None, 0, 0

    def run(self):
        begin = time.monotonic()
        corpus, log = self.run_dir.fresh(f"corpus-{self.name}"), self.run_dir.path / f"{self.name}.log"
        self.kept.mkdir(parents=True, exist_ok=True)
        before = set(self.kept.iterdir())
        argv = [self.program, f"-max_total_time={self.seconds}", f"-rss_limit_mb={MEMORY_MB}", f"-timeout={int(INPUT_S * SLOW)}",
                f"-max_len={_LENGTHS.get(self.name, 16384)}", f"-artifact_prefix={self.kept}/", "-print_final_stats=1",
                "-verbosity=1", f"-seed={self.seed}", corpus]
        if (HERE / "corpus" / self.name).is_dir():
            argv.append(HERE / "corpus" / self.name)
        if (HERE / f"fuzz_{self.name}.dict").exists():
            argv.append(f"-dict={HERE}/fuzz_{self.name}.dict")
        process = Process(argv, log, env={"ASAN_OPTIONS": "detect_leaks=1:allocator_may_return_null=0",
                                          "UBSAN_OPTIONS": "print_stacktrace=1"})
        try:
            code = process.wait(self.seconds + 60 + 2 * INPUT_S * SLOW, f"end of fuzz_{self.name}")
        except Exception as e:
            process.kill9()
            code, self.failure = 1, str(e)
        self._read(log.read_text(errors="replace"))
        if code and not self.failure:
            new = sorted(set(self.kept.iterdir()) - before)
            self.failure = self._reason(process.tail(400)) + "".join(f"\nkept: {path}" for path in new)
        self.seconds = time.monotonic() - begin
        shutil.rmtree(corpus, ignore_errors=True)
        if not any(self.kept.iterdir()):
            self.kept.rmdir()
        return self

    def _read(self, text):
        for number, what in ((r"stat::number_of_executed_units: (\d+)", "inputs"), (r"cov: (\d+)", "edges")):
            found = re.findall(number, text)
            setattr(self, what, int(found[-1]) if found else 0)

    @staticmethod
    def _reason(tail):
        """What a person wants to see: from the complaint to the end of its stack."""
        lines = tail.splitlines()
        marks = ("does not hold", "ERROR:", "runtime error", "Assertion")
        first = next((i for i, line in enumerate(lines) if any(m in line for m in marks)), max(0, len(lines) - 20))
        return "\n".join(lines[first:first + 25])

    def line(self):
        return f"{self.inputs} inputs, {self.edges} edges"


def run(names, directory, run_dir, seconds, tell, seed=0):
    """Runs the targets, two at a time, and calls tell(fuzzer) for each as it ends. `seed` 0: another one each time."""
    lock = threading.Lock()

    def one(name):
        fuzzer = Fuzzer(name, Path(directory), run_dir, seconds, seed).run()
        with lock:
            tell(fuzzer)

    with ThreadPoolExecutor(min(2, os.cpu_count() or 1)) as pool:
        list(pool.map(one, names))
