#!/usr/bin/python3
"""A live pipeline to look at: a shop in PostgreSQL, written to all the time, shipped through Kafka into one replica and, from the
middle on, a second one; then the writes stop, and source and replicas are compared row by row."""
import argparse
import random
import sys
import threading
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import psycopg2  # noqa: E402

from harness import PROJECT, Kafka, Late, Millrace, Postgres, Registry, RunDir, compare, now, tables_of, wait_until  # noqa: E402
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


def rows(database, tables):
    """Rows in all tables; 0 while there are none."""
    try:
        return sum(database.value(f"SELECT count(*) FROM {table}") for table in tables)
    except psycopg2.Error:
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
            return database.value("SELECT true FROM orders WHERE id = %s", (writer_commit_marker,)) is True
        except psycopg2.Error:
            return False
    return look


def marker(source):
    """Commits a row that a replica can be asked for; returns its id. Nothing the writer does removes it: its id is below all
    others."""
    return source.value("INSERT INTO orders (id, customer, state) SELECT least(min(id), 0) - 1, 1, 'marker' FROM orders"
                        " RETURNING id")


def verdict(source, replicas):
    """Prints the comparison; returns whether all is equal."""
    equal, tables = True, tables_of(source)
    found = {name: compare(source, database, tables) for name, database in replicas.items()}
    width = max(map(len, tables))
    say("  " + "table".ljust(width) + "".join(h.rjust(12) for h in ("source", *replicas)))
    for table in tables:
        counts = [f.counts.get(table, (0, 0)) for f in found.values()]
        bad = [d for f in found.values() for d in f if d.startswith(table + ":")]
        mark = paint("1;31", "DIFFERENT") if bad else paint("32", "equal, row by row")
        say("  " + table.ljust(width) + str(counts[0][0]).rjust(12) + "".join(str(c[1]).rjust(12) for c in counts) + "   " + mark)
    for name, differences in found.items():
        for difference in differences[:20]:
            equal = False
            say(paint("31", f"  {name}: {difference}"))
    return equal


def pipeline_config(source, kafka, registry, sinks):
    return {
        "source": {"name": "shop", "postgres": {"url": source.url(), "tables": ["public.*"], "publication": "millrace_shop",
                                                "slot": "millrace_shop"}},
        "journal": {"kafka": {"brokers": kafka.brokers, "topic_prefix": "shop", "replication": 1}},
        "schemas": {"registry": registry.url()},
        "sinks": [{"name": name, "postgres": {"url": database.url(), "create_tables": True}, "consistency": "transaction"}
                  for name, database in sinks.items()],
        "http": {"listen": f"127.0.0.1:{free_port()}"},
        "log": {"format": "logfmt", "level": "info"},
    }


def demo(options, run):
    step("starting PostgreSQL (a source, two replicas), Kafka and a schema registry, on free ports")
    registry, kafka = Registry(run, start=False), Kafka(run, start=False)
    registry.launch()
    kafka.launch()
    source = Postgres(run, "source", fsync=True).database("shop")
    report = Postgres(run, "report", fsync=True).database("shop")
    archive = Postgres(run, "archive", fsync=True).database("shop")
    kafka.wait_ready()
    wait_until(registry.ready, 90, "the schema registry answers")

    step("making a shop")
    source.psql_file(Path(__file__).with_name("shop.sql"))
    say(f"  {len(tables_of(source))} tables, {rows(source, tables_of(source))} rows")

    writer = Writer(source)
    writer.start()
    step("the shop is open: writes go on from here; starting millrace with one sink, 'report'")
    config = pipeline_config(source, kafka, registry, {"report": report})
    pipeline = Millrace(options.binary, config, run).start("run")
    say(f"  millrace run --config {pipeline.path}")
    progress = Progress(writer, source, {"report": report}, pipeline)
    progress.until(caught_up(marker(source), report), 120, "the report has the snapshot and the stream", options.seconds)

    step("adding a second sink, 'archive', to the config, and SIGHUP; it is built from the topics alone")
    both = pipeline_config(source, kafka, registry, {"report": report, "archive": archive})
    pipeline.hup(config | {"sinks": both["sinks"]})
    progress.replicas["archive"] = archive
    progress.until(caught_up(marker(source), archive), 120, "the archive has caught up", options.seconds)

    writer.stop()
    step(f"the shop is closed after {writer.commits} transactions; waiting until both replicas have the last one")
    last = marker(source)
    progress.until(lambda: caught_up(last, report)() and caught_up(last, archive)(), 60, "both replicas have the last transaction")

    step("comparing source and replicas, every column of every row")
    equal = verdict(source, {"report": report, "archive": archive})
    step("stopping millrace")
    say(f"  it ended {pipeline.term():.1f} s after SIGTERM")
    return equal


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", default=PROJECT / "build" / "release" / "millrace", type=Path)
    parser.add_argument("--seconds", type=float, default=8, help="show each of the two live parts at least that long (8)")
    parser.add_argument("--keep", action="store_true", help="keep the directory with all state and logs")
    options = parser.parse_args()
    if not options.binary.exists():
        parser.error(f"{options.binary} is not built")
    end_with_signals()
    run, equal = RunDir("millrace-demo-"), False
    try:
        equal = demo(options, run)
    except (Late, RuntimeError, AssertionError, psycopg2.Error) as e:
        say(paint("1;31", f"failed: {e}"))
        for log in sorted(run.path.glob("millrace*/log")):
            say("\n".join(log.read_text(errors="replace").splitlines()[-30:]))
    finally:
        kill_all()
        if options.keep:
            say(f"kept: {run.path}")
        else:
            run.remove()
    say(paint("1;32", "equal: the source and both replicas, row by row") if equal else paint("1;31", "not equal"))
    return 0 if equal else 1


if __name__ == "__main__":
    sys.exit(main())
