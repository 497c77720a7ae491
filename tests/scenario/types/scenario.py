"""Every built-in type, values at their edges included, by snapshot and by stream: equal in the replica, or the promised stop."""
from harness.pg_types import TYPES, create, fill
from harness.pipeline import pipeline, stops


def test_every_type_arrives_by_snapshot_and_by_stream(world):
    create(world)
    fill(world, 0)
    m = world.millrace(world.config(sinks=[world.sink()], log={"level": "info"}))
    world.wait_equal(deadline_s=90)
    fill(world, 1000)
    world.wait_equal(deadline_s=60)
    for i, values in enumerate(TYPES.values()):
        world.source.sql(f"update t{i:03d} set v = (select v from t{i:03d} where id = {len(values) - 1}) where id = 1000; delete from t{i:03d} where id = 0")
    world.wait_equal(deadline_s=60)
    m.term()


def test_numerics_and_times_as_keys(world):
    m = pipeline(world, """create table k (a numeric, b timestamptz, c text, d bytea, v int, primary key (a, b, c, d)); alter table k replica identity full;
        create table f (a double precision primary key, v int); alter table f replica identity full;
        insert into k values (1.0, 'infinity', '', '\\x00', 1), ('NaN', '-infinity', 'x', '', 2);
        insert into f values ('NaN', 1), ('-0', 2), ('Infinity', 3)""", registry=True)
    world.source.sql("update k set a = 1.00, v = 5 where a = 1; update f set a = 0, v = 6 where a = 0; update f set v = 9")
    world.source.sql("update k set v = v + 1; delete from k where a = 'NaN'")
    world.wait_equal()
    assert world.replica.value("select a::text from k") == "1.00"
    m.term()


def is_not_carried(world, kind, values, option):
    m = pipeline(world, f"create table s (id int primary key, v {kind}); alter table s replica identity full; insert into s values (1, {values[0]})", registry=True)
    world.source.sql(f"insert into s values (2, {values[1]})")
    stops(m, "value-not-carried", "public.s", "id=2", option)
    world.source.sql("delete from s where id = 2")


def test_nan_in_a_decimal_stops_and_names_the_option(world):
    is_not_carried(world, "numeric(12,2)", ("1", "'NaN'"), "numeric")
    config = world.config(source={"numeric": "string"})
    m = world.millrace(config)
    world.source.sql("insert into s values (3, 'NaN')")
    world.wait_equal()
    m.term()


def test_a_timestamp_beyond_the_wires_range_stops(world):
    is_not_carried(world, "timestamp", ("now()::timestamp", "'294276-12-31 00:00:00'"), "")


def test_hostile_identifiers_travel(world):
    world.source.sql('''create schema "Weird ""Name"".x"; create table "Weird ""Name"".x"."ta;ble '1'" ("Sel;ect" int, " sp" text, "ünï" int, "a.b" int, "A.B" int,
        "9x" int, "with-dash" int, "with_dash" int, primary key ("Sel;ect")); alter table "Weird ""Name"".x"."ta;ble '1'" replica identity full;
        insert into "Weird ""Name"".x"."ta;ble '1'" values (1, 'x', 2, 3, 4, 5, 6, 7)''')
    m = world.millrace(world.config(source={"tables": ["*.*"]}))
    world.wait_equal()
    world.source.sql('''update "Weird ""Name"".x"."ta;ble '1'" set " sp" = 'y', "a.b" = 30; insert into "Weird ""Name"".x"."ta;ble '1'" values (2)''')
    world.wait_equal()
    m.term()
