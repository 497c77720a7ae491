"""The load of a storm: sessions of random transactions at the source. A session that loses its server comes back, finds out whether its
last transaction was committed, and goes on. It waits when the replica is far behind: a storm tests recovery, not the machine."""
import json
import random
import threading
import uuid

import psycopg2

from . import tables

AHEAD_MAX = 120   # transactions a session may be ahead of the replica
_REFUSED = (psycopg2.errors.DeadlockDetected, psycopg2.errors.UniqueViolation, psycopg2.errors.ForeignKeyViolation,
            psycopg2.errors.LockNotAvailable)


class Session(threading.Thread):
    """What all sessions share: a connection that comes back, and a number that says which transactions are committed."""

    def __init__(self, storm, writer):
        super().__init__(name=f"writer {writer}", daemon=True)
        self.storm, self.writer, self.chance = storm, writer, random.Random(f"{storm.options.seed} writer {writer}")
        self.connection = self.cursor = None
        self.seq = self.commits = self.lost = 0

    def connect(self):
        self.connection = self.storm.world.source.connect(autocommit=True, options="-c lock_timeout=5s")
        self.cursor = self.connection.cursor()
        self.settle_prepared()
        self.connection.autocommit = False
        self.cursor.execute("select seq from writer where id = %s", (self.writer,))
        self.seq = self.cursor.fetchone()[0]
        self.connection.commit()

    def settle_prepared(self):
        """What was prepared when the server went down is decided now."""
        self.cursor.execute("select gid from pg_prepared_xacts where gid like %s", (f"writer{self.writer}-%",))
        for (gid,) in self.cursor.fetchall():
            self.cursor.execute(self.chance.choice(["commit prepared %s", "rollback prepared %s"]), (gid,))

    def sign(self):
        """The last statements of every transaction: its number, and what it saw of the others."""
        self.cursor.execute("insert into ledger select %s, %s, array(select seq from writer order by id), repeat('n', %s)",
                            (self.writer, self.seq + 1, self.chance.randint(0, 30)))
        self.cursor.execute("update writer set seq = %s where id = %s", (self.seq + 1, self.writer))

    def committed(self):
        self.seq += 1
        self.commits += 1

    def guarded(self, work):
        """True if `work` ran through; a lost server is waited for."""
        try:
            if self.connection is None:
                self.connect()
            work()
            return True
        except psycopg2.Error as problem:
            gone = self.connection is None or self.connection.closed or isinstance(problem, psycopg2.InterfaceError)
            if not gone and not isinstance(problem, _REFUSED):
                raise
            self.recover(gone)
        return False

    def recover(self, gone):
        try:
            if not gone:
                self.connection.rollback()
                return
        except psycopg2.Error:
            pass
        self.lost += 1
        self.connection = None
        self.storm.stop_load.wait(0.2)

    def run(self):
        try:
            self.work()
        except Exception as problem:
            self.storm.story.problem(f"{self.name}: {type(problem).__name__}: {problem}")

    def finish(self):
        """Nothing of this session is left undecided."""
        self.connection = None
        self.connect()
        self.connection.close()


