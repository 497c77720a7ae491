"""A private schema registry: Apicurio, in memory or in a file, spoken to by its Confluent-compatible API."""
import json
import signal
import urllib.error
import urllib.request

from .clock import wait_until
from .process import Process, free_port, tail
from .rundir import CACHE


class Registry:
    """`durable`: what it holds is in a file, and survives kill -9; otherwise in memory."""

    def __init__(self, run, name="registry", start=True, durable=False):
        jars = sorted((CACHE / "registry").glob("*-runner.jar"))
        if not jars:
            raise RuntimeError("the schema registry is missing: run setup/fetch registry")
        self.jar, self.name, self.port = jars[0], name, free_port()
        self.dir, self.process = run.fresh(name), None
        self.log = self.dir / "log"
        self.options = [f"-Dquarkus.datasource.jdbc.url=jdbc:h2:file:{self.dir}/registry;WRITE_DELAY=0"] if durable else []
        if start:
            self.start()

    def url(self):
        return f"http://127.0.0.1:{self.port}/apis/ccompat/v7"

    def launch(self):
        self.process = Process(
            ["java", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dquarkus.http.host=127.0.0.1",
             f"-Dquarkus.http.port={self.port}", f"-Djava.io.tmpdir={self.dir}", *self.options, "-jar", self.jar], self.log, cwd=self.dir)

    def start(self, deadline_s=90):
        """Starts it (what it held is gone unless it is durable) and returns when it answers."""
        self.launch()
        wait_until(self.ready, deadline_s, f"{self.name} answers", every_s=0.1)
        return self

    def ready(self):
        if not self.process.alive():
            raise RuntimeError(f"{self.name} ended at its start:\n{tail(self.log)}")
        try:
            return self.request("GET", "/subjects") is not None
        except OSError:
            return False

    def request(self, method, path, body=None):
        """One call of the API; returns the decoded answer."""
        data = json.dumps(body).encode() if body is not None else None
        request = urllib.request.Request(self.url() + path, data, {"Content-Type": "application/vnd.schemaregistry.v1+json"},
                                         method=method)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def subjects(self):
        return self.request("GET", "/subjects")

    def stop(self, deadline_s=30):
        self.process.signal(signal.SIGTERM)
        self.process.wait(deadline_s, f"end of {self.name}")

    def kill9(self):
        if self.process:
            self.process.kill9()

    def pause(self):
        self.process.signal(signal.SIGSTOP)

    def resume(self):
        self.process.signal(signal.SIGCONT)
