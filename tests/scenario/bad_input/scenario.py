"""What an operator gets wrong, or finds wrong: connections, rights, settings, tables. Each ends by itself or with a name, and mended, equal."""
import json
import os
import subprocess

from harness import wait_until, wire
from harness.failure import failure
from harness.pipeline import pipeline, stops, table

DOCTOR = "`millrace doctor` says the same before anything runs."
TABLE = table(300)


def with_url(config, url, sink=False):
    changed = json.loads(json.dumps(config))
    (changed["sinks"][0] if sink else changed["source"])["postgres"]["url"] = url
    return changed


def ends(m, name, *words, command="run"):
    """It stops by that name and words, and with no other error."""
    assert len(stops(m.start(command), name, *words)) == 1, m.tail()


def doctor_says(m, *words):
    rc, out, _ = m.run_cli("doctor", "--json")
    wrong = [f for part in json.loads(out)["parts"] for f in part["findings"] if f["level"] == "error"]
    assert rc == 1 and wrong, out
    for word in words:
        assert word in json.dumps(wrong), f"{word!r} is not in: {wrong}"


def retries(m, name, command="run"):
    """It tries again and says why; SIGTERM ends it meanwhile."""
    mark = m.log_size()
    m.start(command)
    line = m.wait_log(rf"will try again.*name={name}.*", 30, since=mark)[0]
    m.term(within_s=5)
    return line


def password_server(world, name, **settings):
    server = world.postgres(name, auth="scram-sha-256", password="pa55-right", settings=settings)
    return server, getattr(world, name)


@failure("F122", "The source's URL is wrong: password, role, database, host or port",
         happens="A typing error, a password that was changed, a firewall, a name server that does not know the host.",
         does="A login that is refused stops with the server's words; what may heal (no answer, no such host) is tried again every few seconds. " + DOCTOR,
         todo="Mend `source.postgres.url`, or the server.", ends="source-refused equal")
@failure("F123", "The source is not set up: `wal_level`, a slot of somebody else, a publication that lacks a table, a table without a key",
         happens="Capture is started before the source is ready for it, or a name is taken.",
         does="Names the setting, slot or table and the SQL that mends it, before anything is shipped. " + DOCTOR,
         todo="Run the SQL of the message; start again.", ends="source-setting source-table table-without-key equal",
         by=["subscription_roles/each_missing_grant_of_the_source"])
def test_a_source_that_is_wrong_or_not_set_up(world):
    server, source = password_server(world, "source", wal_level="replica")
    source.sql(f"{TABLE}; create table keyless (v text); create role other login password 'x'")
    config = world.config(registry=False)
    m, good = world.millrace(config, start=False), source.url()
    for url, word in ((good.replace("pa55-right", "pa55-wrong"), "password"), (good.replace("//postgres:", "//nobody:"), "nobody"),
                      (good.rsplit("/", 1)[0] + "/no_such_database", "no_such_database")):
        m.write_config(with_url(config, url))
        ends(m, "source-refused", word)
        assert "pa55" not in m.log_text(), "the password is in the log"
    doctor_says(m, "source-refused", "no_such_database")
    silent = world.proxy(source, wire.Bytes)
    silent.freeze()
    refused = world.proxy(source, wire.Bytes)
    refused.refuse()
    for url in (good.replace("127.0.0.1", "nowhere.invalid"), refused.through(good), silent.through(good)):
        m.write_config(with_url(config, url))
        retries(m, "source-unreachable")
    doctor_says(m, "source-unreachable")
    m.write_config(config)
    doctor_says(m, "wal_level", "ALTER SYSTEM SET wal_level")
    ends(m, "source-setting", "wal_level")
    server.configure({"wal_level": "logical"})
    server.restart()
    ends(m, "table-without-key", "public.keyless")
    source.sql(f"alter table keyless replica identity full; insert into keyless values ('a'), ('a')")
    source.sql(f"select pg_create_logical_replication_slot('{world.slot}', 'test_decoding')")
    doctor_says(m, "test_decoding")
    ends(m, "source-setting", world.slot, "pg_drop_replication_slot")
    source.sql(f"select pg_drop_replication_slot('{world.slot}')")
    m.write_config(config)
    m.start()
    source.sql("insert into t values (1000, 'after'); delete from keyless where ctid = (select min(ctid) from keyless)")
    world.wait_equal()
    m.term()


