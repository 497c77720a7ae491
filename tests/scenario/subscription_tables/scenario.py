"""What PostgreSQL promises its own subscribers about tables: which are published, which come and go, partitions, columns, filters."""
from contextlib import closing

from harness.clock import wait_until
from harness.pipeline import pipeline, stops


def settle(world, tables=None, **options):
    world.wait_equal(tables, deadline_s=20, **options)


def barrier(world):
    """Everything the source committed before is in the replica: table mark says so."""
    n = world.source.value("insert into mark values (default) returning n")
    wait_until(lambda: world.replica.value("select count(*) from mark where n = %s", (n,)), 20, "the mark to arrive")


MARK = "create table mark (n serial primary key)"
PARTS = """create table root (region int, id int, v int, primary key (region, id)) partition by list (region);
           create table north partition of root for values in (1); create table south (v int, id int not null, region int not null, primary key (region, id));
           alter table root attach partition south for values in (2);
           create table far partition of root for values in (3, 4) partition by list (region); create table far3 partition of far for values in (3);
           create table rest partition of root default; insert into root select (array[1, 2, 3, 5])[1 + i % 4], i, i from generate_series(1, 50) i"""
LEAVES = ["public.north", "public.south", "public.far3", "public.rest"]


def test_a_heap_that_is_rewritten(world):
    m = pipeline(world, "create table t (id int primary key, v int, s text); alter table t replica identity full; insert into t select i, i, 's' || i from generate_series(1, 500) i")
    world.source.sql("delete from t where id % 3 = 0")
    for rewrite in ("vacuum full t", "cluster t using t_pkey", "alter table t alter v type bigint", "alter table t alter s type varchar(90) using s", "reindex table t"):
        world.source.sql(rewrite)
        world.source.sql("begin; update t set v = v + 1 where id < 20; insert into t select max(id) + 1, 0, 'next' from t; commit")
    world.source.sql("begin; insert into t values (9000, 9000000000, 'x'); alter table t alter v type numeric(25,2); update t set v = 1.25 where id = 9000; commit")
    settle(world)
    m.term()


def test_what_is_not_a_logged_table_is_left_alone(world):
    world.source.sql(f"""{MARK}; create table t (id int primary key, v int); insert into t values (1, 1);
                        create materialized view seen as select id, v from t; create unique index on seen (id); create view shown as select * from t;
                        create unlogged table fleeting (id int primary key); create publication {world.publication} for all tables""")
    config = world.config(registry=False)
    m = world.millrace(config)
    settle(world, ["public.t", "public.mark"])
    world.source.sql("""create temporary table mine (id int primary key); insert into mine values (1); insert into fleeting values (1); update t set v = 2;
                        refresh materialized view concurrently seen; refresh materialized view seen; insert into t values (2, 2)""")
    barrier(world)
    settle(world, ["public.t"])
    assert world.replica.sql("select relname from pg_class where relnamespace = 'public'::regnamespace and relkind <> 'i' order by 1") == [("mark",), ("t",)]
    m.term()
    config["source"]["postgres"]["tables"] = ["public.seen"]
    m.write_config(config)
    m.start()
    stops(m, "source-table", "public.seen")


def test_tables_leave_and_join_the_publication(world):
    m = pipeline(world, f"{MARK}; create table t (id int primary key, v int); create table u (id int primary key); insert into t values (1, 1), (2, 2)")
    world.source.sql(f"alter publication {world.publication} drop table t; insert into u values (1)")
    world.source.sql("update t set v = 10; insert into t values (3, 3)")
    barrier(world)
    assert world.replica.sql("select * from t order by id") == [(1, 1), (2, 2)]
    world.source.sql(f"alter publication {world.publication} add table t")
    world.source.sql("update t set v = v + 1; delete from t where id = 2; insert into t values (4, 4)")
    settle(world)
    m.term()


def test_tables_made_later(world):
    m = pipeline(world, f"{MARK}; create table t (id int primary key)")
    world.source.sql("create table later (id int primary key, v int); insert into later values (1, 1)")
    barrier(world)
    assert not world.replica.value("select to_regclass('later')"), "a table that is not published was shipped"
    world.source.sql(f"alter publication {world.publication} add table later")
    world.source.sql("insert into later values (2, 2); update later set v = 0 where id = 1")
    settle(world)
    world.source.sql("create table at_the_next_start (id int primary key); insert into at_the_next_start values (1)")
    m.term()
    mark = m.log_size()
    m.start()
    m.wait_log("tables added to the publication.*at_the_next_start", 20, since=mark)
    m.wait_log("level=warn.*resnapshot", 20, since=mark)
    world.source.sql("insert into at_the_next_start values (2)")
    wait_until(lambda: world.replica.value("select to_regclass('at_the_next_start') is not null"), 20, "the table")
    m.term()
    m.start("run", "--resnapshot")
    settle(world)
    m.term()


