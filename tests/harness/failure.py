"""What can go wrong, and the test that proves what Millrace does then. docs/failures.md is made of these declarations.

Over a scenario:

    @failure("F06", "The replication slot is dropped and made anew",
             happens="...", does="...", todo="...", ends="needs-resnapshot")
    def test_a_slot_dropped_and_recreated(world): ...

Several may stand over one function. A case that other tests prove already is declared by a call that names them:

    failure("F47", "...", happens="...", does="...", todo="...", ends="equal", by=["subscription_transactions/two_phase_commit"])

`ends`: "equal", or the name of the error (base/err.h) it stops with, or several words where both can be. After a stop is mended, the
replica must end equal; the test says so, too. `by`: "folder/test" of a scenario, "contract/file/function", "unit/room/file/function"."""
import inspect
import re

from .rundir import PROJECT

# First and last number of each chapter of the document, its title, and a sentence below it.
CHAPTERS = [
    ("F1", "F23", "The source: position, restart, failover",
     "Capture stands at a position in the source's log, which a replication slot keeps for it. These are the ways to lose that place, or to seem to."),
    ("F24", "F53", "The source: rows, types and changes of tables",
     "What applications and their migrations do to rows and tables, and how it looks in the replica."),
    ("T1", "T99", "Sources that are fed by triggers",
     "What applications, and whoever has a shell, can do to triggers, to the change table and to the database that holds them."),
    ("F83", "F102", "Kafka and the schema registry", "What brokers, topics and the registry can do to a pipeline."),
    ("J1", "J99", "The embedded journal", "What a disk, and whoever has a shell, can do to the file that is the journal."),
    ("F103", "F121", "The replica", "What can go wrong where changes are written."),
    ("F122", "F139", "Set-up, connections and rights", "What an operator gets wrong or finds wrong before, and while, a pipeline runs."),
    ("S1", "S99", "Security", "What untrusted peers, names and values cannot do."),
]
failures = []


def errors():
    """{name: exit code} of all named errors."""
    table = (PROJECT / "base" / "err.h").read_text()
    return {name: int(code) for name, code in re.findall(r'^\s+X\(\w+, "([a-z-]+)", (\d+),', table, re.MULTILINE)}


def number(case_id):
    letter, digits, suffix = re.fullmatch(r"([FJST])(\d+)([a-z]?)", case_id).groups()
    return letter, int(digits), suffix


class Failure:
    """One case. As a decorator it adds the function to the tests that prove it."""

    def __init__(self, case_id, title, happens, does, todo, ends, by=()):
        number(case_id)
        self.id, self.title, self.happens, self.does, self.todo = case_id, title, happens, does, todo
        self.ends, self.by = ends.split(), list(by)
        unknown = set(self.ends) - {"equal"} - set(errors())
        assert not unknown, f"{case_id}: no such error: {unknown}"
        assert all(f.id != case_id for f in failures), f"{case_id} is declared twice"
        failures.append(self)

    def __call__(self, function):
        folder = inspect.getfile(function).split("/")[-2]
        self.by.append(f"{folder}/{function.__name__.removeprefix('test_')}")
        return function


failure = Failure
