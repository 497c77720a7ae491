"""What PostgreSQL promises its own subscribers about rows: whatever identifies them, and however they are spelled, they arrive."""
from harness.pipeline import pipeline


def settle(world, tables=None, **options):
    world.wait_equal(tables, deadline_s=20, **options)


def test_every_kind_of_identity(world):
    m = pipeline(world, """
        create table by_key (id int primary key, v int);
        create table by_key_full (id int primary key, v text); alter table by_key_full replica identity full;
        create table by_bag (a int, b text); alter table by_bag replica identity full;
        create table by_index (a int not null, b int, c int); create unique index by_index_a on by_index (a);
        alter table by_index replica identity using index by_index_a;
        create table by_included (id int, b int not null, c int, primary key (id) include (b));
        create table by_pair (b int, a int, v int, primary key (a, b));
        create table by_text (k text primary key, v int); alter table by_text alter k set storage external;
        create table by_nothing (a int, b text); alter table by_nothing replica identity nothing;
        insert into by_key select i, i from generate_series(1, 50) i;
        insert into by_key_full select i, 'v' || i from generate_series(1, 50) i;
        insert into by_bag select i % 5, 'x' from generate_series(1, 50) i;
        insert into by_index select i, i, i from generate_series(1, 50) i;
        insert into by_included select i, i, i from generate_series(1, 50) i;
        insert into by_pair select i, i % 7, i from generate_series(1, 50) i;
        insert into by_text select repeat(i::text, 2600), i from generate_series(1, 5) i; insert into by_nothing values (1, 'only inserts')""")
    for table in ("by_key", "by_key_full", "by_included"):
        world.source.sql(f"delete from {table} where id > 40; update {table} set id = -id where id between 10 and 20; insert into {table} values (60, 60)")
    world.source.sql("update by_key set v = -v; update by_key_full set v = v || '!' where id > 20; update by_included set c = 0, b = b + 1 where id > 20")
    world.source.sql("update by_index set a = a + 100, b = 0 where a > 30; delete from by_index where a < 5; update by_index set c = null")
    world.source.sql("update by_bag set a = 4 - a where b = 'x'; insert into by_bag values (null, null); update by_bag set b = 'was null' where a is null")
    world.source.sql("delete from by_bag where ctid = (select min(ctid) from by_bag where a = 2)")
    world.source.sql("update by_pair set a = b, b = a where a <> b and b > 7; delete from by_pair where v < 3")
    world.source.sql("update by_text set v = -v; update by_text set k = 'short' where v = -1; update by_text set v = 0, k = k || '!' where v = -2; delete from by_text where v = -3")
    world.source.sql("insert into by_nothing select i, 'more' from generate_series(1, 10) i")
    settle(world)
    assert world.replica.value("select count(*) from by_bag where a = 2") == 9
    m.term()


def test_the_identity_of_a_table_changes_in_the_stream(world):
    m = pipeline(world, """
        create table t (id int primary key, code int not null unique, other int not null, v int);
        create unique index t_other on t (other); insert into t select i, i + 1000, i + 2000, i from generate_series(1, 100) i""")
    steps = ["full", "using index t_code_key", "using index t_other", "default", "nothing", "default"]
    for n, identity in enumerate(steps):
        world.source.sql(f"alter table t replica identity {identity}")
        world.source.sql(f"insert into t select i, i + 1000, i + 2000, i from generate_series({200 + n * 10}, {205 + n * 10}) i")
        if identity != "nothing":
            world.source.sql(f"""begin; update t set v = v + 1; update t set code = -code, other = -other where id % 6 = {n}; delete from t where id = {n + 50};
                                 update t set id = id + 10000 where id = {n + 60}; commit""")
        settle(world)
    rc, out, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, out + err
    settle(world)
    m.term()


def test_the_identity_index_changes_inside_a_transaction(world):
    m = pipeline(world, """
        create table t (a int not null, b int not null, v int); create unique index t_a on t (a); create unique index t_b on t (b);
        alter table t replica identity using index t_a; insert into t select i, -i, i from generate_series(1, 20) i""")
    world.source.sql("""begin; update t set v = 0 where a = 1; delete from t where a = 2;
                        alter table t replica identity using index t_b; update t set a = a + 100, v = 1 where b = -1; delete from t where b = -3;
                        insert into t values (2, -2, 5); update t set b = b - 100 where b = -4; commit""")
    settle(world)
    world.source.sql("update t set a = a + 1000 where b < -5; update t set v = a + b")
    settle(world)
    m.term()


