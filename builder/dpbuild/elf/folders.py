"""Where a dynamic loader looks without being told: what it was built with (glibc, elf/dl-load.c, system_dirs)."""

import mmap
import re
from typing import Final

# Each folder has a slash and a NUL at its end. None is longer than that: a file of slashes must not take for ever.
_SYSTEM_DIRS: Final = re.compile(rb"(?:/(?=[A-Za-z0-9_./+-]{0,200}lib)[A-Za-z0-9_./+-]{1,200}/\0){2,}")
_LARGEST: Final = 16 << 20


def built_in(loader: bytes | memoryview | mmap.mmap) -> tuple[str, ...]:
    """The folders that glibc's loader searches last, in its order; none where the file does not tell them.

    No loader has more than 16 MiB.
    """
    match = _SYSTEM_DIRS.search(loader) if len(loader) <= _LARGEST else None
    return tuple(dict.fromkeys(row.rstrip("/") for row in match[0].decode().split("\0") if row)) if match else ()
