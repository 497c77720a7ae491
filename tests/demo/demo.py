#!/usr/bin/python3
"""Live pipelines to look at: a shop in PostgreSQL, written to all the time, shipped into a PostgreSQL replica and, from the middle on,
into a second replica: an SQLite file (with --kafka: another PostgreSQL, and Kafka between them). Beside it an SQLite file that an
application writes to, shipped by triggers. Then the writes stop, and sources and replicas are compared row by row."""
import argparse
import random
import sqlite3
import sys
import threading
from contextlib import closing
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg2  # noqa: E402

from harness import PROJECT, Differences, Kafka, Late, Millrace, Postgres, Registry, RunDir, compare, now, tables_of, wait_until  # noqa: E402
from harness.compare_sqlite import compare_sqlite, flat, open_replica  # noqa: E402
from harness.process import end_with_signals, free_port, kill_all  # noqa: E402

TTY = sys.stdout.isatty()
BEGIN = now()


def paint(code, text):
    return f"\033[{code}m{text}\033[0m" if TTY else text


def say(text=""):
    print(text, flush=True)


def step(text):
    say(paint("1;36", f"== {text} ({now() - BEGIN:.0f} s)"))


class Writer(threading.Thread):
    """Customers who order, pay, cancel and move: every transaction touches several tables."""

    def __init__(self, database, pause_s=0.004):
        super().__init__(daemon=True)
        self.database, self.pause_s, self.stopping = database, pause_s, threading.Event()
        self.commits, self.error, self.random = 0, None, random.Random(7)

    def run(self):
        try:
            with self.database.connect(autocommit=False) as connection, connection.cursor() as cursor:
                while not self.stopping.wait(self.pause_s):
                    self.transaction(cursor)
                    connection.commit()
                    self.commits += 1
        except psycopg2.Error as e:
            self.error = e

    def transaction(self, cursor):
        dice, pick = self.random.random(), self.random.randint
        if dice < 0.70:
            customer, count = pick(1, 5000), pick(1, 5)
            cursor.execute("INSERT INTO orders (customer) VALUES (%s) RETURNING id", (customer,))
            order = cursor.fetchone()[0]
            for line in range(1, count + 1):
                cursor.execute("WITH p AS (UPDATE products SET stock = stock - 1 WHERE id = %s RETURNING id, price)"
                               " INSERT INTO order_items SELECT %s, %s, id, 1, price FROM p", (pick(1, 1000), order, line))
            cursor.execute("UPDATE orders SET total = (SELECT sum(price) FROM order_items WHERE order_id = id) WHERE id = %s;"
                           "UPDATE customers SET balance = balance - (SELECT total FROM orders WHERE id = %s) WHERE id = %s",
                           (order, order, customer))
        elif dice < 0.85:
            cursor.execute("UPDATE orders SET state = 'paid' WHERE id = (SELECT max(id) - %s FROM orders)", (pick(0, 50),))
            cursor.execute("UPDATE customers SET balance = balance + 10, tags = tags[1:3] || %s::text WHERE id = %s",
                           (f"paid {pick(1, 9)}", pick(1, 5000)))
        elif dice < 0.95:
            cursor.execute("DELETE FROM orders WHERE id = (SELECT max(id) - %s FROM orders)", (pick(0, 200),))
        else:
            # The key itself changes, and a long text does not.
            row = pick(1, 1000)
            cursor.execute("UPDATE everything SET i8 = i8 - 1, tstz = clock_timestamp(), m = 'on fire' WHERE id = %s;"
                           "UPDATE everything SET id = id + 1000000 WHERE id = %s AND id < 1000000", (row, pick(1, 1000)))

    def stop(self):
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error


