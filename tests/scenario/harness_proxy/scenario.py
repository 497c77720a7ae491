"""The proxy between a program and its servers: what it passes, drops, holds, cuts and rewrites is what a test asked for."""
import threading
import urllib.error
import urllib.request

import psycopg2

from harness import kafka_client, wire
from harness.clock import now, wait_until


def test_postgres_by_message(world):
    world.source.sql("CREATE TABLE t (id int)")
    proxy = world.proxy(world.source, wire.Postgres)

    def connect():
        return psycopg2.connect(proxy.through(world.source.url()), connect_timeout=5)

    def insert(n):
        connection = connect()
        connection.cursor().execute("INSERT INTO t VALUES (%s)", (n,))
        connection.commit()
        connection.close()

    def fails(n):
        try:
            insert(n)
        except psycopg2.OperationalError:
            return True
    insert(1)
    lost = proxy.cut("Q", having=b"COMMIT")
    assert fails(2) and lost.acted == 1
    done = proxy.cut_after("Q", having=b"COMMIT")
    assert fails(3) and done.acted == 1
    wait_until(lambda: world.source.sql("SELECT id FROM t ORDER BY id") == [(1,), (3,)], 5, "the COMMIT that arrived to hold")
    half = proxy.half("Q", having=b"COMMIT")
    assert fails(4) and half.acted == 1
    proxy.cut_at[False] = 30
    assert fails(5)
    held = proxy.hold("Q", having=b"COMMIT")
    thread = threading.Thread(target=insert, args=(6,), daemon=True)
    thread.start()
    held.wait()
    assert world.source.sql("SELECT id FROM t ORDER BY id") == [(1,), (3,)]
    held.release()
    thread.join()
    assert world.source.sql("SELECT id FROM t ORDER BY id") == [(1,), (3,), (6,)]
    # What is held arrives even when nobody waits for it any more.
    held = proxy.hold("Q", having=b"COMMIT")
    connection = connect()
    connection.cursor().execute("INSERT INTO t VALUES (7)")
    threading.Thread(target=lambda: fails_to_commit(connection), daemon=True).start()
    held.wait()
    proxy.reset()
    held.release()
    wait_until(lambda: (7,) in world.source.sql("SELECT id FROM t"), 5, "the late COMMIT")
    proxy.refuse()
    assert fails(8)
    proxy.accept()
    proxy.latency_s = 0.05
    begun = now()
    insert(9)
    assert now() - begun > 0.3
    proxy.latency_s = 0
    connection = connect()
    connection.autocommit = True
    proxy.freeze(requests=False)  # one way only
    thread = threading.Thread(target=lambda: connection.cursor().execute("INSERT INTO t VALUES (10)"), daemon=True)
    thread.start()
    wait_until(lambda: (10,) in world.source.sql("SELECT id FROM t"), 10, "the request to come through")
    assert thread.is_alive()
    proxy.thaw()
    thread.join()


def fails_to_commit(connection):
    try:
        connection.commit()
    except psycopg2.OperationalError:
        pass


def test_kafka_by_message(world):
    kafka = world.private_kafka(proxied=True)
    proxy = kafka.proxies[1]
    kafka.create_topic("t", 2)
    assert kafka_client.topics(kafka.brokers) == {"t": 2}
    assert proxy.seen["Metadata", False] and proxy.seen["Metadata", True]
    slow = proxy.delay("Metadata", 0.5, answer=True)
    begun = now()
    assert kafka_client.topics(kafka.brokers) == {"t": 2}
    assert now() - begun > 0.5 and slow.acted == 1
    lost = proxy.drop("Metadata", times=None)
    try:
        kafka_client.topics(kafka.brokers, timeout_ms=1000)
        raise AssertionError("an answer came")
    except RuntimeError:
        pass
    lost.end()
    assert kafka_client.topics(kafka.brokers) == {"t": 2} and lost.acted


def test_http_by_message(world):
    proxy = world.proxy(world.registry, wire.Http)
    url = proxy.through(world.registry.url()) + "/subjects"

    def ask():
        with urllib.request.urlopen(url, timeout=10) as answer:
            return answer.read()
    assert ask().startswith(b"[")
    proxy.rewrite("GET */subjects", lambda _: wire.Http.answer(503, b"{}"), answer=True)
    try:
        ask()
        raise AssertionError("no error came")
    except urllib.error.HTTPError as e:
        assert e.code == 503
    proxy.half("GET */subjects", answer=True)
    try:
        ask()
        raise AssertionError("a whole answer came")
    except OSError:
        pass
    except Exception as e:  # the head was whole, or not
        assert "IncompleteRead" in repr(e) or "RemoteDisconnected" in repr(e) or "BadStatus" in repr(e), repr(e)
    slow, begun = proxy.trickle("GET */subjects", 1, answer=True), now()
    assert ask().startswith(b"[") and now() - begun > 0.9 and slow.acted == 1
