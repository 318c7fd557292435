"""What a build said: all of it that is not endless in a file, the end of it in the error."""

import contextlib
from pathlib import Path
from typing import Final

# Bytes of each of its streams, head and tail: a build may print for as long as it may take.
MOST: Final = 4 << 20
_LAST_LINES: Final = 25


def keep(folder: Path, name: str, log: bytes) -> str | None:
    """Write the log of a build that failed; the file's path, None where it cannot be written."""
    with contextlib.suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{name}.log"
        path.write_bytes(log)
        return str(path)
    return None


def last_lines(text: str) -> str:
    """The last lines, each on a line of its own."""
    return "".join(f"\n  | {line}" for line in text.rstrip().splitlines()[-_LAST_LINES:])
