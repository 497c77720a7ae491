"""A reader of the replica checks an invariant that every commit of the source keeps."""
import random
import threading

from harness.clock import now
from harness.pipeline import pipeline

READS = 5000
# A table goes to a worker by its topic's name: with eight of them some lie apart whatever this test's prefix is.
TABLES = [f"account_{i}" for i in range(8)]
SETUP = "".join(f"create table {t} (id int primary key, amount int not null);"
                f"insert into {t} select i, 1000 from generate_series(1, 20) i;" for t in TABLES)
SUM = "select " + " + ".join(f"(select sum(amount) from {t})" for t in TABLES)
TOTAL = 1000 * 20 * len(TABLES)


def transfer(world, stop, seed):
    chance = random.Random(seed)
    with world.source.connect(autocommit=False) as connection, connection.cursor() as cursor:
        while not stop.is_set():
            for _ in range(chance.randint(1, 4)):
                src, dst = chance.sample(TABLES, 2)
                amount = chance.randint(1, 20)
                cursor.execute(f"update {src} set amount = amount - %s where id = %s", (amount, chance.randint(1, 20)))
                cursor.execute(f"update {dst} set amount = amount + %s where id = %s", (amount, chance.randint(1, 20)))
            connection.commit() if chance.random() > 0.1 else connection.rollback()


def violations(world, enough=None, deadline_s=100):
    """Reads under load; returns (reads, violations). `enough`: stop after so many violations."""
    stop, found, reads, states = threading.Event(), 0, 0, set()
    writer = threading.Thread(target=transfer, args=(world, stop, 7), daemon=True)
    writer.start()
    try:
        until = now() + deadline_s
        with world.replica.connect() as connection, connection.cursor() as cursor:
            while (enough or reads < READS or len(states) < 20) and now() < until:
                cursor.execute(SUM)
                found += cursor.fetchone()[0] != TOTAL
                reads += 1
                if reads % 50 == 0:
                    cursor.execute("select amount from account_0 order by id limit 5")
                    states.add(tuple(cursor.fetchall()))
                if enough and found >= enough:
                    break
    finally:
        stop.set()
        writer.join()
    assert len(states) > 2 or enough, "the replica did not move while it was read"
    return reads, found


def run(world, **sink):
    m = pipeline(world, SETUP, registry=True, sinks=[world.sink(**sink)], log={"level": "info"})
    result = violations(world, **({"enough": 1} if sink.get("consistency") == "key" else {}))
    world.wait_equal()
    m.term()
    return result


def test_transaction_consistency_shows_only_states_the_source_had(world):
    reads, found = run(world)
    assert reads >= READS and found == 0, f"{found} violations in {reads} reads"


def test_key_consistency_does_show_others_so_the_check_has_teeth(world):
    reads, found = run(world, consistency="key", workers=4)
    assert found > 0, f"no violation in {reads} reads: the check above proves nothing"


test_transaction_consistency_shows_only_states_the_source_had.timeout_s = 240
test_key_consistency_does_show_others_so_the_check_has_teeth.timeout_s = 240
