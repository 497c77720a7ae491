"""What hostile servers, names and values cannot do, and what never shows: secrets and the values of rows."""
import contextlib
import json
import os
import random
import socket
import sys
from pathlib import Path

from harness import wait_until, wire
from harness.certificates import certificate
from harness.failure import failure
from harness.pipeline import pipeline, table

sys.path.insert(0, str(Path(__file__).resolve().parent))
from rogue import ANSWERS, POISONS, RoguePostgres, RogueRegistry  # noqa: E402

TABLE = table(50)
QUIET_ASAN = {"ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=8:halt_on_error=1:exitcode=99"}


# ---- hostile servers -------------------------------------------------------------------------------------------------

@failure("S1", "A PostgreSQL server that is hostile, as source or as replica",
         happens="Declared lengths of gigabytes, names of 10 MB, endless notices, garbage, a byte every second, silence.",
         does="Every answer has a deadline and a bound. It is an error by name, tried again or not, never a crash and never memory without bounds; other sinks go on.",
         todo="Find out who answers there.", ends="source-unreachable source-protocol target-unreachable target-table")
def test_hostile_postgresql_servers(world):
    rogues = {poison: RoguePostgres(poison) for poison in POISONS}
    sinks = [world.sink()] + [world.sink(name, to=rogue.url(), postgres={"statement_timeout": "1s"}) for name, rogue in rogues.items()]
    m = pipeline(world, TABLE, sinks=sinks, env=QUIET_ASAN)
    before = m.rss_bytes()

    def states():
        return {r["name"]: r.get("error", {}).get("name") for r in json.loads(m.http("/v1/status")[1])["roles"] if r["name"] in rogues}
    wait_until(lambda: all(states().values()), 60, "a named error of every sink", every_s=0.5)
    assert all(name.startswith("target-") for name in states().values()), states()
    world.source.sql("update t set v = 'goes on'")
    world.wait_equal()
    assert m.rss_bytes() < before + 300e6, f"{before / 1e6:.0f} MB before, {m.rss_bytes() / 1e6:.0f} MB now"
    assert all(rogue.asked for rogue in rogues.values())
    assert "canary-of-" not in m.log_text() and "\x1b" not in m.log_text() and max(map(len, m.log_text().splitlines())) < 9000
    m.term(within_s=5)
    # the same as sources, asked by doctor, which looks once
    slow = {"endless_notices", "endless_answers", "slow_drops"}  # each until doctor's deadline, as `silence` is
    for poison, rogue in ((p, r) for p, r in rogues.items() if p not in slow):
        config = world.config(registry=False, sinks=[])
        config["source"]["postgres"]["url"] = rogue.url()
        m.write_config(config)
        rc, out, err = m.run_cli("doctor", "--json", deadline_s=60)
        found = {f["id"] for part in json.loads(out)["parts"] if part["part"].startswith("source") for f in part["findings"] if f["level"] == "error"}
        assert rc == 1 and found and all(name.startswith("source-") for name in found), f"{poison}: {out} {err}"
        assert "canary-of-" not in out + err
        rogue.close()


@failure("S2", "Garbage in the replication stream",
         happens="A broken proxy, a hostile server: frames that are no frames, names without end.",
         does="Capture stops by name before anything of the frame is shipped, or connects anew; the position stays. With a sound stream it goes on.",
         todo="Find out what stands between. Then start again.", ends="source-protocol equal", by=["unit/capture/test_pgoutput/every_byte_may_be_anything", "unit/capture/test_pgoutput/lengths_of_two_gigabytes_and_more_are_refused"])
