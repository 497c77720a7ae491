"""Kafka: messages lost, late or refused, topics that are not as they were left, records that nobody can read."""
import re
import struct
import time

from harness import kafka_client, wire
from harness.clock import Late, now, wait_until
from harness.failure import failure
from harness.history import check_history
from harness.pipeline import capture_and_sink, confirmed, pipeline, stops, table, writing

# What a compacted topic made by hand must have (compaction_lag and delete_retention, seven days)
WEEK = {"cleanup.policy": "compact", "min.compaction.lag.ms": 604800000, "delete.retention.ms": 604800000}
TABLE = table(500)
RESNAPSHOT = "`millrace capture --config FILE --resnapshot` (or `run`); once that has begun, start the sink again, if it has stopped, too."


def resnapshot(capture):
    """Returns when the new snapshot's first records are committed."""
    mark = capture.log_size()
    capture.start("capture", "--resnapshot")
    capture.wait_log("room=capture msg=committed", 60, since=mark)


def mended_by_a_snapshot(world, m, tables=None):
    """A new snapshot, the sink goes on, and so does the stream; a replica that is built from the topics alone is equal, too."""
    m.start("run", "--resnapshot")
    world.wait_equal(tables)
    world.source.sql("insert into t values (-1, 'after'); update t set v = v || '!' where id % 3 = 0; delete from t where id = 5")
    world.wait_equal(tables)
    config = dict(m.config)
    config["sinks"] = config["sinks"] + [world.sink("replica2")]
    m.hup(config)
    world.wait_equal(tables, replica=world.replica2)
    m.term()


# ---- messages lost, late or refused ---------------------------------------------------------------------------------------
def through_faults(world, proxy, m, faults, tables=None):
    """For each: the fault is armed under load, strikes, and the pipeline goes on by itself. At the end nothing is missing and nothing twice."""
    for name, arm in faults.items():
        with writing(world):
            rule = arm()
            rule.wait(60)
            if rule.action == "hold":
                m.wait_log("will try again", 60, since=m.log_size())
            rule.release()
        try:
            world.wait_equal(tables)
        except Late as e:
            raise Late(f"{name}: {e}") from None
        assert m.alive(), f"{name}:\n{m.tail()}"
    check_history(world.kafka, world.prefix)


QUICK = {"transaction_timeout": "10s", "properties": {"socket.timeout.ms": "3000", "reconnect.backoff.max.ms": "500"}}


@failure("F86", "The end of a Kafka transaction is lost, or late",
         happens="The request that commits, or the answer to it, is lost or delayed. The client cannot know whether it was committed; a late request may even end the next transaction.",
         does="After any unknown outcome the producer is thrown away. A new one fences what is still under way, reads the newest commit record, and goes on from there.",
         todo="Nothing.", ends="equal")
def test_the_end_of_a_transaction_is_lost_or_late(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE, journal=QUICK)
    through_faults(world, proxy, m, {
        "request lost": lambda: proxy.drop("EndTxn"),
        "answer lost": lambda: proxy.drop("EndTxn", answer=True),
        "connection lost before": lambda: proxy.cut("EndTxn", after=2),
        "connection lost after": lambda: proxy.cut_after("EndTxn", after=1),
        "half of the answer": lambda: proxy.half("EndTxn", answer=True),
        "answer late": lambda: proxy.delay("EndTxn", 5, answer=True),
        "request late": lambda: proxy.delay("EndTxn", 5)})
    m.term()


def test_a_late_end_does_not_end_the_next_transaction(world):
    """The request is held up on its old connection; the client repeats it on a new one, is told that all is well, and goes on: then
    the first one arrives, when half of the next transaction is written."""
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE, journal=QUICK)
    late = proxy.hold("EndTxn")
    world.source.sql("update t set v = 'first' where id < 100")
    late.wait()
    half = proxy.hold("Produce", having=b".commits", after=0)
    world.wait_equal()  # repeated, and committed
    world.source.sql("update t set v = 'second' where id > 50")
    half.wait()
    late.release()
    wait_until(lambda: proxy.seen["EndTxn", True] > 1, 30, "the late request to be answered")
    half.release()
    world.source.sql("update t set v = 'third' where id % 7 = 0")
    world.wait_equal()
    check_history(world.kafka, world.prefix)
    m.term()