@failure("F124", "The replica's URL is wrong, or it takes no connections or no writes",
         happens="As at the source; or the role's connections are used up, or `default_transaction_read_only` is on, or the URL leads to a standby.",
         does="A login that is refused stops the sink by name; the rest of the process goes on. What may heal is tried again with back-off, and goes on by itself. " + DOCTOR,
         todo="Mend `url` or the server; SIGHUP or restart.", ends="target-refused equal")
def test_a_replica_that_is_wrong_or_takes_no_writes(world):
    server, replica = password_server(world, "replica")
    world.source.sql(TABLE)
    config = world.config(registry=False)
    capture = world.millrace(config | {"sinks": []}, command="capture", name="capture")
    m, good = world.millrace(config | {"http": {}}, start=False), replica.url()
    for url, word in ((good.replace("pa55-right", "pa55-wrong"), "password"), (good.rsplit("/", 1)[0] + "/no_such_database", "no_such_database")):
        m.write_config(with_url(config, url, sink=True) | {"http": {}})
        ends(m, "target-refused", word, command="sink")
        assert "pa55" not in m.log_text(), "the password is in the log"
    doctor_says(m, "target-refused")
    silent = world.proxy(replica, wire.Bytes)
    silent.freeze()
    for url in (good.replace("127.0.0.1", "nowhere.invalid"), silent.through(good)):
        m.write_config(with_url(config, url, sink=True) | {"http": {}})
        retries(m, "target-unreachable", "sink")
    doctor_says(m, "target-unreachable")
    role = world.prefix + "_few"
    replica.sql(f"create role {role} login password 'pa55-right' connection limit 0; grant all on database \"{replica.name}\" to {role}; grant all on schema public to {role};"
                f"grant set on parameter session_replication_role to {role}")
    m.write_config(with_url(config, replica.url(role, "pa55-right"), sink=True) | {"http": {}})
    m.start("sink")
    m.wait_log(r"name=target-full.*53300", 30)
    replica.sql(f"alter role {role} connection limit 10; alter role {role} set default_transaction_read_only = on")
    m.wait_log(r"name=target-full.*25006", 30)
    doctor_says(m, "default_transaction_read_only")
    replica.sql(f"alter role {role} reset default_transaction_read_only")
    world.wait_equal()
    mark = m.log_size()
    server.configure({"default_transaction_read_only": "on"})
    server.reload()
    world.source.sql("update t set v = v || '.' where id < 200; delete from t where id > 250")
    m.wait_log(r"name=target-full.*25006", 30, since=mark)
    server.configure({"default_transaction_read_only": None})
    server.reload()
    world.wait_equal()
    m.term()
    capture.term()


# Each table breaks in its own way: source, replica, what the error says, what mends it.
MISFITS = {
    "absent": ("id int primary key, v text", None, "CREATE TABLE", "create table absent (id int primary key, v text)"),
    "short": ("id int primary key, v text, w text", "id int primary key, v text", "ADD COLUMN", "alter table short add w text"),
    "narrow": ("id int primary key, v text", "id int primary key, v varchar(3)", "ALTER COLUMN", "alter table narrow alter v type text"),
    "slim": ("id bigint primary key, v text", "id int primary key, v text", "bigint", "alter table slim alter id type bigint"),
    "other": ("id int primary key, v text, d date", "id int primary key, v text, d uuid", "date", "alter table other alter d type date using null"),
    "keyless": ("id int primary key, v text", "id int, v text", "UNIQUE INDEX", "create unique index on keyless (id)"),
    "checked": ("id int primary key, v text", "id int primary key, v text constraint shorter check (length(v) < 3)", "shorter", "alter table checked drop constraint shorter"),
    "uniq": ("id int primary key, v text", "id int primary key, v text constraint once unique", "once", "alter table uniq drop constraint once"),
    "filled": ("id int primary key, v text, n int", "id int primary key, v text, n int not null", "n", "alter table filled alter n drop not null"),
    "excluded": ("id int primary key, v text", "id int primary key, v text, constraint alone exclude using btree (v with =)", "alone", "alter table excluded drop constraint alone"),
    "moody": ("id int primary key, v text, m mood", "id int primary key, v text, m mood", "ADD VALUE", "alter type mood add value 'glad'"),
    "guarded": ("id int primary key, v text", "id int primary key, v text", "trigger", "drop trigger refuse on guarded"),
    "good": ("id int primary key, v text", "id int primary key, v text", None, None),
}


