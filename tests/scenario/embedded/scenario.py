"""A database is shipped through a journal that is one file: no broker, no registry; killed at will, everything arrives once."""
import json
import random
import re
import sqlite3
import time
from pathlib import Path

from harness.clock import wait_until
from harness.failure import failure

SHOP = """
create table item (id bigint primary key, name text, n int); create table log (body text, n int);
alter table item replica identity full; alter table log replica identity full;
insert into item select i, 'item ' || i, i from generate_series(1, 3000) i;
insert into log select 'same', 1 from generate_series(1, 5);
"""


def embedded(world, **options):
    config = world.config(journal="embedded")
    config["journal"]["embedded"] |= options
    return config


def change(world, rounds, seed):
    """Transactions of all sizes, that also meet the rows of one another."""
    dice = random.Random(seed)
    for _ in range(rounds):
        low = dice.randrange(1, 3000)
        world.source.sql(f"""begin; update item set n = n + 1 where id between {low} and {low + dice.randrange(1, 200)};
                             delete from item where id = {low}; insert into item values ({low}, 'again', 0);
                             insert into log values ('x', {low}); commit""")


def test_a_snapshot_then_changes_arrive_without_a_broker(world):
    world.source.sql(SHOP)
    m = world.millrace(embedded(world))
    world.wait_equal(types=True)
    change(world, 20, 1)
    world.source.sql("alter table item add column note text; update item set note = repeat('y', 5000) where id < 500")
    world.wait_equal()
    m.term()
    m.start("run")
    change(world, 5, 2)
    world.wait_equal()
    m.term()


def test_a_configuration_without_a_journal_has_the_embedded_one(world):
    world.source.sql(SHOP)
    state = world.run.sub("state").path
    config = world.config(journal="embedded")
    del config["journal"]
    m = world.millrace(config, start=False, env={"STATE_DIRECTORY": str(state)})
    assert m.run_cli("config", "check")[0] == 0
    assert not any(state.iterdir()), "looking at the file makes nothing"
    m.start("run")
    world.wait_equal()
    change(world, 5, 1)
    world.wait_equal()
    assert m.status_json()["journal"]["state"] == "ok"
    assert (state / f"{world.prefix}.journal").exists()
    m.term()
    apart = dict(config)
    del apart["source"]
    rc, _out, said = world.millrace(apart, start=False, name="apart", env=m.env).run_cli("sink")
    assert rc == 3 and "topic_prefix" in said, said


@failure("J2", "Processes of a pipeline with an embedded journal are killed",
         happens="Capture or a sink dies at any point: while it writes to the file, while it writes the log back, in the middle of compaction.",
         does="What was called durable is there, whole and once; what was not finished is never seen, and the next writer sweeps it. Others go on meanwhile.",
         todo="Nothing.", ends="equal",
         by=["unit/journal/test_embedded_crash/a_killed_writer_loses_nothing_that_was_durable",
             "unit/journal/test_embedded_crash/a_killed_compaction_keeps_the_newest_of_every_key"])
def test_capture_and_sinks_are_processes_of_their_own_and_are_killed(world):
    world.source.sql(SHOP)
    capture, sink = world.millrace(embedded(world), "capture", "capture"), world.millrace(embedded(world), "sink", "sink")
    dice = random.Random(7)
    for i in range(12):
        change(world, 8, i)
        victim, command = dice.choice([(capture, "capture"), (sink, "sink")])
        time.sleep(dice.random() * 0.3)
        victim.kill9()
        victim.start(command)
    world.wait_equal(deadline_s=120)
    capture.term()
    sink.term()


def test_a_new_replica_is_built_from_the_file(world):
    world.source.sql(SHOP)
    config = embedded(world)
    m = world.millrace(config)
    world.wait_equal()
    change(world, 20, 3)
    world.wait_equal()
    m.term()
    config["sinks"].append(world.sink("replica2"))
    m = world.millrace(config, name="both")
    world.wait_equal(replica=world.replica2)
    change(world, 5, 4)
    world.wait_equal()
    world.wait_equal(replica=world.replica2)
    m.term()


