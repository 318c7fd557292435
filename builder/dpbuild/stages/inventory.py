"""What evidence needs of a layer's files: the hash of each, and the whole of those that describe packages.

It depends on the layer alone, so it is kept under the layer's digest; the pass that proves an image makes it too.
"""

import hashlib
import io
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import BinaryIO, Final, cast

from dpbuild.archive.entry import Entry
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.frozen import field, frozen
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.store import Store
from dpbuild.stages import facts_packages
from dpbuild.stages.contents import read_layer

# Part of the key of what is kept: whoever changes what is taken from a layer changes this.
FORMAT: Final = 1
_THREADS: Final = 4
_CHUNK: Final = 1 << 20
_LARGEST: Final = 64 << 20
_MOST: Final = 1 << 30
# PyPA specs: "Recording installed projects", and PEP 770 for the last.
_METADATA: Final = (".dist-info/METADATA", ".egg-info/PKG-INFO", ".dist-info/RECORD")
_SBOMS: Final = ".dist-info/sboms/"


@frozen(kw_only=False)
class Inventory:
    """``hashes`` maps the number of an entry in the layer's tar to its sha256 in hex, ``contents`` to its bytes."""

    hashes: dict[int, str] = field(default_factory=dict)
    contents: dict[int, bytes] = field(default_factory=dict)


class Watch:
    """Passes a layer's entries on, and takes its inventory meanwhile."""

    def __init__(self) -> None:
        self.inventory = Inventory()

    def over(self, rows: Iterable[tuple[Entry, BinaryIO | None]]) -> Iterator[tuple[Entry, BinaryIO | None]]:
        """The same entries; what is not read of a content by whoever takes them is read here."""
        for number, (entry, content) in enumerate(rows):
            if content is None:
                yield entry, None
                continue
            watched = _Watched(content, keep=wanted(entry))
            yield entry, cast("BinaryIO", watched)
            while watched.read(_CHUNK):
                pass
            self.inventory.hashes[number] = watched.hash.hexdigest()
            if watched.kept is not None:
                self.inventory.contents[number] = watched.kept.getvalue()


class _Watched(io.RawIOBase):
    def __init__(self, content: BinaryIO, *, keep: bool) -> None:
        self._content = content
        self.hash = hashlib.sha256()
        self.kept = io.BytesIO() if keep else None

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        data = self._content.read(size)
        self.hash.update(data)
        if self.kept is not None:
            self.kept.write(data)
        return data


def wanted(entry: Entry) -> bool:
    """Whether the whole content of a file is kept."""
    path = f"/{entry.path}"
    named = path.endswith(_METADATA) or _SBOMS in path or facts_packages.describes(path)
    return named and entry.size <= _LARGEST


def inventories(
    layers: Iterable[Descriptor], store: Store, fetch: Callable[[Descriptor], object]
) -> tuple[Inventory, ...]:
    """That of each layer; ``fetch`` brings a layer into the store that is not there. Raises BaseImageError."""

    def one(layer: Descriptor) -> Inventory:
        data = store.get("facts", _key(layer))
        if data is not None:
            try:
                return _decode(data)
            except ValueError:
                pass  # from another version
        return _make(layer, store, fetch)

    with ThreadPoolExecutor(_THREADS) as pool:
        return tuple(pool.map(one, layers))


def keep(store: Store, layer: Descriptor, inventory: Inventory) -> None:
    """Remember a layer's inventory."""
    store.put("facts", _key(layer), _encode(inventory))


def _key(layer: Descriptor) -> str:
    return f"inventory-{layer.digest.hex}-{FORMAT}"


def _make(layer: Descriptor, store: Store, fetch: Callable[[Descriptor], object]) -> Inventory:
    if not store.has(layer.digest):
        fetch(layer)
    watch = Watch()

    def take(rows: Iterator[tuple[Entry, BinaryIO | None]]) -> None:
        for _ in watch.over(rows):
            pass

    read_layer(layer, store, take)
    keep(store, layer, watch.inventory)
    return watch.inventory


def _encode(inventory: Inventory) -> bytes:
    """Numbers and lengths as JSON, then hashes, then contents."""
    lengths = {number: len(data) for number, data in inventory.contents.items()}
    head = json.dumps([list(inventory.hashes), list(lengths.items())], separators=(",", ":")).encode()
    hashes = bytes.fromhex("".join(inventory.hashes.values()))
    packed = zlib.compress(b"".join(inventory.contents.values()), 1)
    return struct.pack(">I", len(head)) + head + hashes + packed


def _decode(data: bytes) -> Inventory:
    try:
        end = 4 + int(struct.unpack_from(">I", data)[0])
        numbers, lengths = json.loads(data[4:end])
        text = data[end : end + 32 * len(numbers)].hex()
        inflate = zlib.decompressobj()
        rest = inflate.decompress(data[end + 32 * len(numbers) :], _MOST)
        contents: dict[int, bytes] = {}
        at = 0
        for number, length in lengths:
            contents[number] = rest[at : at + length]
            at += length
        if not inflate.eof or at != len(rest):
            raise ValueError("it ends early")
    except (ValueError, TypeError, struct.error, zlib.error) as problem:
        raise ValueError(f"not an inventory: {problem}") from None
    return Inventory({number: text[64 * i : 64 * i + 64] for i, number in enumerate(numbers)}, contents)


class InventoryContents:
    """The contents that inventories hold, by the ``Contents`` protocol; those of other files are not known."""

    def __init__(self, tree: FileTree, found: tuple[Inventory, ...]) -> None:
        self._tree = tree
        self._found = found

    def prefetch(self, paths: Iterable[str]) -> None:
        """Nothing is gained by it here."""

    def get(self, path: str, limit: int = _LARGEST) -> bytes | None:
        """As ``Contents``; None also for a file whose content was not kept."""
        try:
            layer, number = self._origin(path)
        except KeyError:
            return None
        data = self._found[layer].contents.get(number)
        if data is not None and len(data) > limit:
            raise BaseImageError(f"{path} has {len(data)} bytes; at most {limit} were expected")
        return data

    def sha256(self, path: str) -> str:
        """The hash of the file that ``path`` leads to. Raises KeyError."""
        layer, number = self._origin(path)
        return self._found[layer].hashes[number]

    def _origin(self, path: str) -> tuple[int, int]:
        return self._tree.origin(path)