@failure("F83", "Records of a transaction are not acknowledged, or refused",
         happens="Deliveries time out or fail in the middle of a transaction; some clients then commit what is left.",
         does="Any record that is not acknowledged with its offset ends the transaction without a commit; it is shipped again, whole.", todo="Nothing.", ends="equal")
@failure("F85", "The broker loses count of the producer's batches",
         happens="The broker answers that a sequence number is out of order. Clients that bump their epoch and go on leave the first half of a transaction behind.",
         does="The error ends the producer. The commit record is the last record of each transaction, so half of one is never taken for whole.", todo="Nothing.", ends="equal")
def test_deliveries_fail_inside_a_transaction(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE, journal=QUICK)
    error = wire.Kafka.produce_error
    through_faults(world, proxy, m, {
        "out of order": lambda: proxy.rewrite("Produce", lambda data: error(data, 45), answer=True, after=1),
        "unknown producer": lambda: proxy.rewrite("Produce", lambda data: error(data, 59), answer=True),
        "not enough replicas": lambda: proxy.rewrite("Produce", lambda data: error(data, 19), answer=True, times=3),
        "answer lost": lambda: proxy.drop("Produce", answer=True),
        "request lost": lambda: proxy.drop("Produce", times=2),
        "half of the request": lambda: proxy.half("Produce"),
        "connection lost after": lambda: proxy.cut_after("Produce", times=2),
        "partitions not added": lambda: proxy.cut("AddPartitionsToTxn"),
        "partitions added unheard": lambda: proxy.drop("AddPartitionsToTxn", answer=True),
        "no new producer at first": lambda: proxy.cut_after("Produce") and proxy.cut("InitProducerId", answer=True) and proxy.drop("Produce")})
    m.term()


@failure("F87", "The brokers are away for longer than the transaction timeout",
         happens="After an outage the brokers have aborted our transaction and fenced its producer: the client reports that as a fatal error.",
         does="Opens a new producer and goes on. Only a commit record of another process makes it stop.", todo="Nothing.", ends="equal")
def test_the_brokers_are_away_for_longer_than_the_transaction_timeout(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE, journal={"transaction_timeout": "5s", "properties": {"socket.timeout.ms": "3000"}})
    with writing(world):
        proxy.hold("Produce").wait(30)  # a transaction is open
        proxy.freeze()
        until = now() + 12
        wait_until(lambda: now() > until or not m.alive(), 60, "twice the timeout to pass")
        proxy.clear()
        proxy.thaw()
    world.wait_equal()
    assert m.alive()
    check_history(world.kafka, world.prefix)
    m.term()


@failure("F88", "The transactional id has expired",
         happens="Nothing was written for longer than the brokers' `transactional.id.expiration.ms` (seven days): they have forgotten the producer.",
         does="Opens a new producer, reads the newest commit record, and goes on.", todo="Nothing.", ends="equal")
def test_the_transactional_id_expires(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE)
    with m.paused():
        until = now() + 16  # the brokers forget after 10 s, and look every second
        wait_until(lambda: now() > until, 60, "the id to expire")
        world.source.sql("update t set v = 'after a long sleep'")
    world.wait_equal()
    proxy.reset()
    world.source.sql("update t set v = 'and again'")
    world.wait_equal()
    check_history(world.kafka, world.prefix)
    m.term()


@failure("F89", "A capture process that was taken for dead comes back",
         happens="A process hangs for longer than every timeout, another takes over its work, and then the first wakes up.",
         does="One transactional id per pipeline: the first one's next commit fails. It finds the commit records of the other and stops, and tells the slot nothing after that.",
         todo="Stop one of the two.", ends="journal-fenced")
