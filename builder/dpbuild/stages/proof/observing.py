"""The scan and the inventory of a layer that is just being made: its bytes are at hand, so nobody reads it again."""

import hashlib
from collections.abc import Callable
from typing import ClassVar

from dpbuild.archive.entry import Entry, Kind
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.store import Store
from dpbuild.stages import inventory
from dpbuild.stages.layers.observer import Identity
from dpbuild.stages.proof import scans
from dpbuild.stages.proof.looking import Looking, Seen
from dpbuild.stages.proof.scan import EMPTY, FileScan, LayerScan


class Observing:
    """Implements ``layers.observer.Observer``; the same values as reading the finished layer gives."""

    look: ClassVar[Callable[[], Looking]] = Looking

    def __init__(self, store: Store) -> None:
        self._store = store
        self._entries: list[Entry] = []
        self._files: dict[int, FileScan] = {}
        self._inventory = inventory.Inventory()
        self._complete = True

    def entry(self, entry: Entry) -> None:
        """An entry without content."""
        if entry.kind is Kind.FILE:
            self._inventory.hashes[len(self._entries)] = hashlib.sha256().hexdigest()
        self._entries.append(entry)

    def file(self, entry: Entry, identity: Identity, seen: Seen | None) -> None:
        """A file; None says that there is no more to know than its hash."""
        number = len(self._entries)
        self._entries.append(entry)
        if seen is None:
            self._inventory.hashes[number] = identity[1].hex()
            return
        self._inventory.hashes[number] = (seen.digest or identity[1]).hex()
        if seen.content is not None:
            self._inventory.contents[number] = seen.content
        if seen.scan is None:
            self._complete = False
        elif seen.scan != EMPTY:
            self._files[number] = seen.scan

    def keep(self, layer: Descriptor) -> None:
        """Remember both under the layer's digest."""
        inventory.keep(self._store, layer, self._inventory)
        if self._complete:
            scans.keep(self._store, layer, LayerScan(entries=tuple(self._entries), files=self._files))
