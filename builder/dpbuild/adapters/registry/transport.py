"""One HTTP request: connections, TLS, proxies, and what can go wrong below HTTP. No retries, no credentials.

This module imports urllib3, so it is itself imported only when the first request is made.
"""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    HTTPError,
    LocationParseError,
    NameResolutionError,
    NewConnectionError,
    ProxyError,
    SSLError,
)

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.connections import watched
from dpbuild.adapters.registry.errors import BODY_LIMIT, bare, printable
from dpbuild.adapters.registry.hosts import Proxies
from dpbuild.errors import RegistryError

# Bytes of a blob that are held at a time.
CHUNK = 256 << 10
_DEFAULT_PORT = {"http": 80, "https": 443}


class ConnectionFailed(Exception):
    """The connection broke or never was; trying again may help. ``error`` is what to raise if it does not.

    ``connected`` says that there was a connection, so that what answered may not speak HTTP.
    """

    def __init__(self, error: RegistryError, *, connected: bool = True) -> None:
        super().__init__(error.what)
        self.error = error
        self.connected = connected


class UntrustedHost(RegistryError):
    """The host speaks TLS, but its certificate is not accepted."""


class NoCertificates(RegistryError):
    """The CA certificates that are configured cannot be read."""


class Readable(Protocol):
    """A body that is sent piece by piece."""

    def read(self, size: int = -1, /) -> bytes:
        """Up to ``size`` bytes; b"" at the end."""


Body = bytes | Readable | None


class Answer:
    """A response whose body has not been read; to be read or closed."""

    def __init__(self, response: urllib3.BaseHTTPResponse, url: str) -> None:
        self._response = response
        self.url = url
        self.status: int = response.status

    def header(self, name: str) -> str:
        """A header's value, "" if it is absent; several of one name are joined by a comma."""
        return self._response.headers.get(name) or ""

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
            body = self._response.read(BODY_LIMIT, decode_content=False)
        except (HTTPError, OSError):
            body = b""
        self.close()
        return body

    def chunks(self) -> Iterator[bytes]:
        """The body in pieces. Raises ConnectionFailed if the connection breaks."""
        whole = False
        try:
            yield from self._response.stream(CHUNK, decode_content=False)
            whole = True
        except (HTTPError, OSError) as problem:
            raise ConnectionFailed(_broken(self.url, problem)) from None
        finally:
            if not whole:
                self.close()

    def finish(self) -> None:
        """Read what is left of a short body, so that the connection can be used again."""
        try:
            rest = self._response.read(BODY_LIMIT, decode_content=False)
        except (HTTPError, OSError):
            rest = b"-" * BODY_LIMIT
        if len(rest) >= BODY_LIMIT:
            self.close()

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()


class Transport:
    """Pools of connections, one per host. ``timeout`` is in seconds, for connecting and for each read.

    ``certificates`` gives the folder of a host's own certificates, as Docker keeps them, or "".
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
    ) -> None:
        self._proxies = proxies
        self._ca_bundle = ca_bundle
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._connections = connections
        self._user_agent = user_agent
        self._certificates = certificates
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._contexts: dict[str, ssl.SSLContext] = {}
        self._lock = threading.Lock()

    def send(self, method: str, url: str, headers: Mapping[str, str], body: Body = None) -> Answer:
        """One request, not redirected. Raises ConnectionFailed, or RegistryError where trying again is no use."""
        if interruption.interrupted():
            raise RegistryError("interrupted", where=bare(url))
        try:
            pool = self._pool(url)
            response = pool.request(
                method,
                url,
                headers={"User-Agent": self._user_agent, "Accept-Encoding": "identity", **headers},
                body=body,  # type: ignore[arg-type]  # urllib3 asks for less than its stub says: read() is enough
                redirect=False,
                retries=False,
                preload_content=False,
            )
        except LocationParseError:
            raise RegistryError("not an address that can be asked", where=bare(url)) from None
        except SSLError as problem:
            raise _tls(url, problem) from None
        except (HTTPError, OSError) as problem:
            if isinstance(problem, ProxyError) and isinstance(problem.original_error, SSLError):
                raise _tls(url, problem.original_error) from None
            connected = not isinstance(problem, (NewConnectionError, ConnectTimeoutError, ProxyError))
            raise ConnectionFailed(_broken(url, problem), connected=connected) from None
        return Answer(response, url)

    def close(self) -> None:
        """Close all connections that are idle."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _pool(self, url: str) -> urllib3.PoolManager:
        parts = urlsplit(url)
        try:
            port = parts.port or _DEFAULT_PORT[parts.scheme]
        except (ValueError, KeyError):
            raise LocationParseError(bare(url)) from None
        proxy = self._proxies.select(parts.scheme, parts.hostname or "", port)
        folder = self._certificates(parts.netloc.rpartition("@")[2]) if parts.scheme == "https" else ""
        with self._lock:
            if (proxy, folder) not in self._pools:
                self._pools[proxy, folder] = self._make_pool(proxy)
            pool = self._pools[proxy, folder]
            if parts.scheme == "https" and "ssl_context" not in pool.connection_pool_kw:
                # Reading the certificates takes longer than a request does, so plain http goes without.
                pool.connection_pool_kw["ssl_context"] = self._tls_context(folder)
            return pool

    def _make_pool(self, proxy: str) -> urllib3.PoolManager:
        if not proxy:
            return watched(
                urllib3.PoolManager(maxsize=self._connections, timeout=self._timeout, blocksize=CHUNK, num_pools=32)
            )
        parts = urlsplit(proxy)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise RegistryError("the proxy is not an http:// or https:// address", where=bare(proxy))
        headers = {}
        if parts.username:
            login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            headers = urllib3.make_headers(proxy_basic_auth=login)
        manager = urllib3.ProxyManager(
            bare(proxy),
            proxy_headers=headers,
            proxy_ssl_context=self._tls_context() if parts.scheme == "https" else None,
            maxsize=self._connections,
            timeout=self._timeout,
            blocksize=CHUNK,
            num_pools=32,
        )
        return watched(manager)

    def _tls_context(self, folder: str = "") -> ssl.SSLContext:
        if folder not in self._contexts:
            try:
                context = ssl.create_default_context(cafile=self._ca_bundle)
            except (OSError, ssl.SSLError):
                raise NoCertificates(
                    "cannot read the CA certificates",
                    where=self._ca_bundle,
                    hint="SSL_CERT_FILE must name a file of PEM certificates",
                ) from None
            # Python 3.13 began to ask for extensions that many a company's own CA lacks; whether a registry can be
            # used is not to depend on the Python that dpbuild runs on. Trust itself is checked all the same.
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            if folder:
                _add_certificates(context, Path(folder))
            self._contexts[folder] = context
        return self._contexts[folder]