def test_tables_made_later_in_a_published_schema(world):
    world.source.sql(f"{MARK}; create schema s; create table s.t (id int primary key); create publication {world.publication} for table mark, tables in schema s")
    m = pipeline(world, "insert into s.t values (1)", source={"tables": ["s.*", "public.*", "!*.hidden"]})
    world.source.sql("create table s.later (id int primary key); insert into s.later values (1); create table s.hidden (id int primary key); insert into s.hidden values (1)")
    world.source.sql("update s.later set id = 2; alter table s.later add column v int; insert into s.later values (3, 3)")
    settle(world, ["s.t", "s.later"])
    barrier(world)
    assert not world.replica.value("select to_regclass('s.hidden')")
    m.term()


def test_a_table_and_a_schema_are_renamed(world):
    m = pipeline(world, f"{MARK}; create schema s; create table s.t (id int primary key, v int); create table old (id int primary key, v int); insert into s.t values (1, 1); insert into old values (1, 1)",
                 source={"tables": ["*.*"]})
    world.source.sql("alter table old rename to new; insert into new values (2, 2)")
    wait_until(lambda: world.replica.value("select to_regclass('new') is not null") and world.replica.value("select count(*) from new"), 20, "the row under its new name")
    world.source.sql("alter schema s rename to z; insert into z.t values (2, 2)")
    barrier(world)
    m.term()
    m.start()
    world.source.sql("insert into z.t values (3, 3); update new set v = 0 where id = 1")
    settle(world)
    assert world.replica.value("select to_regclass('old') is null and to_regclass('s.t') is null")
    m.term()


def test_swapped_names_stop_and_a_new_snapshot_mends_them(world):
    m = pipeline(world, "create table a (id int primary key, v int); create table b (id int primary key, v int); insert into a values (1, 1); insert into b values (2, 2)")
    world.source.sql("alter table a rename to x; alter table b rename to a; alter table x rename to b; insert into a values (3, 3); insert into b values (4, 4)")
    m.wait_log("target-table.*renamed table", 20)
    m.term()
    mark = m.log_size()
    m.start("capture", "--resnapshot")
    m.wait_log("boundary=true", 20, since=mark)
    m.term()
    rc, _, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    m.start()
    settle(world)
    m.term()


def test_partitions_under_their_own_names(world):
    m = pipeline(world, f"{MARK}; {PARTS}", LEAVES)
    world.source.sql("update root set region = 2 where region = 1 and id < 20; update root set v = -v; delete from root where id = 7; insert into root values (3, 100, 0), (77, 101, 0)")
    world.source.sql("create table west (region int, id int, v int, primary key (region, id)); insert into west values (8, 1, 1)")
    barrier(world)
    settle(world, LEAVES)
    world.source.sql("alter table root attach partition west for values in (8); insert into root values (8, 2, 2); create table far4 partition of far for values in (4); insert into root values (4, 200, 0)")
    wait_until(lambda: world.replica.value("select to_regclass('west') is not null and to_regclass('far4') is not null"), 20, "the new partitions")
    settle(world, ["public.far4"])
    assert world.replica.sql("select * from west") == [(8, 2, 2)], "rows from before a table was published"
    world.source.sql("alter table root detach partition north; insert into north values (1, 500, 0); insert into root values (1, 501, 0)")
    barrier(world)
    settle(world, ["public.rest"])
    assert world.replica.value("select count(*) from north where id = 500") == 0
    world.source.sql("truncate south; truncate far")
    settle(world, ["public.south", "public.far3", "public.far4"])
    m.term()


def test_a_partition_that_is_locked_holds_up_nothing(world):
    """What capture reads of the catalog locks no table: DDL on partitions that met it could be ended as a deadlock."""
    m = pipeline(world, f"{MARK}; {PARTS}", source={"publish_via_root": True})
    m.term()
    with closing(world.source.connect()) as session:
        session.cursor().execute("begin; lock table rest in access exclusive mode")
        m.start()
        world.source.sql("insert into root values (1, 5000, 1)")
        wait_until(lambda: world.replica.value("select count(*) from root where id = 5000") == 1, 20, "the change of another partition")
        session.cursor().execute("alter table root add column more int; commit")
    world.source.sql("insert into root values (77, 5001, 1, 1)")
    settle(world)
    m.term()


def test_partitions_as_their_root(world):
    world.replica.sql("create table root (region int, id int, v int, primary key (region, id)) partition by hash (id); create table h0 partition of root for values with (modulus 2, remainder 0); create table h1 partition of root for values with (modulus 2, remainder 1)")
    m = pipeline(world, f"{MARK}; {PARTS}", source={"publish_via_root": True})
    world.source.sql("update root set region = 2 where region = 1 and id < 20; update root set v = -v; delete from root where id = 7; insert into root values (3, 100, 0), (77, 101, 0)")
    world.source.sql("insert into south values (5, 300, 2); update south set v = 6 where id = 300; delete from far3 where id = 100")
    world.source.sql("create table west partition of root for values in (8); insert into root values (8, 1000, 2); update root set region = 8 where region = 3; alter table root add column more int; update root set more = id")
    settle(world)
    world.source.sql("begin; create table late (more int, v int, id int not null, region int not null); alter table root attach partition late for values in (9); insert into root values (9, 1, 1, 1); commit; truncate root")
    world.source.sql("insert into root values (9, 2, 2, 2), (1, 1, 1, 1); alter table root detach partition late")
    world.source.sql("insert into root values (2, 2, 2, 2)")
    barrier(world)
    assert world.replica.sql("select region from root order by region") == [(1,), (2,), (9,)]
    m.term()


