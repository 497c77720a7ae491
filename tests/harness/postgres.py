"""Private PostgreSQL clusters. Version 15 is Debian's; 17 is the second one, fetched by setup/fetch."""
import fcntl
import os
import shutil
import signal
import subprocess
from pathlib import Path
from urllib.parse import quote

import psycopg2

from .clock import wait_until
from .process import Process, children, free_port, running, tail
from .rundir import CACHE, server_user

_DEFAULTS = {
    "listen_addresses": "127.0.0.1", "max_connections": 100, "shared_buffers": "64MB", "wal_level": "logical",
    "max_wal_senders": 20, "max_replication_slots": 20, "max_prepared_transactions": 10, "jit": "off",
    "log_line_prefix": "%m [%p] %a ", "log_replication_commands": "on", "logging_collector": "off",
    "log_checkpoints": "off",
}
# Only where a lost page is not what is tested.
_UNSAFE = {"fsync": "off", "full_page_writes": "off"}


class Postgres:
    """One cluster. `auth`: "trust", or "scram-sha-256" with `password`. `settings`: any server settings, over the defaults.
    `env`: of the server's process."""

    def __init__(self, run, name="postgres", version=15, settings=None, auth="trust", password="secret", fsync=False,
                 env=None, start=True):
        self.name, self.version, self.auth = name, version, auth
        self.password = password if auth != "trust" else None
        self.dir = run.fresh(name)
        self.data, self.log = self.dir / "data", self.dir / "log"
        self.user, self.bin = server_user(), _binaries(run, version)
        self.port, self.process, self.env = free_port(), None, env or {}
        # A socket's path has at most 107 bytes.
        self.sockets = self.dir if len(str(self.dir)) < 80 else Path("/tmp")
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self._initdb()
        self.settings = _DEFAULTS | ({} if fsync else _UNSAFE)
        self.configure(settings or {})
        if start:
            self.start()

    def _initdb(self):
        argv = ["-D", self.data, "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-N", "-A", self.auth]
        if self.password:
            secret = self.dir / "password"
            secret.write_text(self.password + "\n")
            secret.chmod(0o644)
            argv += [f"--pwfile={secret}"]
        self.tool("initdb", *argv)

    def tool(self, program, *argv, check=True):
        """Runs one of the server's own programs (initdb, pg_controldata, pg_basebackup ...) as the server's user."""
        path = self.bin / program
        if not path.exists():
            path = Path("/usr/lib/postgresql/15/bin") / program
        as_user = dict(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[]) if self.user else {}
        done = subprocess.run([str(a) for a in (path, *argv)], cwd=self.dir, text=True, capture_output=True,
                              env=os.environ | {"LC_ALL": "C.UTF-8"}, **as_user)
        if check and done.returncode:
            raise RuntimeError(f"{program} failed ({done.returncode}):\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def configure(self, settings):
        """Sets server settings (None: back to the server's default); they hold from the next start or reload()."""
        self.settings |= settings
        lines = [f"port = {self.port}", f"unix_socket_directories = '{self.sockets}'"]
        lines += ["%s = '%s'" % (k, str(v).replace("'", "''")) for k, v in self.settings.items() if v is not None]
        with open(self.data / "postgresql.conf", "w") as f:
            f.write("\n".join(lines) + "\n")

    def launch(self):
        """Starts the postmaster without waiting for it."""
        self.process = Process([self.bin / "postgres", "-D", self.data], self.log, cwd=self.dir, user=self.user,
                               death=signal.SIGQUIT, env={"LC_ALL": "C.UTF-8"} | self.env)

    def start(self, deadline_s=30):
        self.launch()
        wait_until(self.ready, deadline_s, f"{self.name} accepts connections")
        return self

    def ready(self):
        if not self.process.alive():
            raise RuntimeError(f"{self.name} ended at its start:\n{tail(self.log)}")
        try:
            self.connect().close()
            return True
        except psycopg2.OperationalError:
            return False

    def stop(self, mode="fast", deadline_s=30):
        """mode: smart, fast or immediate. Returns when the postmaster has ended."""
        number = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        self.process.signal(number)
        self.process.wait(deadline_s, f"{mode} shutdown of {self.name}")

    def restart(self, mode="fast"):
        self.stop(mode)
        self.start()

    def reload(self):
        self.process.signal(signal.SIGHUP)

    def kill9(self):
        """kill -9 of the postmaster; its children notice by themselves, and this waits until the last one is gone."""
        if self.process is None:
            return
        below = children(self.process.pid)
        self.process.kill9()
        wait_until(lambda: not any(running(p) for p in below), 30, f"end of the backends of {self.name}")

    def pause(self):
        """SIGSTOP for the postmaster and every backend: the server hangs with its connections open."""
        for pid in [self.process.pid, *children(self.process.pid)]:
            os.kill(pid, signal.SIGSTOP)

    def resume(self):
        for pid in [*children(self.process.pid), self.process.pid]:
            os.kill(pid, signal.SIGCONT)

    def url(self, db="postgres", user="postgres", password=None):
        password = password or (self.password if user == "postgres" else None)
        secret = ":" + quote(password, safe="") if password else ""
        return f"postgres://{quote(user, safe='')}{secret}@127.0.0.1:{self.port}/{quote(db, safe='')}"

    def connect(self, db="postgres", user="postgres", autocommit=True, **options):
        connection = psycopg2.connect(self.url(db, user), connect_timeout=10, **options)
        connection.autocommit = autocommit
        return connection

    def sql(self, query, args=None, db="postgres", user="postgres"):
        """Runs one query (without args also several, in one transaction); returns its rows, or None if it has none."""
        connection = self.connect(db, user)
        try:
            with connection.cursor() as cursor:
                cursor.execute(query, args)
                return cursor.fetchall() if cursor.description else None
        finally:
            connection.close()

    def value(self, query, args=None, db="postgres", user="postgres"):
        """The first column of the first row."""
        rows = self.sql(query, args, db, user)
        return rows[0][0] if rows else None

    def psql_file(self, path, db="postgres", user="postgres"):
        done = subprocess.run(["psql", "-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", str(path), self.url(db, user)],
                              text=True, capture_output=True)
        if done.returncode:
            raise RuntimeError(f"psql -f {path} failed:\n{done.stderr[-2000:]}")
        return done.stdout

    def database(self, name, create=True):
        if create:
            self.sql(f'CREATE DATABASE "{name}"')
        return Database(self, name)

    def drop_database(self, name):
        """With its replication slots, which would keep it alive."""
        self.sql("SELECT pg_terminate_backend(active_pid) FROM pg_replication_slots"
                 " WHERE database = %s AND active", (name,))
        wait_until(lambda: not self.sql("SELECT 1 FROM pg_replication_slots WHERE database = %s AND active", (name,)),
                   10, f"slots of {name} are released")
        self.sql("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE database = %s", (name,))
        self.sql(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def lsn(self, db="postgres"):
        return self.value("SELECT pg_current_wal_lsn()::text", db=db)

    def base_backup(self, run, name):
        """A stopped copy of this running cluster by the low-level backup interface, which every version has: another server
        with the same history, and, as pg_basebackup would make it, without replication slots."""
        copy = Postgres.__new__(Postgres)
        copy.__dict__ = dict(self.__dict__, name=name, dir=run.fresh(name), process=None, settings=dict(self.settings))
        copy.data, copy.log, copy.port = copy.dir / "data", copy.dir / "log", free_port()
        copy.sockets = copy.dir if len(str(copy.dir)) < 80 else Path("/tmp")
        session = self.connect()
        cursor = session.cursor()
        cursor.execute("SELECT pg_backup_start('copy', true)")
        # A file that vanishes while it is copied is in the WAL; cp complains about it, rightly ignored.
        subprocess.run(["cp", "-a", self.data, copy.data], capture_output=True)
        cursor.execute("SELECT labelfile FROM pg_backup_stop(false)")
        label = cursor.fetchone()[0]
        session.close()
        shutil.rmtree(copy.data / "pg_wal")
        subprocess.run(["cp", "-a", self.data / "pg_wal", copy.data / "pg_wal"], capture_output=True)
        (copy.data / "postmaster.pid").unlink(missing_ok=True)
        for slot in (copy.data / "pg_replslot").iterdir():
            shutil.rmtree(slot)
        (copy.data / "backup_label").write_text(label)
        if self.user:
            for path in (copy.dir, copy.data / "backup_label"):
                os.chown(path, self.user.pw_uid, self.user.pw_gid)
        copy.configure({})
        return copy


    def standby(self, run, name, settings=None):
        """A started standby that follows this running server."""
        copy = self.base_backup(run, name)
        (copy.data / "standby.signal").touch()
        if copy.user:
            os.chown(copy.data / "standby.signal", copy.user.pw_uid, copy.user.pw_gid)
        copy.configure({"primary_conninfo": f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres application_name={name}"} | (settings or {}))
        return copy.start()

    def follow_no_more(self):
        """Of a standby: what it has not received by now it will never have."""
        self.configure({"primary_conninfo": ""})
        self.reload()
        wait_until(lambda: not self.sql("SELECT 1 FROM pg_stat_wal_receiver"), 20, f"{self.name} to leave its primary")

    def promote(self):
        self.sql("SELECT pg_promote()")
        wait_until(lambda: not self.value("SELECT pg_is_in_recovery()"), 20, f"promotion of {self.name}")
        return self

    def wait_replayed(self, lsn):
        """Of a standby: until it has replayed up to `lsn`."""
        wait_until(lambda: self.value("SELECT pg_last_wal_replay_lsn() >= %s", (lsn,)), 20, f"{self.name} to replay up to {lsn}")


class Database:
    """One database of a server: what most tests speak to."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def url(self, user="postgres", password=None):
        return self.server.url(self.name, user, password)

    def connect(self, user="postgres", **options):
        return self.server.connect(self.name, user, **options)

    def sql(self, query, args=None, user="postgres"):
        return self.server.sql(query, args, self.name, user)

    def value(self, query, args=None, user="postgres"):
        return self.server.value(query, args, self.name, user)

    def psql_file(self, path, user="postgres"):
        return self.server.psql_file(path, self.name, user)

    def lsn(self):
        return self.server.lsn(self.name)


def _binaries(run, version):
    if version == 15:
        path = Path("/usr/lib/postgresql/15/bin")
        if not (path / "postgres").exists():
            raise RuntimeError("PostgreSQL 15 is missing: run setup/install services")
        return path
    if version not in (14, 16, 17, 18):
        raise ValueError(f"no PostgreSQL {version} here: 14 to 18")
    path = CACHE / f"postgres{version}"
    if not (path / "bin" / "postgres").exists():
        raise RuntimeError(f"PostgreSQL {version} is missing: run setup/fetch postgres{version}")
    if server_user():
        # The server's user may not be let into root's own directories: it gets a copy.
        copy = run.top.path / f"postgres{version}"
        with open(f"{copy}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not copy.exists():
                shutil.copytree(path, copy, symlinks=True)
        path = copy
    return path / "bin"
