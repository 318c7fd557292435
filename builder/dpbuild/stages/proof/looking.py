"""What the proof and the inventory want to know of a file, told from its content as that goes by."""

import hashlib
import mmap
from collections.abc import Callable
from typing import Final, NamedTuple

from dpbuild.archive.entry import Entry, Kind
from dpbuild.stages import inventory
from dpbuild.stages.layers.observer import Identity
from dpbuild.stages.proof.scan import EMPTY, HEAD, FileScan, told, whole

# Memory that files have, one after the other; a larger one that has to be looked at gets its own, and gives it back.
_ROOM: Final = 64 << 20
# What one file may take of memory; a layer with a larger one that has to be looked at is read when it is there.
_LARGEST: Final = 1 << 30
# Memory of those that have ended, for the next: new memory costs as much as hashing what is put there.
_FREE: Final[list[memoryview]] = []


class Seen(NamedTuple):
    """What is known of one file beside its identity.

    ``digest`` is its sha256, where the identity is something else; ``content`` the whole of it, where the inventory
    keeps that; ``scan`` what rules ask for, and None where it was too large to be looked at.
    """

    digest: bytes = b""
    content: bytes | None = None
    scan: FileScan | None = EMPTY


_NOTHING: Final = Seen()


class Looking:
    """Implements ``layers.observer.Look``; what is told is a ``Seen``, or None where that says nothing."""

    def __init__(self) -> None:
        # Written over by each file. The system gives no more of it than is written to.
        self._room = self._view = _memory()
        self._filled = 0
        self._entry = Entry(path="", kind=Kind.FILE, mode=0)
        self._open = False
        self._whole = False
        self._listed = False
        self._too_large = False
        self._hash: hashlib._Hash | None = None

    def begin(self, path: str, size: int, identity: Identity) -> Callable[[bytes | memoryview], object]:
        """A file; its hash is taken here unless the layer's maker verifies it."""
        self._entry = Entry(path=path, kind=Kind.FILE, mode=0, size=size)
        self._filled = 0
        self._listed = inventory.wanted(self._entry)
        self._open, self._whole, self._too_large = True, self._listed, False
        self._view = self._room
        if self._whole:
            self._reserve(size)
        if identity[0] == "sha256":
            self._hash = None
            return self._take
        seen = self._hash = hashlib.sha256()

        def take(data: bytes | memoryview) -> None:
            seen.update(data)
            self._take(data)

        return take

    def _take(self, data: bytes | memoryview) -> None:
        if not self._open:
            return
        entry = self._entry
        if not self._whole:
            head = data[: min(HEAD, entry.size) - self._filled]
            self._append(head)
            if self._filled < min(HEAD, entry.size):
                return
            if not whole(entry, bytes(self._view[: self._filled])):
                self._open = False
                return
            if entry.size > _LARGEST:
                self._too_large, self._open = True, False
                self._filled = 0
                return
            self._whole = True
            self._reserve(entry.size)
            data = data[len(head) :]
        # More than was declared is found out by whoever writes the layer.
        self._append(data[: entry.size - self._filled])

    def _reserve(self, size: int) -> None:
        if size > len(self._view):
            own = memoryview(mmap.mmap(-1, size))
            own[: self._filled] = self._view[: self._filled]
            self._view = own

    def _append(self, data: bytes | memoryview) -> None:
        self._view[self._filled : self._filled + len(data)] = data
        self._filled += len(data)

    def end(self) -> Seen | None:
        """What is known of the file."""
        content = self._view[: self._filled]
        scan = None if self._too_large else told(self._entry, content) if self._entry.size else EMPTY
        digest = b"" if self._hash is None else self._hash.digest()
        listed = bytes(content) if self._listed else None
        # What a larger file had is given back with the last view of it.
        self._view = self._room
        seen = Seen(digest=digest, content=listed, scan=scan)
        return None if seen == _NOTHING else seen

    def close(self) -> None:
        """Leave the memory to the next."""
        _FREE.append(self._room)


def _memory() -> memoryview:
    # Several threads may want some: looking first whether there is any would not be sure.
    try:
        return _FREE.pop()
    except IndexError:
        return memoryview(mmap.mmap(-1, _ROOM))