def test_a_zombie_capture_is_fenced(world):
    world.source.sql(TABLE)
    config = world.config(registry=False, sinks=[])
    sink = world.millrace(world.config(registry=False) | {"http": {}}, command="sink", name="sink")
    holder = world.millrace(config | {"http": {}}, command="capture", name="agent0")
    world.wait_equal()
    for i in range(1, 4):
        world.source.sql("insert into t select g, 'before' from generate_series(%s, %s) g", (i * 10000, i * 10000 + 2000))
        holder.pause()
        world.source.sql("update t set v = v || %s where id %% 3 = 0", (str(i),))
        next_one = world.millrace(config | {"http": {}}, command="capture", name=f"agent{i}")
        world.source.sql("select pg_terminate_backend(active_pid) from pg_replication_slots where active")
        wait_until(lambda: "msg=committed" in next_one.log_text(), 60, "the next one to have committed")
        holder.resume()
        world.source.sql("update t set v = v || '+' where id % 5 = 0")
        stops(holder, "journal-fenced")
        world.wait_equal()
        assert next_one.alive(), next_one.tail()
        holder = next_one
    assert confirmed(world)
    check_history(world.kafka, world.prefix)
    holder.term()
    sink.term()


@failure("F90", "A transaction hangs",
         happens="A capture process dies with a long transaction timeout; or another program leaves a transaction open on one of the topics. Readers of committed records wait for its end.",
         does="Its own: the next start ends it. A stranger's: the sink says which topic and partition waits for which offset.",
         todo="`kafka-transactions.sh find-hanging` and `abort`; keep other writers off the topics (ACLs).", ends="equal")
def test_a_hanging_transaction(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE, journal={"transaction_timeout": "600s"})
    with writing(world):
        proxy.hold("EndTxn").wait(30)
        m.kill9()
    proxy.clear()
    m.start()
    world.wait_equal()
    hanging = kafka_client.OpenTransaction(world.kafka.direct, f"{world.prefix}.public.t", 2)
    world.source.sql("update t set v = 'behind it'")
    m.wait_log("transaction.*open.*topic", 60)
    assert "kafka-transactions" in m.log_text() and world.replica.value("select count(*) from t where v = 'behind it'") == 0
    hanging.close()
    world.wait_equal()
    m.term()


@failure("F96", "A row is larger than the topic accepts",
         happens="The limit of a topic is 1 MB by default, and a value may have 1 GB.",
         does="Capture computes the record's size before it is sent, and stops; the position stays before the row.",
         todo="The message has the command: raise `max.message.bytes` of the topic; or leave the column out (`columns:`).", ends="row-too-large")
def test_a_row_larger_than_the_topic_accepts(world):
    m = pipeline(world, TABLE + "; create table big (id int primary key, b bytea); alter table big replica identity full; insert into big values (0, 'x')")
    m.term()
    world.source.sql("insert into t values (-7, 'before')")
    world.source.sql("insert into big select 2, string_agg(decode(repeat(md5(i::text), 62500), 'hex'), '') from generate_series(1, 20) i; insert into t values (-8, 'behind')")
    m.start()
    topic = f"{world.prefix}.public.big"
    stops(m, "row-too-large", topic, "max.message.bytes", "kafka-configs")
    kafka_client.alter_topic(world.kafka.direct, topic, WEEK | {"max.message.bytes": 64 << 20})
    m.start()
    world.wait_equal()
    assert world.replica.value("select max(length(b)) from big") == 20 * 1000000
    check_history(world.kafka, world.prefix)
    m.term()


# ---- topics that are not as they were left --------------------------------------------------------------------------------
@failure("F92a", "A table's topic is deleted at the broker, or deleted and made anew",
         happens="Somebody tidies up, or a tool makes topics anew. Sinks that have not read it, and replicas that are built later, would miss rows.",
         does="Capture compares each topic it has written to with its commit records when it starts, and each acknowledged offset with the "
              "one before: it stops. A sink stops where the offsets it needs are not there.",
         todo=RESNAPSHOT + " The snapshot begins such topics anew, and every sink reads them from their beginning.", ends="journal-topic journal-gap")
