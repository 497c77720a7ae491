"""The directory below which one run keeps all its state, and the project's own places."""
import os
import pwd
import shutil
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent.parent
CACHE = PROJECT / ".cache"


def versions():
    """The pins of setup/versions."""
    lines = (PROJECT / "setup" / "versions").read_text().splitlines()
    return dict(line.strip().split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def server_user():
    """PostgreSQL refuses to run as root: root hands it to this user; anyone else runs it as themselves (None)."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            pass
    raise RuntimeError("running as root needs a user 'postgres' or 'nobody' for the PostgreSQL servers")


class RunDir:
    """A fresh directory that the server user can reach, too."""

    def __init__(self, prefix="millrace-", path=None):
        self.path = Path(path or tempfile.mkdtemp(prefix=prefix, dir=os.environ.get("TMPDIR", "/tmp")))
        self.path.mkdir(parents=True, exist_ok=True)
        self.path.chmod(0o755)
        self.top = self

    def sub(self, name):
        """A directory below, made if need be, with the same top."""
        run = RunDir(path=self.path / name)
        run.top = self.top
        return run

    def fresh(self, name):
        """The path of a new directory NAME, or NAME-2, NAME-3 ... if there are such already."""
        n, path = 1, self.path / name
        while path.exists():
            n += 1
            path = self.path / f"{name}-{n}"
        path.mkdir(parents=True)
        path.chmod(0o755)
        return path

    def remove(self):
        shutil.rmtree(self.path, ignore_errors=True)
