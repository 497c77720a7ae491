#!/usr/bin/python3
"""Makes tests/fuzz/corpus anew: small captures from a real PostgreSQL, Kafka and schema registry.

    cmake --preset fuzz && cmake --build --preset fuzz && tests/fuzz/record.py [PART...]

Seeds whose name begins with "bug-" are kept: each of them once broke something."""
import json
import os
import re
import shutil
import socket
import struct
import subprocess
import sys
from pathlib import Path

sys.dont_write_bytecode = True
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from harness import PROJECT, RunDir, World  # noqa: E402
from harness.clock import wait_until  # noqa: E402
from harness.kafka_client import kafka_read, topics  # noqa: E402
from harness.process import Process, end_with_signals, kill_all  # noqa: E402
from harness.scenario import Servers  # noqa: E402

HERE = PROJECT / "tests" / "fuzz"
BUILD = PROJECT / "build" / "fuzz"

# ---- what the source does: set-up (seen by the snapshot), then changes (seen in the stream) --------------------------------
SOURCES = {
    "orders": ("CREATE TABLE orders (id int PRIMARY KEY, what text NOT NULL, price numeric(12,2), at timestamptz DEFAULT now());"
               "CREATE TABLE narrow (id bigint PRIMARY KEY, memo text, n int);"
               "INSERT INTO orders VALUES (1, 'tab\there', 1.50), (2, E'line\\nand \\\\', NULL)",
               ["INSERT INTO orders VALUES (3, 'three', 3), (4, 'four', -4.25)",
                "UPDATE orders SET price = 9 WHERE id = 1; UPDATE orders SET id = 30 WHERE id = 3; DELETE FROM orders WHERE id = 2",
                "INSERT INTO narrow VALUES (1, 'left out', 5); TRUNCATE orders, narrow RESTART IDENTITY CASCADE",
                "ALTER TABLE orders ADD note text DEFAULT 'none'; INSERT INTO orders VALUES (5, 'five', 5, now(), 'x')",
                "ALTER TABLE orders RENAME what TO title; ALTER TABLE orders DROP note; UPDATE orders SET title = 'cinq'"]),
    "identity": ("CREATE TABLE whole (id int PRIMARY KEY, long text, n int); ALTER TABLE whole REPLICA IDENTITY FULL;"
                 "CREATE TABLE part (id int PRIMARY KEY, long text, n int); ALTER TABLE part ALTER long SET STORAGE EXTERNAL;"
                 "CREATE TABLE byindex (a int NOT NULL, b text NOT NULL, c float8); CREATE UNIQUE INDEX i ON byindex (b, a);"
                 "ALTER TABLE byindex REPLICA IDENTITY USING INDEX i;"
                 "CREATE TABLE keyless (a int, b text); ALTER TABLE keyless REPLICA IDENTITY FULL;",
                 ["INSERT INTO whole VALUES (1, 'x', 1); INSERT INTO part VALUES (1, repeat('y', 2500), 1);"
                  "INSERT INTO byindex VALUES (1, 'b', 0.1), (2, 'c', 'NaN'); INSERT INTO keyless VALUES (1, 'a'), (1, 'a'), (NULL, NULL)",
                  "UPDATE whole SET n = 2; UPDATE part SET n = 2; UPDATE part SET id = 5; UPDATE byindex SET c = '-0', b = 'd' WHERE a = 1",
                  "UPDATE keyless SET b = 'z' WHERE a = 1; DELETE FROM keyless; DELETE FROM whole; DELETE FROM byindex WHERE a = 2"]),
    "types": ("CREATE EXTENSION hstore; CREATE EXTENSION ltree; CREATE TYPE mood AS ENUM ('sad', 'ok', 'so,so');"
              "CREATE TYPE pair AS (a int, b text); CREATE DOMAIN positive AS int NOT NULL CHECK (VALUE > 0);"
              "CREATE TABLE every (id uuid PRIMARY KEY, b bool, i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision,"
              " n numeric, nd numeric(12,3), m money, t text, vc varchar(9), bp char(4), by bytea, d date, ti time, ti3 time(3),"
              " ts timestamp, ts3 timestamp(3), tz timestamptz, ttz timetz, iv interval, u uuid, j json, jb jsonb, x xml, p point,"
              " bx box, ia int[], ta text[], r int4range, mr int8multirange, h hstore, l ltree, mo mood, pa pair, dp positive,"
              " bi bit(11), b1 bit(1), vb bit varying, tv tsvector, ip inet, o oid)",
              ["INSERT INTO every VALUES ('b68a35a7-17ad-35b3-af2a-ae46edb4545a', true, -32768, 2147483647, -9223372036854775808,"
               " 1.1, 0.1, 'NaN', -123456789.125, '12.34', 'grüß', 'nine', 'ab', '\\x00ff', '2024-02-29', '24:00:00', '03:04:05.678',"
               " '0044-03-15 12:00:00 BC', 'infinity', '2024-01-02 03:04:05.123456+02', '03:04:05.5+05:30',"
               " '1 year -2 mons 3 days 04:05:06.7', 'b68a35a7-17ad-35b3-af2a-ae46edb4545b', '{\"a\": [1, null]}', '{\"b\": 1.10}',"
               " '<a>b</a>', '(1.5,-0)', '((0,0),(1,1))', '{{1,2},{NULL,4}}', '{a,\"b\\\"c\",NULL}', '[1,5)', '{[1,2),[5,9)}',"
               " 'a=>1, b=>NULL', 'top.one', 'so,so', '(1,\"x,y\")', 7, B'10000000001', B'1', B'101', 'fat:1A cat', '10.0.0.1/8', 42)",
               "ALTER TYPE mood ADD VALUE 'great'",
               "UPDATE every SET mo = 'great', d = 'infinity', f8 = '-Infinity', f4 = 'NaN', nd = NULL, m = NULL, by = '', t = ''",
               "DELETE FROM every"]),
    "parts": ("CREATE TABLE log (at date NOT NULL, id int NOT NULL, t text, PRIMARY KEY (at, id)) PARTITION BY RANGE (at);"
              "CREATE TABLE log24 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');"
              "CREATE TABLE \"Ödd \"\"name\"\"\" (\"1 column\" int PRIMARY KEY, \"a.b\" text, \"a b\" text, g int GENERATED ALWAYS AS (1) STORED)",
              ["INSERT INTO log VALUES ('2024-05-06', 1, 'x'); UPDATE log SET t = 'y'; DELETE FROM log",
               "INSERT INTO \"Ödd \"\"name\"\"\" VALUES (1, 'a', 'b'); DROP TABLE log24"]),
}


