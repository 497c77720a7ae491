"""An SQLite file that an application writes to, shipped to a PostgreSQL replica and to another SQLite file: through the embedded journal
and through Kafka, killed at will, with schema changes that `millrace source install` follows."""
import random
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from decimal import Decimal

import psycopg2

from harness.clock import Late, wait_until
from harness.failure import failure

SHOP = """
pragma journal_mode = wal;
create table item (id integer primary key, name text unique, price decimal(10,2), weight real, sold boolean, at datetime, picture blob);
create table tag (item int references item (id) on delete cascade on update cascade, word text, primary key (item, word)) without rowid;
create table log (body text, n int);
"""
TABLES = {"item": ["id", "name", "price", "weight", "sold", "at", "picture"], "tag": ["item", "word"], "log": ["body", "n"]}
FORMS = {"price": lambda v: Decimal(str(v)), "weight": float, "sold": bool, "at": str, "picture": bytes}


def shop_of(world):
    return world.run.path / "shop.db"


def connect(path):
    connection = sqlite3.connect(path, timeout=30, isolation_level=None)
    connection.execute("pragma foreign_keys = on")
    return connection


def sql(world, script):
    with closing(connect(shop_of(world))) as connection:
        connection.executescript(script)


def fill(world, rows):
    with closing(connect(shop_of(world))) as connection:
        connection.executescript(SHOP)
        connection.execute("begin")
        for i in range(rows):
            connection.execute("insert into item values (?, ?, ?, ?, ?, ?, ?)",
                               (i, f"item {i} ü", i / 4, i / 3, i % 2, "2024-02-29 12:00:00" if i % 5 else i, bytes([i % 256, 0])))
            connection.execute("insert into tag values (?, 'new')", (i,))
        connection.execute("insert into log values (null, -4611686018427387904), ('', 9223372036854775807), ('same', 1), ('same', 1)")
        connection.execute("commit")


def config(world, embedded=True):
    replica = world.run.path / "replica.db"
    sinks = [world.sink(), {"name": "file", "sqlite": {"path": str(replica)}, "consistency": "transaction", "lease": "1s"}]
    ours = world.config(sinks=sinks, registry=not embedded, log={"level": "info"}) if not embedded else \
        {"sinks": sinks, "journal": {"embedded": {"path": str(world.run.sub("journal").path / "j"), "topic_prefix": world.prefix} | world.partitions},
         "http": {"listen": "127.0.0.1:0"}, "log": {"level": "info"}}
    return ours | {"source": {"name": world.prefix, "sqlite": {"path": str(shop_of(world))}}}


def pipeline(world, **options):
    m = world.millrace(config(world, **options), start=False)
    code, out, error = m.run_cli("source", "install")
    assert code == 0, out + error
    m.start("run")
    return m


# ---- judging -----------------------------------------------------------------------------------------------------------------

def normal(columns, rows):
    return Counter(tuple(None if v is None else FORMS.get(c, lambda v: v)(v) for c, v in zip(columns, row)) for row in rows)


def rows_of_file(path, table, columns):
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=30)) as connection:
        return normal(columns, connection.execute(f"select {', '.join(columns)} from {table}"))


def rows_of_replica(world, table, columns):
    with closing(world.replica.connect()) as connection, connection.cursor() as cursor:
        cursor.execute(f"select {', '.join(columns)} from main.{table}")
        return normal(columns, cursor)


def differences(world, tables):
    for table, columns in tables.items():
        source = rows_of_file(shop_of(world), table, columns)
        for name, rows in (("PostgreSQL", rows_of_replica(world, table, columns)), ("SQLite", rows_of_file(world.run.path / "replica.db", table, columns))):
            for word, some in (("missing in", source - rows), ("only in", rows - source)):
                if some:
                    yield f"{table}, {word} {name}: {list(some.elements())[:3]}"


def wait_equal(world, tables=None, deadline_s=60):
    last = []

    def equal():
        try:
            last[:] = differences(world, tables or TABLES)
        except (sqlite3.OperationalError, psycopg2.Error) as e:
            last[:] = [str(e)]
        return not last
    try:
        wait_until(equal, deadline_s, "replicas equal the source", every_s=0.3)
    except Late:
        raise Late("\n".join(last)) from None


# ---- an application ----------------------------------------------------------------------------------------------------------

