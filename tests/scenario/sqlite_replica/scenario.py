"""A PostgreSQL source shipped to an SQLite file: every type, schema changes, a sink that is killed, and an application that reads all the
while and sees whole transactions only."""
import random
import threading
import time
from contextlib import closing, contextmanager

from harness.clock import wait_until
from harness.compare_sqlite import open_replica, wait_equal_sqlite
from harness.failure import failure
from harness.pg_types import TYPES, create, fill

ACCOUNTS = 100


def file_of(world):
    return world.run.path / "replica.db"


def config(world, **sqlite):
    sink = {"name": "file", "sqlite": {"path": str(file_of(world))} | sqlite, "consistency": "transaction", "lease": "1s"}
    return world.config(sinks=[sink], registry=False, log={"level": "info"})


def equal(world, tables=None, deadline_s=60):
    return wait_equal_sqlite(world.source, file_of(world), tables, deadline_s)


def test_every_type_arrives_by_snapshot_and_by_stream(world):
    create(world)
    fill(world, 0)
    m = world.millrace(config(world))
    equal(world, deadline_s=90)
    fill(world, 1000)
    equal(world)
    for i, values in enumerate(TYPES.values()):
        world.source.sql(f"update t{i:03d} set v = (select v from t{i:03d} where id = {len(values) - 1}) where id = 1000; delete from t{i:03d} where id = 0")
    equal(world)
    m.term()


def test_keys_of_other_types_and_tables_without_a_key(world):
    world.source.sql("""create table k (a numeric, b timestamptz, c text, d bytea, v int, primary key (a, b, c, d)); alter table k replica identity full;
        create table f (a double precision primary key, v int); alter table f replica identity full;
        create table bag (a double precision, b text, c int); alter table bag replica identity full;
        insert into k values (1.0, 'infinity', '', '\\x00', 1), ('NaN', '-infinity', 'x', '', 2);
        insert into f values ('NaN', 1), ('-0', 2), ('Infinity', 3);
        insert into bag select i % 3, 'b', i % 5 from generate_series(1, 300) i; insert into bag values ('-0', null, 1), ('NaN', '', null)""")
    m = world.millrace(config(world))
    equal(world)
    world.source.sql("update k set a = 1.00, v = 5 where a = 1; update f set a = 0, v = 6 where a = 0; update f set v = 9")
    world.source.sql("update k set v = v + 1; delete from k where a = 'NaN'")
    world.source.sql("update bag set c = c + 1 where c = 4; delete from bag where ctid in (select ctid from bag where c = 1 limit 10)")
    equal(world)
    m.term()


@contextmanager
def transfers(world, sessions=3):
    """Amounts go from account to account, each in two statements of one transaction with a line in a book."""
    stop = threading.Event()

    def work(n):
        chance = random.Random(n)
        with closing(world.source.connect()) as connection, connection.cursor() as cursor:
            while not stop.is_set():
                a, b = sorted(chance.sample(range(ACCOUNTS), 2))
                cursor.execute("begin; update account set amount = amount - 1, moved = moved + 1 where id = %s; update account set"
                               " amount = amount + 1 where id = %s; insert into book (a, b) values (%s, %s); commit", (a, b, a, b))
                time.sleep(0.002)
    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


class Application(threading.Thread):
    """Reads the file as applications do: in each of its transactions nothing may be half done."""

    def __init__(self, path):
        super().__init__(daemon=True)
        self.path, self.stop, self.reads, self.last, self.wrong = path, threading.Event(), 0, 0, []

    def look(self, connection):
        connection.execute("begin")
        total, moved = connection.execute("select sum(amount), sum(moved) from account").fetchone()
        lines, = connection.execute("select count(*) from book").fetchone()
        connection.execute("commit")
        if (total, moved) != (ACCOUNTS * 1000, lines):
            self.wrong.append(f"{total} in all, {moved} moved, {lines} lines")
        if lines < self.last:
            self.wrong.append(f"went back from {self.last} to {lines} lines")
        self.last, self.reads = lines, self.reads + 1

    def run(self):
        with closing(open_replica(self.path)) as connection:
            while not self.stop.is_set() and not self.wrong:
                try:
                    self.look(connection)
                except Exception as e:  # pylint: disable=broad-except
                    self.wrong.append(repr(e))


@contextmanager
def application(world):
    reader = Application(file_of(world))
    reader.start()
    try:
        yield reader
    finally:
        reader.stop.set()
        reader.join()
    assert not reader.wrong, reader.wrong
    assert reader.reads > 100, reader.reads


def test_an_application_sees_whole_transactions_while_the_sink_is_killed_and_tables_change(world):
    world.source.sql(f"""create table account (id int primary key, amount int, moved int not null default 0);
        create table book (id bigserial primary key, a int, b int); alter table account replica identity full; alter table book replica identity full;
        insert into account select i, 1000 from generate_series(0, {ACCOUNTS - 1}) i""")
    m = world.millrace(config(world))
    equal(world)
    chance = random.Random(5)
    changes = ["alter table book add column made timestamptz default now()", "alter table account alter column moved type bigint",
               "alter table book add column price numeric(8,2) default 1.5", "alter table book alter column price type numeric(10,3)",
               "create table late (id int primary key, v text); alter table late replica identity full", "insert into late values (1, 'x')",
               "alter table late rename to later; insert into later values (2, 'y')"]
    with application(world) as reader, transfers(world):
        for change in changes:
            world.source.sql(change)
            seen = reader.last
            wait_until(lambda: reader.last > seen + 20 or reader.wrong, 60, "the file goes on")
            time.sleep(chance.random() * 0.3)
            m.kill9()
            m.start()
        seen = reader.last
        wait_until(lambda: reader.last > seen or reader.wrong, 60, "the file goes on")
    equal(world)
    m.term()