def test_a_topic_is_deleted_or_made_anew(world):
    m = pipeline(world, TABLE)
    topic = f"{world.prefix}.public.t"
    m.term()
    world.kafka.delete_topics([topic])
    wait_until(lambda: topic not in world.kafka.topics(), 20, "the topic to be gone")
    stops(m.start(), "journal-topic", topic, "--resnapshot")
    world.source.sql("insert into t values (1000, 'written while it was gone')")
    m.start("run", "--resnapshot")
    world.wait_equal()
    # Under a running capture, and with records of somebody else in it.
    world.kafka.delete_topics([topic])
    wait_until(lambda: topic not in world.kafka.topics(), 20, "the topic to be gone")
    world.kafka.create_topic(topic, 4, config=WEEK)
    with writing(world, every_s=0.05):
        stops(m, "journal-topic", topic, "--resnapshot")
    world.kafka.delete_topics([topic])
    mended_by_a_snapshot(world, m)


@failure("F93", "The number of a topic's partitions is raised",
         happens="`kafka-topics --alter --partitions`: from then on a key's changes would stand in two partitions, in no order.",
         does="A running capture keeps to the partitions it knows. At its next start it stops.", todo=RESNAPSHOT, ends="journal-topic")
def test_partitions_are_added(world):
    m = pipeline(world, TABLE)
    topic = f"{world.prefix}.public.t"
    kafka_client.add_partitions(world.kafka.direct, topic, 6)
    world.source.sql("update t set v = v || ' moved?' where id < 300; delete from t where id = 7")
    world.wait_equal()
    m.term()
    stops(m.start(), "journal-topic", topic, "6 partitions", "expected 4", "--resnapshot")
    mended_by_a_snapshot(world, m)


@failure("F91", "Somebody's setting would spread the keys in another way",
         happens="Kafka's clients hash keys in different ways; with another hash, or another number of partitions in the file, a key would move.",
         does="Millrace computes the partition itself, over the key's canonical bytes, and keeps the number that a topic was made with. The "
              "client's `partitioner` cannot be set.", todo="Nothing.", ends="equal config")
def test_another_partitioner_and_another_number_in_the_file(world):
    m = pipeline(world, TABLE)
    m.term()
    config = dict(m.config)
    config["journal"]["kafka"] |= {"partitions": 9, "properties": {"partitioner": "murmur2"}}
    m.write_config(config)
    rc, _, err = m.run_cli("config", "check")
    assert rc == 3 and "partitioner" in err, err
    config["journal"]["kafka"]["properties"] = {}
    m.write_config(config)
    m.start()
    world.source.sql("update t set v = 'again' where id % 2 = 0; update t set id = id + 10000 where id < 100")
    world.wait_equal()
    m.term()
    where = {}
    for record in world.kafka.dump(f"{world.prefix}.public.t"):
        if b"public.t" not in record.key:  # the truncate of the snapshot stands in every partition
            assert where.setdefault(record.key, record.partition) == record.partition, record
    assert len(set(where.values())) == 4 and world.topics()[f"{world.prefix}.public.t"] == 4


@failure("F94d", "A topic forgets sooner than the configuration says",
         happens="Made by hand, altered, or older than a configuration that was raised: compaction then removes deletes before `compaction_lag` and `delete_retention` are over, and a sink that "
                 "was away trusts the configuration.",
         does="Capture compares the settings of each compacted topic when it opens it, and stops; so does `millrace doctor`.", todo="The message has the command.", ends="journal-topic")