class Till(threading.Thread):
    """A cash desk that keeps its sales in an SQLite file."""

    tables = {"sales": ("id", "item", "price", "paid_at"), "stock": ("item", "remaining", "photo")}

    def __init__(self, path, pause_s=0.01):
        super().__init__(daemon=True)
        self.path, self.pause_s, self.stopping, self.error = path, pause_s, threading.Event(), None
        self.random = random.Random(11)
        with closing(self.connect()) as till:
            till.executescript("""PRAGMA journal_mode = wal;
                CREATE TABLE stock (item text PRIMARY KEY, remaining integer NOT NULL, photo blob);
                CREATE TABLE sales (id integer PRIMARY KEY, item text NOT NULL REFERENCES stock, price real, paid_at text);""")
            till.execute("BEGIN")
            till.executemany("INSERT INTO stock VALUES (?, 1000000, ?)", [(f"item {i}", bytes([i, 0, 255 - i])) for i in range(100)])
            till.executemany("INSERT INTO sales VALUES (?, ?, ?, NULL)", [(i, f"item {i % 100}", i / 3) for i in range(2000)])
            till.execute("COMMIT")

    def connect(self):
        return sqlite3.connect(self.path, timeout=30, isolation_level=None)

    def run(self):
        try:
            with closing(self.connect()) as till:
                while not self.stopping.wait(self.pause_s):
                    item = f"item {self.random.randrange(100)}"
                    till.execute("BEGIN IMMEDIATE")
                    till.execute("INSERT INTO sales (item, price) VALUES (?, ?)", (item, self.random.random()))
                    till.execute("UPDATE stock SET remaining = remaining - 1 WHERE item = ?", (item,))
                    till.execute("UPDATE sales SET paid_at = datetime('now') WHERE id = (SELECT max(id) - 5 FROM sales)")
                    till.execute("DELETE FROM sales WHERE id = (SELECT max(id) - 3000 FROM sales)")
                    till.execute("COMMIT")
        except sqlite3.Error as e:
            self.error = e

    def stop(self):
        self.stopping.set()
        self.join()
        if self.error:
            raise self.error

    def mark(self):
        """Commits a last row; returns its id."""
        with closing(self.connect()) as till:
            return till.execute("INSERT INTO sales (item, price) VALUES ('item 1', 0) RETURNING id").fetchone()[0]

    def compare(self, database):
        """The differences between the file and its PostgreSQL replica."""
        found = Differences()
        with closing(self.connect()) as till, database.connect() as replica, replica.cursor() as cursor:
            for table, columns in self.tables.items():
                ours = sorted(till.execute(f"SELECT {', '.join(columns)} FROM {table}"))
                cursor.execute(f"SELECT {', '.join(columns)} FROM main.{table}")
                theirs = sorted(tuple(bytes(v) if isinstance(v, memoryview) else v for v in row) for row in cursor)
                found.counts[f"main.{table}"] = (len(ours), len(theirs))
                found += [f"main.{table}: {a!r} is {b!r} in the replica" for a, b in zip(ours, theirs) if a != b]
                if len(ours) != len(theirs):
                    found.append(f"main.{table}: {len(ours)} rows are {len(theirs)} in the replica")
        return found


class File:
    """A replica that is an SQLite file, asked as a Database is."""

    def __init__(self, path):
        self.path = path

    def value(self, query, args=()):
        with closing(open_replica(self.path)) as file:
            return file.execute(query.replace("%s", "?"), args).fetchone()[0]


NOT_THERE_YET = (psycopg2.Error, sqlite3.Error, TypeError)


def rows(database, tables):
    """Rows in all tables; 0 while there are none."""
    try:
        return sum(database.value(f"SELECT count(*) FROM {flat(t) if isinstance(database, File) else t}") for t in tables)
    except NOT_THERE_YET:
        return 0