def test_columns_that_are_left_out(world):
    m = pipeline(world, """create table t (id int primary key, secret text, v int, gone int); alter table t replica identity full; create table u (id int primary key, a int, b int);
                           alter table t drop column gone; insert into t values (1, 'topsecret', 1), (2, 'topsecret', 2); insert into u values (1, 1, 1)""",
                 ignore_columns=("secret", "b"), source={"columns": {"public.t": "!secret", "public.u": "id, a"}})
    world.source.sql("update t set secret = 'topsecret!'; update t set v = 5, id = 10 where id = 1; delete from t where id = 2; update u set b = 5; update u set a = 9; insert into u values (2, 2, 2)")
    world.source.sql("alter table u add column c int; update u set c = 1; insert into t values (3, 'topsecret', 3)")
    settle(world, ignore_columns=("secret", "b", "c"))
    assert not world.replica.value("select count(*) from information_schema.columns where table_schema = 'public' and column_name in ('secret', 'b', 'c')")
    rc, out, err = m.run_cli("tail", "--from-start", "--count", "12", "--json")
    assert rc == 0 and "topsecret" not in out, out + err
    m.term()
    config = world.config(registry=False, source={"columns": {"public.t": "!id"}})
    m.write_config(config)
    stops(m.start(), "config", "part of its key", exit_code=3)


def test_a_publication_with_column_lists_and_row_filters_is_adopted(world):
    world.source.sql(f"""{MARK}; create table listed (id int primary key, a int, b int); create table filtered (id int primary key, v int); alter table filtered replica identity full;
                        create table area (id int, region text, n int, primary key (id, region));
                        insert into listed values (1, 1, 1), (2, 2, 2); insert into filtered select i, i from generate_series(1, 20) i; insert into area values (1, 'eu', 1), (2, 'us', 2);
                        create publication {world.publication} for table mark, listed (id, a), filtered where (v > 10), area (id, region) where (region = 'eu')""")
    world.source.sql("create view kept_filtered as select * from filtered where v > 10; create view kept_area as select id, region from area where region = 'eu'")
    tables = {"public.kept_filtered": "public.filtered", "public.kept_area": "public.area"}
    m = world.millrace(world.config(registry=False))

    def equal():
        settle(world, ["public.listed"], ignore_columns=("b",))
        settle(world, tables)
    equal()
    world.source.sql("update filtered set v = 0 where id = 15; update filtered set v = 30 where id = 5; update filtered set v = v + 1 where v > 16; delete from filtered where v in (3, 18); insert into filtered values (50, 5), (51, 51)")
    world.source.sql("update listed set b = 9; update listed set a = b where id = 1; delete from listed where id = 2")
    world.source.sql("update area set region = 'us' where id = 1; update area set region = 'eu' where id = 2; insert into area values (3, 'eu', 3), (4, 'us', 4); update area set n = 0, id = id + 10")
    equal()
    barrier(world)
    assert world.replica.sql("select * from area order by id") == [(12, "eu"), (13, "eu")]
    m.term()


def test_a_publication_that_leaves_out_changes_is_refused(world):
    world.source.sql(f"create table t (id int primary key); create publication {world.publication} for all tables with (publish = 'insert')")
    m = world.millrace(world.config(registry=False))
    stops(m, "source-table", "SET (publish")
    world.source.sql(f"alter publication {world.publication} set (publish = 'insert, update, delete, truncate')")
    m.start()
    settle(world)
    m.term()


def test_postgresql_17_as_the_source(world):
    world.postgres("source", version=17, database="origin")
    m = pipeline(world, """create type mood as enum ('ok', 'bad'); create table t (id int primary key, m mood, v text); alter table t replica identity full; insert into t select i, 'ok', 'v' || i from generate_series(1, 1000) i;
                           create table bag (n int); alter table bag replica identity full; insert into bag values (1), (1)""", sinks=[world.sink(lease="1s")])
    slot = "select failover and not temporary and slot_type = 'logical' from pg_replication_slots where slot_name = %s"
    assert world.source.value(slot, (world.publication,)), "not a failover slot"
    world.source.sql("update t set m = 'bad' where id < 10; delete from t where id > 900; delete from bag where ctid = '(0,1)'; alter table t add column n int; insert into t values (5000, 'ok', 'x', 1)")
    settle(world, types=True)
    m.term()
    world.source.sql("update t set n = id")
    m.start()
    settle(world)
    m.kill9()
    world.source.server.restart()
    world.source.sql("truncate bag; insert into bag values (7)")
    m.start()
    settle(world)
    rc, out, err = m.run_cli("doctor", "--json")
    assert rc == 0, out + err
    m.term()
