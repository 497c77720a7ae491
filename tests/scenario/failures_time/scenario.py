"""Clocks that jump: of Millrace, of the databases and of the brokers."""
import os
import re
import subprocess

from harness import PROJECT
from harness.failure import failure
from harness.history import check_history
from harness.pipeline import pipeline, table


@failure("F99", "A clock jumps",
         happens="Somebody, or a time server, sets a machine's clock by an hour, forward or back, or it stands beyond 2038: that of Millrace, of a database or of the brokers.",
         does="Orders changes by log position, never by time, and waits by the monotonic clock. Brokers that believe an hour has passed abort the transaction under way; it is sent again. "
              "Lags in the metrics never fall below zero. A step forward in the very moment of a commit can end the process (an assertion in librdkafka 2.0); started again, it goes on.",
         todo="Nothing.", ends="equal")
def test_clocks_jump(world):
    library, clocks = world.run.path / "skewed_clock.so", {}
    subprocess.run(["cc", "-shared", "-fPIC", "-O1", "-o", library, PROJECT / "tests" / "harness" / "skewed_clock.c", "-ldl"], check=True)

    def skewed(name):
        clocks[name] = world.run.path / f"{name}.clock"
        clocks[name].write_text("0")
        return {"LD_PRELOAD": str(library), "SKEWED_CLOCK": str(clocks[name])}

    def jump(name, seconds):
        new = clocks[name].with_suffix(".new")
        new.write_text(str(seconds))
        new.chmod(0o644)
        new.replace(clocks[name])
    world.postgres("source", env=skewed("source"))
    world.postgres("replica", env=skewed("replica"))
    kafka = world.private_kafka(env=skewed("brokers"))
    asan = os.environ.get("ASAN_OPTIONS", "") + ":verify_asan_link_order=0:halt_on_error=1:exitcode=99:detect_leaks=0"
    m = pipeline(world, table(300), env=skewed("millrace") | {"ASAN_OPTIONS": asan})
    lags = re.compile(r"^millrace_\w+_seconds(?:_sum)?(?:\{[^}]*\})? (-\S+)$", re.MULTILINE)
    for name in clocks:
        for seconds in (-3600, 3600, 13 * 365 * 86400, 0):
            jump(name, seconds)
            world.source.sql("update t set v = %s where id %% 3 = 0; delete from t where id = 7; insert into t values (7, 'again')", (f"{name} {seconds}",))
            world.wait_equal()
            assert not lags.search(m.http("/metrics")[1]), lags.search(m.http("/metrics")[1]).group(0)
    assert m.alive()
    jump("millrace", -7 * 365 * 86400)
    m.kill9()
    m.start()
    world.source.sql("update t set v = 'at last'")
    world.wait_equal()
    assert re.search("^ts=2019", m.log_text(), re.MULTILINE), "the clock was not set"
    assert world.source.value("select count(*) from t where v = 'at last'") == 300
    check_history(kafka, world.prefix)
    m.term()


test_clocks_jump.timeout_s = 240
