"""A database is shipped: snapshot first, then every kind of change, each at its exact place."""
import psycopg2

from harness.clock import wait_until
from harness.pipeline import pipeline

SHOP = """
create type mood as enum ('sad', 'ok', 'happy');
create table customers (id bigint generated always as identity primary key, name text not null, mood mood, note text);
create table orders (id bigint primary key, customer bigint not null references customers, total numeric(12,2) not null,
                     placed timestamptz not null default now(), code text unique);
create table lines (order_id bigint references orders on delete cascade, line int, product text, qty int, primary key (order_id, line));
create table notes (body text, n int);
create table empty_one (id int primary key);
alter table customers replica identity full; alter table orders replica identity full;
alter table lines replica identity full; alter table notes replica identity full;
insert into customers (name, mood) select 'customer ' || i, (array['sad','ok','happy']::mood[])[1 + i % 3] from generate_series(1, 500) i;
insert into orders select i, 1 + i % 500, i * 1.25, now(), 'code ' || i from generate_series(1, 2000) i;
insert into lines select o, l, 'product ' || l, l from generate_series(1, 2000) o, generate_series(1, 3) l;
insert into notes select 'same', 1 from generate_series(1, 5);
"""


def shop(world, **config):
    return pipeline(world, SHOP, **{"registry": True} | config)


def test_a_snapshot_then_inserts_updates_and_deletes_arrive(world):
    m = shop(world)
    world.wait_equal(types=True)
    world.source.sql("insert into customers (name) values ('new'); update orders set total = total + 1 where id <= 100; delete from orders where id > 1900")
    world.wait_equal()
    assert world.replica.value("select count(*) from orders") == 1900
    m.term()


def test_the_schemas_travel_in_the_journal_when_no_registry_is_configured(world):
    m = shop(world, registry=False)
    world.wait_equal(types=True)
    world.source.sql("alter table orders add column extra int; update orders set extra = 5 where id < 10")
    world.wait_equal()
    m.term()


def test_key_changes_swaps_and_truncates(world):
    m = shop(world)
    world.source.sql("update customers set name = name || '!' where id < 50")
    world.source.sql("insert into orders values (5000, 1, 1, now(), 'a'), (5001, 1, 1, now(), 'b')")
    world.source.sql("""begin; update orders set code = 'tmp' where id = 5000; update orders set code = 'a' where id = 5001;
                        update orders set code = 'b' where id = 5000; commit""")
    world.source.sql("begin; delete from lines where order_id = 10; update orders set id = 9010 where id = 10; commit")
    world.source.sql("update lines set line = line + 100 where order_id = 20")
    world.wait_equal()
    world.source.sql("begin; insert into empty_one values (1), (2); truncate lines; insert into lines values (1, 1, 'after', 1); commit")
    world.wait_equal()
    assert world.replica.value("select count(*) from lines") == 1
    world.source.sql("truncate orders, lines")
    world.source.sql("truncate empty_one")
    world.wait_equal()
    m.term()


def test_a_table_without_key_keeps_its_duplicates(world):
    m = shop(world)
    world.source.sql("insert into notes values ('same', 1), (null, 2)")
    world.source.sql("delete from notes where ctid = (select ctid from notes where body = 'same' limit 1)")
    world.source.sql("update notes set body = 'other' where ctid = (select ctid from notes where body = 'same' limit 1)")
    world.source.sql("update notes set n = 3 where body is null")
    world.wait_equal()
    assert world.replica.value("select count(*) from notes where body = 'same'") == 4
    m.term()


def test_columns_come_and_go_in_the_middle_of_a_transaction(world):
    m = shop(world)
    world.source.sql("""begin;
        insert into orders values (7000, 1, 1, now(), 'before');
        alter table orders add column channel text default 'web';
        insert into orders values (7001, 1, 1, now(), 'after', 'shop');
        alter table orders alter column total type numeric(20,2);
        insert into orders values (7002, 1, 123456789012345.67, now(), 'wide', null);
        commit""")
    wait_until(lambda: world.replica.value("select channel from orders where id = 7001") == "shop", 30, "the new column",
               ignore=(psycopg2.errors.UndefinedColumn,))
    world.source.sql("update orders set channel = 'web' where channel is distinct from 'shop' and id <> 7002")
    world.wait_equal()
    world.source.sql("alter table customers drop column note; insert into customers (name) values ('without note')")
    world.wait_equal(ignore_columns=("note",))
    m.term()


