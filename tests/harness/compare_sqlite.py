"""Is an SQLite replica equal to its PostgreSQL source? Row by row: each text of the source as docs/sqlite.md says that it stands in the
file, against what does, with its storage class. Nothing of the product is used."""
import json
import re
import sqlite3
import struct
from collections import Counter

import psycopg2

from .clock import SLOW, Late, wait_until
from .compare import Differences, _quoted, _session, tables_of

_COLUMNS = """SELECT a.attname::text, format_type(coalesce(nullif(t.typbasetype, 0), t.oid), CASE WHEN t.typbasetype <> 0 THEN t.typtypmod
 ELSE a.atttypmod END) FROM pg_attribute a JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = %s::regclass AND a.attnum > 0
 AND NOT a.attisdropped ORDER BY a.attnum"""


def flat(table):
    """The replica's name of "schema.table"."""
    schema, _, name = table.partition(".")
    return name if schema in ("public", "main") else f"{schema}_{name}"


# ---- what stands for a text of the source --------------------------------------------------------------------------------

def _float(size):
    """NaN stands as a text; any other number as the double that has its value. Compared by its bits: -0.0 is not 0.0."""
    def form(text):
        number = float(text)
        if number != number:
            return "NaN"
        if size == "f":
            number = struct.unpack("f", struct.pack("f", number))[0]
        return _real(number)
    return form


def _zoned(text):
    """2024-01-02 03:04:05.5+00[ BC] as 2024-01-02T03:04:05.5Z, years in ISO 8601's count."""
    found = re.fullmatch(r"(\d+)-(\d\d-\d\d) ([\d:.]+)\+00( BC)?", text)
    if not found:
        return text
    year = 1 - int(found[1]) if found[4] else int(found[1])
    shown = f"{year:04d}" if 0 <= year <= 9999 else f"{'-' if year < 0 else '+'}{abs(year):04d}"
    return f"{shown}-{found[2]}T{found[3]}Z"


def _zoned_time(text):
    """+05 as +05:00."""
    return re.sub(r"([+-]\d\d)$", r"\1:00", text)


def _json(text):
    """The same whatever the order and the blanks: only hstore, which has neither."""
    return "json", json.dumps(json.loads(text), sort_keys=True)


def _real(number):
    return "real", struct.pack(">d", number)


# What the type itself prints: a cast to text drops the blanks of char(n), and adds /32 to an inet.
_PRINTED = "CASE num_nonnulls({0}) WHEN 1 THEN format('%s', {0}) END"
_SPECIAL = {"boolean": ("{0}::int::text", int), "bit(1)": (_PRINTED, int), "real": (_PRINTED, _float("f")), "double precision": (_PRINTED, _float("d")),
            "money": ("{0}::numeric::text", str), "bytea": (_PRINTED, lambda text: bytes.fromhex(text[2:])), "hstore": ("hstore_to_json({0})::text", _json)}


def _forms(kind):
    """(SQL of the source with {0}, what its text stands as)"""
    if kind in _SPECIAL:
        return _SPECIAL[kind]
    if kind in ("smallint", "integer", "bigint", "oid"):
        return _PRINTED, int
    if kind.startswith("timestamp") and kind.endswith("with time zone"):
        return _PRINTED, _zoned
    if kind.startswith("time") and kind.endswith("with time zone"):
        return _PRINTED, _zoned_time
    return _PRINTED, str


# ---- tables --------------------------------------------------------------------------------------------------------------

def _source_rows(connection, table, columns, forms):
    schema, _, name = table.partition(".")
    wanted = ", ".join(sql.format(_quoted(column)) for column, (sql, _form) in zip(columns, forms))
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {wanted} FROM {_quoted(schema)}.{_quoted(name)}")
        return Counter(tuple(None if v is None else form(v) for v, (_sql, form) in zip(row, forms)) for row in cursor)


def _stands(value, kind):
    if isinstance(value, float):
        return _real(value)
    return _json(value) if value is not None and kind == "hstore" else value


def _replica_rows(connection, table, columns, kinds):
    rows = connection.execute(f"SELECT {', '.join(map(_quoted, columns))} FROM {_quoted(flat(table))}")
    return Counter(tuple(map(_stands, row, kinds)) for row in rows)


def open_replica(path):
    """As an application reads it: nothing can be written."""
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10, isolation_level=None)


def compare_sqlite(src, path, tables=None, limit=5):
    """The differences between a source (a Database, or a URL) and a file. Each side is read in one snapshot."""
    found, left, right = Differences(), _session(src), open_replica(path)
    try:
        right.execute("BEGIN")
        left.cursor().execute("SET LOCAL search_path = pg_catalog, public")
        for table in tables or tables_of(src):
            with left.cursor() as cursor:
                cursor.execute(_COLUMNS, (".".join(map(_quoted, table.split(".", 1))),))
                columns, kinds = zip(*cursor.fetchall())
            have = {name for name, in right.execute("SELECT name FROM pragma_table_info(?)", (flat(table),))}
            if set(columns) != have:
                found.append(f"{table}: columns {sorted(columns)} in the source, {sorted(have)} in the replica")
                continue
            forms = [_forms(kind) for kind in kinds]
            a, b = _source_rows(left, table, columns, forms), _replica_rows(right, table, columns, kinds)
            found.extend(f"{table} {kinds}: missing in the replica: {str(row)[:300]}" for row in list((a - b).elements())[:limit])
            found.extend(f"{table} {kinds}: only in the replica: {str(row)[:300]}" for row in list((b - a).elements())[:limit])
            found.counts[table] = (a.total(), b.total())
    finally:
        left.close()
        right.close()
    return found


def wait_equal_sqlite(src, path, tables=None, deadline_s=60):
    """Waits until the file equals a source that has come to rest."""
    last = [["not compared yet"]]

    def equal():
        try:
            last[0] = compare_sqlite(src, path, tables)
        except (sqlite3.OperationalError, psycopg2.errors.UndefinedColumn) as e:
            last[0] = [str(e)]
        return not last[0]
    try:
        wait_until(equal, deadline_s, "file equals source", every_s=0.2)
    except Late:
        raise Late(f"the file does not equal the source after {deadline_s * SLOW:g} s:\n" + "\n".join(last[0][:20])) from None
    return last[0]
