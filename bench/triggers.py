"""What a source that is fed by triggers costs the database that has them: rows per second of writers with our triggers, against the
same writers on the same table without. No capture runs: what is measured is the application's side.

Each run writes to an empty table in the same server (SQLite: in a file of its own), whose commits wait for no disk (fsync off): the worst case
for the ratio.
small: ten rows a transaction; large: one statement for all rows; update: one statement changes all rows, one by its key at a time in
update_by_key."""
import sqlite3
import time
from contextlib import closing

from capture import INSERT, PER_TRANSACTION, TABLES
from measure import Side, figure, in_turn

ROWS, QUICK_ROWS = 100_000, 20_000


def small(database, rows):
    insert = INSERT.format(f"i * {PER_TRANSACTION} + 1", f"(i + 1) * {PER_TRANSACTION}")
    database.sql(f"DO $$ BEGIN FOR i IN 0..{rows // PER_TRANSACTION - 1} LOOP {insert}; COMMIT; END LOOP; END $$")


def large(database, rows):
    database.sql(INSERT.format(1, rows))


def update(database, rows):
    database.sql("UPDATE item SET amount = amount + 1")


def update_by_key(database, rows):
    database.sql(f"DO $$ BEGIN FOR i IN 1..{rows} LOOP UPDATE item SET amount = amount + 1 WHERE id = i; "
                 f"IF i % {PER_TRANSACTION} = 0 THEN COMMIT; END IF; END LOOP; END $$")


class Postgres:
    """One table with triggers, one without, each in a database of its own."""

    def __init__(self, bench, work, filled):
        self.rows, self.work, self.filled = QUICK_ROWS if bench.quick else ROWS, work, filled
        self.bare, self.fed = bench.world("bare").source, bench.world("fed")
        for database in (self.bare, self.fed.source):
            database.sql(TABLES)
        config = self.fed.config(sinks=[], registry=False, log={"format": "logfmt", "level": "info"})
        config["source"] = {"name": "bench", "postgres_triggers": {"url": self.fed.source.url(), "tables": ["public.*"]}}
        config["journal"] = {"embedded": {"path": "/nowhere"}}
        rc, out, err = self.fed.millrace(config, start=False).run_cli("source", "install")
        assert rc == 0, out + err

    def _run(self, database):
        database.sql("TRUNCATE item")
        if self.filled:
            large(database, self.rows)
        database.sql("VACUUM ANALYZE item")
        start = time.monotonic()
        self.work(database, self.rows)
        return Side(self.rows / (time.monotonic() - start))

    def run_ours(self):
        self.fed.source.sql("TRUNCATE millrace.changes")
        return self._run(self.fed.source)

    def run_reference(self):
        return self._run(self.bare)


# ---- SQLite ------------------------------------------------------------------------------------------------------------------

LITE_TABLE = "create table item (id integer primary key, account int, name text, amount decimal(12,2), note text, at datetime)"
LITE_INSERT = """insert into item with recursive n (i) as (select {0} union all select i + 1 from n where i < {1})
    select i, i % 1000, 'item number ' || i, i / 100.0, 'a note of some length that says nothing much about item ' || i, '2024-02-29 12:00:00' from n"""


def lite_small(connection, rows):
    for i in range(rows // PER_TRANSACTION):
        connection.execute(LITE_INSERT.format(i * PER_TRANSACTION + 1, (i + 1) * PER_TRANSACTION))


def lite_large(connection, rows):
    connection.execute(LITE_INSERT.format(1, rows))


def lite_update(connection, _rows):
    connection.execute("update item set amount = amount + 1")


def lite_update_by_key(connection, rows):
    for i in range(1, rows + 1, PER_TRANSACTION):
        connection.execute("begin")
        connection.executemany("update item set amount = amount + 1 where id = ?", [(k,) for k in range(i, i + PER_TRANSACTION)])
        connection.execute("commit")


class Sqlite:
    """One file with triggers, one without, made anew for each run."""

    def __init__(self, bench, work, filled):
        self.rows, self.work, self.filled, self.world = QUICK_ROWS if bench.quick else ROWS, work, filled, bench.world("lite")

    def _run(self, install):
        path = self.world.run.path / "item.db"
        for end in ("", "-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            connection.executescript(f"pragma journal_mode = wal; pragma synchronous = off; {LITE_TABLE}")
            if self.filled:
                lite_large(connection, self.rows)
            if install:
                self._install(path)
            connection.execute("select count(*) from item").fetchone()
            start = time.monotonic()
            self.work(connection, self.rows)
            return Side(self.rows / (time.monotonic() - start))

    def _install(self, path):
        config = {"source": {"name": "bench", "sqlite": {"path": str(path)}}, "journal": {"embedded": {"path": "/nowhere"}}, "sinks": []}
        rc, out, err = self.world.millrace(config, start=False).run_cli("source", "install")
        assert rc == 0, out + err

    def run_ours(self):
        return self._run(True)

    def run_reference(self):
        return self._run(False)


def figures(bench):
    for work in (lite_small, lite_large, lite_update, lite_update_by_key):
        name = f"sqlite_{work.__name__.removeprefix('lite_')}"
        if bench.wanted(name):
            sides = Sqlite(bench, work, filled=work in (lite_update, lite_update_by_key))
            yield figure(name, "rows/s", in_turn(bench.runs, sides.run_ours, sides.run_reference, bench.say))
    for work in (small, large, update, update_by_key):
        name = f"postgres_{work.__name__}"
        if bench.wanted(name):
            sides = Postgres(bench, work, filled=work in (update, update_by_key))
            yield figure(name, "rows/s", in_turn(bench.runs, sides.run_ours, sides.run_reference, bench.say))