@failure("J1", "The embedded journal reaches its budget, or its disk is full",
         happens="More is to be kept than `budget` allows (a sink was added late, compaction_lag is long, a burst), or the file system has no room.",
         does="Capture stops taking changes, says so, and tries again; nothing more is confirmed to the source, whose slot holds the rest. It goes on by itself as soon as there is room.",
         todo="Raise `journal.embedded.budget` (the disk must have it), or let less be kept; watch the WAL that the slot holds.", ends="journal-full equal",
         by=["unit/journal/test_embedded_upkeep/at_the_budget_capture_waits_and_goes_on_when_there_is_room",
             "unit/journal/test_embedded_file/a_full_disk_is_named_and_nothing_is_lost"])
def test_at_the_budget_capture_says_so_and_goes_on(world):
    world.source.sql(SHOP)
    config = embedded(world, budget="2MB", record_bytes="64kB")
    m = world.millrace(config)
    world.wait_equal()
    world.source.sql("insert into item select i, repeat(md5(i::text), 30), i from generate_series(10000, 16000) i")
    wait_until(lambda: "journal-full" in m.log_text(), 60, "the budget is named")
    m.term()
    config["journal"]["embedded"]["budget"] = "1GB"
    m = world.millrace(config, name="roomy")
    world.wait_equal()
    m.term()


def damages(path):
    """(what is done to the file by hand, what `journal check` must say of it)"""
    chunk = "(select c.id from chunks c join partitions p on p.id = c.part join topics t on t.id = p.topic where t.name like '%.public.{}' order by c.last limit 1)"
    yield f"update chunks set records = zeroblob(length(records)) where id = {chunk.format('item')}", "checksum"
    yield f"delete from chunks where id = {chunk.format('log')}", "missing|records are there to before"
    yield "update partitions set next = next + 1 where topic = (select id from topics where name like '%.public.item')", "commit records say"
    yield "update partitions set next = next - 1 where topic = (select id from topics where name like '%.commits')", "journal-topic|commit records|ends at"
    yield "update topics set partitions = partitions + 1 where name like '%.public.log'", "partitions"


def test_the_journal_is_looked_after(world):
    """info, dump, compact and check, beside a running pipeline; and every kind of damage is found."""
    world.source.sql(SHOP)
    config = embedded(world, compaction_lag="1s", delete_retention="1h", partitions=1)
    config["source"]["postgres"]["partial_rows"] = "history"
    m = world.millrace(config)
    world.wait_equal()
    change(world, 10, 5)
    world.wait_equal()
    rc, out, _said = m.run_cli("journal", "check", "--json")
    assert rc == 0 and json.loads(out)["errors"] == 0, out
    rc, out, _said = m.run_cli("journal", "info", "--json")
    held = json.loads(out)
    assert rc == 0 and held["last_commit"]["seq"] > 1 and held["used_bytes"] < held["budget_bytes"] and held["writer_epoch"] == 1, out
    item = next(t for t in held["topics"] if t["topic"].endswith(".public.item"))
    rc, out, said = m.run_cli("journal", "dump", "--topic", "public.item", "--offset", item["low"])
    lines = [json.loads(line) for line in out.splitlines()]
    assert rc == 0 and lines[-1]["offset"] == item["next"] - 1 and lines[-1]["change"]["table"] == "item", said + out[-500:]
    rc, out, said = m.run_cli("journal", "dump", "--topic", "commits", "--count", "2")
    assert rc == 0 and [json.loads(line)["value"]["seq"] for line in out.splitlines()][0] >= 1, said + out
    rc, out, said = m.run_cli("journal", "compact", "--json")
    assert rc == 0, said
    change(world, 10, 6)  # the writer was not disturbed
    world.wait_equal()
    assert not re.search("journal-(fenced|unreachable|corrupt)", m.log_text()) and m.run_cli("journal", "check")[0] == 0, m.run_cli("journal", "check")
    m.term()
    after = m.run_cli("journal", "dump", "--topic", "public.item")[1].splitlines()
    assert after, "the newest change of each row is there"
    every_damage_is_found(m, config["journal"]["embedded"]["path"])
    kafka = dict(config, journal={"kafka": {"brokers": "127.0.0.1:1", "topic_prefix": "x"}})
    rc, _out, said = world.millrace(kafka, start=False, name="kafka").run_cli("journal", "info")
    assert rc == 2 and "kafka-topics.sh" in said, said


