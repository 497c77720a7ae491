"""The world of one scenario test: shared servers with a fresh database and a fresh topic prefix each, private ones on demand.

A scenario is tests/scenario/<name>/scenario.py: a sentence as its docstring, and functions test_*(world)."""
import copy
import os
import re
from pathlib import Path

import psycopg2

from .compare import compare, wait_equal
from .kafka import Kafka
from .millrace import Millrace
from .postgres import Postgres
from .process import free_port, tail
from .proxy import Proxy
from .registry import Registry


class Skip(Exception):
    """This test does not apply here; the message says why."""


class Servers:
    """What all tests of a run share, started when first asked for, started anew when a test left it dead."""

    def __init__(self, run, postgres_version=15):
        self.run, self.postgres_version = run, postgres_version
        self._up, self._started = {}, 0

    def _get(self, name, make):
        if name in self._up and not self._healthy(self._up[name]):
            self._up.pop(name).kill9()
        if name not in self._up:
            self._up[name] = make()
        return self._up[name]

    @staticmethod
    def _healthy(server):
        processes = server.processes.values() if isinstance(server, Kafka) else [server.process]
        return bool(processes) and all(p is not None and p.alive() for p in processes)

    @property
    def source(self):
        return self._get("source", lambda: Postgres(self.run, "source", self.postgres_version))

    @property
    def replica(self):
        return self._get("replica", lambda: Postgres(self.run, "replica"))

    @property
    def replica2(self):
        return self._get("replica2", lambda: Postgres(self.run, "replica2"))

    @property
    def mariadb(self):
        from .mariadb import MariaDB  # its client library is not there where nothing of MariaDB is tested, as in the demo
        return self._get("mariadb", lambda: MariaDB(self.run))

    @property
    def kafka(self):
        return self._get("kafka", lambda: Kafka(self.run))

    @property
    def proxied_kafka(self):
        """Behind a proxy, and quick to forget what it was told: transactional ids after 10 s; compaction at once where a topic allows it."""
        return self._get("proxied", lambda: Kafka(self.run, name="proxied", proxied=True, config={
            "transactional.id.expiration.ms": 10000, "transaction.remove.expired.transaction.cleanup.interval.ms": 1000,
            "transaction.abort.timed.out.transaction.cleanup.interval.ms": 1000, "log.cleaner.backoff.ms": 500}))

    @property
    def registry(self):
        return self._get("registry", lambda: Registry(self.run))

    def environment(self):
        """What contract tests are told: superuser URLs of two servers, the brokers, the registry, a directory for journals."""
        return {"MILLRACE_TEST_PG_SOURCE": self.source.url(), "MILLRACE_TEST_PG_TARGET": self.replica.url(),
                "MILLRACE_TEST_MARIADB": self.mariadb.url(),
                "MILLRACE_TEST_EMBEDDED": str(self.run.fresh("journals")),
                "MILLRACE_TEST_KAFKA": self.kafka.brokers, "MILLRACE_TEST_REGISTRY": self.registry.url()}

    def started(self):
        return dict(self._up)

    def stop(self):
        for server in self._up.values():
            (server.close if hasattr(server, "close") else server.kill9)()
        self._up.clear()


