"""What can go wrong where changes are written: order, missing rows, values, locks, crashes, slow replicas, a changed configuration."""
import os
import subprocess
import threading
from contextlib import closing

from harness import wait_until
from harness.failure import failure
from harness.pipeline import confirmed, pipeline

RESTART = "then SIGHUP or restart."
TABLE = "create table t (id int primary key, v text, u int unique); alter table t replica identity full; insert into t select i, 'v' || i, i from generate_series(1, 500) i"
PEERS = {"public.t": "bykey.t", "public.parent": "bykey.parent", "public.child": "bykey.child", "public.d": "bykey.d"}


@failure("F103", "A batch touches one key, or one unique value, several times",
         happens="`UPDATE t SET id = id + 1`, a key deleted and inserted again, unique values that change places: in a replica each order of statements but one fails or loses rows.",
         does="Coalesces to the last state of each key in the order of the source; where unique values move between rows, the touched rows are deleted and written again in one transaction.",
         todo="Nothing.", ends="equal", by=["pipeline/key_changes_swaps_and_truncates", "contract/target/test_batches/unique_values_may_change_places"])
@failure("F107", "An explicit NULL meets a column with a default",
         happens="The source writes NULL into a column that has a default, also in the replica.",
         does="Writes NULL: a column that is null is written, one that was not sent is left alone.", todo="Nothing.", ends="equal", by=["contract/target/test_batches/absent_columns_are_kept"])
def test_order_within_a_batch(world):
    family = "create table parent (id int primary key); create table child (id int primary key, parent int not null references parent)"
    defaults = "create table d (id int primary key, v text default 'default', n int default 7)"
    world.replica.sql(f"create schema bykey; {family}; {defaults}; set search_path = bykey; {family}; {defaults}; create table t (id int primary key, v text, u int unique)")
    m = pipeline(world, f"{TABLE}; {family}; {defaults}; alter table d replica identity full", journal={"partitions": 8}, sinks=[
        world.sink(), world.sink("bykey", to=world.replica, consistency="key", workers=2, rename={"public": "bykey"})])
    for script in (
            "update t set id = -id; update t set id = 1 - id",  # every key moves on by one
            "update t set u = -u; update t set u = 501 + u",  # and every unique value to another row
            "delete from t where id < 100; insert into t select i, 'again', 1000 + i from generate_series(1, 99) i; delete from t where id < 50; insert into t select i, 'third', 2000 + i from generate_series(1, 49) i",
            "begin; insert into parent select i from generate_series(1, 200) i; insert into child select i, i from generate_series(1, 200) i; commit",
            "begin; insert into parent values (999); update child set parent = 999 where id < 100; delete from parent where id < 100; commit",
            "insert into d values (1, null, null), (2, 'x', null); insert into d (id) values (3); update d set v = null where id = 3"):
        world.source.sql(script)
    world.wait_equal()
    world.wait_equal(PEERS)
    assert world.replica.sql("select id, v, n from d order by id") == [(1, None, None), (2, "x", None), (3, None, 7)]
    m.term()


failure("F105", "A child row comes before its parent",
        happens="Tables travel in different topics and partitions.",
        does="`consistency: transaction` applies whole source transactions in commit order. Foreign keys and triggers of the replica rest while rows are applied; with `triggers: fire` they are "
             "checked at the end of the transaction.", todo="Nothing. With `triggers: fire`, foreign keys of the replica must be DEFERRABLE.", ends="equal target-constraint",
        by=["failures_replica/order_within_a_batch", "subscription_replica/triggers_and_foreign_keys_of_the_replica_rest", "subscription_replica/a_row_that_breaks_a_foreign_key_of_the_replica_is_named",
            "consistency/transaction_consistency_shows_only_states_the_source_had"])
failure("F110", "One change can never be applied",
        happens="A constraint of the replica refuses a row, every time.",
        does="`consistency: key` leaves that table standing at that change, in order, and goes on with the others; `consistency: transaction` stops there. It is not skipped, and not tried in a hot loop.",
        todo="Mend the constraint or the row; " + RESTART, ends="target-constraint equal",
        by=["bad_input/replica_tables_that_do_not_fit", "faults/one_bad_table_does_not_stop_the_others_in_key_mode", "subscription_replica/a_table_that_fails_is_mended"])