def every_damage_is_found(m, path):
    with sqlite3.connect(path) as db:
        db.execute("pragma wal_checkpoint(truncate)")
    db.close()
    whole = Path(path).read_bytes()
    for statement, words in damages(path):
        db = sqlite3.connect(path)
        assert db.execute(statement).rowcount == 1, statement
        db.commit()
        db.close()
        rc, out, said = m.run_cli("journal", "check")
        assert rc == 1 and re.search(words, out), (statement, rc, out, said)
        for file in Path(path).parent.glob("j-*"):
            file.unlink()
        Path(path).write_bytes(whole)
    assert m.run_cli("journal", "check")[0] == 0


# ---- proven below ---------------------------------------------------------------------------------------------------------
FILE = "unit/journal/test_embedded_file/"
failure("J3", "The file of an embedded journal is damaged or truncated",
        happens="A disk loses or flips bits, a copy is cut, somebody edits the file.",
        does="Every chunk has a checksum over its bytes and its place: what is wrong is named with topic, partition and offset, and never read as something else. Capture goes on as long as it can.",
        todo="`millrace journal check` names all of it. Restore the file together with its `-wal` file; or begin a new one (another `path`), take a new snapshot, and `millrace replay --sink NAME`.",
        ends="journal-corrupt", by=[FILE + "a_damaged_file_is_named_or_does_no_harm", FILE + "a_truncated_file_is_named",
                                    "unit/journal/test_embedded_upkeep/damage_is_found_and_left_as_it_is",
                                    "embedded/the_journal_is_looked_after"])
failure("J4", "The path of an embedded journal leads to something else",
        happens="Another file, one of a newer Millrace, a directory that is missing or that anybody may write, no right to write, a network file system.",
        does="Refuses it by name, and leaves it as it is.", todo="As the message says.", ends="journal-refused",
        by=[FILE + name for name in ("files_of_others_are_refused", "a_file_of_a_newer_version_is_refused",
                                     "places_that_cannot_hold_it_are_refused", "what_may_not_be_written_is_refused")])
failure("J5", "The file of an embedded journal is removed or replaced while it is in use",
        happens="Somebody moves it away, restores an older one over it, or removes it and leaves its log.",
        does="Nothing is called durable that does not lie where the path leads; writer and readers open it anew. A log without its file is refused, because it may hold what was committed.",
        todo="Restore the file, or remove what is left of it and take a new snapshot.", ends="journal-corrupt equal",
        by=[FILE + "a_file_that_is_replaced_is_noticed", FILE + "a_log_without_its_file_is_refused"])
failure("J6", "Two captures write to one embedded journal",
        happens="An old capture comes back after it was taken for dead, in the middle of a transaction.",
        does="The epoch in the file is another one: its transaction is refused, what it had written of it is swept, and it stops.", todo="Stop one of them.",
        ends="journal-fenced", by=["unit/journal/test_embedded_crash/a_stopped_writer_holds_up_nobody_and_is_fenced"])
failure("J7", "The power of an embedded journal's machine fails",
        happens="Everybody on it dies at once; what was written and not synced is lost, or part of it.",
        does="Nothing is told to the source, or shown to sinks, before it is synced: what is lost, capture takes from the source again.",
        todo="Nothing. (A disk that calls synced what is not can lose what the source has forgotten: capture then stops with `needs-resnapshot`.)", ends="equal",
        by=["storm/two_hundred_deaths_on_one_machine"])