def tape(*chunks):
    return b"".join(struct.pack("<H", len(c)) + c for c in chunks)


def put(folder, target, name, data):
    (folder / target / name).write_bytes(data)


def record_source(servers, run, folder, name):
    setup, changes = SOURCES[name]
    source = servers.source.database(f"fuzz_{name}")
    source.sql(setup + "; CREATE TABLE the_end (id int PRIMARY KEY)")
    log = run.path / f"record-{name}.log"
    process = Process([BUILD / "fuzz" / "record", source.url(), name, folder], log, env={"ASAN_OPTIONS": "detect_leaks=0"})
    wait_until(lambda: "streaming" in log.read_text() or not process.alive(), 30, "the recorder streams")
    for change in changes:
        source.sql(change)
    source.sql("INSERT INTO the_end VALUES (1)")
    if process.wait(60):
        raise RuntimeError(f"recording {name}: {process.tail(120)}")


# ---- texts of values: what the server prints ----------------------------------------------------------------------------
FORMATS = ("SET datestyle = 'ISO'; SET intervalstyle = 'iso_8601'; SET timezone = 'UTC'; SET extra_float_digits = 3;"
           "SET bytea_output = 'hex'; SET lc_monetary = 'C';")
TEXTS = {0: ["true"], 1: ["'\\x00ff10'::bytea", "''::bytea"], 2: ["(-9223372036854775808)::int8"], 3: ["(-32768)::int2"],
         4: ["2147483647"], 5: ["'grüß'::text"], 6: ["'{\"a\": 1}'::json"], 7: ["'<a/>'::xml"], 8: ["'(1.5,-0)'::point"],
         9: ["1.1::float4", "'NaN'::float4", "1e-40::float4", "3.4028235e38::float4", "16777216::float4"],
         10: ["0.1::float8", "1e-310::float8", "'-Infinity'::float8", "123456789012345680::float8"],
         11: ["'-92233720368547758.08'::money"], 12: ["'{{1,2},{NULL,4}}'::int[]"],
         13: ["'0044-03-15 BC'::date", "'infinity'::date", "'5874897-12-31'::date", "'4713-01-01 BC'::date"],
         14: ["'24:00'::time(3)"], 15: ["'23:59:59.999999'::time"], 16: ["'2024-01-02 03:04:05.678'::timestamp(3)"],
         17: ["'4713-01-01 00:00:00 BC'::timestamp", "'294276-12-31 23:59:59.999999'::timestamp", "'-infinity'::timestamp"],
         18: ["'2024-01-02 03:04:05.6+05'::timestamptz", "'0001-01-01 BC'::timestamptz", "'12345-01-01'::timestamptz"],
         19: ["'1 year -2 mons 3 days 04:05:06.7'::interval", "'-00:00:00.000001'::interval"],
         20: ["'03:04:05.5+05:30'::timetz", "'24:00:00-15:59:59'::timetz"], 21: ["B'1'::bit(1)"],
         23: ["123.4500::numeric", "'NaN'::numeric", "'Infinity'::numeric"],
         25: ["'b68a35a7-17ad-35b3-af2a-ae46edb4545a'::uuid"], 26: ["'fat:1A cat'::tsvector"], 27: ["'[1,5)'::int4range"],
         28: [r"""'a=>1, "b c"=>NULL, "q\""=>"\\"'::hstore"""], 29: ["'top.one'::ltree"], 30: ["'sad'::text"],
         31: ["ROW(1,'x,y')::text"]}


