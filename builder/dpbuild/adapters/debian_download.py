"""Debian's mirrors: which ones, and fetching from them."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import urljoin, urlsplit, urlunsplit

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.retry import Retrier
from dpbuild.adapters.registry.transport import ConnectionFailed, Transport
from dpbuild.debian.sources import Mirrors, find
from dpbuild.errors import BaseImageError, NotFound, RegistryError

_REDIRECTS: Final = 5
_OTHER: Final = "name another mirror in DPBUILD_DEBIAN_MIRROR or DPBUILD_DEBIAN_SECURITY_MIRROR"


class Download(Protocol):
    """Fetches one URL."""

    def __call__(self, url: str) -> Iterator[bytes]:
        """The body in chunks. Raises NotFound where there is none, BaseImageError for every other failure."""


class HttpDownload:
    """``Download`` with dpbuild's own transport: proxies, CA bundle, retries, redirects."""

    def __init__(self, transport: Transport, sleep: Callable[[float], None] = interruption.sleep) -> None:
        self._retrier = Retrier(transport, sleep)

    def __call__(self, url: str) -> Iterator[bytes]:
        """The body in chunks."""
        try:
            target = url
            for _ in range(_REDIRECTS):
                answer = self._retrier.send("GET", target, {})
                if answer.status == 200:
                    yield from answer.chunks()
                    return
                location = answer.header("Location")
                answer.finish()
                if answer.status in (404, 410):
                    raise NotFound("the mirror does not have it", where=without_user(url))
                if answer.status not in (301, 302, 303, 307, 308) or not location:
                    raise BaseImageError(
                        f"the mirror answered with {answer.status}", where=without_user(url), hint=_OTHER
                    )
                target = urljoin(target, location)
            raise BaseImageError("the mirror redirects without an end", where=without_user(url), hint=_OTHER)
        except ConnectionFailed as problem:
            raise _unread(problem.error, url) from None
        except NotFound:
            raise
        except RegistryError as problem:
            raise _unread(problem, url) from None


def _unread(problem: RegistryError, url: str) -> BaseImageError:
    hint = f"{problem.hint or 'check the network and the proxies'}; or {_OTHER}"
    return BaseImageError(f"cannot read from the mirror: {problem.what}", where=without_user(url), hint=hint)


def without_user(url: str) -> str:
    """``url`` without user and password, for messages."""
    parts = urlsplit(url)
    return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2], query="", fragment=""))


def host_mirrors(directory: Path = Path("/etc/apt")) -> Mirrors:
    """Debian's mirrors in the host's apt sources; what cannot be read is as if it were not there."""
    files = [directory / "sources.list"]
    parts = directory / "sources.list.d"
    with contextlib.suppress(OSError):
        files += sorted(row for row in parts.iterdir() if row.suffix in (".list", ".sources"))
    texts = []
    for path in files:
        try:
            texts.append((path.name, path.read_text("utf-8", "replace")))
        except OSError:
            continue
    return find(texts)
