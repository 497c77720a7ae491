"""The power of the machine on which a journal's file lies: what was written to it and not synced is lost, or some of it, when it fails.

    power = Power(run, path)            # path: of the journal's file; those beside it begin with it
    m = world.millrace(config, env=power.env())
    m.kill9()                           # everybody who has it open
    power.fail(random.Random(1))        # and now the machine is without power; what was synced stands in the files

power.c, preloaded, keeps the bytes that stood where something was written, until they are synced."""
import os
import struct
import subprocess
from pathlib import Path

from .millrace import sanitizer_environment
from .rundir import PROJECT

SECTOR, PAGE = 512, 4096
_END, _HEAD = struct.Struct("<Q"), struct.Struct("<QQQQ")
# What becomes of the unsynced writes of a file: all lost, all there, or of each sector one of its versions.
_FATES, _WEIGHTS = ("lost", "torn", "kept"), (4, 5, 1)


class _Write:
    def __init__(self, at, written, size, old):
        self.at, self.written, self.size, self.old = at, written, size, old

    def undo(self, f, low, high):
        """Of bytes low .. high puts back what stood there."""
        low, high = max(low, self.at), min(high, self.at + max(self.written, len(self.old)))
        if low < high:
            old = self.old[low - self.at:high - self.at]
            os.pwrite(f, old + bytes(high - low - len(old)), low)


def _read(path):
    try:
        data, at, writes = path.read_bytes(), _END.size, []
    except FileNotFoundError:
        return []
    end = _END.unpack_from(data)[0] if len(data) >= _END.size else 0
    while at + _HEAD.size <= min(end, len(data)):
        offset, written, size, n = _HEAD.unpack_from(data, at)
        at += _HEAD.size
        writes.append(_Write(offset, written, size, data[at:at + n]))
        at += n
    return writes


class Power:
    def __init__(self, run, path, sync_us=40_000):
        self.path, self.undo, self.sync_us = Path(path), run.sub("power").path, sync_us
        self.library = run.path / "power.so"
        subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", self.library, PROJECT / "tests" / "harness" / "power.c", "-ldl"], check=True)
        self.failures = self.failures_with_loss = self.lost_writes = 0

    def env(self):
        asan = sanitizer_environment()["ASAN_OPTIONS"] + ":verify_asan_link_order=0"  # its library comes after ours
        return {"LD_PRELOAD": str(self.library), "POWER_PATH": str(self.path), "POWER_UNDO": str(self.undo),
                "POWER_SYNC_US": str(self.sync_us), "ASAN_OPTIONS": asan}

    def unsynced(self):
        """Whether something was written, and not synced yet."""
        return any(_read(undo) for undo in self.undo.iterdir() if undo.name != "entries")

    def fail(self, chance):
        """Everybody who has the files open must be dead. Returns what happened, in words."""
        self.failures += 1
        files = {str(p.stat().st_ino): p for p in self.path.parent.glob(self.path.name + "*")}
        told = [self._file(files[u.name], u, chance) for u in sorted(self.undo.iterdir()) if u.name in files and _read(u)]
        told += self._entries(chance)
        self.failures_with_loss += bool(told)
        for undo in self.undo.iterdir():
            undo.unlink()
        Path(f"{self.path}-shm").unlink(missing_ok=True)
        return "; ".join(told) or "everything was synced"

    def _file(self, path, undo, chance):
        writes, (fate,) = _read(undo), chance.choices(_FATES, _WEIGHTS)
        if fate == "torn" and any(not w.written for w in writes):
            fate = "lost"  # a file that was made shorter
        f = os.open(path, os.O_RDWR)
        try:
            if fate == "lost":
                for write in reversed(writes):
                    write.undo(f, 0, 1 << 62)
                os.ftruncate(f, writes[0].size)
            elif fate == "torn":
                self._tear(f, writes, chance)
        finally:
            os.close(f)
        self.lost_writes += len(writes) if fate != "kept" else 0
        return f"{path.name}: {len(writes)} writes {fate}"

    @staticmethod
    def _tear(f, writes, chance):
        unit, versions = SECTOR if len(writes) < 2000 else PAGE, {}
        for write in writes:
            for sector in range(write.at // unit, -(-(write.at + write.written) // unit)):
                versions.setdefault(sector, []).append(write)
        for sector, of_it in versions.items():
            for write in reversed(of_it[chance.randrange(len(of_it) + 1):]):
                write.undo(f, sector * unit, (sector + 1) * unit)
        if chance.random() < 0.5:  # its new size is lost, too
            os.ftruncate(f, min(writes[0].size, os.fstat(f).st_size))

    def _entries(self, chance):
        names = self.undo / "entries"
        told = []
        for name in names.read_text().splitlines() if names.exists() else ():
            if chance.random() < 0.5 and os.path.exists(name):
                os.unlink(name)
                told.append(f"{Path(name).name} was never made")
        return told
