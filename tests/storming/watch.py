"""Reads the replicas while the storm goes on: what must be true in every snapshot, and must never go back."""
import threading

import psycopg2

from . import tables


def violations(cursor):
    """Sentences: the invariants that do not hold in this snapshot."""
    found = []
    for name, query in tables.INVARIANTS.items():
        cursor.execute(query)
        rows = cursor.fetchmany(3)
        if rows:
            found.append(f"not true in the replica: {name}: {rows}")
    return found


def toothless(database):
    """The invariants that do not notice when they are broken on purpose (each in a transaction that is rolled back)."""
    silent = []
    connection = database.connect(autocommit=False, options="-c session_replication_role=replica")
    for name, breaker in tables.BREAKERS.items():
        with connection.cursor() as cursor:
            cursor.execute(breaker)
            if not any(name in sentence for sentence in violations(cursor)):
                silent.append(name)
        connection.rollback()
    connection.close()
    return silent


class Watch(threading.Thread):
    """`strict`: the replica promises whole transactions; otherwise only that nothing goes back while its server lives: sinks commit with
    synchronous_commit = off, so a crash may take what readers have seen, rows and position together."""

    def __init__(self, storm, name, database, strict):
        super().__init__(name=f"watch {name}", daemon=True)
        self.storm, self.database, self.strict = storm, database, strict
        self.sink, self.connection = name, None
        self.snapshots, self.last, self.position, self.life = 0, {}, None, None

    def seen(self, writer):
        """The newest transaction of a writer that a reader of this replica saw."""
        return self.last.get(writer, 0)

    def caught_up(self, seqs):
        return all(self.seen(writer) >= seq for writer, seq in seqs.items())

    def run(self):
        while not self.storm.ended.wait(0.4):
            try:
                self.look()
            except psycopg2.Error:
                self.connection = None  # it is away; a new session when it is back
                self.storm.ended.wait(0.3)

    def look(self):
        if self.connection is None:
            self.connection = self.database.connect(autocommit=False)
            self.connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
        with self.connection.cursor() as cursor:
            cursor.execute("select pg_postmaster_start_time()")
            if self.life != (life := cursor.fetchone()[0]):
                self.last, self.position, self.life = {}, None, life
            cursor.execute("select id, seq from writer")
            seqs = dict(cursor.fetchall())
            cursor.execute("select min(commit_seq), min(generation), min(commit_lsn) from millrace.sink_worker")
            position = cursor.fetchone()
            found = violations(cursor) if self.strict and seqs else []
        self.connection.rollback()
        self.compare(seqs, position, found)

    def compare(self, seqs, position, found):
        back = [(w, self.last[w], seqs.get(w)) for w in self.last if seqs.get(w, -1) < self.last[w]]
        if back:
            found.append(f"the replica went back: (writer, had seen, now) {back}")
        if self.position and position[0] is not None and position < self.position:
            found.append(f"the replica's position went back from {self.position} to {position}")
        for sentence in found:
            self.storm.story.problem(f"{self.sink}: {sentence}")
        self.last, self.position = seqs, position
        self.snapshots += 1