def test_a_topic_that_forgets_sooner(world):
    m = pipeline(world, TABLE)
    m.term()
    topic = f"{world.prefix}.public.t"
    kafka_client.alter_topic(world.kafka.direct, topic, {"cleanup.policy": "compact"})
    world.source.sql("update t set v = 'kept'")
    stops(m.start(), "journal-topic", topic, "min.compaction.lag.ms=604800000,delete.retention.ms=604800000")
    rc, out, _ = m.run_cli("doctor")
    assert rc == 1 and "forgets sooner" in out, out
    kafka_client.alter_topic(world.kafka.direct, topic, WEEK)
    m.start()
    world.wait_equal()
    m.term()


@failure("F94", "Compaction has removed old changes and tombstones before a replica is built",
         happens="Only the newest record of each key is left, and of deleted keys nothing. A reader that was in the middle would keep what was deleted.",
         does="Topics keep every change for `compaction_lag` and tombstones for `delete_retention` (seven days). A sink that is built, or was away for long, reads up to the newest "
              "commit record before its first commit, and a tombstone deletes by itself.",
         todo="Nothing.", ends="equal")
@failure("F95", "Changes are older than a topic's retention",
         happens="A record with the time of the source's commit would be deleted at once where a topic has retention; one from the future never.",
         does="Records carry the time at which they were produced; the source's time stands in the value.", todo="Nothing.", ends="equal")
def test_compaction_removes_what_is_old(world):
    world.use_proxied_kafka()
    m = pipeline(world, TABLE)
    topic = f"{world.prefix}.public.t"
    world.source.sql("delete from t where id % 5 = 0; update t set id = id + 20000 where id < 50")
    m.term()
    world.source.sql("update t set v = 'older than its record'")
    written = time.time()
    wait_until(lambda: time.time() > written + 2, 10, "the change to be old")
    m.start()
    world.wait_equal()
    newest = [r for r in world.kafka.dump(topic) if b"older than its record" in (r.value or b"")]
    assert newest and all(r.timestamp_ms > (written + 1.5) * 1000 for r in newest)
    kafka_client.alter_topic(world.kafka.direct, topic, {"cleanup.policy": "compact", "segment.ms": 100, "min.cleanable.dirty.ratio": 0.01,
                                                         "min.compaction.lag.ms": 0, "delete.retention.ms": 100, "max.compaction.lag.ms": 1000})

    def compacted():
        world.source.sql("update t set v = v || '.' where id % 3 = 0")
        return sum(1 for r in world.kafka.dump(topic) if r.value is None) == 0
    wait_until(compacted, 60, "the tombstones to be gone", every_s=0.5)
    assert len({r.key for r in world.kafka.dump(topic)}) < 500
    world.wait_equal()
    config = dict(m.config)
    config["sinks"] = config["sinks"] + [world.sink("replica2")]
    m.hup(config)
    world.wait_equal(replica=world.replica2)
    m.term()


@failure("F97", "Two of three brokers die",
         happens="What only one broker has may be lost; with unclean leader election, what was acknowledged is.",
         does="Where topics have three replicas and `min.insync.replicas` is 2, nothing is acknowledged to the source until the brokers are back. A topic with unclean leader election is "
              "refused at the start; Millrace does not set these, see *What must stay true on the broker* in `guarantees.md`.",
         todo="Bring the brokers back. For the setting: the message has the command.", ends="equal journal-topic")
def test_two_of_three_brokers_die(world):
    kafka = world.private_kafka(nodes=3)
    m = pipeline(world, TABLE, journal={"replication": 3})
    with writing(world, every_s=0.05):
        for node in (2, 3):
            kafka.kill9(node)
        m.wait_log("name=journal-unreachable", 120)
        for node in (2, 3):
            kafka.launch(node)
        kafka.wait_ready()
    world.wait_equal(deadline_s=120)
    check_history(kafka, world.prefix)
    m.term()
    topic = f"{world.prefix}.public.t"
    kafka_client.alter_topic(kafka.direct, topic, WEEK | {"unclean.leader.election.enable": "true"})
    world.source.sql("update t set v = 'not yet'")
    stops(m.start(), "journal-topic", topic, "unclean.leader.election.enable=false")
    kafka_client.alter_topic(kafka.direct, topic, WEEK)
    m.start()
    world.wait_equal()
    m.term()


