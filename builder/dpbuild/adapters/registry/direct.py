"""Some requests with small bodies, over a socket (RFC 9112): what a push after an edit is, or of what has not changed.

urllib3 takes as long to import as much of such a run. Whatever is not plain here (a proxy, a large body, an address
with odd characters, more than some requests) goes its way; see ``transport.py``.
"""

import contextlib
import re
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, BinaryIO, Final
from urllib.parse import urlsplit

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.pace import paced
from dpbuild.adapters.registry.troubles import ConnectionFailed, broke, unreachable, unresolved, untrusted

if TYPE_CHECKING:
    import ssl

_PLAIN: Final = re.compile(r"https?://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9][A-Za-z0-9._-]*)(:[0-9]{1,5})?/[!-~]*")
_STATUS: Final = re.compile(rb"HTTP/(1\.[01]) ([1-9][0-9]{2})(?: .*)?\r?\n")
_VALUE: Final = re.compile(r"[\t -~]*")
_DEFAULT_PORT: Final = {"http": 80, "https": 443}
# Bytes of all header lines, and of one; as many as Python's own client takes of one.
_HEADERS: Final = 1 << 20
_LINE: Final = 64 << 10


class Unclear(OSError):
    """What came back is not HTTP, or ends too early."""


def fits(url: str, headers: Mapping[str, str]) -> bool:
    """Whether the address and the headers can be sent as they are."""
    return _PLAIN.fullmatch(url) is not None and "#" not in url and all(map(_VALUE.fullmatch, headers.values()))


class _Line:
    """A connection; ``file`` reads from it."""

    def __init__(self, sock: socket.socket, clock: Callable[[], float]) -> None:
        self.sock = sock
        self.file, self.pace = paced(sock.makefile("rb"), clock)

    def close(self) -> None:
        self.file.close()
        self.sock.close()

    def ended(self) -> bool:
        """Whether the other side has closed it; nothing else can have come when nothing was asked."""
        poll = select.poll()
        poll.register(self.sock, select.POLLIN)
        return bool(poll.poll(0))


