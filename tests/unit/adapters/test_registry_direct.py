"""Requests over a plain socket: every form that an answer may have, and what is no answer."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from dpbuild.adapters.registry.direct import Direct, Reply, fits
from dpbuild.adapters.registry.troubles import ConnectionFailed

Serve = Callable[[list[bytes]], str]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """A server that answers each connection's requests with the next texts; b"" ends the connection."""
    stop: list[Callable[[], None]] = []

    def begin(answers: list[bytes]) -> str:
        server = socket.create_server(("127.0.0.1", 0))
        rest = list(answers)

        def run() -> None:
            while rest:
                try:
                    line, _ = server.accept()
                except OSError:
                    return
                with line:
                    while rest and (row := rest.pop(0)):
                        data = b""
                        while not data.endswith(b"\r\n\r\n"):
                            if not (more := line.recv(65536)):
                                rest.insert(0, row)
                                break
                            data += more
                        else:
                            line.sendall(row)
                            if b"Connection: close" in row or b"HTTP/1.0" in row or b"no length" in row:
                                break
                            continue
                        break

        thread = threading.Thread(target=run, daemon=True)
        thread.start()

        def end() -> None:
            # Closing alone does not wake who waits for a connection.
            with contextlib.suppress(OSError):
                server.shutdown(socket.SHUT_RDWR)
            server.close()
            thread.join(5)

        stop.append(end)
        return f"http://127.0.0.1:{server.getsockname()[1]}/v2/a"

    yield begin
    for each in stop:
        each()


@pytest.fixture
def direct() -> Iterator[Direct]:
    made = Direct(5.0, "test", lambda host: pytest.fail("no TLS here"))
    yield made
    made.close()


def body(reply: Reply) -> bytes:
    return b"".join(reply.stream(3))


BODIES = {
    "a length": b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\ncontent",
    "chunks": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\ncon\r\n4;x=y\r\ntent\r\n0\r\nA: b\r\n\r\n",
    "until the end": b"HTTP/1.1 200 OK\r\nX: no length\r\n\r\ncontent",
    "HTTP/1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 7\r\n\r\ncontent",
    "closing": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 7\r\n\r\ncontent",
    "early hints": b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 7\r\n\r\ncontent",
    "bare line feeds": b"HTTP/1.1 200 OK\nContent-Length: 7\n\ncontent",
}


@pytest.mark.parametrize("answer", BODIES.values(), ids=BODIES)
def test_bodies(serve: Serve, direct: Direct, answer: bytes) -> None:
    reply = direct.send("GET", serve([answer]), {})
    assert reply.status == 200
    assert body(reply) == b"content"
    assert reply.read(1) == b""


def test_a_head_has_no_body(serve: Serve, direct: Direct) -> None:
    url = serve([b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nA: b\r\na: c\r\n\r\n", BODIES["a length"]])
    reply = direct.send("HEAD", url, {})
    assert (reply.header("content-length"), reply.header("A"), reply.read(9)) == ("7", "b, c", b"")
    # The same connection answers again: the server would otherwise wait for the first one to end.
    assert body(direct.send("GET", url, {})) == b"content"


def test_a_connection_that_was_closed_meanwhile_is_made_again(serve: Serve, direct: Direct) -> None:
    url = serve([BODIES["a length"], b"", BODIES["chunks"]])
    assert body(direct.send("GET", url, {})) == b"content"
    assert body(direct.send("GET", url, {})) == b"content"


def test_a_body_that_is_refused_before_it_was_sent(direct: Direct) -> None:
    """The answer counts, and not that the rest of the body could not be sent."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig")
                line.shutdown(socket.SHUT_WR)
                # Unread bytes would make the kernel reset the connection, answer and all.
                while line.recv(1 << 20):
                    pass

        thread = threading.Thread(target=run)
        thread.start()
        data = b"x" * (3 << 20)
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v2/"
        reply = direct.send("PUT", url, {"Content-Length": str(len(data))}, data)
        assert (reply.status, reply.read(9)) == (413, b"big")
        thread.join(5)


def test_what_changes_something_is_not_sent_twice(direct: Direct) -> None:
    """A connection that ends after a request was taken: whoever asked decides whether to ask again."""
    seen = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def run() -> None:
            line, _ = server.accept()
            with line:
                line.recv(1000)
                line.sendall(BODIES["a length"])
                seen.append(line.recv(1000))

        thread = threading.Thread(target=run)
        thread.start()
        url = f"http://127.0.0.1:{server.getsockname()[1]}/v2/"
        assert body(direct.send("GET", url, {})) == b"content"
        with pytest.raises(ConnectionFailed) as caught:
            direct.send("POST", url, {"Content-Length": "0"})
        assert caught.value.connected
        thread.join(5)
    assert [row.partition(b" ")[0] for row in seen] == [b"POST"]


BROKEN = {
    "nothing": b"\r\n",
    "another protocol": b"SSH-2.0-OpenSSH\r\n\r\n",
    "headers without an end": b"HTTP/1.1 200 OK\r\nConnection: close\r\nA: b\r\n",
    "a folded header": b"HTTP/1.1 200 OK\r\nConnection: close\r\n A: b\r\n\r\n",
    "a length that is none": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: -1\r\n\r\n",
}


@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
def test_what_is_no_answer(serve: Serve, direct: Direct, answer: bytes) -> None:
    with pytest.raises(ConnectionFailed) as caught:
        direct.send("GET", serve([answer, b""]), {})
    assert caught.value.connected
    assert "the connection to 127.0.0.1:" in caught.value.error.what


SHORT = {
    "a length": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\ncontent",
    "chunks": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n9\r\ncontent",
    "no last chunk": b"HTTP/1.1 200 OK\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n7\r\ncontent\r\n",
}


@pytest.mark.parametrize("answer", SHORT.values(), ids=SHORT)
def test_a_body_that_ends_early(serve: Serve, direct: Direct, answer: bytes) -> None:
    reply = direct.send("GET", serve([answer]), {})
    with pytest.raises(OSError, match="ends early"):
        body(reply)
    reply.close()


def test_nobody_there(direct: Direct) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number = server.getsockname()[1]
    with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
        direct.send("GET", f"http://127.0.0.1:{number}/", {})
    assert not caught.value.connected


def test_what_is_sent_as_it_is() -> None:
    assert fits("https://registry.example/v2/a/manifests/1?x=y", {"Accept": "a, b"})
    assert fits("http://[::1]:5000/v2/", {})
    for url in (
        "https://user@registry.example/",
        "https://ré.example/",
        "http://a/b c",
        "http://a/b\r\nX: y",
        "ftp://a/",
    ):
        assert not fits(url, {})
    assert not fits("http://a/", {"Authorization": "Basic x\r\nX: y"})
