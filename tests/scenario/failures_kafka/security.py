"""Certificates for a broker, and rights for its users."""
import subprocess


def openssl(directory, *argv):
    done = subprocess.run(["openssl", *map(str, argv)], cwd=directory, capture_output=True, text=True)
    assert done.returncode == 0, f"openssl {' '.join(map(str, argv))}: {done.stderr}"


def authority(directory, name):
    """A new certificate authority: its certificate's path."""
    openssl(directory, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    return directory / f"{name}.pem"


def key_store(directory, ca, address):
    """A PKCS#12 file of a key and a certificate for this IP address, signed by that authority; the password is "changeit"."""
    (directory / "names").write_text(f"subjectAltName=IP:{address}\n")
    openssl(directory, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=broker", "-keyout", "broker.key", "-out", "broker.csr")
    openssl(directory, "x509", "-req", "-in", "broker.csr", "-CA", ca, "-CAkey", ca.with_suffix(".key"), "-CAcreateserial", "-days", "2",
            "-extfile", "names", "-out", "broker.pem")
    openssl(directory, "pkcs12", "-export", "-in", "broker.pem", "-inkey", "broker.key", "-certfile", ca, "-out", "broker.p12", "-passout", "pass:changeit")
    return directory / "broker.p12"


def secure_kafka(world, users):
    """A broker with a SASL_SSL listener, `users`: {name: password}, and nobody allowed anything (the harness comes by another way).
    Returns it and the path of the authority that clients must trust."""
    directory = world.run.fresh("certificates")
    ca = authority(directory, "ca")
    logins = " ".join(f'user_{name}="{password}"' for name, password in users.items())
    kafka = world.private_kafka(secure="SASL_SSL", config={
        "sasl.enabled.mechanisms": "PLAIN",
        "listener.name.secure.plain.sasl.jaas.config": f"org.apache.kafka.common.security.plain.PlainLoginModule required {logins};",
        "ssl.keystore.location": key_store(directory, ca, "127.0.0.1"), "ssl.keystore.type": "PKCS12",
        "ssl.keystore.password": "changeit", "ssl.key.password": "changeit",
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer", "super.users": "User:ANONYMOUS"})
    return kafka, ca


def allow(kafka, user, operations, *resource):
    kafka.tool("kafka.admin.AclCommand", "--add", "--force", "--allow-principal", f"User:{user}", *[a for o in operations for a in ("--operation", o)],
               *resource, "--resource-pattern-type", "prefixed")
