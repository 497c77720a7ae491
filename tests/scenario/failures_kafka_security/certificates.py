"""Certificates for a broker."""
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
