"""The scan and the inventory of a layer that is just being made: its bytes are at hand, so nobody reads it again."""

import hashlib
import mmap
from collections.abc import Callable
from typing import Final

from dpbuild.archive.entry import Entry, Kind
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.store import Store
from dpbuild.stages import inventory
from dpbuild.stages.proof import scans
from dpbuild.stages.proof.scan import EMPTY, HEAD, FileScan, LayerScan, told, whole

# What one file may take of memory; a layer with a larger one that has to be looked at is read when it is there.
_LARGEST: Final = 64 << 20
# Memory of observers that have ended, for the next: new memory costs as much as hashing what is put there.
_FREE: Final[list[memoryview]] = []


class Observing:
    """Implements ``layers.observer.Observer``; the same values as reading the finished layer gives."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[Entry] = []
        self._files: dict[int, FileScan] = {}
        self._inventory = inventory.Inventory()
        # Written over by each file. The system gives no more of it than is written to.
        self._view = _FREE.pop() if _FREE else memoryview(mmap.mmap(-1, _LARGEST))
        self._filled = 0
        self._open = False
        self._whole = False
        self._listed = False
        self._digest = b""
        self._complete = True

    def entry(self, entry: Entry) -> None:
        """An entry without content."""
        if entry.kind is Kind.FILE:
            self._inventory.hashes[len(self._entries)] = hashlib.sha256().hexdigest()
        self._entries.append(entry)

    def begin(self, entry: Entry, identity: tuple[str, bytes]) -> Callable[[bytes | memoryview], object]:
        """A file; its hash is taken here unless the layer's maker verifies it."""
        self._entries.append(entry)
        self._filled = 0
        self._listed = inventory.wanted(entry)
        self._open, self._whole = True, self._listed
        algorithm, self._digest = identity
        if algorithm == "sha256":
            return self._take
        seen = hashlib.sha256()

        def take(data: bytes | memoryview) -> None:
            seen.update(data)
            self._digest = seen.digest()
            self._take(data)

        self._digest = seen.digest()
        return take

    def _take(self, data: bytes | memoryview) -> None:
        if not self._open:
            return
        entry = self._entries[-1]
        if not self._whole:
            head = data[: min(HEAD, entry.size) - self._filled]
            self._append(head)
            if self._filled < min(HEAD, entry.size):
                return
            if not whole(entry, bytes(self._view[: self._filled])):
                self._open = False
                return
            if entry.size > _LARGEST:
                self._complete = self._open = False
                self._filled = 0
                return
            self._whole = True
            data = data[len(head) :]
        # More than was declared is found out by whoever writes the layer.
        self._append(data[: entry.size - self._filled])

    def _append(self, data: bytes | memoryview) -> None:
        self._view[self._filled : self._filled + len(data)] = data
        self._filled += len(data)

    def end(self) -> None:
        """Tell what is known of the file."""
        number, entry = len(self._entries) - 1, self._entries[-1]
        self._inventory.hashes[number] = self._digest.hex()
        content = self._view[: self._filled]
        if self._listed:
            self._inventory.contents[number] = bytes(content)
        if entry.size and self._complete:
            found = told(entry, content)
            if found != EMPTY:
                self._files[number] = found

    def keep(self, layer: Descriptor) -> None:
        """Remember both under the layer's digest. Nothing can be observed any more."""
        inventory.keep(self._store, layer, self._inventory)
        if self._complete:
            scans.keep(self._store, layer, LayerScan(entries=tuple(self._entries), files=self._files))
        _FREE.append(self._view)