class Progress:
    """One line per second."""

    def __init__(self, writer, source, replicas, pipeline):
        self.writer, self.source, self.replicas, self.pipeline = writer, source, replicas, pipeline
        self.tables = tables_of(source)

    def line(self):
        if not self.pipeline.alive():
            raise RuntimeError(f"millrace ended with {self.pipeline.returncode()}:\n{self.pipeline.tail()}")
        if self.writer.error:
            raise self.writer.error
        status = self.pipeline.status_json() or {}
        lags = {s.get("name"): s for s in status.get("sinks", [])}
        parts = [f"  {now() - BEGIN:5.0f} s   {self.writer.commits:6} transactions   source {rows(self.source, self.tables):7} rows"]
        for name, database in self.replicas.items():
            sink = lags.get(name, {})
            lag = sink.get("lag_seconds")
            lag = f"lag {lag:.2f} s" if isinstance(lag, (int, float)) else sink.get("state") or "starting"
            parts.append(f"{name} {rows(database, self.tables):7} rows, {lag}")
        say("   ".join(parts))

    def until(self, predicate, deadline_s, what, at_least_s=0):
        """Shows a line per second until the predicate holds and at_least_s have passed."""
        start = now()

        def tick():
            self.line()
            return predicate() and now() - start >= at_least_s
        wait_until(tick, deadline_s, what, every_s=1)


def caught_up(writer_commit_marker, database):
    """Whether a row that the source committed is in the replica."""
    def look():
        try:
            return database.value("SELECT count(*) FROM orders WHERE id = %s", (writer_commit_marker,)) == 1
        except NOT_THERE_YET:
            return False
    return look


def marker(source):
    """Commits a row that a replica can be asked for; returns its id. Nothing the writer does removes it: its id is below all
    others."""
    return source.value("INSERT INTO orders (id, customer, state) SELECT least(min(id), 0) - 1, 1, 'marker' FROM orders"
                        " RETURNING id")


def verdict(found):
    """Prints what the comparisons of one source ({replica: Differences}) found; returns whether all is equal."""
    tables = sorted({table for f in found.values() for table in f.counts})
    width = max(map(len, [*tables, "table"]))
    say("  " + "table".ljust(width) + "".join(h.rjust(12) for h in ("source", *found)))
    for table in tables:
        counts = [f.counts.get(table, (0, 0)) for f in found.values()]
        bad = [d for f in found.values() for d in f if d.startswith((table + ":", table + " "))]
        mark = paint("1;31", "DIFFERENT") if bad else paint("32", "equal, row by row")
        say("  " + table.ljust(width) + str(counts[0][0]).rjust(12) + "".join(str(c[1]).rjust(12) for c in counts) + "   " + mark)
    for name, differences in found.items():
        for difference in differences[:20]:
            say(paint("31", f"  {name}: {difference}"))
    return bool(tables) and not any(found.values())


def sink(name, to):
    place = {"sqlite": {"path": str(to.path)}} if isinstance(to, File) else {"postgres": {"url": to.url()}}
    return {"name": name, "consistency": "transaction"} | place


def pipeline_config(source, journal, sinks):
    return {
        "source": source,
        "sinks": [sink(name, to) for name, to in sinks.items()],
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "log": {"format": "logfmt", "level": "info"},
    } | journal


def embedded(run, name):
    return {"journal": {"embedded": {"path": str(run.sub("journals").path / f"{name}.journal")}}}


def brokers(run):
    """Kafka and a registry, under way: (what the configuration says of them, what waits until they answer)."""
    registry, kafka = Registry(run, start=False), Kafka(run, start=False)
    registry.launch()
    kafka.launch()

    def wait():
        kafka.wait_ready()
        wait_until(registry.ready, 90, "the schema registry answers")
    return {"journal": {"kafka": {"brokers": kafka.brokers, "topic_prefix": "shop", "replication": 1}},
            "schemas": {"registry": registry.url()}}, wait


def ship_till(options, run, till, database):
    """The second pipeline: from an SQLite file, by triggers, into PostgreSQL."""
    config = pipeline_config({"name": "till", "sqlite": {"path": str(till.path)}}, embedded(run, "till"), {"office": database})
    pipeline = Millrace(options.binary, config, run, "millrace-till")
    say(f"  millrace source install --config {pipeline.path}")
    code, out, error = pipeline.run_cli("source", "install")
    if code:
        raise RuntimeError(f"millrace source install ended with {code}:\n{out}{error}")
    say(f"  millrace run --config {pipeline.path}")
    return pipeline.start("run")


def till_has(database, sale):
    def look():
        try:
            return database.value("SELECT count(*) FROM main.sales WHERE id = %s", (sale,)) == 1
        except psycopg2.Error:
            return False
    return look


