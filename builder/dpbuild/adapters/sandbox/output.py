"""What a program says while it runs: all of it, or the head and the tail of what may be endless."""

import os
import select
import selectors
import subprocess
import time
from typing import IO, Final

_CHUNK: Final = 1 << 15


class Late(Exception):
    """The time is over, and the program is not."""


class Kept:
    """Output as it comes. Of more than ``most`` bytes only the first and the last are kept; None keeps all."""

    def __init__(self, most: int | None) -> None:
        self._half = None if most is None else most // 2
        self._head = bytearray()
        self._tail = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        """What came next."""
        self._size += len(data)
        room = len(data) if self._half is None else self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:]
        # Not at every piece, which would copy the tail each time.
        if self._half is not None and len(self._tail) > 2 * self._half:
            del self._tail[: -self._half]

    @property
    def value(self) -> bytes:
        """What is kept, with a line where something is left out."""
        tail = self._tail if self._half is None else self._tail[-self._half :]
        gone = self._size - len(self._head) - len(tail)
        return bytes(self._head) + (f"\n[{gone} bytes are left out here]\n".encode() if gone else b"") + bytes(tail)


def communicate(process: subprocess.Popen[bytes], stdin: bytes, timeout: float | None, out: Kept, err: Kept) -> None:
    """Give the program its input and take its output until it ends. Raises Late after ``timeout`` seconds."""
    end = None if timeout is None else time.monotonic() + timeout
    rest = memoryview(stdin)
    given = _pipe(process.stdin)
    with selectors.DefaultSelector() as waiting:
        waiting.register(_pipe(process.stdout), selectors.EVENT_READ, out)
        waiting.register(_pipe(process.stderr), selectors.EVENT_READ, err)
        waiting.register(given, selectors.EVENT_WRITE)
        while waiting.get_map():
            for key, _ in waiting.select(_left(end)):
                if isinstance(key.data, Kept):
                    data = os.read(key.fd, _CHUNK)
                    key.data.add(data)
                    if not data:
                        waiting.unregister(key.fileobj)
                    continue
                rest = _give(key.fd, rest)
                if not rest:
                    waiting.unregister(given)
                    given.close()
    try:
        process.wait(_left(end))
    except subprocess.TimeoutExpired:
        raise Late from None


def _give(descriptor: int, rest: memoryview) -> memoryview:
    """What is left to be written. A program that reads no more needs no more."""
    try:
        # As much as surely goes in without waiting.
        return rest[os.write(descriptor, rest[: select.PIPE_BUF]) :] if rest else rest
    except BrokenPipeError:
        return rest[:0]


def _left(end: float | None) -> float | None:
    """Seconds until then. Raises Late."""
    if end is None:
        return None
    seconds = end - time.monotonic()
    if seconds <= 0:
        raise Late
    return seconds


def _pipe(pipe: IO[bytes] | None) -> IO[bytes]:
    if pipe is None:
        raise TypeError("the program was started without its pipes")
    return pipe
