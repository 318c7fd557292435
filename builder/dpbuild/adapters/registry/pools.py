"""urllib3: pools of connections, bodies, proxies. Imported when a request needs one of these."""

import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING
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

from dpbuild.adapters.registry.connections import watched
from dpbuild.adapters.registry.errors import bare
from dpbuild.adapters.registry.troubles import (
    ConnectionFailed,
    behind_proxy,
    broke,
    unreachable,
    unresolved,
    untrusted,
)
from dpbuild.errors import RegistryError

if TYPE_CHECKING:
    from dpbuild.adapters.registry.transport import Body


class Reply:
    """An answer of urllib3."""

    def __init__(self, response: urllib3.BaseHTTPResponse) -> None:
        self._response = response
        self.status: int = response.status

    def header(self, name: str) -> str:
        """A header's value, "" if it is absent; several of one name are joined by a comma."""
        return self._response.headers.get(name) or ""

    def read(self, size: int) -> bytes:
        """At most ``size`` bytes of the body. Raises OSError."""
        try:
            return self._response.read(size, decode_content=False)
        except HTTPError as problem:
            raise OSError(problem) from problem

    def stream(self, size: int) -> Iterator[bytes]:
        """The body in pieces of at most ``size`` bytes. Raises OSError."""
        try:
            yield from self._response.stream(size, decode_content=False)
        except HTTPError as problem:
            raise OSError(problem) from problem

    def close(self) -> None:
        """Drop the connection, unless the body was read to its end."""
        if self._response.closed:
            self._response.release_conn()
        else:
            self._response.close()


class Pools:
    """One pool manager for each proxy and folder of certificates; ``context`` gives the TLS settings of a folder."""

    def __init__(
        self,
        *,
        timeout: float,
        connections: int,
        user_agent: str,
        chunk: int,
        context: Callable[[str], ssl.SSLContext],
        clock: Callable[[], float],
    ) -> None:
        self._timeout = urllib3.Timeout(connect=timeout, read=timeout)
        self._connections = connections
        self._user_agent = user_agent
        self._chunk = chunk
        self._context = context
        self._clock = clock
        self._pools: dict[tuple[str, str], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def send(
        self, method: str, url: str, headers: Mapping[str, str], body: "Body", *, proxy: str, folder: str
    ) -> Reply:
        """One request. Raises ConnectionFailed, RegistryError."""
        try:
            response = self._pool(url, proxy, folder).request(
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
            raise untrusted(url, problem) from None
        except (HTTPError, OSError) as problem:
            if isinstance(problem, ProxyError) and isinstance(problem.original_error, SSLError):
                raise untrusted(url, problem.original_error) from None
            connected = not isinstance(problem, (NewConnectionError, ConnectTimeoutError, ProxyError))
            raise ConnectionFailed(_failed(url, problem), connected=connected) from None
        return Reply(response)

    def close(self) -> None:
        """Close all connections that are idle."""
        with self._lock:
            for pool in self._pools.values():
                pool.clear()
            self._pools.clear()

    def _pool(self, url: str, proxy: str, folder: str) -> urllib3.PoolManager:
        with self._lock:
            if (proxy, folder) not in self._pools:
                self._pools[proxy, folder] = self._make_pool(proxy)
            pool = self._pools[proxy, folder]
            if url.startswith("https:") and "ssl_context" not in pool.connection_pool_kw:
                # Reading the certificates takes longer than a request does, so plain http goes without.
                pool.connection_pool_kw["ssl_context"] = self._context(folder)
            return pool

    def _make_pool(self, proxy: str) -> urllib3.PoolManager:
        if not proxy:
            return watched(
                urllib3.PoolManager(
                    maxsize=self._connections, timeout=self._timeout, blocksize=self._chunk, num_pools=32
                ),
                self._clock,
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
            proxy_ssl_context=self._context("") if parts.scheme == "https" else None,
            maxsize=self._connections,
            timeout=self._timeout,
            blocksize=self._chunk,
            num_pools=32,
        )
        return watched(manager, self._clock)


def _failed(url: str, problem: Exception) -> RegistryError:
    if isinstance(problem, NameResolutionError):
        return unresolved(url)
    if isinstance(problem, ProxyError):
        return behind_proxy(url, problem.original_error)
    return unreachable(url, problem) if isinstance(problem, NewConnectionError) else broke(url, problem)