@failure("F94c", "A sink was away for longer than deletes are remembered, or takes longer to be built",
         happens="Compaction removes a deleted row's tombstone `delete_retention` after the row itself. Who has read the row before and comes afterwards never hears of the delete.",
         does="The sink compares the age of what it reads next, and how long it has been reading, with `compaction_lag` and `delete_retention`, and stops before it applies anything.",
         todo="`millrace replay --sink NAME`. If a build takes that long: raise `delete_retention`, for the topics that exist with `kafka-configs` as the message says.", ends="journal-gap")
def test_a_sink_comes_too_late_to_hear_of_deletes(world):
    capture, sink = capture_and_sink(world, TABLE, journal={"compaction_lag": "1s", "delete_retention": "5s"})
    sink.term()
    topic = f"{world.prefix}.public.t"
    world.source.sql("delete from t where id > 400")
    wait_until(lambda: len([r for r in world.kafka.dump(topic) if r.value is None]) == 100, 30, "the deletes to be in the topic")
    written = time.time()
    wait_until(lambda: time.time() > written + 7, 10, "the deletes to be old")
    stops(sink.start("sink"), "journal-gap", topic, "was away for too long", "millrace replay --sink")
    assert world.replica.value("select count(*) from t") == 500, "something was applied"
    sink.run_cli("replay", "--sink", "replica")
    with world.replica.connect() as session, session.cursor() as cursor:  # a build that takes longer than deletes are kept
        cursor.execute("LOCK TABLE t IN ACCESS EXCLUSIVE MODE")
        mark = sink.log_size()
        sink.start("sink")
        sink.wait_log("building the replica", 30, since=mark)
        begun = time.time()
        wait_until(lambda: time.time() > begun + 6, 10, "the build to be slow")
    stops(sink, "journal-gap", topic, "has been reading", "delete.retention.ms")
    sink.start("sink")
    world.wait_equal()
    sink.term()
    capture.term()


@failure("F94b", "The brokers have deleted records that a sink still needs",
         happens="Retention was set on a topic by hand, or its records were deleted, while a sink was away.",
         does="Capture refuses topics with retention when it starts. The sink that finds its offset gone stops, before it applies anything behind the hole.",
         todo="Mend the retention, or delete the topic; then " + RESNAPSHOT, ends="journal-gap")
def test_retention_overtakes_a_sink(world):
    capture, sink = capture_and_sink(world, TABLE)
    sink.term()
    world.source.sql("update t set v = 'missed'; delete from t where id > 400")
    topic = f"{world.prefix}.public.t"
    wait_until(lambda: len([r for r in world.kafka.dump(topic) if r.value is None]) == 100, 30, "the changes to be in the topic")
    capture.term()
    kafka_client.alter_topic(world.kafka.direct, topic, WEEK | {"cleanup.policy": "compact,delete", "retention.ms": -1})
    kafka_client.delete_records(world.kafka.direct, topic, {p: -1 for p in range(4)})
    world.source.sql("insert into t values (9000, 'behind the hole')")
    capture.start("capture")
    stops(sink.start("sink"), "journal-gap", topic, "--resnapshot")
    assert world.replica.value("select count(*) from t") == 500, "something was applied"
    capture.term()
    world.kafka.delete_topics([topic])
    resnapshot(capture)
    sink.start("sink")
    world.wait_equal()
    sink.term()
    capture.term()


@failure("F92b", "Another prefix, another Kafka, or the commits topic is gone",
         happens="`topic_prefix` or `brokers` of a running pipeline is changed, or `<prefix>.commits` is deleted. Positions and offsets of the replica then "
                 "speak of another journal.",
         does="Each journal has a random name, which stands in its commit records and in the replica. A sink that finds another one stops. Capture "
              "stops where topics hold records and there is no commit record.",
         todo="Put the settings back; or `millrace replay --sink NAME`, which builds the replica from the journal that is there now.", ends="journal-other journal-topic")