class Writer(Session):
    def __init__(self, storm, writer):
        super().__init__(storm, writer)
        self.next_id = writer * 100_000_000

    def work(self):
        while not self.storm.stop_load.wait(self.chance.uniform(0, 2 * self.storm.options.pause)):
            if self.seq - self.storm.watch.seen(self.writer) > AHEAD_MAX:
                continue
            self.guarded(self.transaction)

    def transaction(self):
        for _ in range(self.chance.choice([1, 1, 2, 3, 5])):
            self.part()
            if self.chance.random() < 0.1:
                self.undone()
        self.sign()
        self.end()

    def part(self):
        kinds, weights = zip(*_PARTS)
        getattr(self, self.chance.choices(kinds, weights)[0])()

    def undone(self):
        """A subtransaction that is rolled back, with a nested one."""
        self.cursor.execute("savepoint one")
        self.part()
        self.cursor.execute("savepoint two")
        self.part()
        self.cursor.execute(self.chance.choice(["release two; rollback to one", "rollback to one"]))

    def end(self):
        way = self.chance.random()
        if way < 0.05:
            self.connection.rollback()
        elif way < 0.12:
            self.prepare(commit=way < 0.09)
        else:
            self.connection.commit()
            self.committed()

    def prepare(self, commit):
        gid = f"writer{self.writer}-{self.seq + 1}-{self.new_id()}"
        self.cursor.execute("prepare transaction %s", (gid,))
        self.connection.commit()
        self.connection.autocommit = True
        self.cursor.execute("commit prepared %s" if commit else "rollback prepared %s", (gid,))
        self.connection.autocommit = False
        if commit:
            self.committed()

    def new_id(self):
        self.next_id += 1
        return self.next_id

    # ---- parts of transactions -------------------------------------------------------------------------------------
    def transfer(self):
        a, b = sorted(self.chance.sample(range(1, tables.ACCOUNTS + 1), 2))
        amount = self.chance.randint(-20, 20)
        for account, change in ((a, amount), (b, -amount)):
            self.cursor.execute("update account set balance = balance + %s where id = %s", (change, account))

    def parent(self):
        self.cursor.execute("select id from parent offset %s limit 1 for update", (self.chance.randrange(tables.PARENTS),))
        row = self.cursor.fetchone()
        return row[0] if row else None

    def birth(self):
        parent, child, n = self.parent(), self.new_id(), self.chance.randint(0, 9000)
        self.cursor.execute("insert into child select %s, %s, id, %s, repeat('y', %s) from parent where id = %s",
                            (child, child, f"n{child}", n, parent))
        self.cursor.execute("insert into grandchild select %s + g, id, g / 3.0 from child, generate_series(1, %s) g where id = %s",
                            (self.new_id() * 10, self.chance.randint(1, 3), child))
        self.cursor.execute("update parent set children = children + 1 where id = %s", (parent,))

    def death(self):
        parent = self.parent()
        self.cursor.execute("with gone as (delete from child where id in (select id from child where parent = %s order by id desc limit 2) returning id)"
                            " select count(*) from gone", (parent,))
        self.cursor.execute("update parent set children = children - %s where id = %s", (self.cursor.fetchone()[0], parent))

    def adoption(self):
        a, b = self.parent(), self.parent()
        if a is None or b is None or a == b:
            return
        self.cursor.execute("with moved as (update child set parent = %s where id in (select id from child where parent = %s limit 3) returning id)"
                            " select count(*) from moved", (b, a))
        n = self.cursor.fetchone()[0]
        self.cursor.execute("update parent set children = children + case id when %s then %s else -%s end where id in (%s, %s)", (b, n, n, a, b))

    def growth(self):
        self.cursor.execute("update child set big = repeat(%s, %s) where id in (select id from child where parent = %s limit 4)",
                            (self.chance.choice("xyz"), self.chance.randint(0, 9000), self.parent()))

    def new_name(self):
        """The parent's key changes, and by cascade a column of its children."""
        self.cursor.execute("update parent set id = (id + 500000) %% 1000000 where id = %s", (self.parent(),))

    def swap(self):
        """Two keys change places by a third."""
        self.cursor.execute("select id from moving offset %s limit 2 for update", (self.chance.randrange(tables.MOVING - 1),))
        ids = [row[0] for row in self.cursor.fetchall()]
        if len(ids) == 2:
            spare = -self.new_id()
            for new, old in ((spare, ids[0]), (ids[0], ids[1]), (ids[1], spare)):
                self.cursor.execute("update moving set id = %s where id = %s", (new, old))

    def shift(self):
        self.cursor.execute("update moving set id = -id where uid between %s and %s", (low := self.chance.randint(1, tables.MOVING), low + 10))

    def toast(self):
        c, row = self.chance, "uid = (select uid from toasted order by uid offset %s limit 1)"
        place = c.randrange(50)
        self.cursor.execute(*c.choice([
            (f"update toasted set v = v + 1 where {row}", (place,)),
            (f"update toasted set big = repeat('B', %s) where {row}", (c.randint(0, 9000), place)),
            (f"update toasted set id = -id, v = v + 1 where {row}", (place,)),
            ("insert into toasted select %s, %s, repeat('i', 5000), repeat('j', %s)", (i := self.new_id(), i, c.randint(0, 8000))),
            (f"delete from toasted where uid > 100 and {row}", (place,)),
        ]))

    def bag(self):
        self.cursor.execute(*self.chance.choice([
            ("insert into plain select 'same', %s from generate_series(1, %s)", (self.chance.randint(0, 2), self.chance.randint(1, 4))),
            ("delete from plain where ctid = any(array(select ctid from plain limit 2 for update skip locked))", ()),
            ("update plain set n = n + 1 where ctid = (select ctid from plain limit 1 for update skip locked)", ()),
        ]))

    def wipe(self):
        self.cursor.execute(self.chance.choice(["truncate wiped cascade", "truncate wiped, wiped_child restart identity", "truncate wiped_child"]))

    def fill(self):
        i = self.new_id()
        self.cursor.execute("insert into wiped select %s + g, 'f' from generate_series(0, %s) g", (i, n := self.chance.randint(0, 30)))
        self.next_id += n
        self.cursor.execute("insert into wiped_child values (%s, %s, 'c')", (i, i))

    def types(self):
        c = self.chance
        doc = json.dumps({"n": c.random(), "t": ["ä", None, c.randint(-5, 5)], "o": {"k\n": True}})
        values = (c.choice(["calm", "windy", "stormy", 'it\'s "over"', None]), c.choice(["{}", "{calm,NULL,windy}", None]),
                  c.choice([[], ["a", "", 'q"', "\\"], None]), doc, doc, c.choice(["0.10", "-12345678901234567890.5", "NaN", None]),
                  c.uniform(-1e6, 1e6), c.choice(["2024-02-29 12:34:56.789012+02", "infinity", None]), c.choice(["0044-03-15 BC", "9999-12-31"]),
                  c.choice(["1 mon -3 days 00:00:00.000001", "-1 year"]), c.randbytes(c.randint(0, 200)), str(uuid.UUID(int=c.getrandbits(128))),
                  c.choice(["10.0.0.1/8", "::1"]), c.choice(["[1,5)", "empty", "(,)"]), c.uniform(-1, 1), c.choice([c.random(), float("inf"), float("nan")]), c.choice([True, False, None]))
        self.cursor.execute("update typed set (mood, moods, tags, doc, raw, amount, price, at, day, span, bytes, code, host, during, r, d, ok) = "
                            "(select %s::mood, %s::mood[], %s::text[], %s::jsonb, %s::json, %s::numeric, %s::numeric, %s::timestamptz, %s::date, %s::interval,"
                            " %s::bytea, %s::uuid, %s::inet, %s::int4range, %s::real, %s::float8, %s::bool) where id = %s", (*values, c.randint(1, 50)))

    def crowd(self):
        """Hundreds to thousands of rows: more than one journal transaction takes."""
        low, n = self.chance.randint(1, tables.MANY), self.chance.randint(200, tables.MANY)
        self.cursor.execute("update many set v = v + 1 where id in (select id from many where id between %s and %s order by id for update)", (low, low + n))

    def crowd_of_children(self):
        parent, first, n = self.parent(), self.new_id(), self.chance.randint(50, 500)
        self.next_id += n
        self.cursor.execute("insert into child select %s + g, %s + g, id, 'm' || %s + g, repeat('m', 400) from parent, generate_series(1, %s) g where id = %s",
                            (first, first, first, n, parent))
        self.cursor.execute("update parent set children = children + %s where id = %s", (n, parent))
        if self.chance.random() < 0.8:  # the table must not grow for ever
            self.cursor.execute("with gone as (delete from child where big like 'mm%%' and parent = %s returning 1) select count(*) from gone", (parent,))
            self.cursor.execute("update parent set children = children - %s where id = %s", (self.cursor.fetchone()[0], parent))

    def message(self):
        """A logical message takes a place in the log and must not shift anything."""
        self.cursor.execute("select pg_logical_emit_message(true, 'storm', %s)", (str(self.seq),))


