"""The scan and the inventory of a layer that is just being made: its bytes are at hand, so nobody reads it again."""

import hashlib
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


class Observing:
    """Implements ``layers.observer.Observer``; the same values as reading the finished layer gives."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[Entry] = []
        self._files: dict[int, FileScan] = {}
        self._inventory = inventory.Inventory()
        # For files that come in several pieces. Written over by each: a new one for each would be new memory each time.
        self._buffer = bytearray(HEAD)
        self._view = memoryview(self._buffer)
        self._filled = 0
        # How many bytes have to be at hand to tell something, and whether that is done.
        self._wanted = 0
        self._told = False
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
        self._told = False
        self._listed = inventory.wanted(entry)
        self._wanted = entry.size if self._listed else min(HEAD, entry.size)
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
        if self._told:
            return
        entry = self._entries[-1]
        # Most files come in one piece, which is looked at where it is.
        if self._filled or len(data) < self._wanted:
            data = self._joined(data[: entry.size - self._filled])
        if len(data) < self._wanted:
            return
        if self._wanted < entry.size and whole(entry, bytes(data[: self._wanted])):
            if entry.size > _LARGEST:
                self._complete, self._told = False, True
                return
            self._wanted = entry.size
            if len(data) < entry.size:
                if not self._filled:
                    self._joined(data)
                return
        self._tell(entry, data[: self._wanted])

    def _joined(self, data: bytes | memoryview) -> memoryview:
        """All that came of the file so far; more than was declared is found out by whoever writes the layer."""
        begin, self._filled = self._filled, self._filled + len(data)
        if self._filled > len(self._buffer):
            grown = bytearray(max(self._filled, self._wanted))
            grown[:begin] = self._view[:begin]
            self._buffer, self._view = grown, memoryview(grown)
        self._view[begin : self._filled] = data
        return self._view[: self._filled]

    def _tell(self, entry: Entry, content: bytes | memoryview) -> None:
        self._told = True
        number = len(self._entries) - 1
        if self._listed:
            self._inventory.contents[number] = bytes(content)
        if entry.size and self._complete:
            found = told(entry, content)
            if found != EMPTY:
                self._files[number] = found

    def end(self) -> None:
        """What is known of the file is right."""
        if not self._told:
            self._tell(self._entries[-1], b"")
        self._inventory.hashes[len(self._entries) - 1] = self._digest.hex()

    def keep(self, layer: Descriptor) -> None:
        """Remember both under the layer's digest."""
        inventory.keep(self._store, layer, self._inventory)
        if self._complete:
            scans.keep(self._store, layer, LayerScan(entries=tuple(self._entries), files=self._files))