def test_a_sink_is_given_another_journal(world):
    m = pipeline(world, TABLE)
    m.term()
    config = dict(m.config)
    first = config["journal"]["kafka"]["topic_prefix"]
    config["journal"]["kafka"]["topic_prefix"] = second = f"{world.prefix}.other"
    m.write_config(config)
    world.source.sql("delete from t where id < 50; insert into t values (2000, 'in the other journal')")
    m.start()
    m.wait_log("name=journal-other.*replay --sink replica", 60)
    m.term()
    assert world.replica.value("select count(*) from t where id < 50") == 49, "something was applied"
    rc, out, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    m.start()
    world.wait_equal()
    m.term()
    world.kafka.delete_topics([f"{second}.commits"])
    wait_until(lambda: f"{second}.commits" not in world.kafka.topics(), 20, "the topic to be gone")
    stops(m.start(), "journal-topic", f"{second}.commits", "topic_prefix")
    config["journal"]["kafka"]["topic_prefix"] = first
    m.write_config(config)
    mark = m.log_size()
    m.start("run", "--resnapshot")
    m.wait_log("name=journal-other", 60, since=mark)
    m.term()
    assert m.run_cli("replay", "--sink", "replica")[0] == 0
    m.start()
    world.wait_equal()
    m.term()


@failure("F98c", "Brokers that take connections and never answer, or nobody listens",
         happens="A firewall, a hung broker, a wrong port.",
         does="Says what it waits for, and tries again for ever; the source keeps its log meanwhile. Commands that look once give up in time. Stopping takes no longer than ever.",
         todo="Nothing, once the brokers are back.", ends="equal journal-unreachable")
def test_brokers_that_never_answer(world):
    proxy = world.use_proxied_kafka()
    m = pipeline(world, TABLE)
    for line in ("frozen", "refused"):
        proxy.refuse() if line == "refused" else proxy.freeze()
        world.source.sql("update t set v = v || %s where id %% 2 = 0", (line[0],))
        begun = now()
        rc, out, _ = m.run_cli("doctor")
        assert rc == 1 and "journal-unreachable" in out or "no answer" in out, out
        rc, out, _ = m.run_cli("status")
        assert "journal-unreachable" in out, out
        assert now() - begun < 60, "the commands took too long"
        m.term()
        mark = m.log_size()
        m.start()
        m.wait_log("name=journal-unreachable", 60, since=mark)
        m.term()
        m.start()
        proxy.accept() if line == "refused" else proxy.thaw()
        world.wait_equal()
    m.term()


# ---- records that nobody can read -----------------------------------------------------------------------------------------
def forge(world, topic, change):
    """Puts a record of a stranger into the topic, with a position that is the next one's turn: change(key, value) -> value."""
    record = next(r for r in reversed(world.kafka.dump(topic)) if r.value is not None and b"public." not in r.key)
    lsn = world.source.value("select pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::bigint")
    header = record.headers["millrace"]
    header = header[:1] + b"\0" + header[2:10] + struct.pack(">QQ", lsn, 1) + header[26:]
    value, headers = change(record.value, header)
    kafka_client.produce(world.kafka.direct, topic, record.partition, record.key, value, headers)


