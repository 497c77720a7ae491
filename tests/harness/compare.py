"""Is the replica equal to the source? Row by row, as text that no setting can colour, both sides read in lock step."""
import hashlib
import itertools

import psycopg2

from .clock import SLOW, Late, wait_until

_SETTINGS = {"TimeZone": "UTC", "DateStyle": "ISO, YMD", "IntervalStyle": "iso_8601", "extra_float_digits": "3",
             "bytea_output": "hex", "lc_monetary": "C", "client_encoding": "UTF8", "xmloption": "content",
             "search_path": "pg_catalog", "statement_timeout": "0"}
_SKIPPED_SCHEMAS = "('pg_catalog', 'information_schema', 'millrace')"


class Differences(list):
    """Sentences, one per difference; empty means equal. `counts`: {table: (rows in source, rows in replica)} as far as read."""

    def __init__(self):
        super().__init__()
        self.counts = {}

    def __str__(self):
        return "\n".join(self) or "equal: " + ", ".join(f"{t} {a}" for t, (a, _b) in self.counts.items())


def _quoted(name):
    return '"' + name.replace('"', '""') + '"'


def _session(where):
    url = where if isinstance(where, str) else where.url()
    connection = psycopg2.connect(url, connect_timeout=10, application_name="compare")
    connection.set_client_encoding("UTF8")
    with connection.cursor() as cursor:
        for name, value in _SETTINGS.items():
            cursor.execute("SELECT set_config(%s, %s, false)", (name, value))
    connection.commit()
    connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
    return connection


def tables_of(where):
    """Every ordinary or partitioned table (not the partitions) outside the system's and our own schemas: "schema.table"."""
    with _session(where) as connection, connection.cursor() as cursor:
        cursor.execute("SELECT n.nspname || '.' || c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                       " WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND n.nspname !~ '^pg_'"
                       f" AND n.nspname NOT IN {_SKIPPED_SCHEMAS} ORDER BY 1")
        names = [row[0] for row in cursor.fetchall()]
    connection.close()
    return names


class _Table:
    """One side of a comparison."""

    def __init__(self, connection, name):
        self.connection, self.name = connection, name
        schema, _, table = name.rpartition(".")
        self.sql_name = _quoted(schema or "public") + "." + _quoted(table)
        with connection.cursor() as cursor:
            cursor.execute("SELECT c.oid FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace"
                           " WHERE n.nspname = %s AND c.relname = %s AND c.relkind IN ('r', 'p', 'v', 'm', 'f')",
                           (schema or "public", table))
            row = cursor.fetchone()
            self.oid = row[0] if row else None
            cursor.execute("SELECT attname::text, format_type(atttypid, atttypmod) FROM pg_attribute"
                           " WHERE attrelid = %s AND attnum > 0 AND NOT attisdropped ORDER BY attnum", (self.oid,))
            self.columns = dict(cursor.fetchall())
            cursor.execute("SELECT a.attname::text FROM pg_index i, unnest(i.indkey::int2[]) WITH ORDINALITY AS k(attnum, place)"
                           " JOIN pg_attribute a ON a.attnum = k.attnum AND a.attrelid = %s"
                           " WHERE i.indrelid = %s AND i.indisprimary ORDER BY k.place", (self.oid, self.oid))
            self.key = [row[0] for row in cursor.fetchall()]

    def _query(self, columns, key):
        """All rows as text, ordered by the bytes of the key's text."""
        order = ", ".join(f'{_quoted(k)}::text COLLATE "C" NULLS FIRST' for k in key)
        wanted = ", ".join(f"{_quoted(column)}::text" for column in columns)
        return f"SELECT {wanted or 'NULL'} FROM {self.sql_name}" + (f" ORDER BY {order}" if order else "")

    def rows(self, columns, key):
        """Yields tuples."""
        with self.connection.cursor(name="compare") as cursor:
            cursor.itersize = 5000
            cursor.execute(self._query(columns, key))
            yield from cursor

    def digest(self, columns, key):
        """(SHA-256 of all rows in order, how many there are)"""
        into = _Hashing()
        with self.connection.cursor() as cursor:
            cursor.copy_expert(f"COPY ({self._query(columns, key)}) TO STDOUT", into, size=1 << 18)
        return into.sha.digest(), into.rows


class _Hashing:
    """A file that only hashes."""

    def __init__(self):
        self.sha, self.rows = hashlib.sha256(), 0

    def write(self, data):
        data = data.encode() if isinstance(data, str) else data
        self.sha.update(data)
        self.rows += data.count(b"\n")  # COPY writes a newline inside a value as \\n
        return len(data)


