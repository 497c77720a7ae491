"""The rows that benches write: a bigint key, int, text, numeric(12,2), timestamptz and a note of about 100 bytes, 160 bytes in all.

A workload is a list of transactions, run one after another by one session at the source."""

TABLE = """CREATE TABLE rows (id bigint PRIMARY KEY, quantity int NOT NULL, name text NOT NULL, amount numeric(12,2),
 changed timestamptz NOT NULL, note text)"""
NEW = ("i, (i % 1000)::int, 'customer ' || i, (i % 100000) / 100.0, timestamptz '2024-01-01 00:00:00Z' + i * interval '1.000417 s',"
       " rpad(md5(i::text), 100, 'lorem ipsum ')")
CHANGE = "quantity = quantity + 1, amount = amount + 1.25, changed = changed + interval '1 day 0.000001 s'"


def fill(database, rows):
    """The rows 1 .. `rows`."""
    database.sql(TABLE)
    database.sql(f"INSERT INTO rows SELECT {NEW} FROM generate_series(1, {rows}) i; ANALYZE rows")


def _transactions(database, n, body):
    """body: SQL of transaction number t (0 .. n - 1). With autocommit a DO block may commit."""
    connection = database.connect()
    try:
        connection.cursor().execute(f"DO $$ BEGIN FOR t IN 0 .. {n - 1} LOOP {body}; COMMIT; END LOOP; END $$")
    finally:
        connection.close()


def _shuffle(database, rows):
    """The keys 1 .. `rows` in random order, so that each is changed once."""
    database.sql("SELECT setseed(0.4)")
    database.sql(f"CREATE TABLE millrace_bench_order AS SELECT i AS id, (row_number() OVER (ORDER BY random()) - 1)::int AS place"
                 f" FROM generate_series(1, {rows}) i")
    database.sql("CREATE INDEX ON millrace_bench_order (place); ANALYZE millrace_bench_order")


def _chosen(place, n):
    return f"(SELECT id FROM millrace_bench_order WHERE place >= {place} AND place < {place} + {n})"


def inserts(database, base, changes):
    """New keys, 1,000 to a transaction."""
    _transactions(database, changes // 1000,
                  f"INSERT INTO rows SELECT {NEW} FROM generate_series({base} + t * 1000 + 1, {base} + t * 1000 + 1000) i")


def updates(database, base, changes):
    """Three columns of a row, in random order of keys, each key once; 1,000 to a transaction."""
    _shuffle(database, base)
    _transactions(database, changes // 1000, f"UPDATE rows SET {CHANGE} WHERE id IN {_chosen('t * 1000', 1000)}")


def mixed(database, base, changes):
    """60 inserts, 30 updates and 10 deletes to a transaction of 100; updates and deletes of random keys, each key once."""
    _shuffle(database, base)
    _transactions(database, changes // 100,
                  f"INSERT INTO rows SELECT {NEW} FROM generate_series({base} + t * 60 + 1, {base} + t * 60 + 60) i;"
                  f" UPDATE rows SET {CHANGE} WHERE id IN {_chosen('t * 40', 30)};"
                  f" DELETE FROM rows WHERE id IN {_chosen('t * 40 + 30', 10)}")


CONTENTS = "SELECT count(*), sum(hashtextextended(rows::text, 0)) FROM rows"