CORRUPT = {
    "bad magic": (lambda value, h: (b"\7" + value[1:], {"millrace": h}), "journal-corrupt"),
    "unknown schema id": (lambda value, h: (value[:1] + struct.pack(">I", 987654) + value[5:], {"millrace": h}), "schema-unknown"),
    "truncated": (lambda value, h: (value[:len(value) // 2], {"millrace": h}), "journal-corrupt"),
    "a length of 2^62": (lambda value, h: (value[:5] + b"\xfe" * 8 + b"\x7f" * 2 + value[5:], {"millrace": h}), "journal-corrupt"),
    "nothing but the frame": (lambda value, h: (value[:5], {"millrace": h}), "journal-corrupt"),
    "no header of ours": (lambda value, h: (value, {}), "journal-corrupt"),
    "a short header": (lambda value, h: (value, {"millrace": h[:9]}), "journal-corrupt"),
}


@failure("F98a", "A record in a topic cannot be read",
         happens="Another program wrote to the topic, or bytes were damaged: a bad magic byte, an unknown schema id, a truncated or absurd Avro value, no header.",
         does="`consistency: transaction`: the sink stops at the commit before it and names topic, partition and offset. `consistency: key`: that table is parked, the others go on.",
         todo="A record cannot be taken out of a topic. Delete the topic (`kafka-topics --delete --topic T`), then " + RESNAPSHOT, ends="journal-corrupt schema-unknown")
def test_a_corrupt_record_stops_the_sink(world):
    capture, sink = capture_and_sink(world, TABLE)
    topic = f"{world.prefix}.public.t"
    for i, what in enumerate(("truncated", "unknown schema id")):
        change, name = CORRUPT[what]
        before = world.replica.value("select count(*) from t")
        forge(world, topic, change)
        world.source.sql("insert into t select g, 'behind' from generate_series(%s, %s) g", (10000 + i * 100, 10000 + i * 100 + 40))
        stops(sink, name, topic, "offset")
        assert world.replica.value("select count(*) from t") == before, what
        capture.term()
        world.kafka.delete_topics([topic])
        wait_until(lambda: topic not in world.kafka.topics(), 20, "the topic to be gone")
        resnapshot(capture)
        sink.start("sink")
        world.wait_equal()
    sink.term()
    capture.term()


def test_corrupt_records_park_their_tables_in_key_mode(world):
    """Every kind at once, each in a table of its own; the good table goes on, and one snapshot mends them all."""
    tables = {f"t{i}": kind for i, kind in enumerate(CORRUPT.values())}
    topics = [f"{world.prefix}.public.{t}" for t in tables]
    capture, sink = capture_and_sink(
        world, "; ".join(f"create table {t} (id int primary key, v text); alter table {t} replica identity full; insert into {t} values (1, 'x'), (2, 'y')"
                         for t in (*tables, "u")), sinks=[world.sink(consistency="key", workers=1)], journal={"partitions": 1})
    sink.term()  # so that the first change that the next process sees of a table is the one that cannot be read
    for topic, (change, _) in zip(topics, tables.values()):
        forge(world, topic, change)
    world.source.sql("; ".join(f"update {t} set v = 'behind'" for t in (*tables, "u")))
    sink.start("sink")
    wait_until(lambda: len(sink.sink_status("replica").get("parked", [])) == len(tables), 60, "every bad table to be parked", every_s=0.5)
    wait_until(lambda: world.replica.value("select count(*) from u where v = 'behind'") == 2, 30, "the good table to go on")
    for topic, (_, name) in zip(topics, tables.values()):
        assert re.search(f"msg=\"table parked.*topic={topic} name={name} .*offset ", sink.log_text()), topic + sink.tail()
    assert all(world.replica.value(f"select count(*) from {t} where v = 'behind'") == 0 for t in tables), "something was applied"
    capture.term()
    world.kafka.delete_topics(topics)
    wait_until(lambda: not set(topics) & set(world.kafka.topics()), 20, "the topics to be gone")
    resnapshot(capture)
    sink.term()
    sink.start("sink")
    world.wait_equal()
    wait_until(lambda: sink.sink_status("replica").get("parked") == [], 30, "nothing to be parked any more")
    sink.term()
    capture.term()


for slow in (test_a_corrupt_record_stops_the_sink, test_the_end_of_a_transaction_is_lost_or_late, test_deliveries_fail_inside_a_transaction, test_two_of_three_brokers_die):
    slow.timeout_s = 300
