"""`millrace quickstart` writes a configuration from two database URLs: it runs as it is, holds no password, and says what is in the way."""
import os
import re
import subprocess

from harness.compare_sqlite import wait_equal_sqlite

SHOP = """create table item (id int primary key, name text not null); insert into item select i, 'item ' || i from generate_series(1, 100) i;
    create table pair (a int, b int, primary key (a, b)); insert into pair values (1, 2);
    create table log (line text); insert into log values ('not shipped');
    create schema "Odd ""one"; create table "Odd ""one"."${HOME}" (id int primary key); create table "Odd ""one"."!no key*" (v int)"""


def quickstart(world, *args, env=None):
    """(exit code, stdout, stderr) of `millrace quickstart`, in a directory of the test's own."""
    environment = world.millrace({}, start=False).env
    done = subprocess.run([world.binary, "quickstart", *args], text=True, capture_output=True, timeout=120, cwd=world.run.path,
                          env=os.environ | environment | {"STATE_DIRECTORY": str(world.run.sub("state").path)} | (env or {}))
    assert "Sanitizer" not in done.stderr, done.stderr
    return done.returncode, done.stdout, done.stderr


def role_with_password(world):
    world.source.sql("create role quick login replication superuser password 'se%cret'")
    return world.source.url("quick", "se%cret")


def test_the_file_runs_as_it_is_and_holds_no_password(world):
    world.source.sql(SHOP)
    try:
        url, file = role_with_password(world), world.run.path / "replica.db"
        config = world.run.path / "shop.yaml"
        code, out, error = quickstart(world, url, f"sqlite:{file}", "--output", str(config))
        assert code == 0, out + error
        text = config.read_text()
        assert "se%" not in text + out + error and "${SOURCE_PASSWORD}" in text and "export SOURCE_PASSWORD=" in out, text + out
        assert "public.log has no key" in out and '"!public.log"' in text, out + text
        assert not file.exists()
        before = config.stat()
        assert quickstart(world, url, f"sqlite:{file}", "--output", str(config))[0] == 0  # the same again is no conflict
        assert config.stat().st_ino == before.st_ino
        m = world.millrace(text, start=False, env={"SOURCE_PASSWORD": "se%25cret", "STATE_DIRECTORY": str(world.run.path / "state")})
        m.start("run")
        tables = ["public.item", "public.pair", 'Odd "one.${HOME}']
        wait_equal_sqlite(world.source, file, tables)
        world.source.sql("update item set name = 'new' where id = 5; insert into pair values (2, 3); update log set line = 'still taken'")
        wait_equal_sqlite(world.source, file, tables)
        m.term()
    finally:
        world.source.sql("select pg_drop_replication_slot(slot_name) from pg_replication_slots where not active and database = current_database()")
        world.source.sql("drop owned by quick; drop role quick")


def test_what_is_there_is_not_overwritten_and_what_cannot_be_is_refused(world):
    world.source.sql("create table item (id int primary key); insert into item values (1)")
    world.replica.sql("create table item (id int primary key); insert into item values (7)")
    config = world.run.path / "millrace.yaml"
    config.write_text("precious")
    ours = world.source.url(), world.replica.url()
    code, _out, error = quickstart(world, *ours)
    assert code == 3 and "--force" in error and config.read_text() == "precious", error
    code, out, _error = quickstart(world, *ours, "--force")
    assert code == 0 and "public.item is there and may hold rows" in out and "sinks:" in config.read_text(), out
    for urls, wanted, words in (((ours[0], ours[0]), 2, "the same database"), (("oracle://x/y", ours[1]), 2, "which database is the source"),
                                ((ours[0], "nothing"), 2, "which database is the replica"), (ours[:1], 2, "SOURCE_URL REPLICA_URL"),
                                (("postgresql://postgres@127.0.0.1:1/x", ours[1]), 6, "source-unreachable"),
                                ((ours[0], "postgresql://u:hush@127.0.0.1:1/x"), 6, "target-unreachable")):
        code, out, error = quickstart(world, *urls, "--output", "other.yaml")
        assert code == wanted and words in error and "hush" not in out + error, (urls, code, error)
        assert not (world.run.path / "other.yaml").exists()


def test_where_the_log_may_not_be_read_triggers_are_suggested(world):
    world.source.sql("create table item (id int primary key); insert into item values (1)")
    world.source.sql("create role reader login; grant usage on schema public to reader; grant select on all tables in schema public to reader")
    try:
        code, out, _error = quickstart(world, world.source.url("reader"), f"sqlite:{world.run.path}/r.db")
        text = (world.run.path / "millrace.yaml").read_text()
        assert "postgres_triggers:" in text and "ALTER ROLE reader REPLICATION" in out, out + text
        assert re.search(r"millrace source install --config millrace.yaml", out) and code in (0, 1), out
    finally:
        world.source.sql("drop owned by reader; drop role reader")
