"""The beginnings and ends that scenarios share: a pipeline that is caught up, load, a process that stops by name, the source's slot."""
import threading
from contextlib import closing, contextmanager

from .clock import wait_until


def table(rows):
    """SQL: a table t (id, v) with so many rows, whose changes travel whole."""
    return ("create table t (id int primary key, v text); alter table t replica identity full;"
            f" insert into t select i, 'v' || i from generate_series(1, {rows}) i")


def pipeline(world, sql, tables=None, ignore_columns=(), env=None, **config):
    """Makes the source's tables and returns a `millrace run` that has caught up with them. `config`: as for world.config(), but
    without a registry unless asked for; `tables` and `ignore_columns`: as for world.wait_equal()."""
    world.source.sql(sql)
    m = world.millrace(world.config(**{"registry": False} | config), env=env)
    world.wait_equal(tables, ignore_columns=ignore_columns)
    return m


def capture_and_sink(world, sql, **config):
    """As pipeline(), with capture and sink as processes of their own: (capture, sink)."""
    world.source.sql(sql)
    config = world.config(**{"registry": False} | config)
    capture = world.millrace(config | {"sinks": []}, command="capture", name="capture")
    sink = world.millrace(config | {"http": {}}, command="sink", name="sink")
    world.wait_equal()
    return capture, sink


@contextmanager
def writing(world, sessions=1, every_s=0.01, table="t"):
    """Load while it lasts: each session inserts three rows and updates another, in one transaction, again and again. The table has the
    columns of table(), and some rows."""
    stop = threading.Event()
    load = (f"insert into {table} select i, 'during' from generate_series(%s, %s) i;"
            f" update {table} set v = v || '.' where id = %s")

    def write(n):
        with closing(world.source.connect()) as connection, connection.cursor() as cursor:
            cursor.execute(f"select max(id) from {table}")
            i = cursor.fetchone()[0] + 100000 * (n + 1)
            while not stop.wait(every_s):
                i += 3
                cursor.execute(load, (i, i + 2, i % 500))
    threads = [threading.Thread(target=write, args=(n,), daemon=True) for n in range(sessions)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        stop.set()
        for thread in threads:
            thread.join()


def stops(m, name, *words, exit_code=5, deadline_s=60):
    """It ends by itself with this exit code, and an error that it logged since its start has this name and all these words.
    Returns its errors."""
    assert m.wait(deadline_s) == exit_code, m.tail()
    errors = [line for line in m.log_text(m.started_at).splitlines() if "level=error" in line]
    named = [line for line in errors if f"name={name}" in line.split()]
    assert named, f"no error {name}:\n{m.tail()}"
    assert any(all(word in line for word in words) for line in named), f"{words} are not in:\n" + "\n".join(named)
    return errors


def needs_resnapshot(world, m, *words):
    """It stops with this name and these words, as often as it is started, and status says so; then the command that it names mends it."""
    for _ in range(2):
        stops(m if m.alive() else m.start(), "needs-resnapshot", "--resnapshot", *words, exit_code=4)
    rc, out, err = m.run_cli("status", "--json")
    assert rc == 4, out + err
    m.start("run", "--resnapshot")
    world.wait_equal()
    world.source.sql("insert into t values (-1, 'after')")
    world.wait_equal()
    m.term()


def free_slot(world):
    """The name of the slot, once no session holds it."""
    active = "select active from pg_replication_slots where slot_name = %s"
    wait_until(lambda: not world.source.value(active, (world.slot,)), 20, "the slot to be free")
    return world.slot


def confirmed(world):
    """The position up to which the source may forget its log."""
    return world.source.value("select confirmed_flush_lsn::text from pg_replication_slots where slot_name = %s", (world.slot,))
