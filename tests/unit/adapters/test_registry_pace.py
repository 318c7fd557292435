"""Answers that trickle end as broken connections do. The clock is the test's own, so nobody waits."""

import io
import queue
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from dpbuild.adapters.registry.client import RegistryClient
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.pace import FLOOR, WINDOW, Paced, TooSlow
from dpbuild.adapters.registry.transport import ConnectionFailed, Transport
from dpbuild.errors import RegistryError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import RegistryReference


class Clock:
    """Seconds that pass as they are told, ``step`` at every look."""

    def __init__(self, step: float = 0.0) -> None:
        self.now = 0.0
        self.step = step

    def __call__(self) -> float:
        self.now += self.step
        return self.now


class Pieces(io.RawIOBase):
    """Brings one piece with every read, after its seconds."""

    def __init__(self, clock: Clock, rows: list[tuple[float, int]]) -> None:
        self.clock = clock
        self.rows = rows

    def readinto(self, buffer: bytearray) -> int:  # type: ignore[override]
        seconds, size = self.rows.pop(0) if self.rows else (0.0, 0)
        self.clock.now += seconds
        return size


def read(rows: list[tuple[float, int]], pause: float = 0.0) -> int:
    """How much of it comes; ``pause`` is what is done with a piece before the next is read."""
    clock = Clock()
    stream = Paced(Pieces(clock, rows), clock)
    size = 0
    while found := stream.readinto(bytearray(FLOOR)):
        size += found
        clock.now += pause
    return size


def test_what_is_slow_over_a_whole_window_is_an_error() -> None:
    with pytest.raises(TooSlow, match="it brought 60 bytes in 60 s"):
        read([(0.0, 9)] + [(1.0, 1)] * 1000)


@pytest.mark.parametrize(
    "rows",
    [
        [(1.0, FLOOR // 60 + 1)] * 1000,
        [(WINDOW - 1, FLOOR)] * 10,
        [(1.0, 1)] * 59,
        # Thinking comes first; and an end that comes late is an end.
        [(WINDOW * 2, 5), (WINDOW - 1, 5)],
        [(0.0, 5), (WINDOW * 2, 0)],
    ],
)
def test_whatever_gets_on_is_read_to_its_end(rows: list[tuple[float, int]]) -> None:
    assert read(list(rows)) == sum(size for _, size in rows)


def test_what_is_done_with_the_bytes_takes_as_long_as_it_takes() -> None:
    assert read([(0.1, 10)] * 100, pause=WINDOW) == 1000


def hung_up(line: socket.socket) -> bool:
    try:
        return line.recv(1, socket.MSG_DONTWAIT) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@contextmanager
def trickling(extra: str) -> Iterator[tuple[str, Callable[[], float], list[int]]]:
    """A server that promises much and sends a byte whenever the clock is looked at; its name, that clock, and a row for
    each request.
    """
    asked: list[int] = []
    server = socket.create_server(("127.0.0.1", 0))
    looks: queue.SimpleQueue[int] = queue.SimpleQueue()
    clock = Clock(10.0)

    def look() -> float:
        looks.put(1)
        return clock()

    def run() -> None:
        while True:
            try:
                line, _ = server.accept()
            except OSError:
                return
            with line:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    request += line.recv(65536)
                asked.append(1)
                line.sendall(f"HTTP/1.1 200 OK\r\n{extra}\r\n".encode())
                while looks.get():
                    if hung_up(line):
                        # This look was for the next connection.
                        looks.put(1)
                        break
                    line.sendall(b"1\r\nx\r\n" if "chunked" in extra else b"x")

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"127.0.0.1:{server.getsockname()[1]}", look, asked
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        looks.put(0)
        thread.join(5)


KINDS = {"length": "Content-Length: 1000000\r\n", "chunks": "Transfer-Encoding: chunked\r\n", "end": ""}


@pytest.mark.parametrize("few", [True, False], ids=["by itself", "by urllib3"])
@pytest.mark.parametrize("extra", KINDS.values(), ids=KINDS)
def test_an_answer_that_trickles_is_a_broken_connection(few: bool, extra: str) -> None:
    with trickling(extra) as (name, clock, asked):
        transport = Transport(
            proxies=Proxies(), ca_bundle=None, timeout=10, connections=2, user_agent="tests", clock=clock
        )
        # What does not fit a plain request is urllib3's.
        answer = transport.send("GET", f"http://{name}/a" if few else f"http://{name}/a#b", {})
        with pytest.raises(ConnectionFailed) as caught:
            for _ in answer.chunks():
                pass
        transport.close()
        assert len(asked) == 1
    assert f"the connection to {name} broke: it brought " in caught.value.error.what


@pytest.mark.parametrize("extra", KINDS.values(), ids=KINDS)
def test_a_blob_that_trickles_is_asked_for_again_but_not_for_ever(extra: str) -> None:
    """Also where every try brings some bytes."""
    waits: list[float] = []
    descriptor = Descriptor(media_type="application/octet-stream", digest=Digest("a" * 64), size=1_000_000)
    with trickling(extra) as (name, clock, asked):
        client = RegistryClient(sleep=waits.append, clock=clock)
        with pytest.raises(RegistryError, match="broke: it brought") as caught:
            list(client.read_blob(RegistryReference(registry=name, repository="team/app", tag="1"), descriptor))
        client.close()
        assert len(asked) == 4
    assert caught.value.exit_code == 90
    assert len(waits) == 3
