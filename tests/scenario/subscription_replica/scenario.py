"""What PostgreSQL promises its own subscribers about the replica: its triggers, foreign keys, extra columns and own rows."""
from harness.pipeline import pipeline


def settle(world, tables=None, **options):
    world.wait_equal(tables, deadline_s=20, **options)


def start(world, setup, replica=None, sink=None, tables=None, ignore_columns=()):
    if replica:
        world.replica.sql(replica)
    return pipeline(world, setup, tables, ignore_columns, sinks=[world.sink(postgres=sink or {})])


FAMILY = """create table parent (id int primary key, v int);
            create table child (id int primary key, parent int references parent on delete cascade deferrable, v int)"""
WATCHED = """
    create table audit (what text, id int);
    create function note() returns trigger language plpgsql as $$ begin insert into public.audit values (tg_op, coalesce(new.id, old.id)); return coalesce(new, old); end $$;
    create trigger note before insert or update or delete on parent for each row execute function note()"""


def test_triggers_and_foreign_keys_of_the_replica_rest(world):
    m = start(world, """create table parent (id int primary key, v int); create table child (id int primary key, parent int, v int);
                        insert into child values (1, 404, 0); insert into parent values (1, 1), (2, 2)""",
              f"""{FAMILY}; {WATCHED}; create function always() returns trigger language plpgsql as $$ begin new.v := -1; return new; end $$;
                  create table shadow (id int primary key, v int);
                  create trigger always before insert on shadow for each row execute function always(); alter table shadow enable always trigger always""")
    world.source.sql(f"create table shadow (id int primary key, v int); alter publication {world.publication} add table shadow")
    world.source.sql("insert into child values (2, 1, 0), (3, 405, 0); delete from parent where id = 1; update parent set v = 3; update child set parent = 406 where id = 2; insert into shadow values (1, 1)")
    settle(world, ["public.parent", "public.child"])
    assert world.replica.value("select count(*) from audit") == 0
    assert world.replica.value("select count(*) from child") == 3, "the replica's own cascade acted"
    assert world.replica.sql("select * from shadow") == [(1, -1)], "a trigger that is enabled always must fire"
    m.term()


def test_triggers_and_foreign_keys_fire_if_asked(world):
    m = start(world, f"{FAMILY}; insert into parent values (1, 1), (2, 2), (3, 3); insert into child select i, 1 + i % 3, i from generate_series(1, 30) i",
              f"{FAMILY}; {WATCHED}", {"triggers": "fire"}, ["public.parent", "public.child"])
    assert world.replica.value("select count(*) from audit where what = 'INSERT'") == 3
    world.source.sql("begin; insert into child values (100, null, 0); insert into parent values (9, 9); update child set parent = 9 where id = 100; update parent set v = 8 where id = 9; commit")
    world.source.sql("update parent set v = v + 10 where id = 2")
    world.source.sql("delete from parent where id = 3")
    settle(world, ["public.parent", "public.child"])
    assert world.replica.sql("select distinct what, id from audit where what <> 'INSERT' and id < 9 order by 1, 2") == [("DELETE", 3), ("UPDATE", 2)]
    m.term()


def test_a_row_that_breaks_a_foreign_key_of_the_replica_is_named(world):
    m = start(world, "create table parent (id int primary key, v int); create table child (id int primary key, parent int, v int); insert into parent values (1, 1)",
              FAMILY, {"triggers": "fire"})
    mark = m.log_size()
    world.source.sql("insert into child values (1, 404, 0)")
    m.wait_log(r"name=target-constraint .*child_parent_fkey", 20, since=mark)
    world.replica.sql("alter table child drop constraint child_parent_fkey")
    m.hup()
    settle(world)
    m.term()


def test_a_table_that_fails_is_mended(world):
    world.replica.sql("create table t (id int primary key, v int); insert into t values (1, 1)")
    world.source.sql("create table t (id int primary key, v int); create table u (id int primary key); insert into t select i, i from generate_series(1, 10) i")
    m = world.millrace(world.config(registry=False))
    m.wait_log(r"name=target-not-empty .*public\.t", 20)
    world.replica.sql("truncate t")
    m.hup()
    settle(world)
    mark = m.log_size()
    world.replica.sql("insert into t values (20, 20); create unique index t_v on t (v)")
    world.source.sql("begin; insert into u values (1); insert into t values (21, 20); commit")
    m.wait_log(r"name=target-constraint .*t_v", 20, since=mark)
    assert world.replica.value("select count(*) from u") == 0, "half of a transaction is in the replica"
    world.replica.sql("delete from t where id = 20")
    m.hup()
    settle(world)
    m.term()