failure("F114", "The replica crashes and forgets its newest commits",
        happens="Sinks commit with `synchronous_commit = off`; a crash loses up to a second of commits.",
        does="Rows and position are lost together, since they are one transaction; the sink goes on from the position that the replica has. Kafka's group offsets are not used.",
        todo="Nothing.", ends="equal", by=["faults/the_replica_is_away_for_a_minute", "storm/a_hundred_deaths", "contract/target/test_ownership/rows_and_position_move_together_or_not_at_all"])


@failure("F106", "A row to change is not in the replica",
         happens="Somebody deleted it there.",
         does="`on_missing: insert` writes the whole row and counts it (`millrace_sink_missing_rows_total`); `on_missing: stop`, or a row that is not whole, stops. It is never taken for success.",
         todo="Find out who writes to the replica; `millrace replay --sink NAME` makes it equal again.", ends="equal target-diverged", by=["contract/target/test_batches/a_missing_row_is_written_whole_or_stops"])
@failure("F121", "The replica has triggers of its own, or somebody edits it",
         happens="Triggers would act a second time on rows that the source's own triggers made; edits drift away.",
         does="Triggers and foreign keys rest on applied rows unless `triggers: fire`; rows that should have been there and are not are counted or stop.",
         todo="`millrace replay --sink NAME` after an edit.", ends="equal target-diverged", by=["subscription_replica/triggers_and_foreign_keys_of_the_replica_rest", "subscription_replica/triggers_and_foreign_keys_fire_if_asked"])
def test_rows_that_are_gone_from_the_replica(world):
    m = pipeline(world, TABLE)
    world.replica.sql("delete from t where id in (3, 4)")
    world.source.sql("update t set v = 'changed' where id = 3; delete from t where id = 4")
    world.wait_equal()
    assert m.metric("millrace_sink_missing_rows_total", sink="replica") >= 1
    m.term()
    m.write_config(world.config(registry=False, sinks=[world.sink(postgres={"on_missing": "stop"})]))
    m.start()
    world.replica.sql("delete from t where id = 5")
    world.source.sql("begin; update t set v = 'changed' where id = 5; update t set v = 'with it' where id = 6; commit")
    assert "(5)" in m.wait_log(r"level=error.*name=target-diverged.*public\.t.*", 30)[0]
    assert world.replica.value("select v from t where id = 6") == "v6", "half of a transaction is in the replica"
    rc, _, err = m.run_cli("replay", "--sink", "replica")
    assert rc == 0, err
    m.hup()
    world.wait_equal()
    m.term()


@failure("F108", "The replica cannot hold a character",
         happens="Its database has another encoding than UTF8, and the source sends a character that this lacks.",
         does="Stops at the row and names the table; nothing is replaced or stripped. `millrace doctor` warns of such a database beforehand.",
         todo="Give the sink a database with encoding UTF8.", ends="target-value")
def test_characters_that_the_replica_lacks(world):
    world.source.sql(TABLE)
    world.servers.replica.sql(f"create database {world.prefix}_latin template template0 encoding 'LATIN1' locale 'C'")
    latin = world.servers.replica.database(f"{world.prefix}_latin", create=False)
    config = world.config(registry=False, sinks=[world.sink("latin", to=latin)])
    m = world.millrace(config)
    world.wait_equal(replica=latin)
    rc, out, _ = m.run_cli("doctor")
    assert "LATIN1" in out, out
    world.source.sql("insert into t values (1000, 'caf\u00e9 ok', 1000); insert into t values (1001, 'snow\u2603man', 1001)")
    line = m.wait_log(r"level=error.*name=target-value.*public\.t.*", 30)[0]
    assert "snow" not in line and "\u2603" not in m.log_text(), line
    assert latin.value("select count(*) from t where id = 1001") == 0
    config["sinks"] = [world.sink("utf8", to=world.replica)]
    m.hup(config)
    world.wait_equal()
    m.term()
    world.servers.replica.drop_database(latin.name)