def test_a_table_renamed_while_the_sinks_are_away_is_followed(world):
    world.source.sql("create table t (id int primary key, v text); alter table t replica identity full; insert into t values (1, 'a')")
    both = config(world)
    both["sinks"].append(world.sink())
    capture = world.millrace(both | {"sinks": []}, command="capture", name="capture")
    sinks = world.millrace(both | {"http": {}}, command="sink", name="sink")
    world.wait_equal()
    equal(world)
    sinks.term()
    world.source.sql("insert into t values (2, 'b'); update t set v = 'c' where id = 1")
    world.source.sql("alter table t rename to u; insert into u values (3, 'd'); update u set v = 'e' where id = 2")
    capture.wait_log("table=public.u", 30)
    sinks.start("sink")  # rows under both names in one load
    world.wait_equal()
    equal(world)
    sinks.term()
    capture.term()


def test_the_file_is_deleted_damaged_or_taken_while_the_sink_runs(world):
    world.source.sql("create table t (id int primary key, v text); alter table t replica identity full; insert into t select i, 'v' from generate_series(1, 500) i")
    m = world.millrace(config(world))
    equal(world)
    for end in ("", "-wal", "-shm"):
        (file_of(world).parent / f"replica.db{end}").unlink(missing_ok=True)
    world.source.sql("insert into t values (1000, 'after')")
    m.wait_log("deleted or replaced", 30)
    equal(world)  # built anew
    m.term()
    file_of(world).write_bytes(b"not a database, but something else" * 1000)
    m.start()
    m.wait_log("name=target-corrupt .*move it away", 30)
    m.kill9()
    file_of(world).unlink()
    m.start()
    equal(world)
    m.term()
    rc, out, err = m.run_cli("replay", "--sink", "file")
    assert rc == 0, out + err
    m.start()
    equal(world)
    rc, out, err = m.run_cli("doctor", "--json")
    assert "replica-file" in out, out + err
    m.term()


# ---- proven below --------------------------------------------------------------------------------------------------------------
FILE = "contract/target/test_sqlite_file/"
failure("F121c", "The file of an SQLite replica is deleted or replaced while it is written",
        happens="Somebody removes it, moves it away, or puts another one there; or its `-wal` file goes.",
        does="Nothing more is written to a file without a name. What stands at the path goes on from its own position; where nothing does, the replica is built anew.",
        todo="Nothing.", ends="equal",
        by=[FILE + "a_file_that_is_deleted_or_replaced_is_noticed", "sqlite_replica/the_file_is_deleted_damaged_or_taken_while_the_sink_runs"])
failure("F121d", "Another program locks the file of an SQLite replica, or stays in a transaction",
        happens="A writer holds the lock, a program takes the file for itself (`locking_mode = exclusive`), a reader keeps its transaction open.",
        does="The sink tries again until the lock is given (`lock_timeout` at a time); readers never hold it up, but one that stays keeps the `-wal` file growing, which the log says.",
        todo="End what holds the file.", ends="equal target-unreachable",
        by=[FILE + name for name in ("a_lock_that_is_not_given_is_tried_again", "a_file_that_is_locked_exclusively_is_tried_again",
                                     "readers_see_whole_transactions_and_never_wait_or_hold_up", "the_wal_is_bounded_but_for_a_reader_that_stays")])
failure("F121e", "Somebody edits an SQLite replica while the sink runs",
        happens="A table is dropped, or rows that the sink wrote are changed.",
        does="A table that is gone is named, and not made anew without its rows; a row to change that is not there is counted or stops, as `on_missing` says.",
        todo="`millrace replay --sink NAME`.", ends="target-table target-diverged",
        by=[FILE + "a_table_that_is_dropped_by_hand_is_named", "contract/target/test_batches/a_missing_row_is_written_whole_or_stops"])
failure("F121f", "The file of an SQLite replica is damaged, or is something else",
        happens="A disk loses bits; the path leads to another program's database, to one of a newer Millrace, or to what is no database.",
        does="Refuses it by name and leaves it as it is.", todo="Move it away together with its -wal and -shm: the replica is built anew. Or name another path.",
        ends="target-corrupt target-refused",
        by=[FILE + name for name in ("what_is_no_database_or_damaged_is_corrupt", "a_database_of_another_program_is_refused",
                                     "a_file_of_a_newer_version_is_refused", "a_path_that_cannot_be_is_named")])
failure("F121g", "The disk of an SQLite replica is full, or its file may not be written",
        happens="The file system has no room, or somebody took the right to write.", does="The sink waits and tries again; what was not committed is not there.",
        todo="Make room, give the right.", ends="target-full equal", by=[FILE + "a_full_disk_is_waited_for", FILE + "a_file_that_may_not_be_written_is_named"])
failure("F121h", "A sink dies while it writes an SQLite replica",
        happens="A kill, a crash of the host.", does="Rows and position are in one transaction of the file: both are there, or neither.", todo="Nothing.", ends="equal",
        by=[FILE + "rows_and_position_survive_a_kill_together", "sqlite_replica/an_application_sees_whole_transactions_while_the_sink_is_killed_and_tables_change"])
