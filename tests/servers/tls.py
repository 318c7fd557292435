"""Keys and certificates, made by openssl."""

import ssl
import subprocess
from pathlib import Path

_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")


def openssl(folder: Path, *arguments: str, data: bytes = b"") -> bytes:
    """What ``openssl`` prints, run in ``folder``."""
    return subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True, input=data).stdout


def make_ca(folder: Path, name: str) -> Path:
    """A CA that nobody else knows; gives its certificate, whose key is beside it."""
    openssl(
        folder, "req", "-x509", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2",
        "-subj", f"/CN={name}", "-addext", "keyUsage=critical,keyCertSign",
    )  # fmt: skip
    return folder / f"{name}.pem"


def make_certificate(ca: Path, name: str, *hosts: str) -> tuple[Path, Path]:
    """Certificate and key for these host names and addresses, signed by the CA."""
    folder = ca.parent
    openssl(folder, "req", *_KEY, "-keyout", f"{name}.key", "-out", f"{name}.csr", "-subj", f"/CN={name}")
    rows = [f"{'IP' if host[0].isdigit() else 'DNS'}:{host}" for host in hosts]
    (folder / f"{name}.ext").write_text(f"subjectAltName={','.join(rows)}\n")
    openssl(
        folder, "x509", "-req", "-in", f"{name}.csr", "-CA", ca.name, "-CAkey", f"{ca.stem}.key", "-CAcreateserial",
        "-days", "2", "-extfile", f"{name}.ext", "-out", f"{name}.pem",
    )  # fmt: skip
    return folder / f"{name}.pem", folder / f"{name}.key"


def server_context(certificate: Path, key: Path) -> ssl.SSLContext:
    """For a server in this process."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return context