def _add_certificates(context: ssl.SSLContext, folder: Path) -> None:
    """``*.crt`` are authorities, ``NAME.cert`` and ``NAME.key`` who we are (Docker's manual, "certs.d").

    Raises NoCertificates.
    """
    path = folder
    try:
        for path in sorted(folder.iterdir()):
            if path.suffix == ".crt":
                context.load_verify_locations(path)
            elif path.suffix == ".cert":
                context.load_cert_chain(path, path.with_suffix(".key"))
    except OSError as problem:
        raise NoCertificates(
            f"cannot read the certificates for a registry: {problem.strerror or problem}",
            where=str(path),
            hint="a .cert needs a .key of the same name beside it" if path.suffix == ".cert" else None,
        ) from None


def _broken(url: str, problem: Exception) -> RegistryError:
    host = urlsplit(url).netloc.rpartition("@")[2]
    if isinstance(problem, NameResolutionError):
        return RegistryError(
            f"cannot reach {host}: its name has no address",
            where=bare(url),
            hint="check the name, the network and HTTPS_PROXY",
        )
    if isinstance(problem, ProxyError):
        return RegistryError(
            f"cannot reach {host} through the proxy: {_reason(problem.original_error)}",
            where=bare(url),
            hint="check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
        )
    if isinstance(problem, NewConnectionError):
        return RegistryError(f"cannot reach {host}: {_reason(problem)}", where=bare(url))
    return RegistryError(f"the connection to {host} broke: {_reason(problem)}", where=bare(url))


def _tls(url: str, problem: Exception) -> RegistryError:
    host = urlsplit(url).netloc.rpartition("@")[2]
    text = _reason(problem)
    lower = text.lower()
    if "certificate" in lower or "hostname" in lower:
        hint = "if it has a CA of its own, name its certificates in SSL_CERT_FILE"
        return UntrustedHost(f"no trusted connection to {host}: {text}", where=bare(url), hint=hint)
    hint = "if it speaks http only, say --plain-http"
    return RegistryError(f"no trusted connection to {host}: {text}", where=bare(url), hint=hint)


def _reason(problem: BaseException) -> str:
    """The innermost cause in words: urllib3 wraps it in the names of its own objects."""
    seen = {id(problem)}
    while True:
        # Not __context__: while a failure is being handled, that is the failure before this one.
        inner = problem.__cause__
        reason = getattr(problem, "reason", None)
        if isinstance(reason, BaseException):
            inner = reason
        elif inner is None:
            inner = next((row for row in problem.args if isinstance(row, BaseException)), None)
        if inner is None or id(inner) in seen:
            break
        seen.add(id(inner))
        problem = inner
    if isinstance(problem, ssl.SSLCertVerificationError):
        return printable(f"certificate not accepted, {problem.verify_message}")
    if isinstance(problem, OSError) and problem.strerror:
        return printable(problem.strerror)
    return printable(str(problem)) or type(problem).__name__
