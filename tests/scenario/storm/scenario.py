"""Mixed load while capture, sink and broker are killed at random: nothing is lost and nothing comes twice."""
import random
import threading

from harness.clock import wait_until
from harness.history import check_history

KILLS = 20
SETUP = """
create table parent (id int primary key, v int not null default 0, note text);
create table child (id int primary key, parent int not null references parent on delete cascade, code text unique, big text);
create table plain (id bigint generated always as identity, v text);
create table moving (id int primary key, v int not null);
create table wiped (id bigint generated always as identity, v text); alter table wiped replica identity full;
alter table parent replica identity full; alter table child replica identity full;
alter table plain replica identity full; alter table moving replica identity full;
insert into parent select i, 0, 'p' || i from generate_series(1, 300) i;
insert into child select i, 1 + i % 300, 'c' || i, repeat('x', (i * 37) % 5000) from generate_series(1, 600) i;
insert into moving select i * 10, i from generate_series(1, 200) i;
"""


class Load(threading.Thread):
    """One session of random transactions, some rolled back."""

    def __init__(self, world, seed, stop):
        super().__init__()
        self.world, self.chance, self.stop, self.error, self.commits = world, random.Random(seed), stop, None, 0
        self.next_id = 1000 + seed * 1000000

    def statement(self):
        c = self.chance
        self.next_id += 1
        return c.choices([
            ("update parent set v = v + 1, note = note || '.' where id = %s", (c.randint(1, 300),)),
            ("insert into child values (%s, %s, %s, repeat('y', %s))", (self.next_id, c.randint(1, 300), f"n{self.next_id}", c.randint(0, 9000))),
            ("update child set parent = %s where id = %s", (c.randint(1, 300), c.randint(1, 600))),
            ("update child set big = repeat('z', %s) where id = %s", (c.randint(0, 9000), c.randint(1, 600))),
            ("delete from child where id = %s", (self.next_id - c.randint(1, 20),)),
            ("insert into plain (v) select 'same' from generate_series(1, %s)", (c.randint(1, 4),)),
            ("delete from plain where ctid = (select ctid from plain where v = 'same' limit 1 for update skip locked)", ()),
            ("update moving set id = id + 1 where id = (select id from moving where id %% 10 < 8 order by random() limit 1 for update skip locked)"
             " and not exists (select from moving m where m.id = moving.id + 1)", ()),
            ("insert into child select g, 1, 'm' || g, null from generate_series(%s, %s) g", (self.next_id * 100, self.next_id * 100 + c.randint(1, 500))),
            ("truncate wiped", ()),
            ("insert into wiped (v) values ('w')", ()),
        ], weights=[20, 20, 10, 10, 10, 10, 6, 10, 2, 1, 4])[0]

    def run(self):
        try:
            with self.world.source.connect(autocommit=False) as connection:
                while not self.stop.wait(0.01):  # paced: an outage must not pile up more than the machine can ship
                    self.transaction(connection)
        except Exception as problem:  # seen by the test after join
            self.error = problem

    def transaction(self, connection):
        import psycopg2
        try:
            with connection.cursor() as cursor:
                for _ in range(self.chance.randint(1, 6)):
                    cursor.execute(*self.statement())
            if self.chance.random() < 0.1:
                connection.rollback()
            else:
                connection.commit()
                self.commits += 1
        except (psycopg2.errors.DeadlockDetected, psycopg2.errors.UniqueViolation, psycopg2.errors.ForeignKeyViolation):
            connection.rollback()


def kill_something(chance, world, capture, sink):
    victim = chance.choice(["capture", "sink", "broker"])
    if victim == "broker":
        world.kafka.kill9()
        world.kafka.launch()
        world.kafka.wait_ready()
        return
    process, command = (capture, "capture") if victim == "capture" else (sink, "sink")
    process.kill9()
    process.start(command)


def test_everything_survives_being_killed(world):
    seed = 20
    chance = random.Random(seed)
    world.private_kafka()
    world.source.sql(SETUP)
    config = world.config(registry=False, log={"level": "debug"}, capture={"batch_bytes": "256kB"})
    capture = world.millrace(config | {"sinks": []}, command="capture", name="capture")
    sink = world.millrace(config | {"http": {}}, command="sink", name="sink")
    world.wait_equal(deadline_s=90)
    stop = threading.Event()
    loads = [Load(world, i, stop) for i in range(3)]
    for load in loads:
        load.start()
    try:
        for kill in range(KILLS):
            before = sum(load.commits for load in loads)
            target = before + chance.randint(20, 400)
            wait_until(lambda: sum(load.commits for load in loads) >= target or any(load.error for load in loads), 60, "some load")
            kill_something(chance, world, capture, sink)
    finally:
        stop.set()
        for load in loads:
            load.join()
    assert not any(load.error for load in loads), [load.error for load in loads]
    world.wait_equal(deadline_s=120)
    changes = check_history(world.kafka, world.prefix)
    assert changes > 1000, f"only {changes} changes: that was no storm"
    capture.term()
    sink.term()


test_everything_survives_being_killed.timeout_s = 420
