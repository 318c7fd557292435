"""What an engine and the connection to it say when something goes wrong, in our words."""

import contextlib
import errno
from collections.abc import Iterator
from typing import Final

from dpbuild.errors import SandboxError, StoreError

_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_AGAIN: Final = "see that it runs (docker info, podman info) and start it again, or choose another --builder"


@contextlib.contextmanager
def problems(what: str, *, where: str | None = None, output: bool = False) -> Iterator[None]:
    """Raise the SDK's errors, and those of the connection, as SandboxError; of a full disk here as StoreError.

    ``what`` is said of what the engine refuses. With ``output`` the block writes to dpbuild's own stdout, and whoever
    reads that may go.
    """
    import docker.errors
    import requests.exceptions

    try:
        yield
    except docker.errors.DockerException as problem:
        raise _refused(problem, what, where) from None
    except (requests.exceptions.RequestException, OSError) as problem:
        if output and isinstance(problem, BrokenPipeError):
            raise
        raise _broken(problem, where) from None


def silent(where: str | None = None) -> SandboxError:
    """The error for an engine that is there and says nothing."""
    return SandboxError("the engine does not answer", where=where, hint=_AGAIN)


def _refused(problem: Exception, what: str, where: str | None) -> SandboxError:
    said = str(getattr(problem, "explanation", None) or problem).strip()
    full = "no space left on device" in said.lower()
    return SandboxError(
        f"{what}: {said}",
        where=where,
        hint="the disk that the engine keeps its data on is full: docker system prune frees some" if full else None,
    )


def _broken(problem: Exception, where: str | None) -> SandboxError | StoreError:
    """The error for a connection that gave no answer, or ended, or for a file here that cannot be read or written."""
    import requests.exceptions

    if isinstance(problem, requests.exceptions.Timeout | TimeoutError) or "timed out" in str(problem):
        return silent(where)
    if isinstance(problem, requests.exceptions.RequestException | ConnectionError):
        what = f"the engine ended, or the connection to it broke: {_short(problem)}"
        return SandboxError(what, where=where, hint=_AGAIN)
    where = str(problem.filename) if isinstance(problem, OSError) and problem.filename else where
    if isinstance(problem, OSError) and problem.errno in _FULL:
        return StoreError("the disk is full", where=where, hint="free some room, or choose another --cache-dir")
    return SandboxError(f"what the engine gets or gives cannot be copied: {_short(problem)}", where=where)


def _short(problem: BaseException) -> str:
    """The reason at the end of what urllib3 and requests wrap around it."""
    while True:
        inner = [row for row in (problem.__cause__, *problem.args, problem.__context__) if isinstance(row, Exception)]
        if not inner:
            break
        problem = inner[0]
    if isinstance(problem, OSError) and problem.strerror:
        return problem.strerror
    return str(problem).splitlines()[0][:200] if str(problem) else type(problem).__name__
