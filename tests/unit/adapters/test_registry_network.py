"""TLS with a CA of one's own, registries that speak the other scheme, and proxies; all of it real, on loopback."""

import base64
import select
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socketserver import StreamRequestHandler, ThreadingTCPServer

import pytest
from fakes.registry import fake_registry

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.credentials import Credential
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.errors import RegistryError, Unauthorized
from dpbuild.oci import mediatype
from dpbuild.oci.reference import RegistryReference, parse_registry

MANIFEST = b'{"config":{},"layers":[],"mediaType":"application/vnd.oci.image.manifest.v1+json","schemaVersion":2}'
NAME = "registry.example.org"


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CA (ca.pem), a certificate of it (server.pem, key.pem), and a CA that nobody uses (other.pem)."""
    folder = tmp_path_factory.mktemp("tls")

    def openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=folder, check=True, capture_output=True)

    key = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in ("ca", "other"):
        openssl(
            "req", "-x509", *key, "-keyout", f"{name}.key", "-out", f"{name}.pem", "-days", "2", "-subj", f"/CN={name}",
            "-addext", "keyUsage=critical,keyCertSign",
        )  # fmt: skip
    openssl("req", *key, "-keyout", "key.pem", "-out", "server.csr", "-subj", "/CN=server")
    (folder / "ext").write_text(f"subjectAltName=IP:127.0.0.1,DNS:{NAME}\n")
    openssl(
        "x509", "-req", "-in", "server.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
        "-extfile", "ext", "-out", "server.pem",
    )  # fmt: skip
    return folder


def server_context(folder: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "key.pem")
    return context


@contextmanager
def forward_proxy(target: str, login: str = "") -> Iterator[tuple[str, list[str]]]:
    """A proxy that brings every request to ``target``; gives its host:port and the request lines it saw."""
    seen: list[str] = []
    host, _, port = target.partition(":")

    class Handler(StreamRequestHandler):
        def handle(self) -> None:
            line = self.rfile.readline()
            seen.append(line.decode().strip())
            headers = []
            while (row := self.rfile.readline()) not in (b"\r\n", b""):
                headers.append(row)
            given = [row.split()[-1].decode() for row in headers if row.lower().startswith(b"proxy-authorization:")]
            if login and given != [base64.b64encode(login.encode()).decode()]:
                self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection((host, int(port)), timeout=5) as up:
                if line.startswith(b"CONNECT"):
                    self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
                else:
                    method, url, version = line.split()
                    path = b"/" + url.split(b"/", 3)[3]
                    up.sendall(b" ".join((method, path, version)) + b"\r\n" + b"".join(headers) + b"\r\n")
                self._relay(up)

        def _relay(self, up: socket.socket) -> None:
            ends = {self.connection: up, up: self.connection}
            while True:
                for end in select.select(list(ends), [], [], 5)[0]:
                    data = end.recv(65536)
                    if not data:
                        return
                    ends[end].sendall(data)

    class Server(ThreadingTCPServer):
        daemon_threads = True
        allow_reuse_address = True

        def handle_error(self, *_: object) -> None:
            pass

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def never(seconds: float) -> None:
    pytest.fail("waited")


@pytest.fixture
def closing() -> Iterator[list[RegistryClient]]:
    clients: list[RegistryClient] = []
    yield clients
    for client in clients:
        client.close()


def test_a_ca_of_ones_own(certificates: Path, closing: list[RegistryClient]) -> None:
    with fake_registry(tls=server_context(certificates)) as fake:
        fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
        client = RegistryClient(ca_bundle=str(certificates / "ca.pem"), sleep=never)
        closing.append(client)
        assert client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()[1] == MANIFEST
        assert client.head_manifest(parse_registry(f"{fake.host}/team/app:1")) is not None


@pytest.mark.parametrize("bundle", ["other.pem", None])
def test_an_unknown_ca_is_refused(certificates: Path, bundle: str | None, closing: list[RegistryClient]) -> None:
    with fake_registry(tls=server_context(certificates)) as fake:
        client = RegistryClient(ca_bundle=str(certificates / bundle) if bundle else None, sleep=never)
        closing.append(client)
        with pytest.raises(RegistryError, match="certificate") as caught:
            client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()
        assert caught.value.exit_code == 90
        assert "SSL_CERT_FILE" in str(caught.value.hint)
        assert fake.requests == []


def folder_of(certificates: Path, tmp_path: Path, **files: str) -> Callable[[str], str]:
    folder = tmp_path / "certs.d"
    folder.mkdir()
    for name, source in files.items():
        (folder / name.replace("_", ".")).write_bytes((certificates / source).read_bytes())
    return lambda host: str(folder) if host.startswith("127.0.0.1:") else ""


def test_certificates_of_one_host(certificates: Path, tmp_path: Path, closing: list[RegistryClient]) -> None:
    """As Docker's certs.d: an authority of the registry's own, beside those of the system."""
    with fake_registry(tls=server_context(certificates)) as fake:
        fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
        for files, works in (
            ({"ca_crt": "ca.pem"}, True),
            ({"ca_crt": "other.pem"}, False),
            ({"ca_txt": "ca.pem"}, False),
        ):
            place = tmp_path / str(files)
            place.mkdir()
            client = RegistryClient(certificates=folder_of(certificates, place, **files), sleep=never)
            closing.append(client)
            if works:
                assert client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()[1] == MANIFEST
            else:
                with pytest.raises(RegistryError, match="certificate"):
                    client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()


def test_a_registry_that_wants_to_know_who_we_are(
    certificates: Path, tmp_path: Path, closing: list[RegistryClient]
) -> None:
    context = server_context(certificates)
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    with fake_registry(tls=context) as fake:
        fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
        known = {"ca_crt": "ca.pem", "client_cert": "server.pem", "client_key": "key.pem"}
        client = RegistryClient(certificates=folder_of(certificates, tmp_path, **known), sleep=never)
        closing.append(client)
        assert client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()[1] == MANIFEST
        unknown = RegistryClient(ca_bundle=str(certificates / "ca.pem"), sleep=lambda seconds: None)
        closing.append(unknown)
        with pytest.raises(RegistryError):
            unknown.source(parse_registry(f"{fake.host}/team/app:1")).resolve()


def test_a_certificate_without_its_key(certificates: Path, tmp_path: Path, closing: list[RegistryClient]) -> None:
    with fake_registry(tls=server_context(certificates)) as fake:
        files = {"ca_crt": "ca.pem", "client_cert": "server.pem"}
        client = RegistryClient(certificates=folder_of(certificates, tmp_path, **files), sleep=never)
        closing.append(client)
        with pytest.raises(RegistryError, match="certificates for a registry") as caught:
            client.source(parse_registry(f"{fake.host}/team/app:1")).resolve()
        assert caught.value.where is not None
        assert caught.value.where.endswith("client.cert")
        assert "client.cert" not in str(caught.value.hint)


def test_a_bundle_that_cannot_be_read(certificates: Path, tmp_path: Path, closing: list[RegistryClient]) -> None:
    (tmp_path / "empty.pem").write_text("nothing\n")
    for name in ("empty.pem", "absent.pem"):
        client = RegistryClient(ca_bundle=str(tmp_path / name), sleep=never)
        closing.append(client)
        with pytest.raises(RegistryError, match="CA certificates") as caught:
            client.source(parse_registry(f"{NAME}/team/app:1")).resolve()
        assert caught.value.where == str(tmp_path / name)


def test_a_name_that_the_certificate_does_not_have(certificates: Path, closing: list[RegistryClient]) -> None:
    with fake_registry(tls=server_context(certificates)) as fake:
        port = fake.host.partition(":")[2]
        client = RegistryClient(ca_bundle=str(certificates / "ca.pem"), sleep=never)
        closing.append(client)
        with pytest.raises(RegistryError, match="ertificate") as caught:
            client.source(parse_registry(f"localhost:{port}/team/app:1")).resolve()
        assert "SSL_CERT_FILE" in str(caught.value.hint)


def test_http_where_https_is_wanted(closing: list[RegistryClient]) -> None:
    """Off loopback https is spoken; here a proxy makes a plain registry look as if it were elsewhere."""
    with fake_registry() as fake, forward_proxy(fake.host) as (proxy, seen):
        client = RegistryClient(proxies=Proxies(https=f"http://{proxy}"), sleep=lambda _: None)
        closing.append(client)
        with pytest.raises(RegistryError) as caught:
            client.source(parse_registry(f"{NAME}/team/app:1")).resolve()
        assert "--plain-http" in str(caught.value.hint)
        assert seen[0].startswith(f"CONNECT {NAME}:443 ")
        assert fake.requests == []


def test_https_through_a_proxy(certificates: Path, closing: list[RegistryClient]) -> None:
    with (
        fake_registry(tls=server_context(certificates)) as fake,
        forward_proxy(fake.host, login="me:hunter2") as (proxy, seen),
    ):
        fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
        proxies = Proxies(https=f"http://me:hunter2@{proxy}", http="http://unused.example.org")
        client = RegistryClient(proxies=proxies, ca_bundle=str(certificates / "ca.pem"), sleep=never)
        closing.append(client)
        assert client.source(parse_registry(f"{NAME}/team/app:1")).resolve()[1] == MANIFEST
        assert [row.rpartition(" ")[0] for row in seen] == [f"CONNECT {NAME}:443"]


def test_plain_http_through_a_proxy(closing: list[RegistryClient]) -> None:
    with fake_registry() as fake, forward_proxy(fake.host) as (proxy, seen):
        fake.add_manifest("team/app", "1", mediatype.OCI_MANIFEST, MANIFEST)
        client = RegistryClient(proxies=Proxies(http=f"http://{proxy}"), plain_http=True, sleep=never)
        closing.append(client)
        assert client.source(parse_registry(f"{NAME}/team/app:1")).resolve()[1] == MANIFEST
        assert seen == [f"GET http://{NAME}/v2/team/app/manifests/1 HTTP/1.1"]


def test_a_proxy_is_passed_by(closing: list[RegistryClient]) -> None:
    with fake_registry() as fake, forward_proxy(fake.host) as (proxy, seen):
        proxies = Proxies(http=f"http://{proxy}", https=f"http://{proxy}", bypass="registry.invalid")
        client = RegistryClient(proxies=proxies, plain_http=True, sleep=lambda _: None)
        closing.append(client)
        with pytest.raises(RegistryError):
            client.source(parse_registry("registry.invalid/team/app:1")).resolve()
        # Loopback needs no rule.
        client.head_manifest(parse_registry(f"{fake.host}/team/app:1"))
        assert seen == []


def test_a_proxy_that_refuses_does_not_make_us_tell_its_password(closing: list[RegistryClient]) -> None:
    with fake_registry() as fake, forward_proxy(fake.host, login="me:right") as (proxy, _):
        client = RegistryClient(proxies=Proxies(https=f"http://me:hunter2@{proxy}"), sleep=lambda _: None)
        closing.append(client)
        with pytest.raises(RegistryError, match="proxy") as caught:
            client.source(parse_registry(f"{NAME}/team/app:1")).resolve()
        assert "hunter2" not in f"{caught.value} {caught.value.hint}"
        assert "HTTPS_PROXY" in str(caught.value.hint)


def test_docker_io_is_elsewhere(closing: list[RegistryClient]) -> None:
    with fake_registry() as fake, forward_proxy(fake.host) as (proxy, seen):
        client = RegistryClient(proxies=Proxies(http=f"http://{proxy}"), plain_http=True, sleep=never)
        closing.append(client)
        assert client.head_manifest(parse_registry("python")) is None
        assert seen == ["HEAD http://registry-1.docker.io/v2/library/python/manifests/latest HTTP/1.1"]


def test_a_registry_that_calls_itself_http_behind_tls(certificates: Path, closing: list[RegistryClient]) -> None:
    """An upload's address with the wrong scheme is put right where the host is the same, and refused elsewhere."""
    import io

    from dpbuild.oci.descriptor import Descriptor
    from dpbuild.oci.digest import Digest

    row = Descriptor(media_type="", digest=Digest.of(b"data"), size=4)
    with fake_registry(tls=server_context(certificates)) as fake:
        client = RegistryClient(ca_bundle=str(certificates / "ca.pem"), sleep=never)
        closing.append(client)
        fake.absolute_location, fake.scheme = True, "http"
        ref = RegistryReference(registry=fake.host, repository="team/app")
        assert client.push_blob(ref, row, lambda: io.BytesIO(b"data"))
        fake.add_blob("team/app", b"more")
        fake.redirect = "http://storage.example.org"
        more = Descriptor(media_type="", digest=Digest.of(b"more"), size=4)
        with pytest.raises(RegistryError, match="must not be asked"):
            list(client.read_blob(ref, more))


def test_a_login_is_not_sent_to_a_token_service_without_tls(certificates: Path, closing: list[RegistryClient]) -> None:
    class Ann:
        def find(self, registry: str, repository: str) -> Credential | None:
            return Credential(origin="the test", username="ann", password="s3cret")

    realm = "http://tokens.example.org/token"
    with fake_registry(tls=server_context(certificates), auth="token", realm=realm) as fake:
        client = RegistryClient(ca_bundle=str(certificates / "ca.pem"), credentials=Ann(), sleep=never)
        closing.append(client)
        with pytest.raises(RegistryError, match=r"tokens\.example\.org") as caught:
            client.head_manifest(parse_registry(f"{fake.host}/team/app:1"))
        assert not isinstance(caught.value, Unauthorized)
