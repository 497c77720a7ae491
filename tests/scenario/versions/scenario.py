"""Every supported major version as a source, and the newest as a replica: snapshot, stream, DDL, restart, a lost slot."""
from harness.pipeline import free_slot, pipeline, stops

TABLES = """
create type mood as enum ('sad', 'ok'); create domain positive as int check (value > 0);
create table t (id bigint generated always as identity primary key, n numeric(12,2), any_n numeric, at timestamptz default now(), m mood, p positive, doc jsonb, tags text[], r int4range, iv interval);
create table parts (region int, id int, v text, primary key (region, id)) partition by list (region);
create table parts_1 partition of parts for values in (1); create table parts_2 partition of parts for values in (2);
create table bag (v text); alter table bag replica identity full;
alter table t replica identity full; alter table parts_1 replica identity full; alter table parts_2 replica identity full;
insert into t (n, any_n, m, p, doc, tags, r, iv) select i / 3.0, i * 1.10, 'ok', i, jsonb_build_object('i', i), array['a', null], int4range(i, i + 5), '-1 mon +3 days' from generate_series(1, 500) i;
insert into parts select 1 + i % 2, i, 'v' || i from generate_series(1, 100) i; insert into bag values ('x'), ('x');
"""


def run(world, version, replica=None):
    source = world.postgres("source", version=version, database="origin").server
    if replica:
        world.postgres("replica", version=replica, database="copy")
    leaves = ["public.t", "public.bag", "public.parts_1", "public.parts_2"]
    m = pipeline(world, TABLES, leaves)
    world.source.sql("begin; update t set n = 'NaN' where false; update t set any_n = 'NaN', m = 'sad' where id < 50; delete from t where id > 480; update parts set region = 2 where region = 1 and id < 20; commit")
    world.source.sql("alter table t add column extra text default 'since'; insert into t (p, extra) values (1, 'new'); truncate bag; insert into bag values ('y')")
    world.wait_equal(leaves)
    m.kill9()
    world.source.sql("update t set extra = 'while away' where id % 7 = 0; insert into bag values ('z')")
    source.stop()
    source.start()
    m.start()
    world.wait_equal(leaves)
    rc, out, err = m.run_cli("doctor", "--json")
    assert rc == 0, out + err
    m.term()
    world.source.sql("select pg_drop_replication_slot(%s)", (free_slot(world),))
    stops(m.start(), "needs-resnapshot", exit_code=4)


def test_postgresql_14(world):
    run(world, 14)


def test_postgresql_16(world):
    run(world, 16)


def test_postgresql_17(world):
    run(world, 17)


def test_postgresql_18_to_18(world):
    run(world, 18, replica=18)