@failure("F125", "A replica table is missing or does not fit, or a row breaks a constraint of the replica",
         happens="A column is missing, too narrow or of another type, there is no unique index over the key, a constraint or trigger of the replica refuses a row.",
         does="`consistency: key` leaves that table standing and goes on with the others; `consistency: transaction` stops the sink. Log and `millrace status` name table, column or "
              "constraint, and the SQL; never the row. Nothing after the row is applied to that table.",
         todo="Run the SQL on the replica, or drop the constraint; then SIGHUP or restart. The changes have waited in the journal.", ends="target-table target-constraint equal")
def test_replica_tables_that_do_not_fit(world):
    world.source.sql("create type mood as enum ('sad', 'glad')")
    world.replica.sql("create type mood as enum ('sad')")
    for name, (source, replica, _, _) in MISFITS.items():
        world.source.sql(f"create table {name} ({source}); alter table {name} replica identity full; insert into {name} (id, v) select i, 'same value' from generate_series(1, 20) i")
        if replica:
            world.replica.sql(f"create table {name} ({replica})")
    world.replica.sql("""create function refuse() returns trigger language plpgsql as $$ begin raise exception 'not %', new.v; end $$;
                         create trigger refuse before insert on guarded for each row execute function refuse(); alter table guarded enable always trigger refuse""")
    world.source.sql("update moody set m = 'glad'; update other set d = '2024-02-29'; update short set w = 'w'")
    m = world.millrace(world.config(registry=False, sinks=[world.sink(consistency="key", workers=1, postgres={"create_tables": False, "schema_change": "stop"})]))
    bad = {name for name, misfit in MISFITS.items() if misfit[3]}

    def parked():
        return {p["table"].split(".")[-1]: p["reason"] for p in m.sink_status("replica").get("parked", [])}
    wait_until(lambda: set(parked()) == bad, 60, "every misfit to be parked")
    world.source.sql("; ".join(f"insert into {name} (id, v) values (100, 'later')" for name in MISFITS))
    world.wait_equal(["public.good"])
    for name, reason in parked().items():
        assert MISFITS[name][2] in reason, f"{name}: {reason}"
        assert "same value" not in reason, f"a row's value is in: {reason}"
    assert "same value" not in m.log_text(), "a row's value is in the log"
    for name in bad - {"absent"}:
        assert world.replica.value(f"select count(*) from {name}") == 0, f"half of {name} is in the replica"
    for name in bad:
        world.replica.sql(MISFITS[name][3])
    m.hup()
    world.wait_equal()
    wait_until(lambda: not parked(), 30, "no table to be parked any more")
    m.term()


FULL = r"""
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

/* True where a write would make a data file larger while the disk is "full". */
static int full(int fd, off_t end) {
    char link[64], path[PATH_MAX];
    struct stat st;
    const char *flag = getenv("DISK_FULL_IF");
    if (!flag || access(flag, F_OK) != 0) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, path, sizeof path - 1);
    if (n <= 0) return 0;
    path[n] = 0;
    if (!strstr(path, "/base/") || fstat(fd, &st) != 0 || end <= st.st_size) return 0;
    errno = ENOSPC;
    return 1;
}
#define NEXT(name) __typeof__(name) *next = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
ssize_t pwrite(int fd, const void *data, size_t n, off_t at) { NEXT(pwrite); return full(fd, at + (off_t)n) ? -1 : next(fd, data, n, at); }
ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at) { NEXT(pwrite64); return full(fd, at + (off_t)n) ? -1 : next(fd, data, n, at); }
"""


def full_disk(world):
    """A library for LD_PRELOAD that makes the disk full while a file is there, and that file."""
    source, library, flag = world.run.path / "full.c", world.run.path / "full.so", world.run.path / "disk-is-full"
    source.write_text(FULL)
    subprocess.run([os.environ.get("CC", "cc"), "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"], check=True)
    library.chmod(0o755)
    return {"LD_PRELOAD": str(library), "DISK_FULL_IF": str(flag)}, flag


@failure("F119", "The replica's disk is full",
         happens="The replica cannot make a file larger. Its own transaction is rolled back.",
         does="Tries again with back-off, from 0.1 s to 10 s, and holds its place in Kafka; rows and position are one transaction, so that nothing is half there. Capture is not held up. "
              "No free connections and a read-only replica are treated alike.",
         todo="Make room. It goes on by itself.", ends="equal")
