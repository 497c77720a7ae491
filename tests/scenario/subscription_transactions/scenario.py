"""What PostgreSQL promises its own subscribers about transactions: all of one that committed, nothing of one that did not."""
from harness.clock import wait_until
from harness.pipeline import pipeline


def settle(world, tables=None, **options):
    world.wait_equal(tables, deadline_s=30, **options)


SMALL = {"capture": {"batch_bytes": "64kB"}}
BAG = "create table bag (n int, v text); alter table bag replica identity full"
KEYED = "create table t (id int primary key, v int); insert into t select i, i from generate_series(1, 100) i"


def test_savepoints_by_the_thousand(world):
    m = pipeline(world, f"{BAG}; {KEYED}", **SMALL)
    world.source.sql("""do $$ begin
        for i in 1 .. 10000 loop
            begin
                insert into bag values (i, 'v');
                if i % 2 = 0 then raise division_by_zero; end if;
            exception when division_by_zero then null;
            end;
        end loop; end $$""")
    deep = "".join(f"savepoint s{i}; insert into bag values ({-i}, 'deep'); update t set v = -{i} where id = {i}; " for i in range(1, 101))
    world.source.sql(f"begin; {deep} rollback to s51; release s30; insert into bag values (0, 'end'); commit")
    settle(world)
    assert world.replica.sql("select count(*), count(distinct n) from bag where n > 0") == [(5000, 5000)]
    assert world.replica.sql("select count(*), min(n) from bag where n < 0") == [(50, -50)]
    m.term()


def test_large_transactions_with_changes_of_tables_inside_that_are_partly_undone(world):
    m = pipeline(world, "create table t (id int primary key, b text); alter table t replica identity full; insert into t values (1, 'one')", **SMALL)
    world.source.sql("""begin;
        insert into t select i, repeat('a', 100) from generate_series(2, 2000) i;
        alter table t add column c int; insert into t select i, 'c', -i from generate_series(2001, 3000) i;
        savepoint s1; alter table t add column d int; insert into t select i, 'd', -i, 2 * i from generate_series(3001, 4000) i; update t set d = 0 where id < 100;
        rollback to s1; insert into t values (5000, 'after', 1);
        savepoint s2; alter table t add column d text; insert into t select i, 'd2', -i, 'x' || i from generate_series(5001, 6000) i; release s2;
        savepoint s3; alter table t drop column b; insert into t values (7000, 7, 'without b'); rollback to s3;
        savepoint s4; truncate t; insert into t values (8000, 'gone', 1, 'gone'); rollback to s4;
        update t set c = 1 where id % 3 = 0; delete from t where id % 7 = 0; commit""")
    settle(world, types=True)
    world.source.sql("begin; alter table t add column e int; insert into t select i, 'gone' from generate_series(9000, 9999) i; rollback")
    world.source.sql("insert into t values (10000, 'end', 0, 'end')")
    settle(world, types=True)
    m.term()


def test_a_column_is_dropped_and_comes_again_with_another_type(world):
    m = pipeline(world, "create table t (id int primary key, x int); alter table t replica identity full; insert into t values (1, 1), (2, 2)")
    mark = m.log_size()
    world.source.sql("begin; update t set x = 5; alter table t drop column x; alter table t add column x text default 'n'; update t set x = 'new' || id; commit")
    m.wait_log(r"name=target-table .*public\.t.* TYPE text", 20, since=mark)
    world.replica.sql("alter table t alter column x type text using x::text")
    m.hup()
    settle(world, types=True)
    m.term()


def test_a_table_dropped_and_made_anew_while_nobody_looked(world):
    m = pipeline(world, f"create table t (id int primary key, v text); alter table t replica identity full; insert into t values (1, 'old'); {BAG}")
    m.term()
    world.source.sql("insert into t values (2, 'of the old table'); insert into bag values (1, 'x')")
    world.source.sql(f"drop table t; create table t (id int primary key, v text, n int); alter table t replica identity full; alter publication {world.publication} add table t")
    world.source.sql("insert into t values (1, 'new', 1), (3, 'new', 3); insert into bag values (2, 'y')")
    mark = m.log_size()
    m.start()
    wait_until(lambda: world.replica.value("select count(*) from bag") == 2, 20, "what follows the drop")
    m.wait_log("level=warn .*dropped.*public.t", 5, since=mark)
    settle(world, ["public.bag", "public.t"], types=True)
    world.source.sql("begin; insert into t values (4, 'before it is dropped', 4); drop table t; create table t (id int primary key); alter publication %s add table t; insert into bag values (3, 'z'); commit" % world.publication)
    settle(world, ["public.bag"])
    m.term()


def test_messages_in_the_log_never_shift_positions(world):
    m = pipeline(world, BAG, sinks=[world.sink(lease="1s")], **SMALL)
    for transactional in ("true", "false"):
        world.source.sql(f"select pg_logical_emit_message({transactional}, 'millrace test', 'alone')")
    mixed = """begin; insert into bag values (1, 'a'); select pg_logical_emit_message(true, 'p', repeat('m', 1000));
               insert into bag select i, repeat('x', 200) from generate_series(1, 15000) i;
               select pg_logical_emit_message(false, 'p', 'outside'); select pg_logical_emit_message(true, 'p', 'inside');
               insert into bag select i, repeat('y', 200) from generate_series(1, 15000) i; commit"""
    for _ in range(2):
        mark = m.log_size()
        world.source.sql(mixed)
        m.wait_log("boundary=false", 20, since=mark)
        m.kill9()
        m.start()
    settle(world)
    assert world.replica.value("select count(*) from bag") == 60002
    m.term()


def test_two_phase_commit(world):
    m = pipeline(world, f"{KEYED}; {BAG}", sinks=[world.sink(lease="1s")])
    commit, undo, ahead = (f"{world.prefix}_{what}" for what in ("commit", "undo", "ahead"))
    try:
        world.source.sql(f"begin; insert into t values (1000, 1); delete from t where id = 1; insert into bag values (1, 'prepared'); prepare transaction '{commit}'")
        world.source.sql(f"begin; insert into t values (2000, 1); delete from t where id = 2; prepare transaction '{undo}'")
        world.source.sql("insert into t values (3000, 1)")
        settle(world)
        m.kill9()
        world.source.sql("update t set v = 0 where id = 50")
        m.start()
        settle(world)
        assert world.replica.value("select count(*) from t where id in (1000, 2000)") == 0
        world.source.sql(f"commit prepared '{commit}'")
        world.source.sql(f"rollback prepared '{undo}'")
        settle(world)
        assert world.replica.value("select count(*) from t where id = 1000") == 1
        world.source.sql(f"begin; insert into bag values (2, 'while away'); prepare transaction '{ahead}'")
        m.term()
        world.source.sql(f"commit prepared '{ahead}'")
        m.start()
        settle(world)
    finally:
        for (left,) in world.source.sql("select gid from pg_prepared_xacts where database = current_database()"):
            world.source.sql(f"rollback prepared '{left}'")
    m.term()


def test_a_transaction_prepared_before_the_slot(world):
    world.source.sql(KEYED)
    gid = f"{world.prefix}_early"
    world.source.sql(f"begin; insert into t values (1000, 1); update t set v = 0 where id = 1; prepare transaction '{gid}'")
    try:
        m = world.millrace(world.config(registry=False))
        m.wait_log("waiting for transactions that are open", 20)
    finally:
        world.source.sql(f"commit prepared '{gid}'")
    settle(world)
    assert world.replica.value("select count(*) from t where id = 1000") == 1
    m.term()