def test_garbage_in_the_replication_stream(world):
    proxy = world.proxy(world.source, wire.Postgres)
    m = pipeline(world, TABLE, source={"url": proxy.through(world.source.url())}, env=QUIET_ASAN)

    def copy(payload):
        return lambda data: b"d" + (len(data[5:30]) + len(payload) + 4).to_bytes(4, "big") + data[5:30] + payload
    relation = (16999).to_bytes(4, "big")
    for payload in (b"\xff" * 50, b"R" + relation + b"public\0" + b"x" * 10_000_000 + b"\0d" + (1).to_bytes(2, "big"), b"I" + relation + b"N" + b"\xff\xff" + b"t" * 30):
        mark = m.log_size()
        rule = proxy.rewrite("d", copy(payload), answer=True, times=None, having=b"rewritten")
        world.source.sql("insert into t values ((select max(id) + 1 from t), 'to be rewritten')")
        m.wait_log(r"level=(error|warn).*name=source-(protocol|unreachable|table)", 30, since=mark)
        assert m.rss_bytes() < 600e6 if m.alive() else True
        rule.release()
        if "level=error" in m.log_text(mark):
            assert m.wait(20) == 5, m.tail()
            m.start()
        world.wait_equal()
    m.term()


@failure("S3", "A registry that is hostile",
         happens="Bombs of compressed bytes, redirects to addresses inside, answers of any size, depth or type.",
         does="Answers are taken up to a limit, uncompressed, and never followed elsewhere; a wrong one is refused by name, and nothing is shipped under it.",
         todo="Find out who answers there.", ends="registry-refused registry-unreachable",
         by=["unit/schemas/test_registry_faults/redirects_are_not_followed", "unit/schemas/test_registry_faults/rubbish_is_refused"])
def test_hostile_registries(world):
    world.source.sql(TABLE)
    registry = RogueRegistry("redirect")
    config = world.config(registry=False, sinks=[], capture={})
    config["schemas"] = {"registry": registry.url(), "timeout": "2s"}
    m = world.millrace(config, start=False, env=QUIET_ASAN)
    for kind in ANSWERS:
        registry.kind = kind
        mark, asked = m.log_size(), len(registry.asked)
        m.start("capture")
        m.wait_log(r"level=(error|warn).*name=(registry-refused|registry-unreachable|schema-\w+).*", 30, since=mark)
        peak = m.rss_bytes() if m.alive() else 0
        assert peak < 400e6, f"{kind}: {peak / 1e6:.0f} MB"
        assert len(registry.asked) > asked
        m.process.signal(15)
        m.process.wait(5)
        assert not [t for t in world.topics() if t.endswith("public.t") and world.kafka.dump(t)], f"{kind}: rows were shipped"
    registry.close()


# ---- TLS -------------------------------------------------------------------------------------------------------------

@failure("S4", "A database server cannot show who it is, or speaks no TLS",
         happens="A certificate of another authority, for another host, or expired; a server, or somebody between, that says it has no TLS.",
         does="Hosts that are not this machine are verified by name and authority unless `sslmode` in the URL says otherwise, and then the log warns. What cannot be trusted is refused by name "
              "before the password is sent.",
         todo="Give the server a right certificate, or `sslrootcert=` in the URL.", ends="source-refused target-refused equal")
