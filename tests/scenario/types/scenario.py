"""Every built-in type, values at their edges included, by snapshot and by stream: equal in the replica, or the promised stop."""

PREPARE = """
create extension if not exists hstore; create extension if not exists citext; create extension if not exists ltree;
create type mood as enum ('sad', 'ok', 'ha ppy', 'it''s', 'comma,quote"'); create schema odd; create type odd."Mo od" as enum ('sad', 'x');
create type address as (street text, "no" int, tags text[]);
create domain positive as int check (value > 0); create domain short as varchar(5); create domain money2 as numeric(12,2);
"""

D1000 = "9" * 1000
TYPES = {
    "boolean": ["true", "false"],
    "smallint": ["-32768", "32767", "0"],
    "integer": ["-2147483648", "2147483647", "0"],
    "bigint": ["-9223372036854775808", "9223372036854775807", "0"],
    "oid": ["0", "4294967295"],
    "real": ["NaN", "Infinity", "-Infinity", "-0", "0", "1e-45", "3.4028235e38", "0.1", "16777217"],
    "double precision": ["NaN", "Infinity", "-Infinity", "-0", "5e-324", "1.7976931348623157e308", "0.1", "0.30000000000000004"],
    "numeric": ["NaN", "Infinity", "-Infinity", "0", "1.0", "1.00", "-1.10", "1e-1000", D1000, "-0.000", f"{D1000}.{D1000}", "1e131071"],
    "numeric(12,2)": ["0", "-0.01", "9999999999.99", "-9999999999.99", "1.5"],
    "numeric(38,10)": ["9999999999999999999999999999.9999999999", "-0.0000000001"],
    "numeric(1000,500)": ["9" * 500 + "." + "9" * 500, "-1"],
    "numeric(5,0)": ["99999", "-1"],
    "numeric(3,-2)": ["12300", "-99900"],
    "money": ["0", "-92233720368547758.08", "92233720368547758.07", "12.34", "-0.01"],
    "text": ["", " ", "a\tb\nc\\d\re", "NULL", "\\N", "ünï¢ødé \U0001F600", "x" * 100000, "__debezium_unavailable_value", "'\"`$$"],
    "varchar(5)": ["", "abc  ", "äöüßé"],
    "char(5)": ["", "abc", "a b"],
    "name": ["", "x" * 63],
    '"char"': ["", "a", "\\200"],
    "citext": ["MiXed"],
    "bytea": ["", "\\x00", "\\x00ff5c0a09", "\\x" + "ab" * 5000],
    "json": ['{"a": 1, "a" :2}', " null", '"\\u00e4"', "[1,2, 3]", "1e400"],
    "jsonb": ['{"b":1,"a":[null,true,1.10]}', "null", '"x"', "123456789012345678901234567890.000"],
    "xml": ["<a/>", "<a b='c'>&lt;text&gt;</a>", "just text"],
    "uuid": ["00000000-0000-0000-0000-000000000000", "ffffffff-ffff-ffff-ffff-ffffffffffff"],
    "mood": ["sad", "ha ppy", "it's", 'comma,quote"'],
    'odd."Mo od"': ["sad", "x"],
    "bit(1)": ["0", "1"],
    "bit(10)": ["0000000000", "1111111111", "1000000001"],
    "bit(70)": ["1" + "0" * 69, "0" * 69 + "1"],
    "bit varying": ["", "0", "1", "0001", "1" * 100],
    "bit varying(8)": ["", "101"],
    "date": ["infinity", "-infinity", "0044-03-15 BC", "4713-01-01 BC", "5874897-12-31", "1969-12-31", "2000-02-29", "0001-01-01"],
    "time": ["00:00:00", "24:00:00", "23:59:59.999999", "00:00:00.000001"],
    "time(3)": ["24:00:00", "12:00:00.123"],
    "timetz": ["00:00:00+15:59", "24:00:00-15:59", "12:00:00.5+05:30", "01:02:03-00:00:01"],
    "timestamp": ["infinity", "-infinity", "0044-03-15 12:00:00.000001 BC", "4713-01-01 00:00:00 BC", "1969-12-31 23:59:59.999999",
                  "294246-12-31 23:59:59.999999", "2024-02-29 24:00:00"],
    "timestamp(3)": ["infinity", "-infinity", "1969-12-31 23:59:59.999", "0001-01-01 00:00:00"],
    "timestamp(0)": ["2024-01-01 00:00:00"],
    "timestamptz": ["infinity", "-infinity", "0044-03-15 12:00:00.000001+00 BC", "294276-12-31 23:59:59.999999+00", "2024-07-01 12:00:00.1+05:30", "0001-01-01 00:00:00+00"],
    "timestamptz(3)": ["2024-07-01 12:00:00.123+00"],
    "interval": ["0", "1 year 2 mons 3 days 04:05:06.789", "-1 year -2 mons +3 days -04:05:06.000001", "1 mon -1 day", "-0.000001 sec", "178000000 years",
                 "-178000000 years", "1 day 24:00:00", "10:00:00.5"],
    "interval day to second": ["1 day 02:03:04"],
    "point": ["(0,0)", "(-0,NaN)", "(Infinity,-1e300)", "(0.1,0.2)"],
    "line": ["{1,2,3}"], "lseg": ["[(0,0),(1,1)]"], "box": ["(1,1),(0,0)"], "path": ["((0,0),(1,1))", "[(0,0),(1,1)]"],
    "polygon": ["((0,0),(1,1),(2,0))"], "circle": ["<(0,0),1.5>"],
    "inet": ["192.168.0.1/24", "::1", "10.0.0.1"], "cidr": ["10.0.0.0/8", "::/0"], "macaddr": ["08:00:2b:01:02:03"], "macaddr8": ["08:00:2b:01:02:03:04:05"],
    "tsvector": ["'a':1A 'b c':2,3B", ""], "tsquery": ["'a' & !'b':*"],
    "int4range": ["empty", "[1,5)", "(,)", "[3,)"], "numrange": ["[1.10,2.0]", "(,5)"], "tsrange": ['["2024-01-01 00:00:00","infinity")'], "daterange": ["[2024-01-01,2024-02-01)"],
    "tstzrange": ['["2024-01-01 00:00:00+00",)'], "int8multirange": ["{}", "{[1,3),[5,6)}"], "nummultirange": ["{[1.5,2.5]}"],
    "integer[]": ["{}", "{1,NULL,3}", "{{1,2},{3,4}}", "[0:1]={5,6}", "[-1:0][2:3]={{1,2},{3,4}}"],
    "text[]": ["{}", '{"a,b",NULL,"NULL","\\"q\\"","","{}","back\\\\slash"}', '{{"x"},{"y"}}'],
    "numeric(10,2)[]": ["{1.10,-0.05}"], "timestamptz[]": ['{"2024-01-01 00:00:00+00",infinity}'], "mood[]": ['{sad,"ha ppy",NULL}'], "jsonb[]": ['{"{\\"a\\": 1}"}'],
    "bytea[]": ['{"\\\\x00ff"}'], "boolean[]": ["{t,f}"], "address[]": ['{"(\\"a b\\",1,{x})"}'],
    "address": ['("Main ""St""",5,"{a,""b,c""}")', "(,,)", '("",0,{})'],
    "positive": ["1", "2147483647"], "short": ["abc"], "money2": ["1.10"],
    "hstore": ['"a"=>"1","b"=>NULL', "", '"q\\"uote"=>"back\\\\slash, comma"', '"ü"=>""'],
    "ltree": ["a.b.c", ""], "pg_lsn": ["0/0", "FFFFFFFF/FFFFFFFF"], "xid": ["0", "4294967295"], "xid8": ["18446744073709551615"],
    "regclass": ["pg_class"], "tid": ["(0,1)"], "int2vector": ["1 2 3"], "txid_snapshot": ["10:20:10,14"],
}