def transaction(dice, cursor):
    a, b = dice.randrange(300), dice.randrange(300)
    cursor.execute("begin immediate")
    for statement in dice.sample([
            ("insert or replace into item (id, name, price) values (?, ?, 0.1)", (a, f"item {b} ü")),
            ("insert into item (id, name) values (?, 'x') on conflict do update set price = price + 0.25", (a,)),
            ("insert or ignore into item (name, weight) values (?, -1e300)", (f"item {b} ü",)),
            ("update or replace item set name = ?, sold = not sold where id = ?", (f"item {a} ü", b)),
            ("update or ignore item set id = id + 7 where id = ?", (b,)),
            ("delete from item where id = ?", (b,)),
            ("insert or replace into tag select id, ? from item where id between ? and ?", ("abc"[a % 3], min(a, b), min(a, b) + 5)),
            ("update log set n = n - 1 where rowid = ?", (a,)),
            ("insert into log values (?, ?)", ("same", a % 3)),
            ("delete from log where n = ? and rowid > 50", (a % 3,))], 3):
        cursor.execute(*statement)
    cursor.execute("commit" if dice.random() < 0.8 else "rollback")


@contextmanager
def application(world, writers=3):
    stop, done, wrong = threading.Event(), Counter(), []

    def work(n):
        dice = random.Random(n)
        with closing(connect(shop_of(world))) as connection:
            while not stop.is_set() and not wrong:
                try:
                    transaction(dice, connection.cursor())
                except sqlite3.Error as e:
                    wrong.append(repr(e))
                done[n] += 1
                time.sleep(0.004)
    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(writers)]
    for thread in threads:
        thread.start()
    try:
        yield done
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert not wrong, wrong


# ---- tests -------------------------------------------------------------------------------------------------------------------

@failure("T51", "A pipeline from an SQLite file is killed while an application writes",
         happens="Capture, sinks, or all of them die anywhere: while the snapshot is read, between a commit and its deletion from the change table.",
         does="The change table keeps what is not durable in the journal; positions are its row numbers, so nothing is skipped and nothing comes twice.",
         todo="Nothing.", ends="equal",
         by=["contract/source/test_writers/snapshot_and_stream_are_exact_while_writers_write_and_the_source_restarts",
             "contract/source/test_sqlite_rows/any_statements_whatever_leave_the_replica_equal"])
def test_an_application_writes_and_everything_is_killed(world):
    fill(world, 2000)
    with application(world) as done:
        m = pipeline(world)
        for i in range(8):
            time.sleep(0.4 + i % 3 * 0.5)
            m.kill9()
            m.start("run")
        wait_until(lambda: sum(done.values()) > 500, 60, "the application has written")
    wait_equal(world, deadline_s=120)
    m.term()
    with closing(connect(shop_of(world))) as connection:
        assert connection.execute("select count(*) from item").fetchone()[0] > 100


def test_through_kafka(world):
    fill(world, 300)
    m = pipeline(world, embedded=False)
    with application(world, writers=2) as done:
        wait_until(lambda: sum(done.values()) > 100, 60, "the application has written")
    wait_equal(world)
    m.term()


@failure("T52", "A column or a table is added to an SQLite source",
         happens="The triggers know only the columns that were there when they were made.",
         does="An added column stops the capture before anything after it is handed over; `millrace source install` makes the triggers anew and brings each row "
              "whose new column has another value than its default, in one transaction. A new table is a finding of the doctor; the install brings its rows.",
         todo="`millrace source install`, then start again. No new snapshot.", ends="source-triggers equal",
         by=["contract/source/test_sqlite_schema/an_added_column_is_complete_after_the_install",
             "contract/source/test_sqlite_schema/a_new_table_comes_whole_with_the_install"])
@failure("T53", "A trigger of an SQLite source is dropped, or an index is added",
         happens="Somebody drops a trigger of ours (and may make it again), creates one that fires before ours, or a unique index that they do not know.",
         does="Each of them changes the schema's number, which every read looks at first: the capture stops. The install brings the whole table anew in one "
              "transaction, for changes may be missing.",
         todo="`millrace source install`, then start again. No new snapshot.", ends="source-triggers equal",
         by=["contract/source/test_sqlite_schema/" + name for name in (
             "a_trigger_that_was_away_brings_the_table_anew", "a_trigger_of_the_application_that_would_fire_first_is_noticed",
             "a_unique_index_that_the_triggers_do_not_know_is_noticed")])
def test_the_schema_changes_and_install_mends_it(world):
    fill(world, 100)
    m = pipeline(world)
    wait_equal(world)
    mend = [("alter table item add column stock int not null default 5; update item set stock = id where id % 2", {"item": ["id", "stock"]}),
            ("create table late (id text primary key, v); insert into late values ('a', 1), ('b', null)", {"late": ["id", "cast(v as text)"]}),
            ("drop trigger millrace_2_update; update log set n = 77", {}),
            ("alter table log rename column body to line; insert into log values ('x', 5)", {"log": ["line", "n"]})]
    tables = {"item": TABLES["item"], "tag": TABLES["tag"]}
    for script, more in mend:
        mark = m.log_size()
        sql(world, script)
        if "create table" not in script:
            m.wait_log("source-triggers", since=mark)
            m.wait(30)
        code, out, error = m.run_cli("source", "install")
        assert code == 0, out + error
        if not m.alive():
            m.start("run")
        wait_equal(world, tables | more)
    with application(world) as done:
        wait_until(lambda: sum(done.values()) > 20, 60, "the application has written")
    wait_equal(world, tables | {"log": ["line", "n"], "item": ["id", "name", "stock"]})
    code, out, _error = m.run_cli("source", "check")
    assert code == 0 and "have their triggers" in out, out
    m.term()


