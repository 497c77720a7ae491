"""Every built-in type of PostgreSQL with values at its edges, as tables t000, t001, .. (id, v) and their rows."""
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
