"""Real servers for tests and for the demo: every class owns one kind of process and everything it started ends with it."""
from .clock import Late, now, wait_until
from .compare import Differences, compare, tables_of, wait_equal
from .kafka import Kafka
from .kafka_client import Record, create_topic, delete_topics, kafka_dump, kafka_read, topics
from .millrace import Millrace
from .postgres import Database, Postgres
from .process import Process, free_port
from .proxy import Proxy
from .registry import Registry
from .rundir import PROJECT, RunDir
from .scenario import Skip, World
