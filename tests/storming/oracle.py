"""What must hold when the storm is over. Each function returns sentences about what does not; none means that all is well."""
import io

import psycopg2

from harness.compare import compare
from harness.history import read_history

from . import tables


def equal(source, replicas):
    """State, row by row: every replica, ours and the native one, against the source."""
    found = []
    for name, replica in replicas.items():
        differences = compare(source, replica, [f"public.{t}" for t in tables.NAMES], limit=5)
        found += [f"{name}: {sentence}" for sentence in differences]
    return found


def history(journal, prefix):
    found = read_history(journal, prefix)
    return found, [f"journal: {problem}" for problem in found.problems[:20]]


# A sink whose capture is gone may stand in the middle of a transaction for ever.
_PATIENCE = "set lock_timeout = '60s'; "


def _bring(source, replica):
    """The source's own audit, beside the replica's."""
    replica.sql(_PATIENCE + "drop table if exists audit.source; create table audit.source (tab text, uid int, version int, hash bigint)")
    between = io.BytesIO()
    a, b = source.connect(), replica.connect()
    try:
        a.cursor().copy_expert("copy audit.seen (tab, uid, version, hash) to stdout", between)
        between.seek(0)
        b.cursor().copy_expert("copy audit.source from stdin", between)
    finally:
        a.close()
        b.close()
    replica.sql("create index on audit.source (tab, uid, version); analyze audit.source; analyze audit.seen")


# Changes are coalesced: of the states that a row had, the replica may skip some. Those it shows must be states that the source had
# (committed ones: an audit row of the source goes with its transaction), each at most once, in order, and the last one last.
_AUDIT = {
    "a state that the source never had": "select tab, uid, version from audit.seen s where not exists"
                                         " (select from audit.source o where o.tab = s.tab and o.uid = s.uid and o.version = s.version and o.hash = s.hash)",
    "a version after a newer one, or twice": "select * from (select tab, uid, version, lag(version) over (partition by tab, uid order by n) as before from audit.seen) v"
                                             " where version <= before",
}
_NEWEST = "select '{0}', t.uid, t.version, s.version as audited from {0} t left join lateral (select version from audit.seen" \
          " where tab = '{0}' and uid = t.uid order by n desc limit 1) s on true where t.version is distinct from s.version"


def audits(source, replicas):
    found = []
    for name, replica in replicas.items():
        _bring(source, replica)
        replica.sql(_PATIENCE + "create index if not exists seen_rows on audit.seen (tab, uid, n)")
        checks = _AUDIT | {f"the newest version of {t} is not the applied one": _NEWEST.format(t) for t in tables.AUDITED}
        for what, query in checks.items():
            rows = replica.sql(query + " limit 3")
            if rows:
                found.append(f"audit of {name}: {what}: {rows}")
    return found


def audited(replica):
    return replica.value("select count(*) from audit.seen")


def slots(source, bytes_max=64 << 20):
    """Every slot follows. Waiting is the caller's."""
    try:
        rows = source.sql("select slot_name, pg_wal_lsn_diff(pg_current_wal_lsn(), confirmed_flush_lsn)::bigint from pg_replication_slots")
    except psycopg2.Error as problem:
        return [f"slots: {problem}"]
    return [f"slot {name} is {behind} bytes behind" for name, behind in rows if behind >= bytes_max]
