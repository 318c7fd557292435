"""New files under names that nobody has.

As ``tempfile`` makes them, which imports compressors and random numbers: longer than a run takes that writes little.
"""

import contextlib
import os
from pathlib import Path
from typing import Final

_FLAGS: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(folder: Path, prefix: str = "tmp", suffix: str = "") -> tuple[int, Path]:
    """A file that only this user reads, open for reading and writing, and its path: the prefix, eight characters of
    0-9 and a-f, the suffix. Raises OSError.
    """
    while True:
        path = folder / f"{prefix}{os.urandom(4).hex()}{suffix}"
        with contextlib.suppress(FileExistsError):
            return os.open(path, _FLAGS, 0o600), path
