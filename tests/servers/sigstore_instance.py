"""A Sigstore of our own on loopback: Fulcio, Rekor and a timestamp authority as they are, with an issuer of identities
and a certificate transparency log that are only as large as they need to be.
"""

import base64
import contextlib
import datetime
import hashlib
import json
import struct
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.x509.oid import NameOID
from machinery import free_port

_REKOR = "rekor.example"
_START = "2020-01-01T00:00:00Z"
_POISON = bytes.fromhex("060a2b06010401d679020403")
PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER
SPKI = serialization.PublicFormat.SubjectPublicKeyInfo


@dataclass
class Sigstore:
    """``trust`` is the file that tells clients of it, ``issuer`` who vouches for identities."""

    trust: Path
    issuer: str
    tokens: Any

    def token(self, email: str, *, seconds: int = 600) -> str:
        return self.tokens(email, seconds)


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


def url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def spki(key: Any) -> bytes:
    return bytes(key.public_key().public_bytes(DER, SPKI))


@contextlib.contextmanager
def answering(answers: Any) -> Iterator[str]:
    """A server whose answers are a function's: of path, headers and body to a JSON value, None for 404."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = answers(self.path, self.headers, body)
            data = json.dumps(found).encode()
            self.send_response(404 if found is None else 200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_POST = do_GET

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def issuing() -> Iterator[tuple[str, Any]]:
    """An issuer of identity tokens (OpenID Connect Discovery 1.0), and what makes a token."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    numbers = key.public_key().public_numbers()
    row = {"kty": "RSA", "alg": "RS256", "use": "sig", "kid": "1"}
    row |= {
        name: url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
        for name, value in (("n", numbers.n), ("e", numbers.e))
    }
    place: list[str] = []

    def token(email: str, seconds: int) -> str:
        now = int(time.time())
        claims = {"iss": place[0], "aud": "sigstore", "sub": email, "email": email, "email_verified": True}
        claims |= {"iat": now, "nbf": now, "exp": now + seconds}
        said = ".".join(url(json.dumps(each).encode()) for each in ({"alg": "RS256", "kid": "1", "typ": "JWT"}, claims))
        return f"{said}.{url(key.sign(said.encode(), padding.PKCS1v15(), hashes.SHA256()))}"

    def answer(path: str, headers: Any, _body: bytes) -> Any:
        if path == "/.well-known/openid-configuration":
            ends = {name: f"{place[0]}/{name}" for name in ("authorization_endpoint", "token_endpoint")}
            more = {"response_types_supported": ["id_token"], "subject_types_supported": ["public"]}
            return {
                "issuer": place[0],
                "jwks_uri": f"{place[0]}/keys",
                "id_token_signing_alg_values_supported": ["RS256"],
                **ends,
                **more,
            }
        if path == "/keys":
            return {"keys": [row]}
        # As GitHub Actions gives a job its token.
        if path.startswith("/ambient?") and headers["Authorization"] == "bearer job":
            return {"value": token("job@ci.example", 600)}
        return None

    with answering(answer) as address:
        place.append(address)
        yield address, token


@contextlib.contextmanager
def logging(key: ec.EllipticCurvePrivateKey) -> Iterator[str]:
    """A log that signs what it is told (RFC 6962, sections 3.2 and 4.2) and keeps nothing."""

    def answer(path: str, _headers: Any, body: bytes) -> Any:
        if not path.endswith("/ct/v1/add-pre-chain"):
            return None
        chain = [base64.b64decode(row) for row in json.loads(body)["chain"]]
        precertificate = x509.load_der_x509_certificate(chain[0])
        issuer = x509.load_der_x509_certificate(chain[1]).public_key().public_bytes(DER, SPKI)
        tbs = without_poison(precertificate.tbs_certificate_bytes)
        now = int(time.time() * 1000)
        signed = (
            struct.pack(">BBQH", 0, 0, now, 1)
            + hashlib.sha256(issuer).digest()
            + len(tbs).to_bytes(3, "big")
            + tbs
            + b"\0\0"
        )
        signature = key.sign(signed, ec.ECDSA(hashes.SHA256()))
        return {
            "sct_version": 0,
            "id": text(hashlib.sha256(spki(key)).digest()),
            "timestamp": now,
            "extensions": "",
            "signature": text(b"\x04\x03" + struct.pack(">H", len(signature)) + signature),
        }

    with answering(answer) as address:
        yield address


def without_poison(tbs: bytes) -> bytes:
    """A TBSCertificate without the extension that makes it a precertificate."""
    rows = elements(inner(tbs))
    extensions = elements(inner(inner(rows[-1])))
    kept = encoded(0x30, b"".join(row for row in extensions if not inner(row).startswith(_POISON)))
    return encoded(0x30, b"".join((*rows[:-1], encoded(0xA3, kept))))


def elements(data: bytes) -> list[bytes]:
    out = []
    while data:
        start, size = header(data)
        out.append(data[: start + size])
        data = data[start + size :]
    return out


def header(data: bytes) -> tuple[int, int]:
    """How long the head of the first element is, and what it has in it (X.690, 8.1)."""
    if data[1] < 0x80:
        return 2, data[1]
    count = data[1] & 0x7F
    return 2 + count, int.from_bytes(data[2 : 2 + count], "big")


def inner(data: bytes) -> bytes:
    start, size = header(data)
    return data[start : start + size]


