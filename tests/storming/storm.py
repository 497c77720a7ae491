"""One storm: servers, load, deaths, and the judgement."""
import os
import random
import threading
from dataclasses import dataclass
from pathlib import Path

from harness.clock import SLOW, now, wait_until

from . import oracle, tables
from .journals import JOURNALS
from .load import BigWriter, Writer
from .story import Story
from .victims import Capture, Server, Sink, Stage, wait_free
from .watch import Watch, toothless

RSS_MAX = 128 << 20   # of a process built for release
FDS_MAX = 200
RECOVERY_S = 60       # until everything is applied, once nobody is killed any more
STANDSTILL_S = 180    # the longest time without any kill that can be made: somebody does not recover
BIG_EVERY = 250       # kills


@dataclass
class Options:
    seed: int = 1
    journal: str = "kafka"
    kills: int = 0              # 0: by time
    seconds: float = 0
    victims: dict = None        # {name: weight}; this and the next two: without, what the journal has
    mean_seconds: float = None  # between two kills
    big_rows: int = None
    brokers: int = 3
    pause: float = 0.02         # between two transactions of a session, on the average
    echo: bool = False

    def __post_init__(self):
        kind = JOURNALS[self.journal]
        self.victims = self.victims or kind.weights
        self.mean_seconds = self.mean_seconds or kind.mean_seconds
        self.big_rows = kind.big_rows if self.big_rows is None else self.big_rows

    def command(self):
        """What repeats this storm."""
        length = f"--kills {self.kills}" if self.kills else f"--minutes {self.seconds / 60:g}"
        victims = ",".join(f"{k}={v}" for k, v in self.victims.items())
        brokers = f" --brokers {self.brokers}" if self.journal == "kafka" else ""
        return (f"tests/storm --journal {self.journal} --seed {self.seed} {length} --victims {victims}{brokers}"
                f" --mean-seconds {self.mean_seconds:g} --big-rows {self.big_rows}")


class Failed(AssertionError):
    """The storm found something; the message has all of it."""


class Plan:
    """Who is killed when and how, all of it from the seed. What cannot be done yet waits, and the next goes first."""

    def __init__(self, options):
        self.chance, self.options, self.waiting = random.Random(f"{options.seed} plan"), options, []

    def draw(self):
        c, weights = self.chance, self.options.victims
        away = c.choice([0, 0, c.uniform(0, 1), c.uniform(0, 2)]) * min(1, self.options.mean_seconds)
        return c.choices(list(weights), list(weights.values()))[0], c.random(), c.random(), away

    def pause(self):
        """Now and then two at once."""
        return 0 if self.chance.random() < 0.12 else min(self.chance.expovariate(1 / self.options.mean_seconds), 4 * self.options.mean_seconds)

    def next(self, ready):
        """The first act that `ready` says can be done, or None."""
        while len(self.waiting) < 20:
            self.waiting.append(self.draw())
        for act in self.waiting:
            if ready(act):
                self.waiting.remove(act)
                return act
        return None


