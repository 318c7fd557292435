"""Downloads: tried again where that helps, credentials for their host alone, and nothing kept of what is wrong."""

import base64
import hashlib
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from dpbuild.adapters.fetch import HttpFetcher
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.transport import Transport
from dpbuild.adapters.store import DiskStore
from dpbuild.errors import ArtifactError, HashMismatch, StoreError
from dpbuild.model.lock import LockedFile
from dpbuild.oci.digest import Digest

DATA = b"a wheel" * 50_000
ANN = "Basic " + base64.b64encode(b"ann:s3cret").decode()


class Host:
    """Answers from a list, the last one again and again; remembers what was asked with which credentials."""

    def __init__(self) -> None:
        self.answers: list[Callable[[BaseHTTPRequestHandler], None]] = []
        self.asked: list[tuple[str, str | None]] = []
        host = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *args: object) -> None:
                pass

            def do_GET(self) -> None:
                host.asked.append((self.path, self.headers.get("Authorization")))
                answer = host.answers.pop(0) if len(host.answers) > 1 else host.answers[0]
                answer(self)

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.name = f"127.0.0.1:{self._server.server_address[1]}"
        self.url = f"http://{self.name}"
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def sends(data: bytes = DATA, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        handler.wfile.write(data)

    return answer


def cuts(handler: BaseHTTPRequestHandler) -> None:
    """Promises all of it and hangs up in the middle."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(DATA)))
    handler.end_headers()
    handler.wfile.write(DATA[: len(DATA) // 2])
    handler.wfile.flush()
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


@pytest.fixture
def hosts() -> Iterator[Callable[[], Host]]:
    made: list[Host] = []

    def make() -> Host:
        made.append(Host())
        return made[-1]

    yield make
    for host in made:
        host.close()


@pytest.fixture
def host(hosts: Callable[[], Host]) -> Host:
    return hosts()


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def transport() -> Iterator[Transport]:
    transport = Transport(proxies=Proxies(), ca_bundle=None, timeout=10, connections=2, user_agent="tests")
    yield transport
    transport.close()


def locked(url: str = "", data: bytes = DATA, **more: object) -> LockedFile:
    row = {"name": "demo-1-py3-none-any.whl", "url": url, "sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    return LockedFile(**(row | more))  # type: ignore[arg-type]


class Waits(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def fetcher(store: DiskStore, transport: Transport, waits: Waits, host: Host) -> HttpFetcher:
    return HttpFetcher(store, lambda: transport, {host.name: ("ann", "s3cret")}, sleep=waits)


def nothing_kept(store: DiskStore) -> bool:
    return not any((store.path / "tmp").iterdir()) and not any((store.path / "blobs/sha256").iterdir())


def kept(store: DiskStore) -> bytes:
    assert not any((store.path / "tmp").iterdir())
    with store.open(Digest.of(DATA)) as file:
        return file.read()


def test_a_file_is_fetched_once(host: Host, fetcher: HttpFetcher, store: DiskStore, waits: Waits) -> None:
    host.answers = [sends()]
    file = locked(f"{host.url}/demo.whl")
    assert fetcher.fetch(file, "/") == len(DATA)
    assert fetcher.fetch(file, "/") == 0
    assert kept(store) == DATA
    assert len(host.asked) == 1
    assert waits == []


@pytest.mark.parametrize(
    "trouble", [sends(b"", 503), sends(b"", 429), sends(b"", 500), cuts], ids=["503", "429", "500", "cut"]
)
def test_what_may_pass_is_tried_again(
    trouble: Callable[[BaseHTTPRequestHandler], None], host: Host, fetcher: HttpFetcher, store: DiskStore, waits: Waits
) -> None:
    host.answers = [trouble, trouble, sends()]
    assert fetcher.fetch(locked(f"{host.url}/demo.whl"), "/") == len(DATA)
    assert kept(store) == DATA
    assert len(host.asked) == 3
    assert waits == sorted(set(waits))
    assert len(waits) == 2


@pytest.mark.parametrize(("trouble", "message"), [(sends(b"", 503), "503"), (cuts, "broke")], ids=["503", "cut"])
def test_what_does_not_pass_is_said(
    trouble: Callable[[BaseHTTPRequestHandler], None], message: str, host: Host, fetcher: HttpFetcher, store: DiskStore
) -> None:
    host.answers = [trouble]
    with pytest.raises(ArtifactError, match=message) as caught:
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert "demo-1-py3-none-any.whl" in caught.value.what
    assert 3 <= len(host.asked) <= 6
    assert nothing_kept(store)


def test_a_host_that_is_not_there(fetcher: HttpFetcher, store: DiskStore) -> None:
    with pytest.raises(ArtifactError, match=r"demo-1.*cannot reach 127\.0\.0\.1:9"):
        fetcher.fetch(locked("http://127.0.0.1:9/demo.whl"), "/")
    assert nothing_kept(store)


@pytest.mark.parametrize(("status", "hint"), [(401, "UV_INDEX"), (403, "credentials"), (404, "dpbuild lock")])
def test_what_is_refused_is_not_tried_again(
    status: int, hint: str, host: Host, fetcher: HttpFetcher, waits: Waits
) -> None:
    host.answers = [sends(b"", status)]
    with pytest.raises(ArtifactError, match=str(status)) as caught:
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert hint in str(caught.value.hint)
    assert "s3cret" not in f"{caught.value} {caught.value.where} {caught.value.hint}"
    assert len(host.asked) == 1
    assert waits == []


@pytest.mark.parametrize(
    "wrong", [DATA[:-1] + b"!", DATA + b"!", DATA[:-1], b""], ids=["changed", "longer", "shorter", "empty"]
)
@pytest.mark.parametrize("size", [len(DATA), None], ids=["size", "no size"])
def test_other_bytes_are_not_kept_and_not_asked_for_again(
    wrong: bytes, size: int | None, host: Host, fetcher: HttpFetcher, store: DiskStore
) -> None:
    host.answers = [sends(wrong)]
    with pytest.raises(HashMismatch, match=r"demo-1-py3-none-any\.whl is not the file that was locked") as caught:
        fetcher.fetch(locked(f"{host.url}/demo.whl", size=size), "/")
    assert Digest.of(DATA).hex in caught.value.what
    assert len(host.asked) == 1
    assert nothing_kept(store)


def test_an_endless_answer_is_cut_at_the_locked_size(host: Host, fetcher: HttpFetcher, store: DiskStore) -> None:
    sent: list[int] = []

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(1 << 40))
        handler.end_headers()
        try:
            while sum(sent) < 1 << 30:
                handler.wfile.write(DATA)
                sent.append(len(DATA))
        except OSError:
            handler.close_connection = True

    host.answers = [endless]
    with pytest.raises(HashMismatch):
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert sum(sent) < 1 << 26
    assert nothing_kept(store)


# redirects and credentials


def test_credentials_go_to_their_host(host: Host, fetcher: HttpFetcher) -> None:
    host.answers = [sends(b"", 302, Location="/elsewhere.whl"), sends()]
    fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert host.asked == [("/demo.whl", ANN), ("/elsewhere.whl", ANN)]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_credentials_do_not_follow_to_another_host(
    status: int, host: Host, hosts: Callable[[], Host], fetcher: HttpFetcher, store: DiskStore
) -> None:
    other = hosts()
    host.answers = [sends(b"", status, Location=f"{other.url}/real.whl")]
    other.answers = [sends()]
    fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert host.asked == [("/demo.whl", ANN)]
    assert other.asked == [("/real.whl", None)]
    assert kept(store) == DATA


def test_credentials_are_not_given_to_a_host_that_a_redirect_names(
    host: Host, hosts: Callable[[], Host], fetcher: HttpFetcher
) -> None:
    """Who may write redirects may not spend the credentials of the host that they lead to."""
    other = hosts()
    other.answers = [sends(b"", 302, Location=f"{host.url}/private.whl")]
    host.answers = [sends(b"", 401)]
    with pytest.raises(ArtifactError):
        fetcher.fetch(locked(f"{other.url}/demo.whl"), "/")
    assert host.asked == [("/private.whl", None)]


class _Scripted:
    """A transport that answers from a script."""

    def __init__(self, *locations: str) -> None:
        self.locations = [*locations]
        self.sent: list[tuple[str, bool]] = []

    def send(self, method: str, url: str, headers: dict[str, str]) -> "_Scripted":
        self.sent.append((url, "Authorization" in headers))
        self.location = self.locations.pop(0) if self.locations else ""
        self.status = 302 if self.location else 404
        return self

    def header(self, name: str) -> str:
        return self.location

    def close(self) -> None:
        pass


def test_credentials_do_not_follow_from_https_to_http(store: DiskStore) -> None:
    transport = _Scripted("http://index.example.org/demo.whl")
    fetcher = HttpFetcher(store, lambda: transport, {"index.example.org": ("ann", "s3cret")})  # type: ignore[arg-type, return-value]
    with pytest.raises(ArtifactError):
        fetcher.fetch(locked("https://index.example.org/demo.whl"), "/")
    assert transport.sent == [
        ("https://index.example.org/demo.whl", True),
        ("http://index.example.org/demo.whl", False),
    ]


def test_redirects_end(host: Host, fetcher: HttpFetcher) -> None:
    host.answers = [sends(b"", 302, Location="/demo.whl")]
    with pytest.raises(ArtifactError, match="too many redirects"):
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert len(host.asked) < 20


@pytest.mark.parametrize("location", ["file:///etc/hostname", "ftp://127.0.0.1/demo.whl", "http://[", "http://x:y/"])
def test_redirects_lead_to_http_only(location: str, host: Host, fetcher: HttpFetcher, store: DiskStore) -> None:
    host.answers = [sends(b"", 302, Location=location)]
    with pytest.raises(ArtifactError, match="demo-1"):
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert nothing_kept(store)


# without a network


def test_offline_asks_nobody(host: Host, store: DiskStore, transport: Transport) -> None:
    host.answers = [sends()]
    offline = HttpFetcher(store, lambda: transport, {}, offline=True)
    with pytest.raises(ArtifactError, match="offline"):
        offline.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert host.asked == []


def test_files_on_this_machine(tmp_path: Path, fetcher: HttpFetcher, store: DiskStore) -> None:
    folder = tmp_path / "a folder"
    folder.mkdir()
    (folder / "demo.whl").write_bytes(DATA)
    fetcher.fetch(locked(path="demo.whl"), str(folder))
    assert kept(store) == DATA
    fresh = DiskStore(tmp_path / "other")
    HttpFetcher(fresh, lambda: None, {}, offline=True).fetch(  # type: ignore[arg-type]
        locked(f"{(folder / 'demo.whl').as_uri()}"), "/"
    )
    assert kept(fresh) == DATA


def test_files_on_this_machine_are_verified_too(tmp_path: Path, fetcher: HttpFetcher, store: DiskStore) -> None:
    (tmp_path / "demo.whl").write_bytes(DATA + b"!")
    with pytest.raises(HashMismatch, match="not the file that was locked"):
        fetcher.fetch(locked(path="demo.whl"), str(tmp_path))
    with pytest.raises(ArtifactError, match="cannot read"):
        fetcher.fetch(locked(path="other.whl"), str(tmp_path))
    with pytest.raises(ArtifactError, match="cannot read"):
        fetcher.fetch(locked(path="."), str(tmp_path))
    assert nothing_kept(store)


def test_a_full_disk_is_the_stores_error(
    host: Host, fetcher: HttpFetcher, store: DiskStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    host.answers = [sends()]
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(StoreError, match="the disk is full"):
        fetcher.fetch(locked(f"{host.url}/demo.whl"), "/")
    assert len(host.asked) == 1