def test_tls_is_verified(world):
    path = world.run.path
    root = certificate(path, "root")
    certificate(path, "other")
    certificate(path, "right", "root")
    certificate(path, "stranger", "other")
    certificate(path, "elsewhere", "root", san="DNS:db.example,IP:192.0.2.1")
    certificate(path, "expired", "root", days=-1)
    server = world.postgres("source", settings={"ssl": "off"})
    world.source.sql(TABLE)
    config = world.config(registry=False)
    m = world.millrace(config, start=False)
    plain = f"postgres://postgres:canary-tls@127.0.0.1:{server.port}/{world.source.name}"

    def wears(name):
        for suffix in ("key", "crt"):
            target = server.data / f"server.{suffix}"
            target.write_bytes((path / f"{name}.{suffix}").read_bytes())
            target.chmod(0o600)
            if server.user:
                os.chown(target, server.user.pw_uid, server.user.pw_gid)
        server.configure({"ssl": "on"})
        server.restart()

    def refused(url, *words):
        config["source"]["postgres"]["url"] = config["sinks"][0]["postgres"]["url"] = url
        m.write_config(config)
        rc, out, err = m.run_cli("doctor", "--json")
        found = [f for part in json.loads(out)["parts"] for f in part["findings"] if f["level"] == "error"]
        assert {f["id"] for f in found} >= {"source-refused", "target-refused"}, f"{words}: {found}"
        for word in words:
            assert all(word in f["what"] for f in found if f["id"].endswith("-refused")), f"{word!r}: {found}"
    verified = f"{plain}?sslmode=verify-full&sslrootcert={root}"
    # 2130706433 is 127.0.0.1, and no name of this machine: TLS is asked for without being told.
    refused(plain.replace("127.0.0.1", "2130706433"), "SSL")
    refused(verified, "SSL")
    wears("stranger")
    refused(verified, "certificate")
    wears("expired")
    refused(verified, "certificate")
    wears("elsewhere")
    refused(verified, "certificate", "127.0.0.1")
    wears("right")
    refused(plain.replace("127.0.0.1", "2130706433"), "certificate")
    config["sinks"] = [world.sink()]
    config["source"]["postgres"]["url"] = verified
    m.write_config(config)
    m.start()
    world.wait_equal()
    assert world.source.value("select bool_and(ssl) from pg_stat_ssl join pg_stat_activity using (pid) where application_name like 'millrace%'")
    m.term()
    config["source"]["postgres"]["url"] = plain.replace("127.0.0.1", "2130706433") + "?sslmode=require"
    m.write_config(config)
    m.start()
    m.wait_log(r"level=warn room=capture msg=.*not verified", 20)
    world.source.sql("update t set v = 'still'")
    world.wait_equal()
    m.term()
    assert "canary-tls" not in m.log_text()


# ---- what never shows ------------------------------------------------------------------------------------------------

def everything_said(world, millraces, cli):
    """All bytes that a process of ours let out: logs, pages, command line, environment, topics."""
    said = {f"log of {m.name}": m.log_text() for m in millraces}
    for m in millraces:
        for page in ("/metrics", "/v1/status", "/readyz", "/nothing"):
            said[f"{m.name} {page}"] = m.http(page)[1] if m.config.get("http") else ""
        if m.alive():
            said[f"command line of {m.name}"] = Path(f"/proc/{m.process.pid}/cmdline").read_text()
    for name, text in cli.items():
        said[name] = text
    for topic in world.topics():
        said[f"topic {topic}"] = repr([(r.key, r.value, r.headers) for r in world.kafka.dump(topic)])
    return said


@failure("S5", "Secrets and the values of rows in logs, pages or topics",
         happens="Passwords stand in URLs, files and the environment; servers quote values in their errors.",
         does="Passwords are read, used and never printed; of a row only its key is named. At every log level, in every error, in `doctor`, `status`, `config` and the pages.",
         todo="Keep secrets in files that only Millrace may read (`${file:/path}`; it warns of others) or in the environment (`${NAME}`).", ends="equal",
         by=["contract/target/test_constraints/a_value_that_the_replica_refuses_is_not_quoted", "contract/target/test_constraints/what_a_trigger_says_of_a_row_is_not_quoted",
             "unit/schemas/test_registry_faults/credentials_in_the_url_are_used_and_never_shown"])