def demo(options, run):
    step("starting PostgreSQL (a source, two replicas), Kafka and a schema registry, on free ports" if options.kafka else
         "starting PostgreSQL (a source and a replica) on free ports")
    journal, wait = brokers(run) if options.kafka else (embedded(run, "shop"), lambda: None)
    source = Postgres(run, "source", fsync=True).database("shop")
    report = Postgres(run, "report", fsync=True).database("shop")
    office = report.server.database("office")
    archive = Postgres(run, "archive", fsync=True).database("shop") if options.kafka else File(run.path / "archive.db")
    wait()

    step("making a shop, and a till")
    source.psql_file(Path(__file__).with_name("shop.sql"))
    tables = tables_of(source)
    say(f"  PostgreSQL: {len(tables)} tables, {rows(source, tables)} rows")
    till = Till(run.path / "till.db")
    say(f"  SQLite: {till.path}, {len(till.tables)} tables")

    writer = Writer(source)
    writer.start()
    till.start()
    step("the shop is open: writes go on from here; starting millrace with one sink, 'report'")
    origin = {"name": "shop", "postgres": {"url": source.url(), "tables": ["public.*"], "publication": "millrace_shop", "slot": "millrace_shop"}}
    config = pipeline_config(origin, journal, {"report": report})
    pipeline = Millrace(options.binary, config, run).start("run")
    say(f"  millrace run --config {pipeline.path}")
    progress = Progress(writer, source, {"report": report}, pipeline)
    progress.until(caught_up(marker(source), report), 120, "the report has the snapshot and the stream", options.seconds)

    step("shipping the till, by triggers, into a PostgreSQL database, 'office'")
    till_pipeline = ship_till(options, run, till, office)
    step("adding a second sink, 'archive', to the config, and SIGHUP; it is built from the journal alone")
    pipeline.hup(config | {"sinks": [sink("report", report), sink("archive", archive)]})
    progress.replicas["archive"] = archive
    progress.until(caught_up(marker(source), archive), 120, "the archive has caught up", options.seconds)

    writer.stop()
    till.stop()
    step(f"the shop is closed after {writer.commits} transactions; waiting until all replicas have the last one")
    last, sale = marker(source), till.mark()
    progress.until(lambda: caught_up(last, report)() and caught_up(last, archive)(), 60, "both replicas have the last transaction")
    wait_until(till_has(office, sale), 60, "the office has the last sale")

    step("comparing sources and replicas, every column of every row")
    file = isinstance(archive, File)
    equal = verdict({"report": compare(source, report), "archive": compare_sqlite(source, archive.path) if file else compare(source, archive)})
    equal &= verdict({"office": till.compare(office)})
    step("stopping millrace")
    say(f"  it ended {pipeline.term():.1f} s after SIGTERM, the till's {till_pipeline.term():.1f} s")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=PROJECT / "build" / "release" / "millrace", type=Path)
    parser.add_argument("--kafka", action="store_true", help="through a Kafka broker and a schema registry instead of the embedded journal")
    parser.add_argument("--seconds", type=float, default=8, help="show each of the two live parts at least that long (8)")
    parser.add_argument("--keep", action="store_true", help="keep the directory with all state and logs")
    options = parser.parse_args()
    options.binary = options.binary.resolve()
    if not options.binary.exists():
        parser.error(f"{options.binary} is not built")
    end_with_signals()
    run, equal = RunDir("millrace-demo-"), False
    try:
        equal = demo(options, run)
    except (Late, RuntimeError, AssertionError, psycopg2.Error, sqlite3.Error) as e:
        say(paint("1;31", f"failed: {e}"))
        for log in sorted(run.path.glob("millrace*/log")):
            say("\n".join(log.read_text(errors="replace").splitlines()[-30:]))
    finally:
        kill_all()
        if options.keep:
            say(f"kept: {run.path}")
        else:
            run.remove()
    say(paint("1;32", "equal: sources and replicas, row by row") if equal else paint("1;31", "not equal"))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
