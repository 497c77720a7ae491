"""The program under test as a process. Everything that knows its command line, its config and its answers stands here."""
import contextlib
import json
import os
import re
import signal
import subprocess
import urllib.error
import urllib.request

from .clock import Late, now, wait_until
from .process import Process, tail
from .rundir import PROJECT

_SANITIZERS = {
    "ASAN_OPTIONS": "halt_on_error=1:detect_leaks=1:detect_stack_use_after_return=1:exitcode=99",
    "UBSAN_OPTIONS": "halt_on_error=1:print_stacktrace=1:exitcode=99",
    "TSAN_OPTIONS": f"suppressions={PROJECT}/tests/threads.supp:exitcode=99:second_deadlock_stack=1",
}
_REPORT = re.compile(r"ERROR: AddressSanitizer|WARNING: ThreadSanitizer|runtime error:|LeakSanitizer|AddressSanitizer:DEADLYSIGNAL")
_BARE = {"version", "help", "--help", "-h", "--version"}


def sanitizer_environment():
    """The sanitizers' options, unless the caller's environment has its own."""
    return {k: os.environ.get(k, v) for k, v in _SANITIZERS.items()}


class Millrace:
    """One instance: a directory with its config and its log. `config` is a dict, or the YAML text itself."""

    def __init__(self, binary, config, run, name="millrace", env=None):
        self.binary, self.name, self.env = str(binary), name, sanitizer_environment() | (env or {})
        self.dir = run.fresh(name)
        self.path, self.log = self.dir / "millrace.yaml", self.dir / "log"
        self.process, self.started_at, self._cli_reports = None, 0, []  # started_at: a mark in the log, see log_size()
        self.log.touch()
        self.write_config(config)

    # ---- process -----------------------------------------------------------------------------------------------------
    def write_config(self, config):
        self.config = config
        # JSON is YAML.
        text = config if isinstance(config, str) else json.dumps(config, indent=2, ensure_ascii=False) + "\n"
        new = self.path.with_suffix(".new")
        new.write_text(text)
        os.replace(new, self.path)

    def start(self, command="run", *more):
        """command: run, capture or sink."""
        assert not self.alive(), f"{self.name} runs already"
        self.started_at = self.log_size()
        self.process = Process([self.binary, command, "--config", self.path, *more], self.log, env=self.env, cwd=self.dir)
        return self

    def alive(self):
        return self.process is not None and self.process.alive()

    def returncode(self):
        return self.process.returncode()

    def term(self, within_s=5, expect=0):
        """SIGTERM; fails unless it ends in time and with that exit code. Returns the seconds it took."""
        wait_until(lambda: self.process.heeds(signal.SIGTERM) or not self.alive(), 20, f"{self.name} to heed signals", every_s=0.005)
        start = now()
        self.process.signal(signal.SIGTERM)
        try:
            rc = self.process.wait(within_s, f"end of {self.name} after SIGTERM")
        except Late as e:
            raise Late(f"{e}\n{self.tail()}") from None
        assert rc == expect, f"{self.name} ended with {rc} after SIGTERM, not {expect}:\n{self.tail()}"
        return now() - start

    def kill9(self):
        if self.process:
            self.process.kill9()

    def wait(self, deadline_s):
        """Waits for it to end by itself; returns the exit code."""
        return self.process.wait(deadline_s, f"end of {self.name}")

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)

    @contextlib.contextmanager
    def paused(self):
        self.pause()
        try:
            yield self
        finally:
            self.resume()

    stop_cont = paused

    def hup(self, config=None):
        """Reload, with a new config if one is given."""
        if config is not None:
            self.write_config(config)
        self.process.signal(signal.SIGHUP)

    def rss_bytes(self):
        with open(f"/proc/{self.process.pid}/statm") as f:
            return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    # ---- log ---------------------------------------------------------------------------------------------------------
    def log_size(self):
        """A mark for wait_log(since=...)."""
        return self.log.stat().st_size

    def log_text(self, since=0):
        with open(self.log, "rb") as f:
            f.seek(since)
            return f.read().decode(errors="replace")

    def tail(self, lines=30):
        return tail(self.log, lines)

    def wait_log(self, regex, deadline_s=30, since=0):
        """Waits for a line of the log; returns the match. Ends early, and fails, when the process has ended without it."""
        pattern = re.compile(regex, re.MULTILINE)

        def look():
            ended = not self.alive()
            found = pattern.search(self.log_text(since))
            if not found and ended:
                raise AssertionError(f"{self.name} ended without logging /{regex}/:\n{self.tail()}")
            return found
        return wait_until(look, deadline_s, f"/{regex}/ in the log of {self.name}")

    def sanitizer_report(self):
        """The first sanitizer report of this instance's processes, or None."""
        for text in [self.log_text(), *self._cli_reports]:
            found = _REPORT.search(text)
            if found:
                return text[max(0, found.start() - 200):found.start() + 4000]
        return None

    # ---- command line and HTTP ---------------------------------------------------------------------------------------
    def run_cli(self, *args, deadline_s=60, input=None):
        """`millrace ARGS... --config FILE`; returns (exit code, stdout, stderr)."""
        args = [str(a) for a in (args[0] if len(args) == 1 and isinstance(args[0], (list, tuple)) else args)]
        if not any(a.startswith("--config") for a in args) and not (args and args[0] in _BARE):
            args += ["--config", str(self.path)]
        done = subprocess.run([self.binary, *args], text=True, errors="replace", input=input, capture_output=True,
                              timeout=deadline_s, env=os.environ | self.env, cwd=self.dir,
                              stdin=subprocess.DEVNULL if input is None else None)
        if _REPORT.search(done.stderr):
            self._cli_reports.append(f"millrace {' '.join(args)}\n{done.stderr}")
        return done.returncode, done.stdout, done.stderr

    def status_json(self):
        """{"source": {"state", "lag_bytes", ...}, "sinks": [{"name", "state", "position", "lag_seconds", ...}]}, or None while
        it gives no answer."""
        _rc, out, _err = self.run_cli("status", "--json")
        try:
            return json.loads(out)
        except ValueError:
            return None

    def sink_status(self, name):
        """The entry of one sink in status_json(), or {}."""
        return next((s for s in (self.status_json() or {}).get("sinks", []) if s.get("name") == name), {})

    def http(self, path):
        """(status, body); (0, reason) while nobody answers."""
        try:
            with urllib.request.urlopen(f"http://{self.config['http']['listen']}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode()
        except OSError as e:
            return 0, str(e)

    def metric(self, name, **labels):
        """The sum of a metric's samples that carry these labels; None if there is none."""
        status, body = self.http("/metrics")
        values = []
        for line in body.splitlines() if status == 200 else ():
            found = re.match(r"([A-Za-z_:][\w:]*)(?:\{(.*)\})?\s+(\S+)", line)
            if found and found[1] == name:
                have = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
                if all(have.get(k) == str(v) for k, v in labels.items()):
                    values.append(float(found[3]))
        return sum(values) if values else None
