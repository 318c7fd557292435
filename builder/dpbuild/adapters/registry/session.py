"""One request to a registry's API: the right scheme and host, a login if it is asked for, redirects."""

import threading
from collections.abc import Callable
from urllib.parse import urljoin, urlsplit, urlunsplit

from dpbuild.adapters.registry.auth import RegistryAuth, Scopes
from dpbuild.adapters.registry.credentials import CredentialProvider
from dpbuild.adapters.registry.errors import bare, failure, printable
from dpbuild.adapters.registry.hosts import is_loopback, registry_host, split_host
from dpbuild.adapters.registry.retry import ATTEMPTS, Retrier
from dpbuild.adapters.registry.transport import Answer, Body, ConnectionFailed, NoCertificates, UntrustedHost
from dpbuild.errors import RegistryError
from dpbuild.frozen import field, frozen

_REDIRECTS = 5


@frozen
class Request:
    """``target`` is a path of the API or, for uploads, the address that the registry named.

    ``doing`` reads "cannot …" and begins the error's sentence; ``accept`` are the statuses that are no error.
    """

    registry: str
    repository: str
    method: str
    target: str
    scopes: Scopes
    doing: str
    accept: frozenset[int]
    headers: tuple[tuple[str, str], ...] = ()
    body: Callable[[], Body] | None = field(default=None, shown=False)
    attempts: int = ATTEMPTS


class Session:
    """What is known of every registry that was asked so far: its scheme and its login."""

    def __init__(
        self,
        retrier: Retrier,
        credentials: CredentialProvider,
        clock: Callable[[], float],
        *,
        plain_http: bool,
    ) -> None:
        self.retrier = retrier
        self._credentials = credentials
        self._clock = clock
        self._plain_http = plain_http
        self._schemes: dict[str, str] = {}
        self._auth: dict[str, RegistryAuth] = {}
        self._lock = threading.Lock()

    def call(self, request: Request) -> Answer:
        """Send it; the answer's status is one of ``request.accept``. Raises the registry errors; lets
        ConnectionFailed through, because only the caller knows whether there is a way to go on.
        """
        auth = self._auth_of(request.registry)
        url = self.url(request.registry, request.target)
        home = self.url(request.registry, "/")
        renewed = False
        redirects = 0
        while True:
            headers = dict(request.headers)
            sent = auth.header(request.repository, request.scopes) if _same_origin(url, home) else ""
            if sent:
                headers["Authorization"] = sent
            answer = self._send(request, url, headers)
            url, home = answer.url, self.url(request.registry, "/")
            if answer.status == 401 and _same_origin(url, home):
                wanted = answer.header("WWW-Authenticate")
                body = answer.error_body()
                if renewed or sent.startswith("Basic ") or not wanted:
                    raise self._failure(request, auth, 401, url, body)
                auth.challenged(wanted, url, request.repository, request.scopes, sent)
                renewed = True
            elif answer.status in (301, 302, 303, 307, 308) and _may_follow(request, answer):
                answer.finish()
                redirects += 1
                if redirects > _REDIRECTS:
                    raise RegistryError(f"{request.doing}: redirected in a circle", where=bare(url))
                url = self.resolve(request.doing, url, answer.header("Location"))
            elif answer.status in request.accept:
                return answer
            else:
                raise self._failure(request, auth, answer.status, url, answer.error_body())

    def url(self, registry: str, target: str) -> str:
        """The address of ``target`` at a registry."""
        if "://" in target:
            return target
        host = registry_host(registry)
        scheme = self._schemes.get(registry)
        if scheme is None:
            scheme = "http" if self._plain_http or is_loopback(split_host(host)) else "https"
        return f"{scheme}://{host}{target}"

    def resolve(self, doing: str, url: str, location: str) -> str:
        """The address that a Location header names, which may be relative. Raises RegistryError."""
        if not location:
            raise RegistryError(f"{doing}: an answer lacks its Location header", where=bare(url))
        try:
            parts = urlsplit(urljoin(url, location))
        except ValueError:
            raise RegistryError(
                f"{doing}: sent on to what is no address: {printable(location)}", where=bare(url)
            ) from None
        secure = urlsplit(url).scheme == "https"
        if secure and parts.scheme == "http" and parts.hostname == urlsplit(url).hostname:
            # A registry behind a proxy that ends TLS often does not know its own scheme.
            parts = parts._replace(scheme="https", netloc=urlsplit(url).netloc)
        insecure = secure and parts.scheme == "http" and not self._plain_http
        if parts.scheme not in ("http", "https") or insecure:
            raise RegistryError(f"{doing}: sent on to an address that must not be asked", where=bare(parts.geturl()))
        return urlunsplit(parts)

    def _send(self, request: Request, url: str, headers: dict[str, str]) -> Answer:
        """Send to ``url``; the scheme of a loopback registry is a guess until it has answered."""
        if request.registry in self._schemes or self._plain_http or not url.startswith("http://"):
            return self.retrier.send(request.method, url, headers, request.body, request.attempts)

        def mend() -> str:
            self._detect(request.registry)
            return self.url(request.registry, request.target)

        answer = self.retrier.send(request.method, url, headers, request.body, request.attempts, mend)
        if answer.status == 400 and answer.url == url:
            # What Go's servers say when a TLS port is asked in http; a HEAD leaves the words out.
            body = answer.error_body()
            guessed = b"HTTPS" in body or request.method == "HEAD"
            if not guessed or (again := mend()) == url:
                raise failure(request.doing, 400, url, body)
            answer = self.retrier.send(request.method, again, headers, request.body, request.attempts)
        with self._lock:
            self._schemes.setdefault(request.registry, urlsplit(answer.url).scheme)
        return answer

    def _detect(self, registry: str) -> None:
        """A loopback registry that does not answer in http: does it speak TLS? Raises NoCertificates."""
        url = f"https://{registry_host(registry)}/v2/"
        scheme = "https"
        try:
            self.retrier.transport.send("GET", url, {}).close()
        except UntrustedHost:
            pass
        except NoCertificates:
            raise
        except (ConnectionFailed, RegistryError):
            scheme = "http"
        with self._lock:
            self._schemes[registry] = scheme

    def _auth_of(self, registry: str) -> RegistryAuth:
        with self._lock:
            if registry not in self._auth:
                self._auth[registry] = RegistryAuth(
                    registry, self._credentials, self.retrier, self._clock, plain_http=self._plain_http
                )
            return self._auth[registry]

    def _failure(self, request: Request, auth: RegistryAuth, status: int, url: str, body: bytes) -> RegistryError:
        return failure(
            request.doing,
            status,
            url,
            body,
            secrets=auth.secrets(request.repository),
            login=auth.login(request.repository),
            registry=request.registry,
        )


def _same_origin(url: str, home: str) -> bool:
    a, b = urlsplit(url), urlsplit(home)
    return (a.scheme, a.netloc) == (b.scheme, b.netloc)


def _may_follow(request: Request, answer: Answer) -> bool:
    return request.method in ("GET", "HEAD") or answer.status in (307, 308)
