"""Authorities and server certificates for tests of TLS, made by openssl."""
import subprocess


def certificate(path, name, ca=None, san="IP:127.0.0.1", days=2):
    """A key and a certificate NAME.key, NAME.crt; signed by `ca`, or by itself."""
    def openssl(*argv):
        subprocess.run(["openssl", *map(str, argv)], check=True, capture_output=True)
    key, crt = path / f"{name}.key", path / f"{name}.crt"
    if ca is None:
        openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", crt, "-subj", f"/CN={name}", "-days", days)
        return crt
    (path / f"{name}.ext").write_text(f"subjectAltName={san}\n")
    openssl("req", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", path / f"{name}.csr", "-subj", f"/CN={name}")
    openssl("x509", "-req", "-in", path / f"{name}.csr", "-CA", path / f"{ca}.crt", "-CAkey", path / f"{ca}.key", "-CAcreateserial", "-out", crt, "-days", days, "-extfile", path / f"{name}.ext")
    return crt
