"""Who is killed, in which ways, and how each comes back. A victim does one act at a time; acts of several victims overlap."""
import re
import signal
import threading
from concurrent.futures import ThreadPoolExecutor

from harness.clock import Late, wait_until

COMMITTED = re.compile(r"msg=committed (?:.*(position=\S+ ordinal=\d+) boundary=(\w+))?")
RIVALS_S = 10
OPENED = re.compile(r"msg=open .*(position=\S+ ordinal=\d+)")


class Stage:
    """A part of the pipeline that must get ahead. It may be hit a few times while it recovers, to hit recovery as well; then it is
    left alone until it has committed something, which must not take long."""

    def __init__(self, name, hits_max=3):
        self.name, self.hits_max = name, hits_max
        self.roles, self.hits, self.mark = [], 0, 0

    def commits(self):
        return sum(role.commits() for role in self.roles)

    def may_be_hit(self):
        if self.commits() > self.mark:
            self.hits = 0
        return self.hits < self.hits_max

    def hit(self):
        self.hits += 1
        self.mark = self.commits()


class Victim:
    """`ways`: {name of a method: weight}; each way takes the seconds the victim is away."""

    ways = {}

    def __init__(self, storm, name, stages):
        self.storm, self.name, self.stages = storm, name, stages
        self.busy, self.kills = False, 0
        # One thread for the whole storm: what it starts is tied to it and dies with it.
        self.hand = ThreadPoolExecutor(1, name)

    def tell(self, text):
        self.storm.story.tell(f"{self.name}: {text}")

    def free(self):
        return not self.busy and all(stage.may_be_hit() for stage in self.stages)

    def begin(self, number, way, away):
        """Returns at once; `busy` until all is done and the victim is back."""
        self.busy = True
        self.kills += 1
        for stage in self.stages:
            stage.hit()
        self.tell(f"kill {number}: {way}, away for {away:.2f} s")
        self.hand.submit(self._act, way, away)

    def _act(self, way, away):
        try:
            getattr(self, way)(away)
        except Exception as problem:
            self.storm.story.problem(f"{self.name}: {way}: {type(problem).__name__}: {problem}")
        finally:
            self.busy = False

    def wait(self, seconds):
        self.storm.over.wait(seconds)


class Role(Victim):
    """A millrace process: capture or a sink. Two instances, so that a second one can run while the first is stopped."""

    def __init__(self, storm, name, command, config, stages):
        super().__init__(storm, name, stages)
        self.command, self.ways = command, storm.journal.ways
        self.instances = [storm.world.millrace(config, name=f"{name}-{i}", start=False, env=storm.journal.env) for i in "ab"]
        self.current = self.instances[0]
        self._read, self._commits, self._cuts, self.resumed_inside = [0, 0], 0, set(), 0
        self._count = threading.Lock()
        for stage in stages:
            stage.roles.append(self)

    def start(self):
        self._mark = self.current.log_size()
        self.current.start(self.command)

    def commits(self):
        """How often it committed, by its logs."""
        with self._count:
            for i, instance in enumerate(self.instances):
                if instance.log_size() == self._read[i]:
                    continue
                with open(instance.log, "rb") as f:
                    f.seek(self._read[i])
                    text = f.read()
                text = text[:text.rfind(b"\n") + 1]
                self._read[i] += len(text)
                self._take(text.decode(errors="replace"))
            return self._commits

    def _take(self, text):
        for at, boundary in COMMITTED.findall(text):
            self._commits += 1
            if boundary == "false":
                self._cuts.add(at)
        self.resumed_inside += sum(at in self._cuts for at in OPENED.findall(text))

    def kill(self, away):
        self.current.kill9()
        self.wait(away)
        self.start()

    def term(self, away):
        self.current.wait_log("msg=start ", 30, since=self._mark)  # before that, a signal just ends it
        self.current.term(within_s=10)
        self.wait(away)
        self.start()

    def hang(self, away):
        with self.current.paused():
            self.wait(1 + 2 * away)

    def zombie(self, away):
        """A second one is started while the first is stopped; then the first goes on and must find out."""
        old, new = self.current, self.instances[self.current is self.instances[0]]
        old.pause()
        mark = self._mark = new.log_size()
        self.current = new.start(self.command)
        try:
            if away > 1:  # until it works; otherwise both may begin at the same time
                new.wait_log(self.took_over, 60, since=mark)
            self.wait(away)
        finally:
            old.resume()
        self.lay_to_rest(old)