def record_values(servers, _run, folder):
    db = servers.source.database("fuzz_values")
    db.sql("CREATE EXTENSION hstore; CREATE EXTENSION ltree")
    for pick, expressions in TEXTS.items():
        for n, expression in enumerate(expressions):
            text = db.sql(FORMATS + f"SELECT ({expression})::text")[0][0]
            put(folder, "values", f"type{pick:02}-{n}", struct.pack("<BI", pick, 0) + text.encode())
    put(folder, "values", "type22-0", struct.pack("<BHH", 22, 0, 10) + b"10000000001")
    for n, (precision, scale, text) in enumerate(((12, 2, "-1234567890.12"), (1000, 0, "9" * 900), (5, 5, "0.00001"))):
        put(folder, "values", f"type24-{n}", struct.pack("<BHH", 24, scale, precision - 1) + text.encode())


# ---- a pipeline's journal --------------------------------------------------------------------------------------------------
def record_journal(servers, run, folder):
    world = World(servers, run.sub("pipeline"), PROJECT / "build" / "dev" / "millrace", "fuzzrec")
    world.source.sql("CREATE TABLE t (id int PRIMARY KEY, v text); ALTER TABLE t REPLICA IDENTITY FULL; INSERT INTO t SELECT i, 'v' || i FROM generate_series(1, 9) i;"
                     "CREATE TABLE u (a numeric(9,2) PRIMARY KEY)")
    millrace = world.millrace(world.config(registry=False))
    world.wait_equal()
    world.source.sql("UPDATE t SET v = 'w' WHERE id = 3; INSERT INTO u VALUES (1.5)")
    world.wait_equal()
    millrace.term()
    found = topics(servers.kafka.brokers)
    commits, schemas = (next(t for t in found if t.startswith("fuzzrec") and t.endswith(end)) for end in (".commits", ".schemas"))
    read = lambda topic: [r.value for r in kafka_read(servers.kafka.brokers, topic)]  # noqa: E731
    put(folder, "journal", "commits", b"c" + tape(*read(commits)[:6]))
    put(folder, "journal", "schemas", b"s" + tape(*read(schemas)[:3]))
    put(folder, "journal", "timeline", b"t" + tape(b"1\t0/3000000\tno recovery target specified\n\n2\t0/5000060\tno recovery\n"))
    world.end()


