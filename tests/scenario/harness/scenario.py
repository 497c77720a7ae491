"""The harness itself: its servers start and survive what it does to them, and its judges see what they are there to see."""
import subprocess

from harness import Late, compare, wait_equal, wait_until
from harness.kafka_client import Tail, kafka_count
from harness.process import running

_TABLES = """
    CREATE TABLE a (id int PRIMARY KEY, t text, f float8, b bytea, ts timestamptz);
    CREATE TABLE keyless (x int, y text);
    CREATE TABLE two (k text, n numeric, v jsonb, PRIMARY KEY (n, k));
    INSERT INTO a SELECT i, repeat('x', i), i / 7.0, int4send(i), to_timestamp(i) FROM generate_series(1, 12000) i;
    INSERT INTO keyless VALUES (1, 'one'), (1, 'one'), (2, NULL), (NULL, NULL);
    INSERT INTO two SELECT 'k' || i, i % 3, jsonb_build_object('i', i) FROM generate_series(1, 100) i;
"""


def test_the_servers_start(world):
    world.source.sql("CREATE TABLE t (id int)")
    assert world.source.value("SHOW wal_level") == "logical"
    assert world.source.server.port != world.replica.server.port
    assert world.kafka.topics() is not None
    assert isinstance(world.registry.subjects(), list)
    schema = {"schema": '{"type": "string"}'}
    made = world.registry.request("POST", f"/subjects/{world.prefix}-value/versions", schema)
    assert world.registry.request("GET", f"/schemas/ids/{made['id']}")["schema"]


def test_compare_finds_every_kind_of_difference(world):
    for database in (world.source, world.replica):
        database.sql(_TABLES)
    found = world.compare()
    assert not found, found
    assert found.counts == {"public.a": (12000, 12000), "public.keyless": (4, 4), "public.two": (100, 100)}, found.counts
    for change, table, sign in [
            ("UPDATE a SET t = 'y' WHERE id = 7000", "a", "'y'"),
            ("DELETE FROM a WHERE id = 12000", "a", "missing in the replica"),
            ("DELETE FROM a WHERE id = 1", "a", "missing in the replica"),
            ("INSERT INTO a VALUES (0)", "a", "only in the replica"),
            ("UPDATE a SET t = '' WHERE id = 5; UPDATE a SET t = NULL WHERE id = 6", "a", "None"),
            ("UPDATE a SET f = '-0' WHERE id = 3", "a", "'-0'"),
            ("UPDATE a SET ts = ts + interval '1 microsecond' WHERE id = 9", "a", ".000001"),
            ("INSERT INTO keyless VALUES (1, 'one')", "keyless", "only in the replica"),
            ("UPDATE two SET n = n + 0.00 WHERE k = 'k1'", "two", "replica"),
            ("ALTER TABLE two ADD COLUMN more int", "two", "only in the replica"),
            ("DROP TABLE keyless", "keyless", "no such table")]:
        server, name = world.replica.server, f"{world.prefix}_changed"
        server.sql(f'CREATE DATABASE "{name}" TEMPLATE "{world.replica.name}"')
        try:
            changed = server.database(name, create=False)
            changed.sql(change)
            found = compare(world.source, changed)
            assert found and all(table in d for d in found) and sign in str(found), f"{change}: {found}"
        finally:
            server.drop_database(name)


def test_wait_equal_waits_and_gives_up(world):
    for database in (world.source, world.replica):
        database.sql("CREATE TABLE t (id int PRIMARY KEY)")
    wait_equal(world.source, world.replica, deadline_s=1)
    world.source.sql("INSERT INTO t VALUES (1)")
    try:
        wait_equal(world.source, world.replica, deadline_s=0.3)
    except Late as e:
        assert "missing in the replica" in str(e)
    else:
        raise AssertionError("a difference was not seen")


def test_kafka_dump_gives_back_the_bytes_that_kcat_sent(world):
    topic = f"{world.prefix}.roundtrip"
    world.kafka.create_topic(topic, 2, config={"retention.ms": "-1"})
    assert world.topics() == {topic: 2}

    def send(partition, payload, *more):
        subprocess.run(["kcat", "-b", world.kafka.brokers, "-P", "-t", topic, "-p", str(partition), *more], input=payload,
                       check=True, capture_output=True)
    send(0, b"k1\x01\x00\xff\xfe, =\x02", "-K", "\x01", "-D", "\x02", "-H", "position=1/2,3", "-H", "empty=")
    send(1, b"k2\x01", "-K", "\x01", "-Z")
    send(1, b"in a transaction", "-X", f"transactional.id={world.prefix}")
    records = world.kafka.dump(topic)
    assert [(r.partition, r.offset, r.key, r.value) for r in records] == [
        (0, 0, b"k1", b"\x00\xff\xfe, ="), (1, 0, b"k2", None), (1, 1, None, b"in a transaction")], records
    assert records[0].headers == {"position": b"1/2,3", "empty": b""}, records[0].headers
    assert kafka_count(world.kafka.brokers, topic) == 3, "a transaction's marker is no record"
    with Tail(world.kafka.brokers, topic) as tail:
        try:
            tail.next(0.5)
            raise AssertionError("what was there before came out")
        except TimeoutError:
            pass
        send(0, b"later")
        tail.next(10)


def test_servers_come_back_after_kill_9(world):
    server = world.postgres("killed", fsync=True)
    server.sql("CREATE TABLE t AS SELECT 1 AS id")
    pid = server.process.pid
    server.kill9()
    assert not running(pid)
    server.start()
    assert server.value("SELECT count(*) FROM t") == 1
    server.restart("immediate")
    kafka = world.private_kafka()
    kafka.create_topic("kept")
    kafka.kill9()
    kafka.start()
    assert "kept" in kafka.topics()
    kafka.restart(1)
    registry = world.private_registry()
    registry.kill9()
    registry.start()


def test_three_brokers_survive_the_death_of_one(world):
    kafka = world.private_kafka(nodes=3)
    kafka.create_topic("replicated", partitions=3)
    kafka.kill9(2)
    wait_until(lambda: len(kafka.dump("replicated")) == 0, 30, "all partitions are led again", ignore=(RuntimeError, TimeoutError, Late))
    kafka.start(2)


def test_postgresql_17_runs_beside_15(world):
    server = world.postgres("seventeen", version=17, auth="scram-sha-256", settings={"TimeZone": "Asia/Kathmandu"})
    assert server.value("SHOW server_version").startswith("17.")
    assert server.value("SHOW TimeZone") == "Asia/Kathmandu"
    assert server.value("SELECT lsn IS NOT NULL FROM pg_create_logical_replication_slot('s', 'pgoutput')")
    copy = server.base_backup(world.run, "copy")
    world._keep(copy).start()
    identifier = "SELECT system_identifier FROM pg_control_system()"
    assert copy.value(identifier) == server.value(identifier)
    assert copy.value("SELECT count(*) FROM pg_replication_slots") == 0