class Capture(Role):
    took_over = r"msg=open "

    def lay_to_rest(self, old):
        """Where the new one has the slot, the old one ends by itself as soon as the new one has committed. Where the old one kept the slot,
        the new one is its standby; then the old one is told to end."""
        try:
            code = old.wait(RIVALS_S)
        except Late:
            self.tell(f"the stopped one went on and is alive after {RIVALS_S} s: told to end")
            old.term(within_s=15)
            return
        assert "journal-fenced" in old.tail(20), f"the stopped capture ended with {code}, not journal-fenced:\n{old.tail()}"
        self.tell(f"the stopped one went on and was fenced out, exit code {code}")


class Sink(Role):
    took_over = r"msg=owner "

    def lay_to_rest(self, old):
        """It is a standby from now on: a while it watches, then it is told to end."""
        self.wait(0.5)
        old.term(within_s=10)
        self.tell("the stopped one went on as standby and ended when told")


class Broker(Victim):
    ways = {"kill": 14, "hang": 3, "stop": 2}

    def __init__(self, storm, kafka, stages):
        super().__init__(storm, "broker", stages)
        self.kafka = kafka

    def back(self, node, away):
        self.wait(away)
        self.kafka.launch(node)
        self.kafka.wait_ready(90)

    def node(self):
        node = self.storm.chance_of_nodes.choice(list(self.kafka.nodes))
        self.tell(f"node {node}")
        return node

    def kill(self, away):
        node = self.node()
        self.kafka.kill9(node)
        self.back(node, 2 * away)

    def stop(self, away):
        node = self.node()
        self.kafka.stop(node)
        self.back(node, away)

    def hang(self, away):
        node = self.node()
        self.kafka.pause(node)
        self.wait(1 + 3 * away)
        self.kafka.resume(node)


class Machine(Victim):
    """Where capture, sinks and the journal's file are: its power fails, all of them die at once, and what was not synced is lost."""

    ways = {"fail": 1, "fail_in_a_write": 4}

    def __init__(self, storm, power, chance):
        super().__init__(storm, "power", list(storm.stages.values()))
        self.power, self.chance, self.roles = power, chance, list(storm.roles.values())

    def free(self):
        return super().free() and not any(role.busy for role in self.roles)

    def begin(self, number, way, away):
        for role in self.roles:
            role.busy = True
        super().begin(number, way, away)

    def fail_in_a_write(self, away):
        """The file is written to for a small part of the time."""
        try:
            wait_until(self.power.unsynced, 3, "a write", every_s=0.001)
            self.wait(self.chance.uniform(0, 0.02))
        except Late:
            pass
        self.fail(away)

    def fail(self, away):
        for role in self.roles:
            role.current.process.signal(signal.SIGKILL)
        for role in self.roles:
            role.current.kill9()
        self.tell(self.power.fail(self.chance))
        self.wait(away)
        for role in self.roles:
            role.start()
            role.busy = False


class Server(Victim):
    """A database server."""

    ways = {"immediate_stop": 14, "kill": 4, "fast_stop": 2}

    def __init__(self, storm, name, server, stages):
        super().__init__(storm, name, stages)
        self.server = server

    def back(self, away):
        self.wait(away)
        self.server.start(60)

    def immediate_stop(self, away):
        self.server.stop("immediate")
        self.back(away)

    def kill(self, away):
        self.server.kill9()
        self.back(away)

    def fast_stop(self, away):
        self.server.stop("fast", 180)  # it waits until its native subscription, which may be far behind, has all of the log
        self.back(away)


class Registry(Victim):
    ways = {"kill": 1, "hang": 1}

    def __init__(self, storm, registry):
        super().__init__(storm, "registry", [])
        self.registry = registry

    def kill(self, away):
        self.registry.kill9()
        self.wait(away)
        self.registry.start()

    def hang(self, away):
        self.registry.pause()
        self.wait(1 + 3 * away)
        self.registry.resume()


def wait_free(victims, deadline_s=90):
    """Until nobody is away any more."""
    wait_until(lambda: not any(v.busy for v in victims), deadline_s, "everybody is back")
