"""A forward proxy that finds hosts by a table, and a relay that takes its time."""

import base64
import select
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from socketserver import BaseRequestHandler, StreamRequestHandler, ThreadingTCPServer
from urllib.parse import urlsplit


class _Server(ThreadingTCPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, *_: object) -> None:
        """Clients that go away are part of the tests."""


@contextmanager
def _serving(handler: type[BaseRequestHandler]) -> Iterator[str]:
    server = _Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)


def _pipe(one: socket.socket, other: socket.socket, delay: float = 0.0) -> None:
    """Bytes both ways until one side ends; what ``one`` sends waits for ``delay`` seconds."""
    ends = {one: other, other: one}
    while True:
        for end in select.select([one, other], [], [], 60)[0]:
            data = end.recv(65536)
            if not data:
                return
            if end is one and delay:
                time.sleep(delay)
            ends[end].sendall(data)


@dataclass
class Proxy:
    """``hosts``: where host:port really is; others do not exist. ``login`` is user:password. ``seen``: what was asked for."""

    hosts: dict[str, str]
    login: str = ""
    seen: list[str] = field(default_factory=list)
    refused: int = 0
    address: str = ""

    @property
    def url(self) -> str:
        """With the login, for HTTP_PROXY."""
        return f"http://{self.login}@{self.address}" if self.login else f"http://{self.address}"


class _Handler(StreamRequestHandler):
    proxy: Proxy
    # What comes behind the headers is passed on, so none of it may be read with them.
    rbufsize = 0
    disable_nagle_algorithm = True

    def handle(self) -> None:
        line = self.rfile.readline()
        headers = []
        while (row := self.rfile.readline()) not in (b"\r\n", b""):
            headers.append(row)
        if not line:
            return
        method, target, version = line.split()
        sent = [row.split()[-1].decode() for row in headers if row.lower().startswith(b"proxy-authorization:")]
        if self.proxy.login and sent != [base64.b64encode(self.proxy.login.encode()).decode()]:
            self.proxy.refused += 1
            self._answer(b"407 Proxy Authentication Required", b'Proxy-Authenticate: Basic realm="proxy"\r\n')
            return
        parts = urlsplit(target.decode() if method != b"CONNECT" else f"//{target.decode()}")
        name = f"{parts.hostname}:{parts.port or 80}"
        self.proxy.seen.append(f"{method.decode()} {name}")
        if name not in self.proxy.hosts:
            self._answer(b"502 Bad Gateway")
            return
        host, _, port = self.proxy.hosts[name].partition(":")
        with socket.create_connection((host, int(port)), timeout=60) as up:
            if method == b"CONNECT":
                self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            else:
                # One request for each connection: the next may be for another host.
                path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
                rest = [row for row in headers if not row.lower().startswith((b"proxy-", b"connection:"))]
                start = b" ".join((method, path.encode(), version)) + b"\r\n"
                up.sendall(start + b"".join(rest) + b"Connection: close\r\n\r\n")
            _pipe(self.connection, up)

    def _answer(self, status: bytes, headers: bytes = b"") -> None:
        self.wfile.write(b"HTTP/1.1 " + status + b"\r\n" + headers + b"Content-Length: 0\r\nConnection: close\r\n\r\n")


@contextmanager
def forward_proxy(hosts: dict[str, str], login: str = "") -> Iterator[Proxy]:
    """CONNECT and plain requests for ``hosts``, until the block ends."""
    proxy = Proxy(hosts, login)
    with _serving(type("Bound", (_Handler,), {"proxy": proxy})) as proxy.address:
        yield proxy


@contextmanager
def slow_relay(target: str, delay: float) -> Iterator[str]:
    """The server ``target`` at another address, where every piece that it is sent takes ``delay`` seconds."""
    host, _, port = target.partition(":")

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port)), timeout=60) as up:
                _pipe(self.request, up, delay)

    with _serving(Relay) as address:
        yield address


@contextmanager
def stalling_relay(target: str, after: int) -> Iterator[tuple[str, threading.Event]]:
    """The server ``target`` at another address, which says no more after so many bytes; the event says that it is so."""
    host, _, port = target.partition(":")
    stalled, ended = threading.Event(), threading.Event()

    class Relay(BaseRequestHandler):
        def handle(self) -> None:
            with socket.create_connection((host, int(port)), timeout=60) as up:
                left = after
                while not ended.is_set():
                    for end in select.select([self.request, up], [], [], 0.1)[0]:
                        data = end.recv(min(left, 65536) if end is up else 65536)
                        if not data:
                            return
                        (up if end is self.request else self.request).sendall(data)
                        if end is up:
                            left -= len(data)
                        if left <= 0:
                            stalled.set()
                            ended.wait()
                            return

    with _serving(Relay) as address:
        try:
            yield address, stalled
        finally:
            ended.set()
