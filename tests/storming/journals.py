"""The journals that a storm can be about: what each needs beside the pipeline, who of it can be killed, and where its past is read."""
import random

from harness.embedded import EmbeddedJournal
from harness.power import Power

from .victims import Broker, Machine, Registry


class KafkaJournal:
    """Brokers and a schema registry."""

    weights = {"capture": 30, "sink": 28, "broker": 16, "source": 10, "replica": 12, "registry": 4}
    ways = {"kill": 14, "zombie": 3, "hang": 2, "term": 1}  # how a process of Millrace dies
    native = True  # whether a native subscription runs beside
    mean_seconds, big_rows = 2.0, 1_000_000
    env = {}

    def __init__(self, storm):
        self.storm = storm
        self.past = self.kafka = storm.world.private_kafka(storm.options.brokers)
        self.registry = storm.world.private_registry(durable=True)

    def config(self, **options):
        return self.storm.world.config(journal={"replication": self.storm.options.brokers, "partitions": 2}, **options)

    def victims(self):
        return {"broker": [Broker(self.storm, self.kafka, list(self.storm.stages.values()))], "registry": [Registry(self.storm, self.registry)]}

    def summary(self):
        return []


class FileJournal:
    """One file, on a machine whose power fails."""

    weights = {"capture": 28, "sink": 26, "power": 40, "source": 3, "replica": 3}
    ways = {"kill": 36, "zombie": 1, "hang": 1, "term": 2}
    native = False
    mean_seconds, big_rows = 0.4, 50_000

    def __init__(self, storm):
        self.storm, self.path = storm, storm.world.run.sub("journal").path / "j"
        self.power = Power(storm.world.run, self.path)
        self.past, self.env = EmbeddedJournal(self.path), self.power.env()

    def config(self, **options):
        config = self.storm.world.config(journal="embedded", **options)
        config["journal"]["embedded"] |= {"path": str(self.path), "partitions": 2}
        return config

    def victims(self):
        return {"power": [Machine(self.storm, self.power, random.Random(f"{self.storm.options.seed} power"))]}

    def summary(self):
        return [f"the power failed {self.power.failures} times, {self.power.failures_with_loss} times with unsynced writes under way;"
                f" {self.power.lost_writes} writes were lost or torn"]


JOURNALS = {"kafka": KafkaJournal, "embedded": FileJournal}
