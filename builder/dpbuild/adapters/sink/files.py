"""What sinks that write to this machine's disk share: finding out early, and saying what went wrong."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Literal, NoReturn

from dpbuild.errors import OutputError, StoreError


def probe(folder: Path) -> None:
    """Whether something can be written below ``folder``, or the nearest folder above that is there. Raises OSError."""
    import tempfile

    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


@contextlib.contextmanager
def replacing(path: Path, mode: int = 0o644) -> Iterator[BinaryIO]:
    """A new file that takes the place of ``path`` when the block ends well. Raises OSError.

    It is locked while it is written: of what lies beside it, what nobody has locked was left by killed runs, and goes.
    """
    import tempfile

    prefix = f".{path.name}."
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=prefix, suffix=".new")
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            with contextlib.suppress(OSError):
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _sweep(path.parent, prefix, temporary)
            yield file
            file.flush()
            os.fsync(file.fileno())
            temporary.chmod(mode)
            temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _sweep(folder: Path, prefix: str, own: Path) -> None:
    for path in folder.iterdir():
        if path == own or not (path.name.startswith(prefix) and path.name.endswith(".new")):
            continue
        with contextlib.suppress(OSError), path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            path.unlink()


def fail(problem: OSError, path: Path, kind: Literal["folder", "file"]) -> NoReturn:
    """The error as the user reads it. Raises StoreError (110) when the disk is full, OutputError (80)."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StoreError("the disk is full", where=str(path), hint="free some room") from problem
    raise OutputError(
        f"cannot write the output: {problem.strerror}", where=str(path), hint=f"choose another {kind} with -o"
    ) from problem
