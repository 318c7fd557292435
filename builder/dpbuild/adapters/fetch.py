"""Downloads of wheels and sdists into the store, verified as they stream."""

import base64
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urljoin, urlsplit

from dpbuild.adapters import interruption
from dpbuild.adapters.registry.errors import bare
from dpbuild.errors import ArtifactError, HashMismatch, RegistryError
from dpbuild.model.lock import LockedFile
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store

if TYPE_CHECKING:
    from dpbuild.adapters.registry.transport import Transport

_REDIRECTS = 5
_ATTEMPTS = 4
_CHUNK = 1 << 20
# A wait for a busy index, in seconds: doubled at every attempt.
_WAIT = 0.5
OTHER_INDEX = "the index serves other bytes than when it was locked; find out why before you lock again"
_OTHER_FILE = "the file was changed since it was locked; if that was meant, run dpbuild lock"

Login = tuple[str, str]


class HttpFetcher:
    """Fetches locked files. ``transport`` is called when something is fetched: a build that has all needs none.

    ``logins`` maps a host[:port] to user and password; they go to that host alone, never along a redirect to
    another one or from https to http. ``offline`` refuses every request.
    """

    def __init__(
        self,
        store: Store,
        transport: Callable[[], "Transport"],
        logins: Callable[[str], Login | None] | Mapping[str, Login],
        *,
        offline: bool = False,
        sleep: Callable[[float], None] = interruption.sleep,
    ) -> None:
        self._store = store
        self._transport = transport
        self._login = logins.get if isinstance(logins, Mapping) else logins
        self._offline = offline
        self._sleep = sleep

    def fetch(self, file: LockedFile, directory: str) -> int:
        """Bring the file into the store; returns the bytes moved. Raises HashMismatch, ArtifactError."""
        if self._store.has(Digest(file.sha256)):
            return 0
        if file.path or file.url.startswith("file:"):
            return self._copy(file, directory)
        if self._offline:
            raise ArtifactError(
                f"{file.name} is not in the store, and dpbuild is offline", hint="build once without --offline"
            )
        with self._store.alone("fetch", file.sha256):
            # Another run may have brought it meanwhile.
            return 0 if self._store.has(Digest(file.sha256)) else self._tried(file)

    def _tried(self, file: LockedFile) -> int:
        from dpbuild.adapters.registry.transport import ConnectionFailed

        problem: RegistryError | None = None
        for attempt in range(_ATTEMPTS):
            if attempt:
                self._sleep(_WAIT * 2**attempt)
            try:
                return self._download(file)
            except ConnectionFailed as broken:
                problem = broken.error
            except _Busy as busy:
                problem = RegistryError(busy.args[0], where=bare(busy.args[1]))
            except RegistryError as refused:
                raise ArtifactError(
                    f"cannot download {file.name}: {refused.what}", where=refused.where, hint=refused.hint
                ) from None
        assert problem is not None  # noqa: S101 - the loop ran, and every way out of it but this returns or raises
        raise ArtifactError(f"cannot download {file.name}: {problem.what}", where=problem.where, hint=problem.hint)

    def _download(self, file: LockedFile) -> int:
        url = file.url
        first = _origin(file, url)
        login = self._login(first[1].rpartition("@")[2])
        for _ in range(_REDIRECTS):
            headers = {}
            # Neither to another host nor, in clear, to the same one.
            if login is not None and _origin(file, url) == first:
                headers["Authorization"] = "Basic " + base64.b64encode(":".join(login).encode()).decode()
            answer = self._transport().send("GET", url, headers)
            if answer.status in (301, 302, 303, 307, 308) and answer.header("Location"):
                answer.close()
                try:
                    url = urljoin(url, answer.header("Location"))
                except ValueError:
                    raise _no_address(file) from None
                continue
            if answer.status != 200:
                answer.close()
                if answer.status in (429, 500, 502, 503, 504):
                    raise _Busy(f"the index answered {answer.status}", url)
                raise refusal(file, answer.status, bare(url))
            with self._store.writer() as writer:
                size = 0
                for chunk in answer.chunks():
                    writer.write(chunk)
                    size += len(chunk)
                    if file.size is not None and size > file.size:
                        break
                commit_file(writer.commit, file, bare(url), OTHER_INDEX)
            return size
        raise ArtifactError(f"cannot download {file.name}: too many redirects")

    def _copy(self, file: LockedFile, directory: str) -> int:
        local = Path(unquote(urlsplit(file.url).path))
        path = Path(directory) / file.path if file.path else local
        try:
            with path.open("rb") as source, self._store.writer() as writer:
                while chunk := source.read(_CHUNK):
                    writer.write(chunk)
                _, size = commit_file(writer.commit, file, str(path), _OTHER_FILE)
        except OSError as problem:
            raise ArtifactError(f"cannot read {file.name}: {problem.strerror}", where=str(path)) from None
        return size


def refusal(file: LockedFile, status: int, where: str) -> ArtifactError:
    """The error for an index that answers something else than the file."""
    hint = {
        401: "give the index's credentials by netrc, keyring or UV_INDEX_<NAME>_USERNAME and _PASSWORD",
        403: "the index does not allow it with these credentials",
        404: "it was removed from the index, or the lock was made against another one; run dpbuild lock",
    }.get(status)
    return ArtifactError(f"cannot download {file.name}: the index answered {status}", where=where, hint=hint)


def commit_file(
    commit: Callable[[Digest], tuple[Digest, int]], file: LockedFile, where: str, hint: str
) -> tuple[Digest, int]:
    """Keep what was written, if it is the file that is locked. Raises HashMismatch that names it."""
    try:
        return commit(Digest(file.sha256))
    except HashMismatch as problem:
        what = f"{file.name} is not the file that was locked: {problem.what}"
        raise HashMismatch(what, where=where, hint=hint) from None


def _origin(file: LockedFile, url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        raise _no_address(file) from None
    return parts.scheme, parts.netloc


def _no_address(file: LockedFile) -> ArtifactError:
    return ArtifactError(f"cannot download {file.name}: not an address that can be asked")


class _Busy(Exception):
    """The index asks to come back, or fails for now: what it said, and its address."""
