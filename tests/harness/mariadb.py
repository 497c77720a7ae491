"""Private MariaDB servers (Debian's)."""
import os
import subprocess
from contextlib import closing
from urllib.parse import quote

import pymysql
from pymysql.constants import CLIENT

from .clock import wait_until
from .process import Process, free_port, tail
from .rundir import server_user

_SETTINGS = {
    "bind-address": "127.0.0.1", "max-connections": 200, "innodb-buffer-pool-size": "64M", "innodb-log-file-size": "64M",
    "innodb-flush-method": "nosync", "skip-name-resolve": None, "skip-log-bin": None, "character-set-server": "utf8mb4",
    "innodb-lock-wait-timeout": 20,
}


class MariaDB:
    """One server. `settings`: options of mariadbd over the defaults (None: without a value). `env`: of its process."""

    def __init__(self, run, name="mariadb", settings=None, password="secret", env=None):
        self.name, self.dir, self.password = name, run.fresh(name), password
        self.data, self.log = self.dir / "data", self.dir / "log"
        self.user, self.port, self.process, self.env = server_user(), free_port(), None, env or {}
        self.settings = _SETTINGS | (settings or {})
        if self.user:
            os.chown(self.dir, self.user.pw_uid, self.user.pw_gid)
        self._init()
        self.start()
        self.sql(f"SET PASSWORD FOR root@localhost = PASSWORD('{password}'); "
                 f"CREATE OR REPLACE USER root@'127.0.0.1' IDENTIFIED BY '{password}'; GRANT ALL ON *.* TO root@'127.0.0.1' WITH GRANT OPTION",
                 password="")

    def _as_user(self):
        return dict(user=self.user.pw_uid, group=self.user.pw_gid, extra_groups=[]) if self.user else {}

    def _init(self):
        done = subprocess.run(["mariadb-install-db", "--no-defaults", f"--datadir={self.data}", "--auth-root-authentication-method=normal",
                               "--skip-test-db", "--innodb-flush-method=nosync", "--innodb-log-file-size=64M"],
                              text=True, capture_output=True, cwd=self.dir, **self._as_user())
        if done.returncode:
            raise RuntimeError(f"mariadb-install-db failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")

    @property
    def socket(self):
        return f"/tmp/millrace-maria-{self.port}.sock"  # a socket's path has at most 107 bytes

    def start(self, deadline_s=60):
        options = [f"--{key}" if value is None else f"--{key}={value}" for key, value in self.settings.items()]
        self.process = Process(["/usr/sbin/mariadbd", "--no-defaults", f"--datadir={self.data}", f"--socket={self.socket}",
                                f"--port={self.port}", f"--pid-file={self.dir}/pid", *options],
                               self.log, cwd=self.dir, user=self.user, env=self.env)
        wait_until(self._ready, deadline_s, f"{self.name} accepts connections")
        return self

    def _ready(self):
        if not self.process.alive():
            raise RuntimeError(f"{self.name} ended at its start:\n{tail(self.log)}")
        try:
            self.connect().close()
            return True
        except pymysql.err.OperationalError as e:
            if e.args[0] == 1045:  # before the password is set
                return True
            return False

    def stop(self, deadline_s=60):
        self.process.signal(15)
        self.process.wait(deadline_s, f"shutdown of {self.name}")

    def kill9(self):
        if self.process:
            self.process.kill9()

    def close(self):
        self.kill9()
        if os.path.exists(self.socket):
            os.unlink(self.socket)

    def url(self, db="", user="root", password=None):
        return f"mysql://{quote(user, safe='')}:{quote(password or self.password, safe='')}@127.0.0.1:{self.port}/{quote(db, safe='')}"

    def connect(self, db=None, user="root", password=None):
        where = dict(unix_socket=self.socket) if user == "root" else dict(host="127.0.0.1", port=self.port)
        return pymysql.connect(user=user, password=self.password if password is None else password, database=db, autocommit=True,
                               charset="utf8mb4", connect_timeout=10, client_flag=CLIENT.MULTI_STATEMENTS, **where)

    def sql(self, text, args=None, db=None, user="root", password=None):
        """Runs any number of statements; the rows of the last one."""
        with closing(self.connect(db, user, password)) as connection, connection.cursor() as cursor:
            cursor.execute(text, args)
            rows = cursor.fetchall()
            while cursor.nextset():
                rows = cursor.fetchall()
            return [tuple(row) for row in rows]

    def value(self, text, args=None, db=None):
        rows = self.sql(text, args, db)
        return rows[0][0] if rows else None

    def database(self, name):
        self.sql(f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4")
        return MariaDatabase(self, name)


class MariaDatabase:
    """One database of a server, with the interface of postgres.Database as far as it goes."""

    def __init__(self, server, name):
        self.server, self.name = server, name

    def url(self, **who):
        return self.server.url(self.name, **who)

    def connect(self):
        return self.server.connect(self.name)

    def sql(self, text, args=None):
        return self.server.sql(text, args, self.name)

    def value(self, text, args=None):
        return self.server.value(text, args, self.name)