def test_secrets_and_values_never_show(world):
    secrets = {name: f"canary-{name}-{random.randrange(10**9)}" for name in ("source", "replica", "registry", "sasl", "rowvalue")}
    for role in ("source", "replica"):
        world.postgres(role, auth="scram-sha-256", password=secrets[role])
    value = secrets["rowvalue"]
    world.source.sql("create table checked (id int primary key, v text); create table short (id int primary key, v text); create table raised (id int primary key, v text);"
                     "create table uniq (id int primary key, v text); create table dated (id int primary key, v text, d timestamptz); create table good (id int primary key, v text)")
    for table in ("checked", "short", "raised", "uniq", "dated", "good"):
        world.source.sql(f"alter table {table} replica identity full; insert into {table} (id, v) values (1, 'harmless')")
    secret = world.run.path / "secret"
    secret.write_text(secrets["replica"] + "\n")
    secret.chmod(0o644)
    port = world.replica.server.port
    config = world.config(registry=True, journal={"properties": {"sasl.username": "u", "sasl.password": secrets["sasl"]}}, sinks=[
        world.sink(consistency="key", workers=1, postgres={"url": f"postgres://postgres:${{file:{secret}}}@127.0.0.1:{port}/{world.replica.name}"})])
    config["source"]["postgres"]["url"] = world.source.url().replace(secrets["source"], "${SOURCE_PASSWORD}")
    config["schemas"] = {"registry": world.registry.url().replace("http://", "http://user:${REGISTRY_PASSWORD}@")}
    env = {"SOURCE_PASSWORD": secrets["source"], "REGISTRY_PASSWORD": secrets["registry"]}
    m = world.millrace(config, env=env)
    world.wait_equal()
    assert "can read this secret" in m.log_text(), "nobody was told that the file is open to all"
    world.replica.sql("""alter table checked add constraint c check (v = 'harmless'); alter table uniq add constraint u unique (v);
                         alter table short alter v type varchar(10);
                         create function raise_it() returns trigger language plpgsql as $$ begin raise exception 'not %', new.v using detail = new.v, hint = new.v; end $$;
                         create trigger r before insert on raised for each row execute function raise_it(); alter table raised enable always trigger r""")
    for table in ("checked", "short", "raised"):
        world.source.sql(f"insert into {table} values (2, %s)", (value,))
    world.source.sql("insert into uniq values (2, %s), (3, %s)", (value, value))
    world.source.sql("insert into good values (2, %s)", (value,))
    world.wait_equal(["public.good"])
    wait_until(lambda: len(m.sink_status("replica").get("parked", [])) >= 3, 30, "the tables to be parked")
    cli = {}

    def ask(*argv):
        cli[" ".join(argv)] = "".join(map(str, m.run_cli(*argv)))
    for argv in (["doctor"], ["doctor", "--json"], ["status"], ["status", "--json"], ["config", "check"]):
        ask(*argv)
    # errors on every path: wrong passwords, servers that are away
    broken = json.loads(json.dumps(config))
    broken["source"]["postgres"]["url"] = world.source.url().replace(secrets["source"], "canary-mistyped")
    broken["sinks"][0]["postgres"]["url"] = world.replica.url().replace(secrets["replica"], "canary-mistyped")
    broken["schemas"]["registry"] = "http://user:canary-mistyped@127.0.0.1:9"
    wrong = world.millrace(broken | {"http": {}}, name="wrong", env=env)
    wrong.wait_log("level=(error|warn).*(refused|unreachable)", 30)
    for text in ("postgres://u:canary-mistyped@[::1/x", "host=a password='canary-mistyped", "canary-mistyped://x"):
        odd = json.loads(json.dumps(broken))
        odd["source"]["postgres"]["url"] = odd["sinks"][0]["postgres"]["url"] = text
        other = world.millrace(odd | {"http": {}}, name="odd", start=False, env=env)
        cli["doctor on " + text.replace("canary-mistyped", "...")] = "".join(map(str, other.run_cli("doctor"))) + "".join(map(str, other.run_cli("config", "check")))
        other.start()
        other.wait(20)
        cli["run on " + text.replace("canary-mistyped", "...")] = other.log_text()
    # a value that cannot be carried stops capture
    world.source.sql("insert into dated values (2, %s, '294276-12-31 23:59:59.999999+00')", (value,))
    said = everything_said(world, [m, wrong], cli)
    hits = {(name, where) for name, canary in secrets.items() for where, text in said.items()
            if canary in text and not (name == "rowvalue" and where.startswith("topic"))}
    hits |= {("mistyped", where) for where, text in said.items() if "canary-mistyped" in text}
    assert not hits, hits
    for process in (m, wrong):
        process.process.signal(15)
        process.process.wait(6)


# ---- hostile names ---------------------------------------------------------------------------------------------------