class Storm:
    """`world`: a harness World of which everything that is killed becomes private."""

    def __init__(self, world, options):
        self.world, self.options = world, options
        self.story = Story(world.run.path / "story.log", options.echo)
        self.over, self.stop_load, self.ended = threading.Event(), threading.Event(), threading.Event()
        self.chance_of_nodes = random.Random(f"{options.seed} nodes")
        self.kills = self.rss_max = self.fds_max = 0

    # ---- the stage is set ------------------------------------------------------------------------------------------
    def build(self):
        self.story.tell(f"seed {self.options.seed}: {self.options.command()}")
        self.servers()
        self.pipeline()
        self.sessions()
        self.victims()

    def servers(self):
        quick = {"checkpoint_timeout": "30s", "max_wal_size": "256MB", "wal_sender_timeout": "5s", "wal_retrieve_retry_interval": "500ms"}
        self.source = self.world.postgres("source", database="origin", settings=quick)
        self.replica = self.world.postgres("replica", database="copy", settings=quick)
        # What this one loses at a crash, it takes again from the journal.
        self.keyed = self.world.postgres("replica2", database="copy", settings=quick | {"synchronous_commit": "off"})
        self.journal = JOURNALS[self.options.journal](self)
        self.native = self.world.postgres("native", database="copy", settings=quick) if self.journal.native else None
        self.source.sql(tables.TABLES + tables.audit(source=True) + tables.ROWS)
        for replica in (self.replica, self.keyed):
            replica.sql(tables.TABLES + tables.audit())
        if self.native:
            self.subscribe()
        self.story.tell("servers: up")

    def subscribe(self):
        self.native.sql(tables.TABLES)
        self.source.sql(f"create publication native for table {', '.join(tables.NAMES)}")
        self.native.sql(f"create subscription native connection '{self.source.url()}' publication native")

    def pipeline(self):
        config = self.journal.config(sinks=[], source={"tables": ["public.*"], "partial_rows": "history"},
                                     capture={"batch_bytes": "512kB"}) | {"http": {}}
        stages = self.stages = {name: Stage(name) for name in ("capture", "sink", "keyed")}

        def sink(name, to, **more):
            return config | {"sinks": [self.world.sink(name, to, lease="1s", postgres={"on_missing": "stop"}, **more)]}
        self.roles = {
            "capture": Capture(self, "capture", "capture", config, [stages["capture"]]),
            "sink": Sink(self, "sink", "sink", sink("replica", self.replica, consistency="transaction"), [stages["sink"]]),
            "keyed": Sink(self, "keyed", "sink", sink("keyed", self.keyed, consistency="key", workers=3), [stages["keyed"]]),
        }
        for role in self.roles.values():
            role.start()

    def sessions(self):
        self.watch = Watch(self, "replica", self.replica, strict=True)
        self.watch_keyed = Watch(self, "keyed", self.keyed, strict=False)
        self.writers = [Writer(self, i) for i in range(1, tables.WRITERS + 1)]
        self.big = BigWriter(self)

    def victims(self):
        s = self.stages
        self.by_kind = {
            "capture": [self.roles["capture"]],
            "sink": [self.roles["sink"], self.roles["keyed"]],
            "source": [Server(self, "source", self.source.server, [s["capture"]])],
            "replica": [Server(self, "replica", self.replica.server, [s["sink"]]), Server(self, "replica of keys", self.keyed.server, [s["keyed"]])],
        } | self.journal.victims()
        self.all_victims = [v for kind in self.by_kind.values() for v in kind]

    # ---- while it blows --------------------------------------------------------------------------------------------
    def begin(self):
        """The load begins once the replicas are built; from then on anybody may die."""
        wait_until(lambda: self.minded() and not self.unequal() or self.story.problems, 120, "the replicas are built")
        self.story.tell("replicas: built")
        for thread in (self.watch, self.watch_keyed, *self.writers, self.big):
            thread.start()

    def unequal(self):
        try:
            return oracle.equal(self.source, self.replicas() | ({"native": self.native} if self.native else {}))
        except Exception as problem:
            return [str(problem)]

    def replicas(self):
        return {"replica": self.replica, "keyed": self.keyed}

    def blow(self):
        plan, begun, ready_since = Plan(self.options), now(), now()
        big_at = min(10, max(1, self.options.kills // 8)) if self.options.kills else 10
        while not self.enough(begun) and not self.story.problems:
            self.over.wait(plan.pause())
            while not (act := plan.next(lambda a: self.victim(a).free())) and not self.story.problems:
                self.mind()
                self.over.wait(0.1)
                if now() - ready_since > STANDSTILL_S * SLOW:
                    self.story.problem(f"nobody can be killed for {STANDSTILL_S * SLOW:g} s: no progress of " + self.stuck())
            ready_since = now()
            if act:
                self.kill(act)
            if self.options.big_rows and self.kills >= big_at:
                self.big.asked.set()
                big_at += BIG_EVERY
            self.mind()

    def enough(self, begun):
        return self.kills >= self.options.kills if self.options.kills else now() - begun >= self.options.seconds

    def victim(self, act):
        kind = self.by_kind[act[0]]
        return kind[int(act[1] * len(kind))]

    def kill(self, act):
        victim, (_, _, way, away) = self.victim(act), act
        self.kills += 1
        total = sum(victim.ways.values())
        victim.begin(self.kills, next(name for name, below in _cumulated(victim.ways) if way * total < below), away)

    def stuck(self):
        return ", ".join(f"{s.name} ({s.commits()} commits)" for s in self.stages.values() if not s.may_be_hit()) or "nobody"

    def mind(self):
        """Nobody ends by themselves, grows, or keeps what was opened."""
        for role in self.roles.values():
            if not role.busy and not role.current.alive():
                self.story.problem(f"{role.name} ended by itself with code {role.current.returncode()}:\n{role.current.tail(8)}")
            for instance in role.instances:
                self.measure(instance)

    def measure(self, instance):
        try:
            if instance.alive():
                self.rss_max = max(self.rss_max, instance.rss_bytes())
                self.fds_max = max(self.fds_max, len(os.listdir(f"/proc/{instance.process.pid}/fd")))
        except OSError:
            pass

    # ---- calm, and judgement ---------------------------------------------------------------------------------------
    def calm(self):
        self.story.tell(f"{self.kills} kills done; waiting for those who are away")
        self.over.set()
        wait_free(self.all_victims)
        wait_until(lambda: not self.big.asked.is_set() or self.story.problems, 120, "the large transaction is committed")
        self.stop_load.set()
        for session in (*self.writers, self.big):
            session.join(60)
            session.finish()
        self.seqs = {s.writer: s.seq for s in (*self.writers, self.big)}
        self.story.tell(f"load: stopped after {self.commits()} transactions")

    def commits(self):
        return sum(s.commits for s in (*self.writers, self.big))

    def recovered(self):
        """Seconds until both replicas had everything."""
        begun, seqs = now(), dict(self.source.sql("select id, seq from writer"))
        wait_until(lambda: self.minded() and self.watch.caught_up(seqs) and self.watch_keyed.caught_up(seqs) or self.story.problems,
                   RECOVERY_S * (3 if _sanitized(self.world.binary) else 1), "everything is applied after the storm", every_s=0.2)
        return now() - begun

    def minded(self):
        self.mind()
        return True

    def judge(self):
        took = self.recovered()
        self.story.tell(f"replicas: have everything after {took:.1f} s")
        self.ended.set()
        problems = list(self.story.problems)
        if not problems:
            problems += self.wait_equal()
        self.history, found = oracle.history(self.journal.past, self.world.prefix)
        problems += found
        problems += oracle.audits(self.source, self.replicas())
        if not problems:
            problems += [f"an invariant does not notice when it is broken: {name}" for name in toothless(self.replica)]
            problems += self.resources() + self.leave()
        return problems

    def wait_equal(self):
        """The native subscription may still be at work: it gets its time, ours have had theirs."""
        last = oracle.equal(self.source, self.replicas())
        if not last and self.native:
            wait_until(lambda: not oracle.equal(self.source, {"native": self.native}), 120, "the native subscription is equal", every_s=1)
        return last

    def resources(self):
        found = []
        if self.fds_max > FDS_MAX:
            found.append(f"a process had {self.fds_max} descriptors open")
        if self.rss_max > RSS_MAX and not _sanitized(self.world.binary):
            found.append(f"a process had {self.rss_max >> 20} MB of memory")
        try:
            wait_until(lambda: not oracle.slots(self.source), 30, "the slots follow")
        except AssertionError:
            found += oracle.slots(self.source)
        return found

    def leave(self):
        """All end when told to, with nothing leaked."""
        for role in self.roles.values():
            role.current.term(within_s=15)
        report = self.world.sanitizer_report()
        return [f"a sanitizer reported:\n{report}"] if report else []

    def summary(self):
        per_victim = ", ".join(f"{v.name} {v.kills}" for v in self.all_victims)
        inside = self.roles["capture"].resumed_inside
        lines = [f"{self.kills} kills ({per_victim}) in {self.story.seconds():.0f} s", *self.journal.summary(),
                 f"{self.commits()} transactions committed by the load; sessions lost their server {sum(s.lost for s in (*self.writers, self.big))} times",
                 f"journal: {self.history.changes} changes in {self.history.commits} transactions, {self.history.cut} of which end inside a"
                 f" source transaction; capture went on inside a source transaction {inside} times",
                 f"audit: {oracle.audited(self.replica)} and {oracle.audited(self.keyed)} applied states; {self.watch.snapshots} snapshots of the replica looked at",
                 f"most memory of a process {self.rss_max >> 20} MB, most descriptors {self.fds_max}"]
        return "\n".join(lines)

    def fail(self, problems):
        numbered = [f"{i}. {problem}" for i, problem in enumerate(problems[:30], 1)]
        raise Failed("\n".join([f"the storm found {len(problems)} problem(s):", *numbered, "--- the end of the story",
                                self.story.tail(), f"--- all of it: {self.story.path}", f"--- repeat it: {self.options.command()}"]))

    def run(self):
        """Raises Failed, or returns the summary."""
        problems = []
        try:
            self.build()
            self.begin()
            self.blow()
            self.calm()
            problems = self.judge()
        except Exception as problem:
            if isinstance(problem, Failed):
                raise
            problems = [*self.story.problems, f"{type(problem).__name__}: {problem}"]
            self.story.tell(f"PROBLEM: {problems[-1]}")
        finally:
            for event in (self.over, self.stop_load, self.ended):
                event.set()
        if problems:
            self.fail(problems)
        summary = self.summary()
        self.story.tell("held:\n" + summary)
        return summary


def _cumulated(weights):
    below = 0
    for name, weight in weights.items():
        below += weight
        yield name, below


def _sanitized(binary):
    program = Path(binary).read_bytes()
    return b"__asan_init" in program or b"__tsan_init" in program
