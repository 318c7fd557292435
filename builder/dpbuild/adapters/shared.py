"""Memory that a process shares with its helper: a pipe would have the system copy twice what goes through it."""

import mmap
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

# Messages that are on the way at once, and the bytes of memory that there are for each.
SLOTS: Final = 8
_SIZE: Final = 512 * 1024


@contextmanager
def descriptor() -> Iterator[int]:
    """The descriptor of new memory, for ``Slots`` here and in a process that inherits it. Raises OSError."""
    number = _nameless()
    try:
        os.ftruncate(number, SLOTS * _SIZE)
        yield number
    finally:
        os.close(number)


def _nameless() -> int:
    # Not every system has it, and some do not let everybody have it (Linux: vm.memfd_noexec, filters of containers).
    try:
        return os.memfd_create("dpbuild")
    except (AttributeError, OSError):
        import tempfile

        with tempfile.TemporaryFile() as file:
            return os.dup(file.fileno())


class Slots:
    """The memory behind a descriptor. Who uses which slot when is up to both sides."""

    def __init__(self, number: int) -> None:
        self._memory = memoryview(mmap.mmap(number, SLOTS * _SIZE))

    def put(self, slot: int, parts: Sequence[memoryview]) -> bool:
        """Copy ``parts`` into a slot, one behind the other; whether there was room for them."""
        if sum(map(len, parts)) > _SIZE:
            return False
        at = slot * _SIZE
        for part in parts:
            self._memory[at : at + len(part)] = part
            at += len(part)
        return True

    def get(self, slot: int, lengths: Sequence[int]) -> list[memoryview]:
        """What was put there, as long as nothing else is."""
        at = slot * _SIZE
        found = []
        for length in lengths:
            found.append(self._memory[at : at + length])
            at += length
        return found