def names(count, seed):
    """Hostile names, all different, each 1 to 63 bytes."""
    rng = random.Random(seed)
    fixed = ['"', "'", ";", "--", "/*", "$", "$$", "$1", "%s", "%n%s", "\\", "\\'", "\\n", "a\nb", "\r\n", "\t", " ", " lead", "trail ", ".", "..", ".lead", "a.b", "A.B", "a..b", "../../x",
             "*", "!", "public", "Select", "select", "SELECT", "NULL", "null", "true", "0", "-1", "1e5", "a" * 63, "é" * 31, "\u0430dmin", "admin", "\u202eevil", "\u200b", "\u00a0", "\U0001f4a9", "İ", "ı", "ß",
             "a-b", "a_b", "a b", "a+b", "a/b", "a?b", "a#b", "a&b", "a=b", "a:b", "a@b", "[x]", "{x}", "(x)", "<b>", "a,b", "a|b", "`x`", "~", "^", "\x01", "\x1b[31m", "\x7f", "xmin2", "oid", "${HOME}", "{{x}}",
             "'; drop table t; --", '"; drop table t; --', "op", "before", "after", "source", "c0", "seq", "mask", "millrace", "__debezium", "$absent"]
    alphabet = "ab.$\"'\\;-_ \n%é\u0430\U0001f4a9(){}[]*?!/:=,"
    while len(fixed) < count:
        name = "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 20)))
        if name not in fixed and len(name.encode()) <= 63:
            fixed.append(name)
    return fixed[:count]


def quoted(name):
    return '"' + name.replace('"', '""') + '"'


@failure("S6", "Hostile names of schemas, tables, columns, types and indexes",
         happens="Quotes, newlines, terminal codes, look-alikes, 63 bytes, names that differ by case or by a character that topics cannot have.",
         does="Each name is quoted as a name everywhere, escaped in topics, and stays what it is; two tables never share a topic.", todo="Nothing.", ends="equal",
         by=["contract/target/test_hostile/hostile_names_are_names", "contract/target/test_hostile/hostile_types_never_become_sql", "types/hostile_identifiers_travel"])
def test_hostile_names(world):
    corpus = names(240, 4)
    rng = random.Random(5)
    tables, script = [], []
    pool = list(corpus)
    schemas = [n for n in corpus[:60] if n not in ("public", "millrace") and not n.startswith("pg_")][::4]
    for n in schemas:
        script.append(f"create schema {quoted(n)}")
    while pool:
        table, columns = pool.pop(), [pool.pop() for _ in range(min(5, len(pool)))]
        schema = rng.choice(["public", *schemas])
        where = f"{quoted(schema)}.{quoted(table)}"
        enum = f"{quoted(schema)}.{quoted('t' + table[:20])}"
        label = "'" + table[:15].replace("'", "''") + "'"
        script.append(f"create type {enum} as enum ({label}, 'plain')")
        script.append(f"create table {where} (id int primary key" + "".join(f", {quoted(c)} text" for c in columns) + f", kind {enum})")
        script.append(f"create index {quoted('i' + table[:20])} on {where} (id)")
        script.append(f"alter table {where} replica identity full")
        script.append(f"insert into {where} values (1" + ", 'x'" * len(columns) + f", {label}), (2" + ", null" * len(columns) + ", 'plain')")
        tables.append((schema, table, where, columns))
    # and tables whose topics would be one
    for table in ("a.b", "a_b", "a b", "a/b", "a:b"):
        if not any(s == "public" and t == table for s, t, _, _ in tables):
            script.append(f"create table {quoted(table)} (id int primary key, {quoted(table)} text); alter table {quoted(table)} replica identity full; insert into {quoted(table)} values (1, 'x')")
            tables.append(("public", table, f"public.{quoted(table)}", [table]))
    with contextlib.closing(world.source.connect()) as connection, connection.cursor() as cursor:
        for line in script:
            cursor.execute(line)
    m = world.millrace(world.config(source={"tables": ["*.*"]}))

    def content(database, where):
        return f"select coalesce(string_agg(r::text, ';' order by id), '') from {where} r"

    def all_of(database):
        assert m.alive(), m.tail()
        with contextlib.closing(database.connect()) as connection, connection.cursor() as cursor:
            found = {}
            for schema, table, where, _ in tables:
                cursor.execute("select to_regclass(%s) is not null", (where,))
                if cursor.fetchone()[0]:
                    cursor.execute(content(database, where))
                    found[schema, table] = cursor.fetchone()[0]
            return found
    wait_until(lambda: all_of(world.source) == all_of(world.replica), 90, "all hostile tables to arrive", every_s=1)
    with contextlib.closing(world.source.connect()) as connection, connection.cursor() as cursor:
        for _, _, where, columns in tables:
            values = ", ".join(f"{quoted(c)} = '" + c.replace("'", "''") + "'" for c in columns)
            cursor.execute(f"update {where} set {values} where id = 1" if columns else f"delete from {where} where id = 1")
    wait_until(lambda: all_of(world.source) == all_of(world.replica), 60, "their changes to arrive", every_s=1)
    assert len([t for t in world.topics() if t.count(".") >= 2]) >= len(tables), "two tables share a topic"
    assert "\x1b" not in m.log_text() and not [line for line in m.log_text().splitlines() if not line.startswith("ts=")], "a name broke a line of the log"
    for argv in (["status"], ["doctor"]):
        assert "\x1b" not in "".join(map(str, m.run_cli(*argv)))
    m.term()


