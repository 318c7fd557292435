"""One HTTP request: connections, TLS, proxies, and what can go wrong below HTTP. No retries, no credentials."""

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Final, Protocol
from urllib.parse import urlsplit

from dpbuild.adapters import interruption
from dpbuild.adapters.registry import direct
from dpbuild.adapters.registry.errors import BODY_LIMIT, bare
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.adapters.registry.troubles import ConnectionFailed, NoCertificates, UntrustedHost, broke
from dpbuild.errors import RegistryError

if TYPE_CHECKING:
    import ssl

    from dpbuild.adapters.registry.pools import Pools

__all__ = ["CHUNK", "Answer", "Body", "ConnectionFailed", "NoCertificates", "Readable", "Transport", "UntrustedHost"]

# Bytes of a blob that are held at a time.
CHUNK = 256 << 10
_DEFAULT_PORT = {"http": 80, "https": 443}
# Requests that are made without urllib3, and the most bytes of a body of theirs: a push after an edit. Whoever asks
# more often, or sends more, gains by its pools.
_FEW: Final = 40
_SMALL: Final = 4 << 20


class Readable(Protocol):
    """A body that is sent piece by piece."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; b"" at the end."""


Body = bytes | Readable | None


class Response(Protocol):
    """What an answer is read from; reading raises OSError."""

    status: int

    def header(self, name: str) -> str:
        """A header's value, "" if it is absent."""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of the body."""

    def stream(self, size: int) -> Iterator[bytes]:
        """The body in pieces of at most ``size`` bytes."""

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""


class Answer:
    """A response whose body has not been read; to be read or closed."""

    def __init__(self, response: Response, url: str) -> None:
        self._response = response
        self.url = url
        self.status: int = response.status

    def header(self, name: str) -> str:
        """A header's value, "" if it is absent; several of one name are joined by a comma."""
        return self._response.header(name)

    def read(self, limit: int) -> bytes:
        """The body, if it has not more than ``limit`` bytes. Raises ConnectionFailed; RegistryError if longer."""
        length = self.header("Content-Length")
        if length.isdigit() and int(length) > limit:
            self.close()
            raise RegistryError(f"the answer has {length} bytes; at most {limit} are read", where=bare(self.url))
        parts, size = [], 0
        for chunk in self.chunks():
            size += len(chunk)
            if size > limit:
                self.close()
                raise RegistryError(f"the answer has more than {limit} bytes", where=bare(self.url))
            parts.append(chunk)
        return b"".join(parts)

    def error_body(self) -> bytes:
        """The beginning of the body, for a message; whatever goes wrong, there is none."""
        try:
            body = self._response.read(BODY_LIMIT)
        except OSError:
            body = b""
        self.close()
        return body

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces. Raises ConnectionFailed if the connection breaks."""
        whole = False
        try:
            yield from self._response.stream(CHUNK)
            whole = True
        except OSError as problem:
            raise ConnectionFailed(broke(self.url, problem)) from None
        finally:
            if not whole:
                self.close()

    def finish(self) -> None:
        """Read what is left of a short body, so that the connection can be used again."""
        try:
            rest = self._response.read(BODY_LIMIT)
        except OSError:
            rest = b"-" * BODY_LIMIT
        if len(rest) >= BODY_LIMIT:
            self.close()

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""
        self._response.close()


class Transport:
    """Connections to hosts. ``timeout`` is in seconds, for connecting and for each read.

    ``certificates`` gives the folder of a host's own certificates, as Docker keeps them, or "". ``clock``
    (seconds) times answers, so that one that trickles ends as a broken connection does.
    """

    def __init__(
        self,
        *,
        proxies: Proxies,
        ca_bundle: str | None,
        timeout: float,
        connections: int,
        user_agent: str,
        certificates: Callable[[str], str] = lambda host: "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._proxies = proxies
        self._ca_bundle = ca_bundle
        self._timeout = timeout
        self._connections = connections
        self._user_agent = user_agent
        self._certificates = certificates
        self._clock = clock
        self._direct = direct.Direct(timeout, user_agent, lambda host: self._context(certificates(host)), clock)
        self._few = _FEW
        self._pools: Pools | None = None
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = None) -> Answer:
        """One request, not redirected. Raises ConnectionFailed, or RegistryError where trying again is no use."""
        if interruption.interrupted():
            raise RegistryError("interrupted", where=bare(url))
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORT[parts.scheme]
        except (ValueError, KeyError):
            raise RegistryError("not an address that can be asked", where=bare(url)) from None
        proxy = self._proxies.select(parts.scheme, parts.hostname or "", port)
        if not proxy and _is_small(headers, body) and direct.fits(url, headers) and self._is_early():
            data = body if isinstance(body, bytes) else b"" if body is None else _all(body)
            headers = {"Content-Length": str(len(data)), **headers} if data else headers
            return Answer(self._direct.send(method, url, headers, data), url)
        folder = self._certificates(parts.netloc.rpartition("@")[2]) if parts.scheme == "https" else ""
        return Answer(self._pooled().send(method, url, headers, body, proxy=proxy, folder=folder), url)

    def close(self) -> None:
        """Close all connections that are idle."""
        self._direct.close()
        if self._pools is not None:
            self._pools.close()

    def _is_early(self) -> bool:
        with self._lock:
            self._few -= 1
            return self._few >= 0 and self._pools is None

    def _pooled(self) -> "Pools":
        with self._lock:
            if self._pools is None:
                from dpbuild.adapters.registry.pools import Pools

                self._pools = Pools(
                    timeout=self._timeout,
                    connections=self._connections,
                    user_agent=self._user_agent,
                    chunk=CHUNK,
                    context=self._context,
                    clock=self._clock,
                )
            return self._pools

    def _context(self, folder: str) -> "ssl.SSLContext":
        if folder not in self._contexts:
            from dpbuild.adapters.registry import tls

            self._contexts[folder] = tls.context(self._ca_bundle, folder)
        return self._contexts[folder]


def _is_small(headers: Mapping[str, str], body: Body) -> bool:
    """Whether a body has a length that is said and small, or is none."""
    if isinstance(body, bytes):
        return len(body) <= _SMALL
    said = headers.get("Content-Length", "0" if body is None else "")
    return said.isdigit() and int(said) <= _SMALL


def _all(body: Readable) -> bytes:
    parts = []
    while data := body.read(CHUNK):
        parts.append(data)
    return b"".join(parts)