class World:
    """`dir`: the scenario's folder. `run`: the directory of this test. `prefix`: its topic prefix, unique in the run."""

    partitions = {"partitions": 4}  # more than by default: order that holds by chance in one partition does not in four

    def __init__(self, servers, run, binary, prefix, folder=None):
        self.servers, self.run, self.binary, self.prefix = servers, run, Path(binary), prefix
        self._log_marks = {log: os.path.getsize(log) for log in self._shared_logs()}
        self.dir = Path(folder) if folder else None
        self._databases, self._private, self._millraces = {}, [], []
        self._kafka = self._registry = None
        self.slot = self.publication = f"millrace_{prefix}"  # their names in config()

    # ---- shared, with something of its own for each test -------------------------------------------------------------
    def _database(self, role):
        if role not in self._databases:
            self._databases[role] = getattr(self.servers, role).database(f"{self.prefix}_{role}")
        return self._databases[role]

    @property
    def source(self):
        """A fresh Database on the shared source server, or the one that was set: config() means it from then on."""
        return self._database("source")

    @source.setter
    def source(self, database):
        self._databases["source"] = database

    @property
    def replica(self):
        return self._database("replica")

    @property
    def replica2(self):
        return self._database("replica2")

    @property
    def kafka(self):
        """The shared Kafka, or the private one once private_kafka() was called."""
        return self._kafka or self.servers.kafka

    @property
    def registry(self):
        return self._registry or self.servers.registry

    # ---- private: for tests that kill, stop or configure servers -----------------------------------------------------
    def postgres(self, name, version=15, database=None, **options):
        """A private server; with `database`, a database of that name in it instead. If `name` is source, replica or replica2,
        world.<name> and config() mean it from now on."""
        server = self._keep(Postgres(self.run, name, version, **options))
        fresh = server.database(database or f"{self.prefix}_{name}")
        if name in ("source", "replica", "replica2"):
            self._databases[name] = fresh
        return fresh if database else server

    def private_kafka(self, nodes=1, **options):
        self._kafka = self._keep(Kafka(self.run, nodes, **options))
        return self._kafka

    def use_proxied_kafka(self):
        """From now on world.kafka is the run's broker behind a proxy; returns the proxy. Its rules end with the test."""
        self._kafka = self.servers.proxied_kafka
        return self._kafka.proxies[1]

    def private_registry(self, **options):
        self._registry = self._keep(Registry(self.run, **options))
        return self._registry

    def proxy(self, server, protocol):
        """A Proxy before a server, or before the server of a Database; it ends with the test."""
        return self._keep(Proxy(getattr(server, "server", server).port, protocol))

    def _keep(self, server):
        self._private.append(server)
        return server

    # ---- millrace ----------------------------------------------------------------------------------------------------
    def sink(self, name="replica", to=None, **more):
        """One entry for `sinks`. `to`: a Database or a URL (default: world.<name>)."""
        to = to or getattr(self, name)
        sink = {"name": name, "postgres": {"url": to if isinstance(to, str) else to.url(), "create_tables": True},
                "consistency": "transaction"}
        sink["postgres"] |= more.pop("postgres", {})
        return sink | more

    def config(self, sinks=None, source=None, journal=None, registry=True, **more):
        """A complete config for this test as a dict, to be changed at will. `source` and `journal` are laid over the `postgres`
        and `kafka` parts; journal "embedded": a file, and no registry."""
        config = {
            "source": {"name": self.prefix, "postgres": {
                "url": self.source.url(), "tables": ["public.*"],
                "publication": self.publication, "slot": self.slot} | (source or {})},
            "journal": self._journal(journal),
            "sinks": [self.sink()] if sinks is None else sinks,
            "http": {"listen": f"127.0.0.1:{free_port()}"},
            "log": {"format": "logfmt", "level": "debug"},
        }
        if registry and journal != "embedded":
            config["schemas"] = {"registry": self.registry.url()}
        return copy.deepcopy(config | more)

    def _journal(self, journal):
        if journal == "embedded":
            return {"embedded": {"path": str(self.run.sub("journal").path / "j"), "topic_prefix": self.prefix} | self.partitions}
        return {"kafka": {"brokers": self.kafka.brokers, "topic_prefix": self.prefix, "replication": 1} | self.partitions | (journal or {})}

    def millrace(self, config=None, command="run", name=None, start=True, env=None):
        """A millrace process with this config (default: config()), started unless told otherwise."""
        if not self.binary.exists():
            raise Skip("millrace is not built")
        instance = Millrace(self.binary, self.config() if config is None else config, self.run, name or "millrace", env)
        self._millraces.append(instance)
        if start:
            instance.start(command)
        return instance

    # ---- judging -----------------------------------------------------------------------------------------------------
    def compare(self, tables=None, replica=None, **options):
        return compare(self.source, replica or self.replica, tables, **options)

    def wait_equal(self, tables=None, replica=None, deadline_s=60, **options):
        return wait_equal(self.source, replica or self.replica, tables, deadline_s, **options)

    def topics(self):
        """The topics of this test: {name: partitions}."""
        return {t: n for t, n in self.kafka.topics().items() if t.startswith(self.prefix + ".")}

    def skip(self, why):
        raise Skip(why)

    # ---- the end -----------------------------------------------------------------------------------------------------
    def sanitizer_report(self):
        return next((r for r in (m.sanitizer_report() for m in self._millraces) if r), None)

    def _shared_logs(self):
        logs = []
        for server in self.servers.started().values():
            logs += [server.log(n) for n in server.nodes] if isinstance(server, Kafka) else [server.log]
        return [log for log in logs if log.exists()]

    def tails(self, lines=25):
        """The last lines of every log of this test, and the complaints that shared servers logged meanwhile."""
        parts, millraces = [], {m.log for m in self._millraces}
        for path in sorted([*self.run.path.glob("*/log"), *self.run.path.glob("*/*.log")]):
            if path.is_file() and os.path.getsize(path):
                text = "\n".join(line[:400] for line in tail(path, lines if path in millraces else 8).splitlines())
                parts.append(f"--- {path}\n{text}")
        for path in self._shared_logs():
            with open(path, "rb") as f:
                f.seek(self._log_marks.get(path, 0))
                text = f.read().decode(errors="replace")
            complaints = [line[:400] for line in text.splitlines() if re.search(r"\b(ERROR|FATAL|PANIC)\b", line)]
            if complaints:
                parts.append("\n".join([f"--- {path} (only complaints)", *complaints[-10:]]))
        return "\n".join(parts)

    def end(self, tidy=True):
        """Ends what the test started and gives back what it had of the shared servers."""
        for process in [*self._millraces, *self._private]:
            (process.close if hasattr(process, "close") else process.kill9)()
        if not tidy:
            return
        shared = self.servers.started()
        for role, database in self._databases.items():
            if shared.get(role) is database.server and Servers._healthy(database.server):
                try:
                    database.server.drop_database(database.name)
                except psycopg2.Error:
                    pass
        kafka = self._kafka or shared.get("kafka")
        if kafka and kafka in shared.values() and Servers._healthy(kafka):
            for proxy in kafka.proxies.values():
                proxy.thaw()
                proxy.clear()
            try:
                kafka.delete_topics(self.topics())
            except (RuntimeError, TimeoutError):
                pass