# ---- the pages -------------------------------------------------------------------------------------------------------

@failure("S7", "Rude clients of the HTTP port",
         happens="Headers without end, half a request, hundreds of connections, other methods, paths that climb.",
         does="Reads first lines and headers of a few kB, 32 connections at a time and 10 s long; there is nothing to write or to fetch there but `/metrics`, `/healthz`, `/readyz` and `/v1/status`. "
              "The pipeline goes on.", todo="Keep the port on loopback; it has no authentication.", ends="equal",
         by=["unit/base/test_http/headers_larger_than_the_memory_of_a_connection_are_refused", "unit/base/test_http/other_methods_are_not_allowed"])
def test_rude_http_clients(world):
    m = pipeline(world, TABLE, env=QUIET_ASAN)
    host, port = m.config["http"]["listen"].split(":")
    before, rng, held = m.rss_bytes(), random.Random(7), []

    def send(data, keep=False):
        client = socket.create_connection((host, int(port)), timeout=2)
        with contextlib.suppress(OSError):
            client.sendall(data)
        if keep:
            held.append(client)
            return b""
        with contextlib.suppress(OSError), client:
            client.shutdown(socket.SHUT_WR)
            return client.recv(1 << 16)
        return b""
    for data in (b"GET /metrics HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 5_000_000 + b"\r\n\r\n", b"GET /" + b"a" * 1_000_000, b"POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999\r\n\r\nx",
                 b"GET /../../etc/passwd HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /%2e%2e/%00 HTTP/1.1\r\nHost: x\r\n\r\n", b"DELETE /v1/status HTTP/1.1\r\nHost: x\r\n\r\n", b"\x16\x03\x01" + b"\0" * 300,
                 b"GET /healthz HTTP/9.9\r\n\r\n", b"GET /healthz HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n", *[rng.randbytes(2000) for _ in range(50)]):
        answer = send(data)
        assert b"root:" not in answer and not (data[:4] != b"GET " and answer.startswith(b"HTTP/1.1 200")), answer
    for _ in range(100):
        with contextlib.suppress(OSError):
            send(b"GET /metrics HTTP/1.1\r\nX", keep=True)
    world.source.sql("update t set v = 'while they sit there'")
    world.wait_equal()
    for client in held:
        client.close()
    wait_until(lambda: m.http("/healthz")[0] == 200, 15, "the port to answer again")
    assert m.rss_bytes() < before + 60e6, f"{before / 1e6:.0f} MB before, {m.rss_bytes() / 1e6:.0f} MB now"
    m.term()


for slow_test in (test_hostile_postgresql_servers, test_secrets_and_values_never_show, test_hostile_names):
    slow_test.timeout_s = 300
