"""The schema registry: away, slow, answering rubbish, lying, or refusing a schema."""
import json
import re

from harness import wire
from harness.failure import failure
from harness.pipeline import capture_and_sink, confirmed, stops, table

TABLE = table(300)
_column = [0]


def new_version(world):
    """The next change needs a schema that the registry has not seen."""
    _column[0] += 1
    world.source.sql(f"alter table t add column c{_column[0]} int; update t set c{_column[0]} = id where id % 2 = 0")


def proxied_registry(world):
    """A proxy before the registry, and the part of a config that asks through it."""
    proxy = world.proxy(world.registry, wire.Http)
    return proxy, {"registry": proxy.through(world.registry.url()), "timeout": "1s"}


@failure("F100", "The registry is away, slow, or answers with errors or rubbish",
         happens="It is down, takes connections and never answers, answers 5xx, half of a body, a page of HTML, or nothing that is JSON.",
         does="Schemas that are known are not asked for again. A new one waits: tried again with back-off, nothing is acknowledged to the source, nothing is shipped without its "
              "schema. An answer that is no registry's is a named stop.",
         todo="Nothing, once it answers. After a stop: mend the address or the registry, and start again.", ends="equal registry-unreachable registry-refused")
def test_the_registry_is_away_slow_or_wrong(world):
    proxy, schemas = proxied_registry(world)
    capture, sink = capture_and_sink(world, TABLE, schemas=schemas)
    heals = {
        "refused": (proxy.refuse, proxy.accept),
        "never answers": (proxy.freeze, proxy.thaw),
        "503": (lambda: proxy.rewrite("*", lambda _: wire.Http.answer(503, b"{}"), answer=True, times=None), proxy.clear),
        "half a body": (lambda: proxy.half("*", answer=True, times=None), proxy.clear),
        "slower than the timeout": (lambda: proxy.trickle("*", 4, answer=True, times=None), proxy.clear)}
    for what, (begin, end) in heals.items():
        marks = capture.log_size()
        begin()
        proxy.reset() if what != "refused" else None
        new_version(world)
        capture.wait_log("name=registry-unreachable", 60, since=marks)
        end()
        proxy.reset()
        world.wait_equal()
        assert capture.alive() and sink.alive(), what
    refusals = {
        "a page": lambda: wire.Http.answer(200, b"<html>welcome</html>"),
        "an absurd id": lambda: wire.Http.answer(200, b'{"id": 99999999999999999999}'),
        "a redirect": lambda: wire.Http.answer(302, b"", b"Location: http://127.0.0.1:1/\r\n"),
        "unauthorised": lambda: wire.Http.answer(401, b"{}")}
    for what, answer in refusals.items():
        before = confirmed(world)
        proxy.rewrite("*", lambda _, answer=answer: answer(), answer=True, times=None)
        new_version(world)
        stops(capture, "registry-refused")
        assert world.source.value("select %s::pg_lsn >= %s::pg_lsn", (confirmed(world), before)), what
        proxy.clear()
        capture.start("capture")
        world.wait_equal()
    sink.term()
    capture.term()


@failure("F101", "The registry gives one id to two schemas, or another schema under an id",
         happens="A registry was restored or reset, or is broken: records would be written with an id under which another schema stands.",
         does="Every id that is given is read back before it is used, and what stands there must mean the same: else capture stops. A sink stops when it does not find an id, or finds a schema of another table, or of another version of this one: each record tells the shape of its table.",
         todo="Mend the registry (restore its subjects). If it cannot be mended: a new `topic_prefix` with a new registry, and `millrace replay` for each sink.", ends="registry-refused schema-unknown")
def test_the_registry_lies(world):
    proxy, schemas = proxied_registry(world)
    capture, sink = capture_and_sink(world, TABLE, schemas=schemas)
    other = world.registry.request("POST", f"/subjects/{world.prefix}-other/versions", {"schema": '{"type": "record", "name": "x", "fields": []}'})["id"]
    proxy.rewrite("POST *", lambda _: wire.Http.answer(200, json.dumps({"id": other}).encode()), answer=True, times=None)
    new_version(world)
    stops(capture, "registry-refused", f"id {other}")
    proxy.clear()
    capture.start("capture")
    world.wait_equal()
    # The sink asks for a schema, and the registry has forgotten it, or has another table's under the id.
    sink.term()
    mark = capture.log_size()
    new_version(world)
    capture.wait_log("msg=committed.*records=[1-9]", 60, since=mark)
    lost = proxy.rewrite("GET */schemas/ids/*", lambda _: wire.Http.answer(404, b'{"error_code": 40403, "message": "Schema not found"}'), answer=True, times=None)
    stops(sink.start("sink"), "schema-unknown", "offset")
    lost.end()

    def other_table(schema):
        return re.sub(r'("millrace.table":\s*\["public",\s*)"t"', r'\1"u"', schema)

    def other_version(schema):  # what was given to a column of another name: every byte could be read
        return schema.replace(f'"c{_column[0]}"', '"renamed"')

    for other, words in (other_table, "public.u"), (other_version, "not the one that this record was written with"):
        def lie(data):
            answer = json.loads(data[data.index(b"{"):data.rindex(b"}") + 1])
            return wire.Http.answer(200, json.dumps(answer | {"schema": other(answer["schema"])}).encode())
        rule = proxy.rewrite("GET */schemas/ids/*", lie, answer=True, times=None)
        stops(sink.start("sink"), "schema-unknown", words)
        rule.end()
    sink.start("sink")
    world.wait_equal()
    sink.term()
    capture.term()


@failure("F102", "The registry forbids a schema as incompatible",
         happens="A column's type changes, and the subject's compatibility rule (BACKWARD) does not allow it.",
         does="Stops before anything is shipped with the new schema, and names the subject.",
         todo="The message has the request: set the subject's compatibility to NONE; then start again.", ends="schema-incompatible")
def test_an_incompatible_schema(world):
    proxy, schemas = proxied_registry(world)
    capture, sink = capture_and_sink(world, TABLE, schemas=schemas)
    subject = f"{world.prefix}.public.t-value"
    world.registry.request("PUT", f"/config/{subject}", {"compatibility": "BACKWARD"})
    world.source.sql("alter table t add column n text; update t set n = '7'; alter table t alter n type int using n::int; update t set n = 8 where id < 10")
    stops(capture, "schema-incompatible", subject, "NONE")
    world.registry.request("PUT", f"/config/{subject}", {"compatibility": "NONE"})
    capture.start("capture")
    world.wait_equal()
    sink.term()
    capture.term()


def test_the_registry_is_away_at_the_start(world):
    """Both roles wait for it, doctor says so, and stopping takes no longer than ever."""
    proxy, schemas = proxied_registry(world)
    world.source.sql(TABLE)
    proxy.freeze()
    m = world.millrace(world.config(schemas=schemas))
    m.wait_log("name=registry-unreachable", 60)
    rc, out, _ = m.run_cli("doctor")
    assert rc == 1 and "registry-unreachable" in out or "does not answer" in out, out
    m.term()
    m.start()
    proxy.thaw()
    world.wait_equal()
    m.term()


for slow in (test_the_registry_is_away_slow_or_wrong,):
    slow.timeout_s = 300