def _sortable(values):
    return tuple((0, b"") if v is None else (1, v.encode()) for v in values)


def _short(text):
    return text if text is None or len(text) <= 120 else f"{text[:100]}... ({len(text)} characters)"


def _shown(columns, row, only=None):
    return "{" + ", ".join(f"{c}={_short(v)!r}" for c, v in zip(columns, row) if only is None or c in only) + "}"


def _compare_rows(found, name, src, dst, columns, key, limit):
    left, right = src.digest(columns, key), dst.digest(columns, key)
    if left == right:  # the same bytes in the same order
        found.counts[name] = (left[1], right[1])
        return
    places = [columns.index(k) for k in key]
    left, right = iter(src.rows(columns, key)), iter(dst.rows(columns, key))
    seen = [0, 0]
    before = len(found)

    def step(side, i):
        row = next(side, None)
        seen[i] += row is not None
        return row

    a, b = step(left, 0), step(right, 1)
    while (a is not None or b is not None) and len(found) - before < limit:
        if a == b:
            a, b = step(left, 0), step(right, 1)
            continue
        ka = _sortable(a[p] for p in places) if a is not None else None
        kb = _sortable(b[p] for p in places) if b is not None else None
        if kb is None or (ka is not None and ka < kb):
            found.append(f"{name}: missing in the replica: {_shown(columns, a, key)}")
            a = step(left, 0)
        elif ka is None or kb < ka:
            found.append(f"{name}: only in the replica: {_shown(columns, b, key)}")
            b = step(right, 1)
        else:
            differing = [c for c, x, y in zip(columns, a, b) if x != y]
            found.append(f"{name}: {_shown(columns, a, key)} source {_shown(columns, a, differing)}"
                         f" replica {_shown(columns, b, differing)}")
            a, b = step(left, 0), step(right, 1)
    if a is None and b is None:
        found.counts[name] = tuple(seen)
        return
    found.append(f"{name}: further rows were not compared")
    # As far as read is not a count: count what is left, too.
    seen[0] += sum(1 for _ in left)
    seen[1] += sum(1 for _ in right)
    found.counts[name] = tuple(seen)


def compare(src, dst, tables=None, limit=20, types=False, ignore_columns=()):
    """The differences between two databases (a Database, or a URL). `tables`: a list of "schema.table", or a dict {source
    name: replica name}; None means all of the source. Stops after `limit` differences per table. `types`: columns must also
    have the same types. Each side is read in one snapshot."""
    if tables is None:
        tables = tables_of(src)
    pairs = tables.items() if isinstance(tables, dict) else [(t, t) for t in tables]
    found = Differences()
    left, right = _session(src), _session(dst)
    try:
        for name, replica_name in pairs:
            a, b = _Table(left, name), _Table(right, replica_name)
            if a.oid is None or b.oid is None:
                where = "the source" if a.oid is None else "the replica"
                found.append(f"{name}: there is no such table in {where}")
                continue
            wanted = [c for c in a.columns if c not in ignore_columns]
            for column in wanted:
                if column not in b.columns:
                    found.append(f"{name}: column {column} is missing in the replica")
                elif types and a.columns[column] != b.columns[column]:
                    found.append(f"{name}: column {column} is {a.columns[column]} in the source,"
                                 f" {b.columns[column]} in the replica")
            for column in b.columns:
                if column not in a.columns and column not in ignore_columns:
                    found.append(f"{name}: column {column} is only in the replica")
            columns = [c for c in wanted if c in b.columns]
            key = [k for k in a.key if k in columns] if a.key else columns
            _compare_rows(found, name, a, b, columns, key, limit)
    finally:
        left.close()
        right.close()
    return found


def wait_equal(src, dst, tables=None, deadline_s=60, **options):
    """Waits until the replica equals a source that has come to rest; returns the (empty) Differences."""
    last = [None]

    def equal():
        try:
            last[0] = compare(src, dst, tables, **({"limit": 3} | options))
        except (psycopg2.errors.DeadlockDetected, psycopg2.errors.UndefinedTable, psycopg2.errors.UndefinedColumn) as e:
            last[0] = [f"a table is being altered: {e}"]
        return not last[0]
    try:
        wait_until(equal, deadline_s, "replica equals source", every_s=0.1, ignore=(psycopg2.errors.DeadlockDetected,))
    except Late:
        raise Late(f"replica does not equal source after {deadline_s * SLOW:g} s:\n"
                   + "\n".join(itertools.islice(last[0], 20))) from None
    return last[0]