# ---- HTTP ----------------------------------------------------------------------------------------------------------------
def exchange(port, method, path, body=b""):
    """The very bytes of a server's answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as s:
        head = (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\nContent-Length: {len(body)}\r\n"
                "Content-Type: application/vnd.schemaregistry.v1+json\r\n\r\n")
        s.sendall(head.encode() + body)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    return answer


def record_registry(servers, _run, folder):
    port, base = servers.registry.port, "/apis/ccompat/v7"
    # The schema that the target puts.
    schema = ('{"type":"record","name":"R","namespace":"a.b","fields":[{"name":"i","type":"int"}]}')
    body = json.dumps({"schema": schema, "schemaType": "AVRO"}).encode()
    made = exchange(port, "POST", f"{base}/subjects/s/versions", body)
    number = int(re.search(rb'"id":(\d+)', made).group(1))
    known = exchange(port, "GET", f"{base}/schemas/ids/{number}")
    raw = lambda answer: b"\xff" + tape(answer)  # noqa: E731
    put(folder, "registry", "put", b"\x01\0\0" + raw(made) + raw(known))
    put(folder, "registry", "get", b"\x02" + struct.pack("<H", number) + raw(known))
    put(folder, "registry", "unknown", b"\x02\x09\x09" + raw(exchange(port, "GET", f"{base}/schemas/ids/987654")))
    put(folder, "registry", "subjects", b"\0\0\0" + raw(exchange(port, "GET", f"{base}/subjects")))
    put(folder, "registry", "refused", b"\x01\0\0" + raw(exchange(port, "POST", f"{base}/subjects/s/versions", b"{}")))
    put(folder, "registry", "wrong-path", b"\x02\x01\0" + raw(exchange(port, "GET", "/nothing")))
    for status in range(8):
        put(folder, "registry", f"status{status}", bytes((1, 0, 0, status)) + tape(b'{"error_code":40403,"message":"no"}') +
            b"\x00" + tape(b'{"id":7}') + b"\x00" + tape(json.dumps({"schema": schema}).encode()))


def record_http(_servers, _run, folder):
    for n, (path, method) in enumerate((("/metrics", "GET"), ("/healthz", "HEAD"), ("/readyz", "GET"), ("/v1/status?a=b", "GET"),
                                        ("/../etc/passwd", "GET"), ("/%2e%2e/%00", "GET"), ("/metrics", "POST"), ("*", "OPTIONS"))):
        more = "Content-Length: 5\r\n" if method == "POST" else ""
        put(folder, "http", f"request{n}", (f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1:9464\r\nUser-Agent: curl/7.88.1\r\n"
                                            f"Accept: */*\r\n{more}\r\n" + ("hello" if more else "")).encode())


# ---- texts that people write ------------------------------------------------------------------------------------------------
def record_config(_servers, _run, folder):
    full = """source:
  name: shop
  postgres:
    url: "postgres://user@127.0.0.1/shop"
    tables: ["public.*", "!public.log"]
    columns: { "public.t": "!secret" }
    partial_rows: history
journal:
  kafka: { brokers: "localhost:9092", topic_prefix: shop, properties: { "security.protocol": ssl } }