def test_replicas_that_differ_in_columns(world):
    m = start(world, """
        create table turned (a int, id int primary key, gone int, b text); alter table turned replica identity full; alter table turned drop column gone;
        create table more (id int primary key, v int); create table wider (id int primary key, n int, s varchar(5)); alter table wider replica identity full;
        insert into turned values (1, 1, 'x'), (2, 2, 'y'); insert into more values (1, 1), (2, 2), (3, 3); insert into wider values (1, 1, 'a')""", """
        create table turned (gone text, b text, id int, a int, primary key (id)); alter table turned drop column gone;
        create table more (extra serial, at timestamptz not null default '2020-01-01', v int, id int primary key, kept text default 'mine');
        create table wider (n bigint, s text, id bigint primary key)""", ignore_columns=("extra", "at", "kept"))
    mine = ("extra", "at", "kept")
    world.replica.sql("update more set kept = 'ours ' || id")
    world.source.sql("update turned set b = 'z' where id = 1; update turned set id = 20 where id = 2; insert into turned values (3, 3, null)")
    world.source.sql("update more set v = -v where id in (1, 2); insert into more values (4, 4); delete from more where id = 3")
    world.source.sql("insert into wider values (2, 2147483647, 'abcde')")
    settle(world, ignore_columns=mine)
    assert world.replica.sql("select id, kept, at::date::text from more order by id") == [(1, "ours 1", "2020-01-01"), (2, "ours 2", "2020-01-01"), (4, "mine", "2020-01-01")]
    world.source.sql("update more set v = v + 1; insert into more select i, i from generate_series(100, 400) i; update more set v = 0 where id in (2, 300)")
    settle(world, ignore_columns=mine)
    assert world.replica.value("select kept from more where id = 2") == "ours 2"
    assert world.replica.value("select count(distinct extra) from more") == 304
    m.term()


def test_a_unique_swap_keeps_columns_of_the_replica(world):
    m = start(world, "create table t (id int primary key, v int); insert into t select i, i from generate_series(1, 40) i",
              "create table t (id int primary key, v int, kept text default 'mine', unique (v)); create unique index t_pos on t (v) where v > 0; create index t_abs on t (abs(v))",
              ignore_columns=("kept",))
    world.replica.sql("update t set kept = 'ours ' || id")
    world.source.sql("update t set v = 41 - v")
    world.source.sql("begin; update t set v = 0 where id = 1; update t set v = 40 where id = 2; update t set v = 39 where id = 1; commit")
    settle(world, ignore_columns=("kept",))
    assert world.replica.value("select count(*) from t where kept = 'ours ' || id") == 40
    m.term()


def test_a_narrower_replica_widens_or_stops(world):
    source = "create table t (id int primary key, n int, s varchar(20)); alter table t replica identity full; insert into t values (1, 1, 'a')"
    world.replica.sql("create table t (id int primary key, n smallint, s varchar(20))")
    world.source.sql(source)
    m = world.millrace(world.config(registry=False, sinks=[world.sink(postgres={"schema_change": "stop"})]))
    m.wait_log(r"name=target-table .*public\.t.*ALTER COLUMN", 20)
    m.term()
    config = world.config(registry=False)
    m.write_config(config)
    m.start()
    settle(world, types=True)
    world.source.sql("insert into t values (2, 2147483647, 'b'); alter table t alter s type text; insert into t values (3, 3, repeat('s', 300))")
    settle(world, types=True)
    m.term()


def test_identity_columns_of_a_replica_that_may_not_change(world):
    m = start(world, "create table t (id int primary key, v int); insert into t select i, i from generate_series(1, 5) i",
              "create table t (id int generated always as identity primary key, v int)", {"schema_change": "stop"})
    world.source.sql("update t set v = 0 where id < 3; insert into t values (100, 1); update t set id = 50 where id = 5; delete from t where id = 4")
    settle(world)
    assert world.replica.value("select attidentity from pg_attribute where attrelid = 't'::regclass and attname = 'id'") == "a"
    m.term()


def test_truncate(world):
    m = start(world, """
        create table t (id serial primary key, v int); create table u (id int primary key); create table parent (id int primary key);
        create table child (id int primary key, parent int references parent); create table outside (id int primary key, parent int);
        insert into t (v) values (1), (2); insert into u values (1); insert into parent values (1); insert into child values (1, 1)""", """
        create table t (id int generated by default as identity primary key, v int); create table parent (id int primary key);
        create table child (id int primary key, parent int references parent); create table outside (id int primary key, parent int references parent)""")
    world.replica.sql("alter table t alter id restart with 100")
    world.source.sql("truncate t")
    settle(world)
    assert world.replica.value("insert into t (v) values (0) returning id") == 100
    world.replica.sql("delete from t")
    world.source.sql("begin; insert into t values (5, 5); truncate t, u restart identity; insert into u values (7); commit")
    settle(world)
    assert world.replica.value("insert into t (v) values (0) returning id") == 1
    world.replica.sql("delete from t; alter table child add check (id > 0)")
    world.source.sql("begin; insert into outside values (1, 1); insert into parent values (2); truncate parent cascade; insert into parent values (3); insert into child values (3, 3); commit")
    settle(world)
    assert world.replica.sql("select * from outside") == [(1, 1)], "a table that was not truncated lost rows"
    world.source.sql("truncate only u, child; begin; truncate t; rollback")
    settle(world)
    m.term()