def test_the_replicas_disk_is_full(world):
    env, flag = full_disk(world)
    world.postgres("replica", env=env)
    m = pipeline(world, TABLE)
    mark = m.log_size()
    flag.touch()
    world.source.sql("insert into t select i, repeat('large', 300) from generate_series(1000, 4000) i; update t set v = 'x' where id = 1")
    m.wait_log(r"will try again.*name=target-full.*53100", 30, since=mark)
    assert world.replica.value("select v from t where id = 1") == "v1", "half of a transaction is in the replica"
    wait_until(lambda: "retrying" in m.http("/v1/status")[1] and m.http("/readyz")[0] == 503, 10, "the status to say so")
    flag.unlink()
    world.wait_equal()
    m.term()


failure("F119b", "The replica takes no writes or no connections for a while",
        happens="`default_transaction_read_only`, a standby, or `max_connections` used up.",
        does="As with a full disk: tried again with back-off, named `target-full` in log, metrics and status; it goes on by itself.",
        todo="Give it back its rights or connections.", ends="equal", by=["bad_input/a_replica_that_is_wrong_or_takes_no_writes"])


@failure("F126", "A database server is silent: the connection stands, and nothing comes through",
         happens="A firewall dropped its state, a host hangs, a proxy lost its other side. The kernel sees nothing wrong.",
         does="A host that acknowledges nothing is given up after 15 s. A source that only keeps silent is asked for a sign of life, and given up after its own `wal_sender_timeout` "
              "(60 s by default); a replica after `statement_timeout` and 15 s; new connections after 10 s (source) or 20 s (replica). Then it connects anew, for ever. SIGTERM ends the process within 5 s all the while.",
         todo="Nothing, once the network is back.", ends="equal")
def test_half_open_connections_to_both_databases(world):
    server = world.postgres("source", settings={"wal_sender_timeout": "6s"})
    world.source.sql(TABLE)
    source, replica = world.proxy(server, wire.Bytes), world.proxy(world.replica, wire.Bytes)
    config = world.config(registry=False, sinks=[world.sink(to=replica.through(world.replica.url()), postgres={"statement_timeout": "1s"})])
    config = with_url(config, source.through(world.source.url()))
    m = world.millrace(config)
    world.wait_equal()
    mark = m.log_size()
    source.freeze()
    m.wait_log(r"will try again.*name=source-unreachable.*silent", 20, since=mark)
    m.term(within_s=5)
    m.start()
    m.wait_log(r"will try again.*name=source-unreachable", 30, since=m.log_size())
    source.thaw()
    world.source.sql("update t set v = 'after the first'")
    world.wait_equal()
    mark = m.log_size()
    replica.freeze()
    world.source.sql("update t set v = 'after the second'")
    m.wait_log(r"will try again.*name=target-unreachable", 40, since=mark)
    m.term(within_s=5)
    m.start()
    replica.thaw()
    world.wait_equal()
    replica.freeze(requests=False)
    world.source.sql("update t set v = 'after the third'")
    m.term(within_s=5)
    replica.thaw()
    m.start()
    world.wait_equal()
    m.term()


failure("F130", "The source's WAL sender is busy for longer than its timeout",
        happens="It passes over a huge transaction of tables that are not captured, or waits for a catalog that somebody locked, and sends and answers nothing. For a new connection it "
                "would begin from the same place, and never come through.",
        does="Before a silent source is given up, its other session is asked what the WAL sender's process does. One at work is waited for, with a warning after each `wal_sender_timeout`.",
        todo="Nothing; the warning says what it waits for.", ends="equal",
        by=["contract/source/test_postgres_slot/a_wal_sender_that_is_busy_for_longer_than_its_timeout_is_waited_for"])


def test_a_dropped_table_whose_history_is_kept(world):
    world.source.sql("create table big (id int primary key, v text, n int); alter table big alter v set storage external;"
                     "insert into big values (1, repeat('x', 9000), 1); create table other (id int primary key)")
    m = world.millrace(world.config(registry=False, source={"partial_rows": "history"}))
    world.wait_equal()
    m.term()
    world.source.sql("update big set n = 2; drop table big; insert into other values (1)")
    m.start()
    world.wait_equal()
    assert world.replica.sql("select id, length(v), n from big") == [(1, 9000, 2)]
    m.term()