def deadlock(world, first):
    """Another session takes row `first`, and, as soon as the sink waits for it, the rows that the sink has changed before. False if there
    are none of those."""
    waits = "select count(*) from pg_locks l join pg_stat_activity a using (pid) where not granted and a.application_name like 'millrace%'"
    free = "select id from t where id <= 200 or id = 400 for update skip locked"
    with closing(world.replica.connect(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute("set deadlock_timeout = '60s'; update t set v = 'mine' where id = %s", (first,))
        world.source.sql("update t set v = v || 'x' where id <= 200 or id = 400")
        wait_until(lambda: world.replica.value(waits) > 0, 20, "the sink to wait for the row")
        held = sorted({*range(1, 201), 400} - {row[0] for row in world.replica.sql(free)} - {first})
        done = threading.Thread(target=lambda: cursor.execute("update t set v = 'mine' where id = any(%s)", (held,)), daemon=True)
        done.start()
        done.join(30)
        assert not done.is_alive(), "nobody ended the deadlock"
        other.rollback()
    world.wait_equal()
    return bool(held)


@failure("F111", "Deadlocks, locks and serialization failures in the replica",
         happens="Somebody holds what the sink needs, or wants what it holds.",
         does="The whole transaction, with the position, is rolled back and tried again with back-off. `lock_timeout` (10 s) bounds each wait.",
         todo="Nothing; long locks on the replica are lag.", ends="equal", by=["contract/target/test_obstacles/a_lock_that_is_not_given_is_tried_again"])
def test_locks_and_deadlocks_on_the_replica(world):
    world.replica.sql(f'alter database "{world.replica.name}" set deadlock_timeout = \'5s\'')  # looked for once, after the circle is closed
    m = pipeline(world, TABLE, sinks=[world.sink(postgres={"lock_timeout": "1s"})])
    with closing(world.replica.connect(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute("lock table t in access exclusive mode")
        world.source.sql("update t set v = 'locked' where id < 10")
        m.wait_log(r"will try again.*55P03", 30)
        other.rollback()
    world.wait_equal()
    m.config["sinks"][0]["postgres"]["lock_timeout"] = "60s"
    m.hup(m.config)
    assert deadlock(world, 400) or deadlock(world, 1), "the sink held no row while it waited, whichever it was made to wait for"
    m.wait_log("40P01", 30)
    world.wait_equal()
    m.term()


@failure("F120", "The replica is much slower than the source",
         happens="The sink falls behind by far more than fits in memory.",
         does="Memory stays as it is: batches, queues and fetches are bounded in bytes, and the rest waits in Kafka. Capture and other sinks go on.",
         todo="Watch `millrace_sink_lag_seconds`. The journal's retention (compaction lag, seven days) is the time there is.", ends="equal")
def test_a_replica_that_stalls_costs_no_memory(world):
    m = pipeline(world, "create table big (id int primary key, v text); alter table big replica identity full; insert into big values (0, 'x')",
                 sinks=[world.sink(postgres={"lock_timeout": "0s"})],
                 env={"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8:halt_on_error=1:exitcode=99"})
    with closing(world.replica.connect(autocommit=False)) as other, other.cursor() as cursor:
        cursor.execute("lock table big in access exclusive mode")
        peak = 0
        for i in range(4):
            world.source.sql("insert into big select %s + i, repeat(md5(i::text), 150) from generate_series(1, 5000) i", (i * 5000,))
            lsn = world.source.lsn()
            wait_until(lambda: world.source.value("select %s::pg_lsn >= %s::pg_lsn", (confirmed(world), lsn)), 60, "capture to go on")
            peak = max(peak, m.rss_bytes())
            if i == 1:
                settled = peak
        assert peak < settled + 32e6, f"{settled / 1e6:.0f} MB after 48 MB of rows, {peak / 1e6:.0f} MB after 96 MB"
        other.rollback()
    world.wait_equal(deadline_s=90)
    m.term()


@failure("F127", "A sink's filter or names are changed after its tables were written",
         happens="`where:` is loosened, a column gets another name in `rename:`, or two source tables would become one table of the replica. Rows from before would stay as they were.",
         does="Stops with `config` when it meets the table; what can be seen in the file alone stops `millrace` at its start. A table that gets another name in `rename:` takes its rows along.",
         todo="Restore the configuration, or `millrace replay --sink NAME`.", ends="config", by=["contract/target/test_replay/rows_keep_their_origin", "unit/sink/test_mapping/two_tables_cannot_become_one"])
def test_a_sink_whose_configuration_changes(world):
    world.source.sql(f"{TABLE}; create schema a; create schema b; create table a.same (id int primary key); create table b.same (id int primary key); insert into a.same values (1); insert into b.same values (2)")
    config = world.config(registry=False, source={"tables": ["public.*", "a.*", "b.*"]}, sinks=[world.sink(where={"public.t": "v = 'v7'"}, tables=["public.*"])])
    m = world.millrace(config)
    wait_until(lambda: world.replica.value("select to_regclass('t') is not null") and world.replica.value("select count(*) from t") == 1, 30, "the filtered row")

    def stops_until_replayed(sink, word):
        mark = m.log_size()
        config["sinks"] = [sink]
        m.hup(config)
        world.source.sql("update t set v = v where id in (7, 8)")
        assert word in m.wait_log(r"level=error.*name=config.*millrace replay --sink replica.*", 30, since=mark)[0]
        rc, _, err = m.run_cli("replay", "--sink", "replica")
        assert rc == 0, err
        m.hup()
    stops_until_replayed(world.sink(tables=["public.*"]), "where")
    world.wait_equal(["public.t"])
    stops_until_replayed(world.sink(tables=["public.*"], rename={"public.t.v": "w"}), "column v")
    wait_until(lambda: world.replica.value("select count(*) from information_schema.columns where table_name = 't' and column_name = 'w'"), 30, "the new name")
    wait_until(lambda: world.replica.value("select count(*) from t where w like 'v%%'") == 500, 30, "the rows under it")
    mark = m.log_size()
    config["sinks"] = [world.sink("both", to=world.replica, tables=["a.*", "b.*"], rename={"a": "one", "b": "one"})]
    m.hup(config)
    assert "same" in m.wait_log(r"level=error.*name=config.*one\.same.*", 30, since=mark)[0]
    m.kill9()
    config["sinks"] = [world.sink("both", to=world.replica, tables=["a.*", "b.*"], rename={"a": "one", "b": "one", "b.same": "other"})]
    m.write_config(config)
    m.start()
    rc, _, err = m.run_cli("replay", "--sink", "both")
    assert rc == 0, err
    world.wait_equal({"a.same": "one.same", "b.same": "one.other"})
    m.term()


SLOW_NAMES = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <netdb.h>
#include <string.h>
#include <unistd.h>
/* A name server that does not answer: asking for this host takes long. */
int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints, struct addrinfo **ret) {
    __typeof__(getaddrinfo) *next = (__typeof__(getaddrinfo) *)dlsym(RTLD_NEXT, "getaddrinfo");
    if (host && strcmp(host, "slow.invalid") == 0) sleep(25);
    return next(host, service, hints, ret);
}
"""


@failure("F128", "A name server does not answer while a connection is made",
         happens="Looking up a host can hang for longer than anything of ours may take.",
         does="Other roles, SIGHUP and SIGTERM do not wait for it: a sink that a reload takes away leaves when the answer comes, and SIGTERM ends the process within 5 s.",
         todo="Mend the name server, or write an address.", ends="equal")
def test_a_name_server_that_hangs(world):
    source, library = world.run.path / "slow.c", world.run.path / "slow.so"
    source.write_text(SLOW_NAMES)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    world.source.sql(TABLE)
    slow = world.sink("slow", to="postgres://postgres@slow.invalid/x?sslmode=disable")
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0:halt_on_error=1:exitcode=99:detect_leaks=0"
    m = world.millrace(world.config(registry=False, sinks=[slow]), env={"LD_PRELOAD": str(library), "ASAN_OPTIONS": asan})
    m.wait_log("sink=slow", 20)
    m.hup(world.config(registry=False))
    world.wait_equal(deadline_s=20)
    m.term(within_s=5)