def create(world):
    """A table per type: the values, and NULL."""
    world.source.sql(PREPARE)
    for i, kind in enumerate(TYPES):
        world.source.sql(f"create table t{i:03d} (id int primary key, v {kind}); alter table t{i:03d} replica identity full")


def fill(world, first):
    with world.source.connect() as connection, connection.cursor() as cursor:
        cursor.execute("set bytea_output = hex; set xmloption = content")
        for i, (kind, values) in enumerate(TYPES.items()):
            for k, value in enumerate([*values, None]):
                cursor.execute(f"insert into t{i:03d} values (%s, %s::text::{kind})", (first + k, value))


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
    world.source.sql("""create table k (a numeric, b timestamptz, c text, d bytea, v int, primary key (a, b, c, d)); alter table k replica identity full;
        create table f (a double precision primary key, v int); alter table f replica identity full;
        insert into k values (1.0, 'infinity', '', '\\x00', 1), ('NaN', '-infinity', 'x', '', 2);
        insert into f values ('NaN', 1), ('-0', 2), ('Infinity', 3)""")
    m = world.millrace()
    world.wait_equal()
    world.source.sql("update k set a = 1.00, v = 5 where a = 1; update f set a = 0, v = 6 where a = 0; update f set v = 9")
    world.source.sql("update k set v = v + 1; delete from k where a = 'NaN'")
    world.wait_equal()
    assert world.replica.value("select a::text from k") == "1.00"
    m.term()


def stops(world, table, values, option):
    world.source.sql(f"create table s (id int primary key, v {table}); alter table s replica identity full; insert into s values (1, {values[0]})")
    m = world.millrace()
    world.wait_equal()
    world.source.sql(f"insert into s values (2, {values[1]})")
    assert m.wait(30) == 5, m.tail()
    log = m.log_text()
    assert "value-not-carried" in log and "public.s" in log and "id=2" in log and option in log, m.tail()
    world.source.sql("delete from s where id = 2")
    return m


def test_nan_in_a_decimal_stops_and_names_the_option(world):
    stops(world, "numeric(12,2)", ("1", "'NaN'"), "numeric")
    config = world.config(source={"numeric": "string"})
    m = world.millrace(config)
    world.source.sql("insert into s values (3, 'NaN')")
    world.wait_equal()
    m.term()


def test_a_timestamp_beyond_the_wires_range_stops(world):
    stops(world, "timestamp", ("now()::timestamp", "'294276-12-31 00:00:00'"), "")


def test_hostile_identifiers_travel(world):
    world.source.sql('''create schema "Weird ""Name"".x"; create table "Weird ""Name"".x"."ta;ble '1'" ("Sel;ect" int, " sp" text, "ünï" int, "a.b" int, "A.B" int,
        "9x" int, "with-dash" int, "with_dash" int, primary key ("Sel;ect")); alter table "Weird ""Name"".x"."ta;ble '1'" replica identity full;
        insert into "Weird ""Name"".x"."ta;ble '1'" values (1, 'x', 2, 3, 4, 5, 6, 7)''')
    m = world.millrace(world.config(source={"tables": ["*.*"]}))
    world.wait_equal()
    world.source.sql('''update "Weird ""Name"".x"."ta;ble '1'" set " sp" = 'y', "a.b" = 30; insert into "Weird ""Name"".x"."ta;ble '1'" values (2)''')
    world.wait_equal()
    m.term()