schemas: { registry: "http://localhost:8081", timeout: 5s, password: "${HOME}" }
capture: { batch_bytes: 16MB }
sinks:
  - { name: report, postgres: { url: "postgres://h/db" }, consistency: transaction }
  - name: cache
    workers: 2
    tables: ["shop.*"]
    where: { "public.t": "region = 'eu' and closed is not null" }
    postgres:
      url: ${HOME}
      on_missing: stop
http: { listen: "127.0.0.1:9464" }
log: { format: json, level: debug }
"""
    put(folder, "config", "full", full.encode())
    for n, text in enumerate(("journal: { kafka: { brokers: a, topic_prefix: b } }\n", "a: &x [1]\nb: *x\n", "? [a]\n: b\n", "10GB", "7d",
                              "journal:\n  kafka:\n    brokers: |\n      a\n      b\n    topic_prefix: \"\\u00e4\"\n", "${file:/dev/null}")):
        put(folder, "config", f"small{n}", text.encode())


def record_texts(_servers, _run, folder):
    texts = lambda *words: tape(*(w.encode() for w in words))  # noqa: E731
    put(folder, "mapping", "all", bytes((1 | 1 << 2 | 1 << 4,)) + texts(
        "shop.*", "shop.t", "\"c\" = 'it''s' and n <> 5 and z is not null", "shop.t", "tt", "shop", "t", "c", "n", "z", "f") +
        b"\x05" + texts("it's") + b"\x00" + struct.pack("<q", 5) + b"\x03" + b"\x01" + struct.pack("<d", 0.5))
    put(folder, "mapping", "stars", bytes((3,)) + texts("!*a*b?", "*a*a*a*a*", "shop.[x]", "shop", "aaaaaaaaaaaaaaaaaaaab", "a", "b", "c", "d"))
    for n, (a, b) in enumerate((("numeric(12,2)", "numeric"), ("character varying(5)", "text"), ("timestamp(3) without time zone[]", "x"),
                                ("shop.\"Mo\"\"od\"[]", "public.geometry(Point,4326)"), ("interval day to second(3)", "interval"))):
        put(folder, "replica", f"type{n}", b"\0" + texts(b) + a.encode())
    put(folder, "replica", "name", b'\x01a "quoted" \\ name')
    put(folder, "replica", "message", b"\x02connection to server at \"h\" failed: FATAL:  28P01: password authentication failed\n")


# ---- all of it -----------------------------------------------------------------------------------------------------------------
def record_sources(servers, run, folder):
    for name in SOURCES:
        record_source(servers, run, folder, name)


# What makes the seeds of which targets.
PARTS = {"sources": (record_sources, ("pgoutput", "avro", "schema")), "values": (record_values, ("values",)),
         "journal": (record_journal, ("journal",)), "registry": (record_registry, ("registry",)),
         "http": (record_http, ("http",)), "config": (record_config, ("config",)), "texts": (record_texts, ("mapping", "replica"))}


def replace(folder, targets):
    for target in targets:
        corpus = HERE / "corpus" / target
        corpus.mkdir(parents=True, exist_ok=True)
        for old in corpus.iterdir():
            if not old.name.startswith("bug-"):
                old.unlink()
        for seed in (folder / target).iterdir():
            shutil.copy(seed, corpus / seed.name)


def main():
    end_with_signals()
    run, parts = RunDir("millrace-record-"), sys.argv[1:] or list(PARTS)
    servers = Servers(run.sub("shared"))
    try:
        for part in parts:
            record, targets = PARTS[part]
            for target in targets:
                (run.path / target).mkdir()
            record(servers, run, run.path)
            replace(run.path, targets)
    finally:
        servers.stop()
        kill_all()
    run.remove()
    files = [f for f in (HERE / "corpus").rglob("*") if f.is_file()]
    print(f"{len(files)} seeds, {sum(os.path.getsize(f) for f in files)} bytes")


if __name__ == "__main__":
    main()