def test_dropped_columns_and_full_identity(world):
    m = pipeline(world, """
        create table keyed (gone1 int, id int primary key, gone2 text, v text, gone3 int);
        create table bag (a int, gone int, b text);
        alter table keyed replica identity full; alter table bag replica identity full;
        insert into keyed select i, i, 'x', 'v', i from generate_series(1, 20) i; insert into bag select i % 3, 1, 'b' from generate_series(1, 20) i;
        alter table keyed drop column gone1, drop column gone2; alter table bag drop column gone""")
    world.source.sql("update keyed set v = 'w' where id < 10; delete from keyed where id = 15; update bag set b = 'c' where a = 1; delete from bag where a = 2")
    settle(world, types=True)
    world.replica.sql("alter table keyed drop column gone3; alter table keyed add column gone3 int")
    world.source.sql("alter table keyed drop column gone3; update keyed set v = 'after', id = id + 100 where id % 2 = 0; delete from keyed where id = 3")
    world.replica.sql("alter table bag add column extra int default 7")
    world.source.sql("update bag set b = 'd' where a = 0")
    settle(world, ignore_columns=("gone3", "extra"))
    m.term()


def test_a_column_with_a_default_comes_to_rows_that_are_there(world):
    m = pipeline(world, """
        create table keyed (id int primary key, v int); alter table keyed replica identity full; insert into keyed values (1, 1), (2, 2);
        create table bag (a int, b text); alter table bag replica identity full; insert into bag values (1, 'x'), (1, 'x'), (2, 'y')""")
    world.source.sql("alter table keyed add column ok boolean default false, add column n int default 10; update keyed set v = 0")
    world.source.sql("alter table bag add column ok boolean default false; insert into bag values (3, 'z', true)")
    world.source.sql("alter table keyed add column late text default 'it''s'; update keyed set v = 1 where id = 2")
    settle(world)
    world.source.sql("update bag set a = a + 1; delete from bag where b = 'y'")
    settle(world)
    m.run_cli("replay", "--sink", "replica")
    world.source.sql("update keyed set v = 5 where id = 1")
    settle(world)
    m.term()


def test_updates_that_change_nothing_and_tables_without_columns(world):
    m = pipeline(world, """
        create table t (id int primary key, v text); alter table t replica identity full; insert into t select i, 'v' from generate_series(1, 10) i;
        create table only_key (id int primary key); insert into only_key select generate_series(1, 10);
        create table bare (); alter table bare replica identity full""")
    world.source.sql("update t set v = v; update t set id = id; update only_key set id = id; update only_key set id = -id where id > 5; delete from only_key where id = 1")
    world.source.sql("insert into bare default values; insert into bare default values; delete from bare where ctid = '(0,1)'; insert into only_key values (50)")
    settle(world)
    assert world.replica.value("select count(*) from bare") == 1
    m.term()


def test_generated_and_identity_columns(world):
    world.replica.sql("""
        create table made (id int primary key, v int, twice int generated always as (v * 22) stored);
        create table counted (id int generated always as identity primary key, n int);
        create table numbered (id int primary key, n int generated always as identity, v int)""")
    m = pipeline(world, """
        create table made (id int primary key, v int, twice int generated always as (v * 2) stored); alter table made replica identity full;
        create table made_here (v int, half int generated always as (v / 2) stored, id int primary key); alter table made_here replica identity full;
        create table counted (id int generated always as identity primary key, n int);
        create table numbered (id int primary key, n int generated always as identity, v int); alter table numbered replica identity full;
        insert into made (id, v) values (1, 1), (2, 2); insert into made_here (id, v) values (1, 10), (2, 20);
        insert into counted (n) values (1), (2); insert into numbered (id, v) values (1, 1), (2, 2)""", ignore_columns=("twice", "half"))
    world.source.sql("update made set v = 5 where id = 1; insert into made (id, v) values (3, 3); delete from made where id = 2; update made set id = 30 where id = 3")
    world.source.sql("update made_here set v = 50 where id = 1; insert into made_here (id, v) values (3, 3); delete from made_here where id = 2")
    world.source.sql("insert into counted (n) values (3); update counted set n = 0 where id = 1; delete from counted where id = 2")
    world.source.sql("insert into counted overriding system value values (70, 7); insert into numbered (id, v) select i, i from generate_series(3, 40) i; update numbered set v = 0, n = default")
    settle(world, ignore_columns=("twice", "half"))
    assert world.replica.sql("select id, twice from made order by id") == [(1, 110), (30, 66)]
    m.term()


