"""A broker with TLS, passwords and rights: what is documented is enough, and each thing that is wrong or missing is named."""
from certificates import authority, key_store
from harness import kafka_client
from harness.failure import failure
from harness.pipeline import stops, table

TABLE = table(100)
PASSWORDS = {"capture": "canary-capture", "sink": "canary-sink"}
# As docs/operating.md has them.
CAPTURE = {"transactional_id": ["Write"], "topic": ["Create", "DescribeConfigs", "Read", "Write"]}
SINK = {"topic": ["Read"]}


def secure_kafka(world):
    """A broker with a SASL_SSL listener where nobody is allowed anything (the harness comes by another way), and the path of the
    authority that its clients must trust."""
    directory = world.run.fresh("certificates")
    ca = authority(directory, "ca")
    kafka = world.private_kafka(secure="SASL_SSL", users=PASSWORDS, config={
        "listener.name.secure.sasl.enabled.mechanisms": "SCRAM-SHA-512",
        "listener.name.secure.scram-sha-512.sasl.jaas.config": "org.apache.kafka.common.security.scram.ScramLoginModule required;",
        "ssl.keystore.location": key_store(directory, ca, "127.0.0.1"), "ssl.keystore.type": "PKCS12",
        "ssl.keystore.password": "changeit", "ssl.key.password": "changeit",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"})
    return kafka, ca


class Pipeline:
    """Capture and a sink as processes of their own, each with its own user."""

    def __init__(self, world):
        self.world = world
        self.kafka, self.ca = secure_kafka(world)
        self.roles = {"capture": world.millrace(self.config("capture"), start=False, name="capture"),
                      "sink": world.millrace(self.config("sink"), start=False, name="sink")}

    def config(self, role, host="127.0.0.1", **properties):
        right = {"security.protocol": "SASL_SSL", "sasl.mechanism": "SCRAM-SHA-512", "sasl.username": role, "sasl.password": PASSWORDS[role],
                 "ssl.ca.location": str(self.ca)}
        journal = {"brokers": f"{host}:{self.kafka.secure_ports[1]}", "properties": right | {k.replace("_", "."): v for k, v in properties.items()}}
        return self.world.config(registry=False, journal=journal, **({"sinks": []} if role == "capture" else {"http": {}}))

    def rights(self, role, allow=True, topic=(), transactional_id=()):
        if topic:
            kafka_client.topic_rights(self.kafka.direct, role, f"{self.world.prefix}.", topic, allow)
        if transactional_id:  # of which librdkafka 2.0 cannot speak
            self.kafka.tool("kafka.admin.AclCommand", "--add" if allow else "--remove", "--force", "--allow-principal", f"User:{role}",
                            *(a for o in transactional_id for a in ("--operation", o)),
                            "--transactional-id", f"millrace.{self.world.prefix}.", "--resource-pattern-type", "prefixed")

    def stops(self, role, *words, doctor=True):
        """It ends by itself, by that name; its doctor says the same beforehand."""
        m = self.roles[role]
        if doctor:
            rc, out, err = m.run_cli("doctor")
            assert rc == 1 and all(w in out + err for w in words), out + err
            self.keeps_secrets(out + err)
        stops(m.start(role), "journal-refused", *words)
        self.keeps_secrets(m.log_text())

    @staticmethod
    def keeps_secrets(text):
        assert "canary" not in text, text


@failure("F98b", "The brokers refuse us: certificate, password, rights",
         happens="The authority, the host name, the mechanism, the password or an ACL is wrong or missing, from the start or from one moment on.",
         does="Stops before anything is read from the source, and names the setting or the right that is missing. `millrace doctor` says the same beforehand "
              "(except the rights to write and to the transactional id, which cannot be asked for without using them).",
         todo="What the message says. The rights that are needed are listed in [operating.md](operating.md#grants).", ends="journal-refused")
def test_certificates_and_passwords(world):
    world.source.sql(TABLE)
    p = Pipeline(world)
    stranger = authority(world.run.fresh("stranger"), "ca")
    for role, m in p.roles.items():
        for words, wrong in ((["sasl."], {"sasl_password": "canary-wrong"}), (["sasl."], {"sasl_username": "nobody"}),
                             (["sasl."], {"sasl_mechanism": "SCRAM-SHA-256"}),
                             (["certificate", "ssl."], {"ssl_ca_location": str(stranger)}), (["ssl."], {"host": "localhost"})):
            m.write_config(p.config(role, **wrong))
            p.stops(role, *words)
    # With the documented rights, and no others, it works.
    p.rights("capture", **CAPTURE)
    p.rights("sink", **SINK)
    for role, m in p.roles.items():
        m.write_config(p.config(role))
        m.start(role)
    world.wait_equal()
    rc, out, err = p.roles["capture"].run_cli("doctor")
    assert rc == 0, out + err
    world.source.sql("update t set v = 'allowed'")
    world.wait_equal()
    for m in p.roles.values():
        m.term()
        p.keeps_secrets(m.log_text())


def test_each_right_that_is_missing_is_named(world):
    world.source.sql(TABLE)
    p = Pipeline(world)
    capture, sink = p.roles.values()
    p.stops("capture", "kafka-acls", "--transactional-id", doctor=False)
    p.rights("capture", transactional_id=["Write"])
    p.stops("capture", "kafka-acls", "--topic")
    p.rights("capture", topic=["DescribeConfigs", "Read", "Write"])
    p.stops("capture", "kafka-acls", "--topic", "Create")
    p.rights("capture", topic=["Create"])
    capture.start("capture")
    capture.wait_log("room=capture msg=committed", 60)
    p.stops("sink", "kafka-acls", "--topic", "Read")
    p.rights("sink", topic=["Read"])
    sink.start("sink")
    world.wait_equal()
    # A right is taken away while they run.
    p.rights("sink", allow=False, topic=["Read"])
    world.source.sql("update t set v = 'unread'")
    stops(sink, "journal-refused")
    p.rights("sink", topic=["Read"])
    sink.start("sink")
    world.wait_equal()
    for resource, operation in (("topic", "Write"), ("transactional_id", "Write")):
        p.rights("capture", allow=False, **{resource: [operation]})
        world.source.sql("update t set v = %s", (f"not {operation}",))
        stops(capture, "journal-refused")
        p.rights("capture", **{resource: [operation]})
        capture.start("capture")
        world.wait_equal()
    capture.term()
    p.rights("capture", allow=False, topic=["Read"])
    p.stops("capture", "kafka-acls", "Read", doctor=False)
    p.rights("capture", topic=["Read"])
    capture.start("capture")
    world.source.sql("update t set v = 'at last'")
    world.wait_equal()
    for m in p.roles.values():
        m.term()


for slow in (test_certificates_and_passwords, test_each_right_that_is_missing_is_named):
    slow.timeout_s = 300