# ---- proven below ------------------------------------------------------------------------------------------------------------
ROWS, SCHEMA, FILE = (f"contract/source/test_sqlite_{name}/" for name in ("rows", "schema", "file"))
failure("T54", "REPLACE removes rows of an SQLite source without firing their triggers",
        happens="`INSERT OR REPLACE`, `UPDATE OR REPLACE` or a constraint with ON CONFLICT REPLACE deletes rows that are in the way; SQLite fires no delete "
                "trigger for them unless the application turned `recursive_triggers` on.",
        does="A BEFORE trigger notes which rows are in the way; whether they went is told by what follows. Upserts and OR IGNORE leave notes that come to nothing.",
        todo="Nothing. A table with a partial unique index, or one over an expression, is refused at install.", ends="equal source-table",
        by=[ROWS + "a_row_that_is_replaced_is_deleted", ROWS + "a_row_that_is_only_in_the_way_stays", ROWS + "any_statements_whatever_leave_the_replica_equal",
            SCHEMA + "a_table_that_cannot_be_followed_is_refused"])
failure("T55", "A table of an SQLite source is renamed or dropped, or loses a column",
        happens="An application's migration.", does="The capture stops. A renamed table is a new one to replicas, which keep what they had under the old name.",
        todo="`millrace source install`. SQLite refuses DROP COLUMN while a trigger names the column: `millrace source uninstall`, drop, install, new snapshot.",
        ends="source-triggers needs-resnapshot",
        by=[SCHEMA + "a_table_that_is_dropped_or_renamed_is_noticed", SCHEMA + "a_renamed_column_brings_the_table_anew",
            SCHEMA + "a_column_is_dropped_after_an_uninstall"])
failure("T56", "The change table of an SQLite source is edited by hand",
        happens="Rows are deleted from `millrace_changes`, columns are added to it, or a trigger is put on it.",
        does="Row numbers have no gaps: a missing row is noticed before the next one is handed over.",
        todo="As the message says; after deleted rows a new snapshot.", ends="needs-resnapshot source-triggers",
        by=[FILE + "rows_that_others_delete_are_missed", FILE + "rows_that_are_deleted_while_it_reads_are_missed", FILE + "an_altered_change_table_stops"])
failure("T57", "A backup of an SQLite source is put in its place, or its newest commits are lost with the power",
        happens="The file is set back; later changes take the row numbers of others that were shipped.",
        does="The file knows how far it was confirmed, and the journal knows that and the newest row that was shipped: an older state is told, whatever was "
             "written to it since.",
        todo="Take a new snapshot.", ends="needs-resnapshot",
        by=[FILE + "a_restored_backup_is_noticed", FILE + "commits_that_were_lost_with_the_power_are_missed",
            FILE + "an_installation_that_is_made_anew_while_it_is_read_is_noticed"])
failure("T58", "The file of an SQLite source is deleted or replaced while it is read",
        happens="Somebody moves it away and puts another one there, or the same one back.",
        does="Reads nothing more from a file without a name; waits for one; goes on only in the same installation.",
        todo="Put it back; or install there, and take a new snapshot.", ends="source-unreachable needs-resnapshot equal",
        by=[FILE + "a_file_that_is_deleted_or_replaced_while_it_is_read"])
failure("T59", "The file of an SQLite source is locked, for long",
        happens="A writer stays in a transaction, a program holds the file for itself, or it is not in WAL mode.",
        does="Reads when it can; confirmed rows stay in the change table until a writer lets go. Nothing is lost, and after 10 s the log says so.",
        todo="Nothing; WAL mode is recommended by the doctor.", ends="equal",
        by=[FILE + "a_file_that_is_locked_for_long_is_waited_for", FILE + "an_open_transaction_of_a_writer_delays_only_the_deletion",
            SCHEMA + "vacuum_and_a_change_of_journal_mode_do_no_harm"])
failure("T60", "An SQLite column holds what it is not declared for",
        happens="Any column takes any class of value: a text in an INTEGER column, bytes in a TEXT column, text that is not UTF-8.",
        does="Stops at the row, with its key, the column and the reason; never converts.",
        todo="Mend the value and take a new snapshot, or leave the table out.", ends="value-not-carried", by=[FILE + "what_a_column_cannot_carry_stops_by_name"])
