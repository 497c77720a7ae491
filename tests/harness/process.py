"""Child processes that cannot outlive the runner: own process group, killed at exit, and by the kernel if the runner dies."""
import atexit
import ctypes
import os
import random
import signal
import socket
import subprocess
import sys
from pathlib import Path

from .clock import wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1
_living = set()
_ports = set()
_lane, _lanes = 0, 1


def own_pid():
    return os.getpid()


def belong_to(parent, death):
    """This process gets the signal `death` when its parent dies, and ends now if it has already."""
    _libc.prctl(_PR_SET_PDEATHSIG, int(death))
    if os.getppid() != parent:
        os._exit(127)


def become_lane(number, of):
    """This forked process is one of several runners: what its parent started is none of its business, and of the ports
    each has its own part, so that the port of a server that is down is not taken by another lane."""
    global _lane, _lanes
    _lane, _lanes = number, of
    _living.clear()
    random.seed()


def free_port():
    """A TCP port on 127.0.0.1 below the range the kernel takes for outgoing connections, so that a stopped server
    finds its port free again when it restarts."""
    while True:
        port = random.randint(15000, 31999)
        if port in _ports or port % _lanes != _lane:
            continue
        with socket.socket() as s:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                s.bind(("127.0.0.1", port))
            except OSError:
                continue
        _ports.add(port)
        return port


def children(pid):
    """The direct children of a process."""
    try:
        return [int(p) for p in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def running(pid):
    """Whether a process exists and is not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


class Process:
    """One child with its output appended to a file. `user`: a passwd entry to run as; `death`: the signal the kernel sends
    it when the runner dies."""

    def __init__(self, argv, log, env=None, cwd=None, user=None, death=signal.SIGKILL, unset=()):
        self.name, self.log = Path(str(argv[0])).name, Path(log)
        environment = {k: v for k, v in os.environ.items() if k not in unset} | {k: str(v) for k, v in (env or {}).items()}
        runner = os.getpid()
        as_user = dict(user=user.pw_uid, group=user.pw_gid, extra_groups=[]) if user else {}
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen([str(a) for a in argv], stdin=subprocess.DEVNULL, stdout=out, stderr=out, cwd=cwd,
                                          env=environment, start_new_session=True, preexec_fn=lambda: belong_to(runner, death), **as_user)
        self.pid = self.child.pid
        _living.add(self)

    def alive(self):
        if self.child.poll() is None:
            return True
        _living.discard(self)
        return False

    def returncode(self):
        return None if self.alive() else self.child.returncode

    def signal(self, number):
        if self.alive():
            os.kill(self.pid, number)

    def heeds(self, number):
        """Whether it catches this signal or takes it from a descriptor, and so has begun."""
        try:
            status = Path(f"/proc/{self.pid}/status").read_text()
        except OSError:
            return False
        masks = [int(line.split()[1], 16) for line in status.splitlines() if line.startswith(("SigBlk:", "SigCgt:"))]
        return any(mask >> (number - 1) & 1 for mask in masks)

    def wait(self, deadline_s, what=None):
        """Waits for its end and returns the exit code (negative: the signal that ended it)."""
        wait_until(lambda: not self.alive(), deadline_s, what or f"end of {self.name}", every_s=0.01)
        return self.child.returncode

    def kill9(self):
        """kill -9 for the whole process group, and waits until it is gone. Harmless when it is already."""
        try:
            os.killpg(self.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            pass
        self.child.wait()
        _living.discard(self)

    def tail(self, lines=30):
        return tail(self.log, lines)


def tail(path, lines=30):
    """The last lines of a file, as text."""
    try:
        with open(path, "rb") as f:
            f.seek(0, os.SEEK_END)
            f.seek(max(0, f.tell() - 64 * 1024))
            return "\n".join(f.read().decode(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""


def kill_all():
    """Ends everything that was started and still lives."""
    for process in list(_living):
        process.kill9()


def _leave(number, _frame):
    sys.exit(128 + number)


def end_with_signals():
    """Makes SIGTERM, SIGINT and SIGHUP leave by the ordinary way out, past kill_all."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, _leave)


atexit.register(kill_all)