def encoded(tag: int, data: bytes) -> bytes:
    if len(data) < 0x80:
        return bytes((tag, len(data))) + data
    size = len(data).to_bytes((len(data).bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(size))) + size + data


def authority(folder: Path) -> bytes:
    """Key and certificate of the authority; gives the certificate in DER."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "test"), x509.NameAttribute(NameOID.COMMON_NAME, "test")]
    )
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=1), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.KeyUsage(*([False] * 5), True, True, False, False), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "ca.pem").write_bytes(made.public_bytes(PEM))
    write_key(folder / "ca.key", key, b"secret")
    return bytes(made.public_bytes(DER))


def write_key(path: Path, key: Any, password: bytes = b"") -> None:
    how = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
    path.write_bytes(key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, how))


@contextlib.contextmanager
def running(programs: Path, folder: Path) -> Iterator[Sigstore]:
    """All of it; ``programs`` is a folder with fulcio, rekor-server and timestamp-server."""
    root = authority(folder)
    ct, rekor = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    (folder / "ct.pub").write_bytes(ct.public_key().public_bytes(PEM, SPKI))
    write_key(folder / "rekor.key", rekor)
    with contextlib.ExitStack() as stack:
        issuer, token = stack.enter_context(issuing())
        log = stack.enter_context(logging(ct))
        config = {"OIDCIssuers": {issuer: {"IssuerURL": issuer, "ClientID": "sigstore", "Type": "email"}}}
        (folder / "fulcio.json").write_text(json.dumps(config))
        ports = [free_port() for _ in range(5)]

        def start(name: str, *words: object) -> None:
            output = stack.enter_context((folder / f"{name}.log").open("wb"))
            process = subprocess.Popen([programs / name, *map(str, words)], stdout=output, stderr=output, cwd=folder)
            stack.callback(process.wait)
            stack.callback(process.terminate)

        start("fulcio", "fulcio.json", "ca.pem", "ca.key", "secret", log, "ct.pub", f"127.0.0.1:{ports[0]}")
        start("rekor-server", "serve", "--http-port", ports[1], "--grpc-port", ports[2], "--http-metrics-port", ports[3],
              "--storage-dir", folder / "log", "--signer-filepath", folder / "rekor.key", "--hostname", _REKOR,
              "--checkpoint-interval", "500ms")  # fmt: skip
        start("timestamp-server", "serve", "--port", ports[4], "--host", "127.0.0.1", "--timestamp-signer", "memory",
              "--disable-ntp-monitoring")  # fmt: skip
        fulcio, log_url, tsa = (f"http://127.0.0.1:{ports[number]}" for number in (0, 1, 4))
        chain = fetched(f"{tsa}/api/v1/timestamp/certchain")
        fetched(f"{fulcio}/api/v2/configuration")
        fetched(f"{log_url}/healthz")
        trust = folder / "trust.json"
        trust.write_text(json.dumps(told(root, ct, log, rekor, log_url, chain, fulcio, tsa, issuer)))
        yield Sigstore(trust, issuer, token)


def fetched(address: str) -> bytes:
    """What an address answers, once it does."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for _ in range(200):
        with contextlib.suppress(OSError), opener.open(address, timeout=10) as answer:
            return bytes(answer.read())
        time.sleep(0.1)
    raise TimeoutError(address)


def told(
    root: bytes, ct: Any, log: str, rekor: Any, log_url: str, chain: bytes, fulcio: str, tsa: str, issuer: str
) -> Any:
    """The configuration of clients (sigstore protobuf-specs, ``ClientTrustConfig``)."""
    stamps = [row.public_bytes(DER) for row in x509.load_pem_x509_certificates(chain)]

    def instance(address: str, key: Any) -> dict[str, Any]:
        return {
            "baseUrl": address,
            "hashAlgorithm": "SHA2_256",
            "publicKey": {
                "rawBytes": text(spki(key)),
                "keyDetails": "PKIX_ECDSA_P256_SHA_256",
                "validFor": {"start": _START},
            },
            "logId": {"keyId": text(hashlib.sha256(spki(key)).digest())},
        }

    def trusted(address: str, certificates: list[bytes]) -> dict[str, Any]:
        return {
            "subject": {"organization": "test", "commonName": "test"},
            "uri": address,
            "certChain": {"certificates": [{"rawBytes": text(row)} for row in certificates]},
            "validFor": {"start": _START},
        }

    def service(address: str, version: int) -> dict[str, Any]:
        return {"url": address, "majorApiVersion": version, "validFor": {"start": _START}, "operator": "test"}

    return {
        "mediaType": "application/vnd.dev.sigstore.clienttrustconfig.v0.1+json",
        "trustedRoot": {
            "mediaType": "application/vnd.dev.sigstore.trustedroot+json;version=0.1",
            # By the name that its checkpoints have.
            "tlogs": [instance(f"https://{_REKOR}", rekor)],
            "certificateAuthorities": [trusted(fulcio, [root])],
            "ctlogs": [instance(log, ct)],
            "timestampAuthorities": [trusted(tsa, stamps)],
        },
        "signingConfig": {
            "mediaType": "application/vnd.dev.sigstore.signingconfig.v0.2+json",
            "caUrls": [service(fulcio, 1)],
            "oidcUrls": [service(issuer, 1)],
            "rekorTlogUrls": [service(log_url, 2)],
            "rekorTlogConfig": {"selector": "ANY"},
            "tsaUrls": [service(f"{tsa}/api/v1/timestamp", 1)],
            "tsaConfig": {"selector": "ANY"},
        },
    }