class Reply:
    """An answer; ``done`` takes the connection back when all of it was read and it may be used again."""

    def __init__(
        self, line: _Line, method: str, status: int, version: str, headers: dict[str, str], done: Callable[[], None]
    ) -> None:
        self.status = status
        self._line = line
        self._headers = headers
        self._done = done
        self._left: int | None = None
        self._chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        self._ended = False
        length = headers.get("content-length", "")
        if method == "HEAD" or status in (204, 304):
            self._left, self._chunked = 0, False
        elif not self._chunked and length:
            if not length.isdigit():
                raise Unclear(f"an answer of {length!r} bytes")
            self._left = int(length)
        said = headers.get("connection", "").lower()
        self._keep = (self._left is not None or self._chunked) and "close" not in said and version == "1.1"
        if self._left == 0:
            self._end()

    def header(self, name: str) -> str:
        """A header's value, "" if it is absent."""
        return self._headers.get(name.lower(), "")

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of the body; fewer only at its end. Raises OSError."""
        found = bytearray()
        while len(found) < size and (data := self._some(size - len(found))):
            found += data
        return bytes(found)

    def stream(self, size: int) -> Iterator[bytes]:
        """The body in pieces of at most ``size`` bytes. Raises OSError."""
        while data := self._some(size):
            yield data

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""
        if not self._ended:
            self._ended = True
            self._line.close()

    def _some(self, size: int) -> bytes:
        if self._ended:
            return b""
        if self._chunked and not self._left and not self._next_chunk():
            return b""
        wanted = size if self._left is None else min(size, self._left)
        data = self._line.file.read(wanted)
        if self._left is None:
            if not data:
                self._end()
            return data
        if not data:
            raise Unclear("the answer ends early")
        self._left -= len(data)
        if not self._left:
            if self._chunked:
                self._line.file.readline(3)
            else:
                self._end()
        return data

    def _next_chunk(self) -> bool:
        text = self._line.file.readline(_LINE).partition(b";")[0].strip()
        if not re.fullmatch(rb"[0-9A-Fa-f]{1,15}", text):
            raise Unclear("the answer ends early" if not text else "a chunk without a size")
        self._left = int(text, 16)
        if not self._left:
            _headers(self._line.file)
            self._end()
        return bool(self._left)

    def _end(self) -> None:
        self._ended = True
        if self._keep:
            self._done()
        else:
            self._line.close()


class Direct:
    """Connections of this run. ``timeout`` is in seconds, for connecting and for each read; ``context`` gives the TLS
    settings for a host[:port]; ``clock`` times answers.
    """

    def __init__(
        self,
        timeout: float,
        user_agent: str,
        context: Callable[[str], "ssl.SSLContext"],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._timeout = timeout
        self._user_agent = user_agent
        self._context = context
        self._clock = clock
        self._idle: dict[str, list[_Line]] = {}
        self._lock = threading.Lock()
        # Whoever lets go of this lets go of its connections.
        weakref.finalize(self, _close, self._idle)

    def send(self, method: str, url: str, headers: Mapping[str, str], body: bytes = b"") -> Reply:
        """One request. Raises ConnectionFailed, RegistryError."""
        parts = urlsplit(url)
        line = self._waiting(f"{parts.scheme}://{parts.netloc}")
        if line is not None:
            try:
                return self._ask(line, method, url, headers, body)
            except OSError as problem:
                line.close()
                if method not in ("HEAD", "GET"):
                    raise ConnectionFailed(broke(url, problem)) from None
                # It was closed meanwhile, which nobody can know before asking; and asking again does no harm.
        line = self._connect(url)
        try:
            return self._ask(line, method, url, headers, body)
        except OSError as problem:
            line.close()
            raise ConnectionFailed(broke(url, problem)) from None

    def _waiting(self, origin: str) -> _Line | None:
        """A connection that can be used again."""
        while True:
            with self._lock:
                lines = self._idle.get(origin)
                line = lines.pop() if lines else None
            if line is None or not line.ended():
                return line
            line.close()

    def close(self) -> None:
        """Close the connections that are idle."""
        with self._lock:
            _close(self._idle)

    def _connect(self, url: str) -> _Line:
        parts = urlsplit(url)
        host = parts.hostname or ""
        # As bytes: turning a name of ASCII letters into ASCII imports tables of Unicode.
        name = host.encode()
        # Before connecting: settings that cannot be read are no matter of the network.
        context = self._context(parts.netloc) if parts.scheme == "https" else None
        try:
            sock = socket.create_connection((name, parts.port or _DEFAULT_PORT[parts.scheme]), self._timeout)  # type: ignore[arg-type]
        except socket.gaierror:
            raise ConnectionFailed(unresolved(url), connected=False) from None
        except (OSError, ValueError, OverflowError) as problem:
            raise ConnectionFailed(unreachable(url, problem), connected=False) from None
        interruption.watch(sock)
        try:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if context is not None:
                sock = _secure(context, sock, url, name)
        except OSError as problem:
            sock.close()
            raise ConnectionFailed(broke(url, problem)) from None
        except BaseException:
            sock.close()
            raise
        return _Line(sock, self._clock)

    def _ask(self, line: _Line, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Reply:
        parts = urlsplit(url)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        rows = {"Host": parts.netloc, "User-Agent": self._user_agent, "Accept-Encoding": "identity", **headers}
        text = "".join(f"{name}: {value}\r\n" for name, value in rows.items())
        line.pace.begin()
        # Who refuses a body may answer and close before all of it was sent.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            line.sock.sendall(f"{method} {target} HTTP/1.1\r\n{text}\r\n".encode("ascii") + body)
        while True:
            first = line.file.readline(_LINE)
            if not first:
                raise Unclear("Remote end closed connection without response")
            match = _STATUS.fullmatch(first)
            if match is None:
                raise Unclear("the answer is not HTTP")
            found = _headers(line.file)
            status = int(match[2])
            # Interim answers (RFC 9110, 15.2).
            if status >= 200:
                break
        origin = f"{parts.scheme}://{parts.netloc}"

        def done() -> None:
            with self._lock:
                self._idle.setdefault(origin, []).append(line)

        return Reply(line, method, status, match[1].decode(), found, done)


def _secure(context: "ssl.SSLContext", sock: socket.socket, url: str, name: bytes) -> socket.socket:
    import ssl

    try:
        return interruption.watch(context.wrap_socket(sock, server_hostname=name))
    except ssl.SSLError as problem:
        raise untrusted(url, problem) from None


def _close(idle: dict[str, list[_Line]]) -> None:
    for lines in idle.values():
        for line in lines:
            line.close()
    idle.clear()


def _headers(file: BinaryIO) -> dict[str, str]:
    """Names in lower case; several of one name are joined by a comma. Raises OSError."""
    found: dict[str, str] = {}
    size = 0
    while True:
        row = file.readline(_LINE)
        size += len(row)
        if not row.endswith(b"\n") or size > _HEADERS:
            raise Unclear("the answer's headers do not end")
        text = row.decode("latin-1").rstrip("\r\n")
        if not text:
            return found
        name, colon, value = text.partition(":")
        if not colon or not name or name[0] in " \t":
            raise Unclear("a header of the answer is broken")
        name, value = name.strip().lower(), value.strip()
        found[name] = f"{found[name]}, {value}" if name in found else value
