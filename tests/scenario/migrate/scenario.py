"""A pipeline goes from the embedded journal to Kafka while its source is written to: no new snapshot, nothing lost, nothing twice."""
import json
import random
import signal
import subprocess
from contextlib import closing

from harness.clock import wait_until
from harness.history import check_history
from harness.kafka_client import kafka_read
from harness.pipeline import stops, table, writing

MANY = table(5000) + """;
create table log (body text, n int); alter table log replica identity full; insert into log select 'same', 1 from generate_series(1, 5);
create table moved (id int primary key, v text); alter table moved replica identity full; insert into moved select i, 'x' from generate_series(1, 500) i
"""
HISTORY = """update t set v = v || '!' where id % 3 = 0; delete from t where id % 50 = 0; update moved set id = id + 1000 where id % 7 = 0;
truncate log; insert into log values ('again', 2); alter table moved add column note text default 'n'; update moved set note = 'set' where id < 100"""


def journals(world, sinks=None):
    """Configurations that differ in their journal alone: one file, and Kafka with a registry."""
    kafka = world.config(sinks=sinks, journal={"partitions": 1})
    embedded = world.config(sinks=sinks, registry=False)
    embedded["journal"] = {"embedded": {"path": str(world.run.sub("journal").path / "j"), "topic_prefix": world.prefix}}
    return embedded, kafka


def migrating(old, new, **options):
    return old.run_cli("migrate-journal", "--to", new.path, deadline_s=120, **options)


def last_commit(world):
    """The newest commit record in Kafka, {} if there is none."""
    topic = f"{world.prefix}.commits"
    records = list(kafka_read(world.kafka.brokers, topic)) if topic in world.topics() else []
    return json.loads(records[-1].value) if records else {}


def test_a_running_pipeline_goes_on_in_kafka_without_a_snapshot(world):
    world.source.sql(MANY)
    sinks = [world.sink(), world.sink("replica2", consistency="key", workers=2)]
    embedded, kafka = journals(world, sinks)
    old, new = world.millrace(embedded, name="old"), world.millrace(kafka, name="new", start=False)
    world.wait_equal()
    world.source.sql(HISTORY)
    with writing(world, sessions=2):
        code, out, err = migrating(old, new)
        assert code == 0, err
        assert "moved" in out and str(new.path) in out, out
        stops(old, "journal-moved")
        assert old.start().wait(60) == 5, "the old journal is sealed"
        new.start()
        world.source.sql("update moved set note = 'after' where id % 2 = 0")
    world.wait_equal()
    world.wait_equal(replica=world.replica2)
    assert last_commit(world)["position"][0] == 1, "a new snapshot was taken"
    check_history(world.kafka, world.prefix)
    code, out, err = migrating(old, new)
    assert code == 5 and "after it had moved" in err, err
    third = world.postgres("third", database="third")
    new.config["sinks"].append(world.sink("third", to=third))
    new.hup(new.config)
    wait_until(lambda: new.sink_status("third").get("state") == "current", 60, "a sink that is built from the new journal")
    world.wait_equal(replica=third)
    new.term()


def test_a_move_is_killed_again_and_again(world):
    """Until it is done nobody else may write to the new journal, and sinks wait."""
    world.source.sql(MANY)
    embedded, kafka = journals(world)
    old, new = world.millrace(embedded, name="old"), world.millrace(kafka, name="new", start=False)
    world.wait_equal()
    world.source.sql(HISTORY)
    dice, copying = random.Random(3), False
    with writing(world):
        for round in range(8):
            log = open(old.dir / f"move{round}", "wb")
            process = subprocess.Popen([old.binary, "migrate-journal", "--config", str(old.path), "--to", str(new.path)], stdout=log, stderr=log)
            try:
                process.wait(dice.uniform(0.05, 1.5))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
            if process.returncode == 0:
                break
            if not copying and last_commit(world).get("move") == "copying":
                copying = True
                old.term() if old.alive() else None
                stops(new.start("capture"), "journal-moved")
                old.start()
        code, out, err = migrating(old, new)
        assert code == 0, err
        assert old.wait(60) == 5
        new.start()
    world.wait_equal()
    check_history(world.kafka, world.prefix)
    new.term()


def test_a_sink_that_was_behind_ends_the_old_journal_first(world):
    world.source.sql(table(2000))
    embedded, kafka = journals(world)
    capture = world.millrace(embedded | {"sinks": []}, "capture", "capture")
    sink = world.millrace(embedded | {"http": {}}, "sink", "sink")
    new = world.millrace(kafka, name="new", start=False)
    world.wait_equal()
    sink.term()
    world.source.sql("update t set v = 'the sink is away'")
    wait_until(lambda: ((capture.status_json() or {}).get("source") or {}).get("lag_bytes") == 0, 30, "capture to have everything")
    code, out, err = migrating(sink, new)
    assert code == 0, err
    world.source.sql("update t set v = v || '!' where id = 1")
    assert capture.wait(60) == 5, capture.tail()
    new.start("sink")
    stops(new, "journal-other", "had not applied everything", "--sink replica")
    stops(sink.start("sink"), "journal-moved")
    new.start("run")
    world.wait_equal()
    check_history(world.kafka, world.prefix)
    new.term()


def test_a_transaction_that_the_seal_cuts_is_read_again_from_the_source(world):
    world.source.sql(table(2000))
    embedded, kafka = journals(world, [world.sink(), world.sink("replica2", consistency="key", workers=1)])
    old = world.millrace(embedded | {"capture": {"batch_bytes": "64kB"}}, name="old")
    new = world.millrace(kafka, name="new", start=False)
    world.wait_equal()
    with closing(world.source.connect(autocommit=False)) as connection, connection.cursor() as cursor:
        cursor.execute("update t set v = 'one large transaction ' || i from generate_series(1, 100) i; insert into t select i, repeat('x', 100) from"
                       " generate_series(100000, 180000) i")
        connection.commit()
    taken = lambda: old.metric("millrace_capture_changes_total", table="public.t") or 0  # noqa: E731
    begun = taken()
    wait_until(lambda: taken() > begun + 5000, 60, "capture to be inside of the transaction", every_s=0.02)
    code, out, err = migrating(old, new)
    assert code == 0, err
    stops(old, "journal-moved")
    new.start()
    world.wait_equal(deadline_s=120)
    world.wait_equal(replica=world.replica2, deadline_s=120)
    check_history(world.kafka, world.prefix)
    new.term()


def test_a_move_that_cannot_be_is_refused_by_name(world):
    world.source.sql(table(10))
    embedded, kafka = journals(world)
    old, new = world.millrace(embedded, name="old", start=False), world.millrace(kafka, name="new", start=False)
    code, out, err = migrating(old, new)
    assert code == 3 and "empty" in err, err
    other = world.millrace(kafka | {"journal": {"kafka": kafka["journal"]["kafka"] | {"topic_prefix": world.prefix + "x"}}}, name="other", start=False)
    old.start()
    world.wait_equal()
    code, out, err = migrating(old, other)
    assert code == 3 and "topic_prefix" in err, err
    code, out, err = old.run_cli("migrate-journal")
    assert code == 2 and "--to" in err, err
    old.term()
    new.start("capture")
    wait_until(lambda: f"{world.prefix}.commits" in world.topics(), 60, "a pipeline in Kafka", every_s=0.1)
    wait_until(lambda: last_commit(world), 60, "a commit record", every_s=0.1)
    new.term()
    code, out, err = migrating(old, new)
    assert code == 5 and "journal-other" in err and "not empty" in err, err