_PARTS = [("transfer", 20), ("birth", 10), ("death", 9), ("adoption", 6), ("growth", 3), ("new_name", 4), ("swap", 8), ("shift", 3),
          ("toast", 12), ("bag", 10), ("wipe", 2), ("fill", 5), ("types", 8), ("crowd", 1), ("crowd_of_children", 2), ("message", 3)]


class BigWriter(Session):
    """The large transactions, each when it is asked for: the rows of the last one are truncated away, new ones are written."""

    def __init__(self, storm):
        super().__init__(storm, tables.BIG_WRITER)
        self.asked = threading.Event()

    def work(self):
        while not self.storm.stop_load.is_set():
            if self.asked.wait(0.2):
                self.one_more(self.seq + 1)

    def one_more(self, seq):
        while self.seq < seq and not self.storm.stop_load.is_set():
            # After a loss the number tells whether the last attempt was committed after all.
            if self.guarded(lambda: None) and self.seq < seq:
                self.guarded(self.transaction)
        self.asked.clear()

    def transaction(self):
        rows = self.storm.options.big_rows
        self.storm.story.tell(f"load: a transaction of {rows} rows begins")
        self.cursor.execute("truncate bulk")
        self.cursor.execute("insert into bulk select g, %s, g %% 97 from generate_series(1, %s) g", (self.seq + 1, rows))
        self.sign()
        self.connection.commit()
        self.committed()
        self.storm.story.tell(f"load: the transaction of {rows} rows is committed")
