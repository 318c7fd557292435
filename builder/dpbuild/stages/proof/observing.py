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
        self._content = bytearray()
        self._open = False
        self._whole = False
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
        self._content.clear()
        self._open, self._whole = True, inventory.wanted(entry)
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
        self._content += data
        if self._whole or len(self._content) < min(HEAD, self._entries[-1].size):
            return
        entry = self._entries[-1]
        if not whole(entry, bytes(self._content[:HEAD])):
            del self._content[HEAD:]
            self._open = False
        elif entry.size > _LARGEST:
            self._complete = self._open = False
            self._content.clear()
        else:
            self._whole = True

    def end(self) -> None:
        """Tell what is known of the file."""
        number, entry = len(self._entries) - 1, self._entries[-1]
        self._inventory.hashes[number] = self._digest.hex()
        if inventory.wanted(entry):
            self._inventory.contents[number] = bytes(self._content)
        if entry.size and self._complete:
            with memoryview(self._content) as view:
                found = told(entry, view)
            if found != EMPTY:
                self._files[number] = found

    def keep(self, layer: Descriptor) -> None:
        """Remember both under the layer's digest."""
        inventory.keep(self._store, layer, self._inventory)
        if self._complete:
            scans.keep(self._store, layer, LayerScan(entries=tuple(self._entries), files=self._files))
