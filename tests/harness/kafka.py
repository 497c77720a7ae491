"""A private Kafka in KRaft mode, of one node or three. Nodes keep their ports and their data over restarts."""
import base64
import os
import signal
import subprocess
import uuid

from . import kafka_client, wire
from .clock import SLOW, wait_until
from .process import Process, free_port, tail
from .proxy import Proxy
from .rundir import CACHE

# Starting fast is worth more here than running fast.
_JVM = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xshare:auto", "-Xms64m", "-Djava.awt.headless=true"]


class Kafka:
    """`config`: broker settings over the defaults; `jvm`: Java options instead of those for a fast start. `node` in all methods
    counts from 1. `proxied`: `brokers` are proxies that know Kafka's messages (proxies[node]), one before each node; what the harness
    itself asks goes past them (`direct`). `secure`: the protocol of one listener more, whose ports are secure_ports[node]; `users`:
    {name: password} of those who may log in there by SCRAM-SHA-512. `env`: of the nodes."""

    def __init__(self, run, nodes=1, name="kafka", config=None, jvm=None, start=True, proxied=False, secure=None, users=None, env=None):
        if not (CACHE / "kafka" / ".done").exists():
            raise RuntimeError("Kafka is missing: run setup/fetch kafka")
        self.name, self.nodes = name, range(1, nodes + 1)
        self.dir = run.fresh(name)
        self.ports = {n: (free_port(), free_port()) for n in self.nodes}
        self.users, self.env = users or {}, env or {}
        self.secure, self.secure_ports = secure, {n: free_port() for n in self.nodes} if secure else {}
        self.proxies = {n: Proxy(free_port(), wire.Kafka) for n in self.nodes} if proxied else {}
        self.processes, self.config, self.jvm = {}, config or {}, jvm or _JVM
        self._classpath = str(CACHE / "kafka" / "lib" / "*")
        (self.dir / "log4j.properties").write_text(
            "log4j.rootLogger=WARN, out\nlog4j.appender.out=org.apache.log4j.ConsoleAppender\n"
            "log4j.appender.out.layout=org.apache.log4j.PatternLayout\n"
            "log4j.appender.out.layout.ConversionPattern=%d{ISO8601} %p %m (%c{1})%n\n"
            "log4j.logger.kafka.server.KafkaRaftServer=INFO\n")
        cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "A")
        formatting = [self._format(n, cluster) for n in self.nodes]
        for process in formatting:
            if process.wait(60):
                raise RuntimeError(f"formatting the storage of {self.name} failed:\n{process.tail()}")
        if start:
            self.start()

    @property
    def direct(self):
        """The brokers themselves."""
        return ",".join(f"127.0.0.1:{self.ports[n][0]}" for n in self.nodes)

    @property
    def brokers(self):
        """What a client under test is told: the brokers, or the proxies before them."""
        return ",".join(f"127.0.0.1:{self.proxies[n].port}" for n in self.nodes) if self.proxies else self.direct

    def log(self, node=1):
        return self.dir / f"node{node}.log"

    def _java(self, heap_mb, *argv):
        return ["java", f"-Xmx{heap_mb}m", *self.jvm, f"-Dlog4j.configuration=file:{self.dir}/log4j.properties",
                "-cp", self._classpath, *argv]

    def _format(self, node, cluster):
        count = len(self.nodes)
        port, controller = self.ports[node]
        listeners = {"PLAINTEXT": (port, port, "PLAINTEXT")}
        if self.proxies:
            listeners["PROXIED"] = (self.proxies[node].target, self.proxies[node].port, "PLAINTEXT")
        if self.secure:
            listeners["SECURE"] = (self.secure_ports[node], self.secure_ports[node], self.secure)
        settings = {
            "process.roles": "broker,controller", "node.id": node,
            "controller.quorum.voters": ",".join(f"{n}@127.0.0.1:{self.ports[n][1]}" for n in self.nodes),
            "listeners": ",".join([*(f"{k}://127.0.0.1:{at}" for k, (at, _, _) in listeners.items()), f"CONTROLLER://127.0.0.1:{controller}"]),
            "advertised.listeners": ",".join(f"{k}://127.0.0.1:{told}" for k, (_, told, _) in listeners.items()),
            "listener.security.protocol.map": ",".join(["CONTROLLER:PLAINTEXT", *(f"{k}:{how}" for k, (_, _, how) in listeners.items())]),
            "controller.listener.names": "CONTROLLER", "inter.broker.listener.name": "PLAINTEXT",
            "log.dirs": self.dir / f"node{node}",
            "offsets.topic.replication.factor": count, "offsets.topic.num.partitions": 1,
            "transaction.state.log.replication.factor": count, "transaction.state.log.num.partitions": 1,
            "transaction.state.log.min.isr": min(2, count), "min.insync.replicas": min(2, count),
            "default.replication.factor": count, "auto.create.topics.enable": "false",
            "group.initial.rebalance.delay.ms": 0, "controlled.shutdown.enable": "true",
            "broker.heartbeat.interval.ms": 500, "broker.session.timeout.ms": 3000,
            "replica.fetch.wait.max.ms": 100, "num.network.threads": 2, "num.io.threads": 4,
            "log.cleaner.dedupe.buffer.size": 16777216, "log.cleaner.threads": 1, "log.segment.bytes": 67108864,
        } | self.config
        path = self.dir / f"node{node}.properties"
        path.write_text("".join(f"{k}={v}\n" for k, v in settings.items()))
        scram = [a for user, password in self.users.items() for a in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")]
        return Process(self._java(256, "kafka.tools.StorageTool", "format", "-t", cluster, "-c", path, *scram), self.log(node))

    def launch(self, node=1):
        """Starts a node without waiting for it."""
        heap = 512 if len(self.nodes) == 1 else 320
        self.processes[node] = Process(
            self._java(heap, "kafka.Kafka", self.dir / f"node{node}.properties"), self.log(node), env=self.env)

    def start(self, node=None, deadline_s=60):
        """Starts one node, or all; returns when they answer and know of each other."""
        for n in [node] if node else self.nodes:
            self.launch(n)
        self.wait_ready(deadline_s)
        return self

    def wait_ready(self, deadline_s=60):
        """Until every node that should run answers."""
        wait_until(self.ready, deadline_s, f"{self.name} answers")

    def ready(self):
        up = [n for n in self.nodes if n in self.processes]
        for n in up:
            if not self.processes[n].alive():
                raise RuntimeError(f"{self.name} node {n} ended at its start:\n{tail(self.log(n))}")
        seen = kafka_client.broker_ports(",".join(f"127.0.0.1:{self.ports[n][0]}" for n in up), timeout_ms=1000)
        return all(self.ports[n][0] in seen for n in up)

    def _each(self, node):
        return [self.processes.pop(n) for n in ([node] if node else list(self.processes)) if n in self.processes]

    def stop(self, node=None, deadline_s=60):
        """An orderly shutdown of one node, or all."""
        processes = self._each(node)
        for process in processes:
            process.signal(signal.SIGTERM)
        for process in processes:
            process.wait(deadline_s, f"shutdown of {self.name}")

    def kill9(self, node=None):
        for process in self._each(node):
            process.kill9()

    def close(self):
        """The end: of the proxies, too."""
        self.kill9()
        for proxy in self.proxies.values():
            proxy.close()

    def restart(self, node=None):
        self.stop(node)
        self.start(node)

    def pause(self, node=1):
        self.processes[node].signal(signal.SIGSTOP)

    def resume(self, node=1):
        self.processes[node].signal(signal.SIGCONT)

    def tool(self, name, *argv, deadline_s=60):
        """Runs one of Kafka's own command line classes, e.g. tool("org.apache.kafka.tools.TopicCommand", "--list")."""
        done = subprocess.run(self._java(256, name, "--bootstrap-server", self.direct, *map(str, argv)), text=True,
                              capture_output=True, timeout=deadline_s * SLOW, env=os.environ)
        if done.returncode:
            raise RuntimeError(f"{name} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
        return done.stdout

    def create_topic(self, name, partitions=1, replication=None, config=None):
        kafka_client.create_topic(self.direct, name, partitions, replication or len(self.nodes), config)

    def delete_topics(self, names):
        kafka_client.delete_topics(self.direct, names)

    def topics(self):
        return kafka_client.topics(self.direct)

    def values(self, topic):
        """What is committed to a topic, for harness/history.py, and"""
        return (record.value for record in kafka_client.kafka_read(self.brokers, topic))

    def positions(self, topic):
        return kafka_client.kafka_positions(self.brokers, topic)

    def dump(self, topic, isolation="read_committed"):
        return kafka_client.kafka_dump(self.direct, topic, isolation)
