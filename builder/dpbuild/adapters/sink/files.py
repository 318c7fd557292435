"""What sinks that write to this machine's disk share: finding out early, and saying what went wrong."""

import errno
import tempfile
from pathlib import Path
from typing import Literal, NoReturn

from dpbuild.errors import OutputError, StoreError


def probe(folder: Path) -> None:
    """Whether something can be written below ``folder``, or the nearest folder above that is there. Raises OSError."""
    while not folder.exists():
        folder = folder.parent
    with tempfile.TemporaryFile(dir=folder):
        pass


def fail(problem: OSError, path: Path, kind: Literal["folder", "file"]) -> NoReturn:
    """The error as the user reads it. Raises StoreError (110) when the disk is full, OutputError (80)."""
    if problem.errno in (errno.ENOSPC, errno.EDQUOT):
        raise StoreError("the disk is full", where=str(path), hint="free some room") from problem
    raise OutputError(
        f"cannot write the output: {problem.strerror}", where=str(path), hint=f"choose another {kind} with -o"
    ) from problem
