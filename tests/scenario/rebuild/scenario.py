"""A replica is built from the topics alone: added to a running pipeline, or emptied and built again."""
from harness.clock import wait_until
from harness.pipeline import pipeline

TABLES = """
create table a (id int primary key, v text, n numeric);
create table b (id int primary key, a int, v jsonb);
alter table a replica identity full; alter table b replica identity full;
insert into a select i, 'v' || i, i from generate_series(1, 3000) i;
"""


def history(world):
    world.source.sql("insert into b select i, i, jsonb_build_object('i', i) from generate_series(1, 1000) i")
    world.source.sql("update a set n = n + 1; delete from a where id % 7 = 0; update a set id = id + 100000 where id % 10 = 0")
    world.source.sql("truncate b; insert into b select i, i, '{}' from generate_series(1, 200) i")
    world.source.sql("alter table a add column late int; update a set late = id where id < 500")


def test_a_sink_added_by_sighup_is_built_without_the_source(world):
    world.postgres("source", database="origin")
    m = pipeline(world, TABLES, registry=True)
    history(world)
    world.wait_equal()
    before = world.source.value("select sum(seq_scan) + sum(coalesce(idx_scan, 0)) from pg_stat_user_tables")
    m.config["sinks"].append(world.sink("replica2"))
    m.hup(m.config)
    wait_until(lambda: world.replica2.value("select to_regclass('public.a') is not null and to_regclass('public.b') is not null"), 30, "the tables")
    wait_until(lambda: m.sink_status("replica2")["state"] == "current", 30, "the second sink to be current")
    world.source.sql("select pg_stat_clear_snapshot()")
    assert world.source.value("select sum(seq_scan) + sum(coalesce(idx_scan, 0)) from pg_stat_user_tables") == before, "the source was read"
    world.wait_equal(replica=world.replica2)
    world.source.sql("update a set v = 'live'")
    world.wait_equal()
    world.wait_equal(replica=world.replica2)
    m.term()


def test_replay_empties_a_sink_and_builds_it_again(world):
    m = pipeline(world, TABLES, registry=True)
    history(world)
    world.wait_equal()
    world.replica.sql("delete from a where id < 100; update b set v = '[\"wrong\"]'; insert into a values (-1, 'stray', 0)")
    rc, out, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    world.wait_equal(deadline_s=60)
    world.source.sql("insert into a values (-5, 'after', 1)")
    world.wait_equal()
    m.term()


def test_a_replay_survives_the_death_of_the_source(world):
    source = world.postgres("source", database="origin").server
    m = pipeline(world, TABLES, registry=True)
    history(world)
    world.wait_equal()
    wanted = world.replica.sql("select * from a order by id"), world.replica.sql("select * from b order by id")
    m.term()
    source.kill9()
    rc, out, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    m.start("sink")
    m.wait_log(r"building the replica", 30)
    wait_until(lambda: world.replica.value("select commit_seq > 0 from millrace.sink_worker where sink = 'replica'"), 60, "the sink to be built")
    assert (world.replica.sql("select * from a order by id"), world.replica.sql("select * from b order by id")) == wanted
    m.term()


def test_a_replica_table_with_foreign_rows_is_not_emptied_by_surprise(world):
    world.source.sql(TABLES)
    world.replica.sql("create table a (id int primary key, v text, n numeric); insert into a values (1, 'mine', 1)")
    m = world.millrace()
    m.wait_log(r"target-not-empty", 30)
    assert world.replica.value("select v from a") == "mine"
    rc, out, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    m.term()
    m.start()
    world.wait_equal()
    m.term()