def test_keys_that_are_equal_and_spelled_differently(world):
    table = """create collation loose (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
               create table named (name text collate loose primary key, v int); create table amounts (n numeric primary key, v int);
               alter table amounts replica identity full"""
    if not world.replica.value("select count(*) from pg_collation where collprovider = 'i'"):
        world.skip("the servers have no ICU")
    world.replica.sql(table)
    m = pipeline(world, f"""{table}; alter table named replica identity full; insert into named values ('foo', 1), ('bar', 2), (U&'\\00E4', 3);
                            insert into amounts values (1.0, 1), (2, 2)""")
    world.source.sql("update named set v = 10 where name = 'FOO'; update named set name = 'FOO' where name = 'foo'; update amounts set n = 1.00 where n = 1")
    world.source.sql("update named set v = 11 where name = 'foo'; update named set name = U&'\\0061\\0308' where v = 3")
    settle(world)
    world.source.sql("begin; update named set name = 'bAR' where v = 2; update named set name = 'bar', v = 4 where name = 'BAR'; commit")
    world.source.sql("begin; delete from named where name = 'foo'; insert into named values ('Foo', 20); update named set name = 'fOO' where v = 20; commit")
    world.source.sql("begin; update amounts set n = 2.000, v = 5 where n = 2; update amounts set n = 2.0 where n = 2; delete from amounts where n = 1; insert into amounts values (1, 9); commit")
    settle(world)
    m.term()


def test_a_latin1_source_and_a_utf8_replica(world):
    server, name = world.servers.source, f"{world.prefix}_latin"
    server.sql(f"create database {name} template template0 encoding 'LATIN1' lc_collate 'C' lc_ctype 'C'")
    world.source = server.database(name, create=False)
    m = pipeline(world, """create table straße (schlüssel text primary key, größe text); alter table straße replica identity full;
                           insert into straße values ('Mülleimer', 'groß'), ('æøå', E'\\u00ff\\t\\\\')""")
    world.source.sql("insert into straße values ('ß', 'ÿ'), ('naïve', '½'); update straße set größe = '±' where schlüssel = 'Mülleimer'; update straße set schlüssel = 'Ö' where schlüssel = 'ß'")
    world.source.sql("delete from straße where schlüssel = 'æøå'")
    settle(world)
    assert world.replica.sql('select schlüssel from straße order by schlüssel collate "C"') == [("Mülleimer",), ("naïve",), ("Ö",)]
    m.term()


def test_names_of_63_bytes_and_odd_names(world):
    schema, table, column = "s" * 63, "é" * 31 + "t", "c" * 62 + "d"
    odd = 'Weird "Name".x'
    quoted = odd.replace('"', '""')
    m = pipeline(world, f"""
        create schema "{schema}"; create table "{schema}"."{table}" (id int primary key, "{column}" int, "{column[:-1]}e" int);
        create table "{quoted}" (" sp" int primary key, "Sel;ect" int, "sel;ect" int, "it's" int, "ünï%s\\" int);
        create table "a.b" (c int primary key); create schema a; create table a.b (c int primary key);
        insert into "{schema}"."{table}" values (1, 1, 1); insert into "{quoted}" values (1, 2, 3, 4, 5); insert into "a.b" values (1); insert into a.b values (2)""",
              [f"{schema}.{table}", "a.b"], source={"tables": ["*.*"]})
    world.source.sql(f"""update "{schema}"."{table}" set "{column}" = 2; insert into "{schema}"."{table}" values (2, 3, 4);
                         update "{quoted}" set "sel;ect" = 9, "it's" = 8; insert into "{quoted}" values (2, 2, 2, 2, 2); delete from "{quoted}" where " sp" = 1;
                         insert into "a.b" values (10); insert into a.b values (20)""")
    settle(world, [f"{schema}.{table}", "a.b"])
    assert world.replica.sql(f'select * from "{quoted}"') == [(2, 2, 2, 2, 2)]
    assert world.replica.sql('select c from public."a.b" order by c') == [(1,), (10,)]
    assert len(world.topics()) >= 6, world.topics()
    m.term()
