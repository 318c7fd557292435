"""Answers that come too slowly: a host that sends a byte now and then would be waited for without end.

A timeout is for one read, which a single byte ends.
"""

import io
from collections.abc import Callable
from typing import IO, TYPE_CHECKING, Final

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

# Seconds that are waited in all for this many bytes. The slowest line that is of any use brings a hundred times that.
WINDOW: Final = 60.0
FLOOR: Final = 64 << 10


class TooSlow(OSError):
    """What came in a window is less than the floor. No TimeoutError, which urllib3 puts words of its own on."""


class Paced(io.RawIOBase):
    """What is read from a connection, timed by ``clock`` (seconds).

    Only waiting counts, not what is done with the bytes between reads; nor does the wait for the beginning of an
    answer, which may have to be made first.
    """

    def __init__(self, raw: io.RawIOBase, clock: Callable[[], float]) -> None:
        self._raw = raw
        self._clock = clock
        self.begin()

    def begin(self) -> None:
        """Another answer is waited for."""
        self._begun = False
        self._waited = 0.0
        self._size = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: "WriteableBuffer") -> int | None:
        """As of any raw stream. Raises TooSlow, and what the connection raises."""
        before = self._clock()
        size = self._raw.readinto(buffer)
        if not self._begun:
            self._begun = True
            return size
        self._waited += self._clock() - before
        self._size += size or 0
        if self._waited >= WINDOW:
            if size and self._size < FLOOR:
                raise TooSlow(f"it brought {self._size} bytes in {self._waited:.0f} s")
            self._waited, self._size = 0.0, 0
        return size

    def close(self) -> None:
        """Close the connection's side of it, too."""
        self._raw.close()
        super().close()


def paced(file: IO[bytes], clock: Callable[[], float]) -> tuple[io.BufferedReader, Paced]:
    """The same stream, of a socket's ``makefile("rb")``, and what times it."""
    if not isinstance(file, io.BufferedReader):
        raise TypeError("not what a socket makes")
    raw = Paced(file.detach(), clock)
    return io.BufferedReader(raw), raw
