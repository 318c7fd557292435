"""What can go wrong below HTTP, in words; the same whatever carries the request."""

from urllib.parse import urlsplit

from dpbuild.adapters.registry.errors import bare, printable
from dpbuild.errors import RegistryError


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


def unresolved(url: str) -> RegistryError:
    """The host's name has no address."""
    return RegistryError(
        f"cannot reach {_host(url)}: its name has no address",
        where=bare(url),
        hint="check the name, the network and HTTPS_PROXY",
    )


def unreachable(url: str, problem: BaseException) -> RegistryError:
    """Nobody accepts a connection."""
    return RegistryError(
        f"cannot reach {_host(url)}: {reason(problem)}",
        where=bare(url),
        hint="check the host, its port, the network and HTTPS_PROXY",
    )


def behind_proxy(url: str, problem: BaseException) -> RegistryError:
    """The proxy does not let the request through."""
    return RegistryError(
        f"cannot reach {_host(url)} through the proxy: {reason(problem)}",
        where=bare(url),
        hint="check HTTPS_PROXY, HTTP_PROXY and NO_PROXY",
    )


def broke(url: str, problem: BaseException) -> RegistryError:
    """The connection ended before the answer did."""
    return RegistryError(f"the connection to {_host(url)} broke: {reason(problem)}", where=bare(url))


def untrusted(url: str, problem: BaseException) -> RegistryError:
    """There is no TLS, or none that may be trusted."""
    text = reason(problem)
    lower = text.lower()
    if "certificate" in lower or "hostname" in lower:
        hint = "if it has a CA of its own, name its certificates in SSL_CERT_FILE"
        return UntrustedHost(f"no trusted connection to {_host(url)}: {text}", where=bare(url), hint=hint)
    hint = "if it speaks http only, say --plain-http"
    return RegistryError(f"no trusted connection to {_host(url)}: {text}", where=bare(url), hint=hint)


def reason(problem: BaseException) -> str:
    """The innermost cause in words: urllib3 wraps it in the names of its own objects."""
    seen = {id(problem)}
    while True:
        # Not __context__: while a failure is being handled, that is the failure before this one.
        inner = problem.__cause__
        wrapped = getattr(problem, "reason", None)
        if isinstance(wrapped, BaseException):
            inner = wrapped
        elif inner is None:
            inner = next((row for row in problem.args if isinstance(row, BaseException)), None)
        if inner is None or id(inner) in seen:
            break
        seen.add(id(inner))
        problem = inner
    # Of ssl's errors, which need not be imported here.
    refused = getattr(problem, "verify_message", None)
    if refused:
        return printable(f"certificate not accepted, {refused}")
    if isinstance(problem, OSError) and problem.strerror:
        return printable(problem.strerror)
    return printable(str(problem)) or type(problem).__name__


def _host(url: str) -> str:
    return urlsplit(url).netloc.rpartition("@")[2]