def test_rolled_back_work_and_savepoints_leave_nothing(world):
    m = shop(world)
    world.source.sql("begin; insert into customers (name) values ('never'); rollback")
    world.source.sql("""begin; insert into notes values ('kept', 1); savepoint a; insert into notes values ('gone', 1);
                        rollback to a; savepoint b; update notes set n = 9 where body = 'kept'; release b; commit""")
    world.wait_equal()
    assert world.replica.value("select count(*) from notes where body = 'gone'") == 0
    m.term()


def test_a_transaction_larger_than_the_batch_arrives_whole(world):
    m = shop(world, capture={"batch_bytes": "256kB"}, sinks=[world.sink(batch_bytes="512kB")])
    world.source.sql("insert into orders select i, 1, 1, now(), 'big ' || i from generate_series(10000, 60000) i")
    seen = set()

    def look():
        seen.add(world.replica.value("select count(*) from orders where id >= 10000"))
        return 50001 in seen
    wait_until(look, 60, "the large transaction")
    assert seen <= {0, 50001}, f"a reader saw part of a transaction: {seen}"
    world.wait_equal()
    m.term()


def test_a_restart_goes_on_where_it_was(world):
    m = shop(world)
    m.term()
    world.source.sql("insert into customers (name) select 'while away' from generate_series(1, 1000)")
    m.start()
    world.wait_equal()
    m.kill9()
    world.source.sql("update customers set mood = 'happy'")
    m.start()
    world.wait_equal()
    m.term()


def test_status_doctor_tail_and_metrics_tell_the_truth(world):
    m = shop(world)
    rc, out, err = m.run_cli("doctor", "--json")
    assert rc == 0, out + err
    status = m.status_json()
    assert status["source"]["state"] == "streaming", status
    wait_until(lambda: m.sink_status("replica")["state"] == "current", 30, "the sink to be current")
    rc, out, err = m.run_cli("tail", "--from-start", "--count", "20", "--json")
    assert rc == 0 and len(out.splitlines()) == 20, out + err
    rc, out, err = m.run_cli("config", "check")
    assert rc == 0, err
    assert m.metric("millrace_sink_changes_total", table="public.orders") >= 2000
    m.term()


def test_patterns_renames_and_row_filters_shape_a_sink(world):
    world.source.sql(SHOP)
    config = world.config(sinks=[world.sink(tables=["public.orders", "public.customers"], rename={"public": "report", "public.orders": "bills"},
                                            where={"public.customers": "mood = 'happy'"})])
    m = world.millrace(config)
    happy = "select count(*) from customers where mood = 'happy'"
    there = "select count(*) from report.customers"
    wait_until(lambda: world.replica.value("select to_regclass('report.bills') is not null and to_regclass('report.customers') is not null"), 30, "the tables")
    wait_until(lambda: world.replica.value(there) == world.source.value(happy), 30, "the filtered snapshot")
    world.source.sql("update customers set mood = 'sad' where id < 100; update customers set mood = 'happy' where id between 200 and 300")
    wait_until(lambda: world.replica.value(there) == world.source.value(happy), 30, "the filtered stream")
    assert world.replica.value("select count(*) from report.bills") == 2000
    assert world.replica.value("select to_regclass('report.lines')") is None
    m.term()


def test_consistency_key_applies_tables_in_parallel(world):
    m = shop(world, sinks=[world.sink(consistency="key", workers=3)])
    world.source.sql("update orders set total = 0 where id % 2 = 0; delete from lines where qty = 2; truncate notes")
    world.wait_equal()
    m.term()
