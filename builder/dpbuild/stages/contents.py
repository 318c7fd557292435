"""The contents of files in layers that are in the store, without unpacking the image."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import BinaryIO, Protocol, TypeVar

from dpbuild.archive.budget import Budget
from dpbuild.archive.decompress import limit_of
from dpbuild.archive.entry import Entry
from dpbuild.archive.overlay import FileTree
from dpbuild.archive.read import ReadError, entries, open_layer
from dpbuild.errors import BaseImageError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import Store
from dpbuild.stages import places

T = TypeVar("T")

LARGEST = 256 << 20
_KEPT = 256 << 20
_AHEAD = 24 << 20


class Contents(Protocol):
    """The contents of an image's files."""

    def prefetch(self, paths: Iterable[str]) -> None:
        """Read these in one pass, since they are wanted soon; paths that are no files are left out."""

    def get(self, path: str, limit: int = LARGEST) -> bytes | None:
        """The content of the file that ``path`` leads to, links followed; None if it leads to none.

        Raises BaseImageError for more than ``limit`` bytes.
        """


class LayerContents:
    """Reads from layers; ``layers`` are the manifest's, lowest first.

    They are in the store, or ``fetch`` brings one there: facts outlive the layers that they were read from. ``known``
    are contents that were read before, by number of the layer and of the entry in its tar.
    """

    def __init__(
        self,
        tree: FileTree,
        layers: tuple[Descriptor, ...],
        store: Store,
        fetch: Callable[[Descriptor], object] | None = None,
        known: Mapping[tuple[int, int], bytes] | None = None,
    ) -> None:
        self._fetch = fetch
        self._tree = tree
        self._layers = layers
        self._store = store
        self._known = dict(known or {})
        self._where: dict[int, Mapping[int, int]] = {}

    def prefetch(self, paths: Iterable[str]) -> None:
        """As ``Contents``."""
        wanted: dict[int, dict[int, int]] = {}
        total = sum(len(data) for data in self._known.values())
        for path in paths:
            entry = self._tree.follow(path)
            if entry is None or not self._tree.is_file(path):
                continue
            layer, ordinal = self._tree.origin(path)
            # Where it is known where a file lies, it can be had at any time: memory is for a few of these.
            most = _AHEAD if ordinal in self._places(layer) else _KEPT
            if (layer, ordinal) in self._known or total + entry.size > most:
                continue
            total += entry.size
            wanted.setdefault(layer, {})[ordinal] = entry.size
        for layer, sizes in sorted(wanted.items()):
            self._read(layer, sizes)

    def get(self, path: str, limit: int = LARGEST) -> bytes | None:
        """As ``Contents``."""
        if not self._tree.is_file(path):
            return None
        origin = self._tree.origin(path)
        entry = self._tree.follow(path)
        size = entry.size if entry is not None else 0
        if size > limit:
            raise BaseImageError(f"{path} has {size} bytes; at most {limit} were expected")
        if origin in self._known:
            return self._known[origin]
        offset = self._places(origin[0]).get(origin[1])
        if offset is not None:
            with opened(self._store, self._layers[origin[0]]) as stream:
                data = places.read(stream, offset, size)
            if data is not None:
                return data
        self._read(origin[0], {origin[1]: size})
        return self._known[origin]

    def _places(self, layer: int) -> Mapping[int, int]:
        found = self._where.get(layer)
        if found is None:
            found = self._where[layer] = places.recall(self._store, self._layers[layer])
        return found

    def _read(self, layer: int, sizes: Mapping[int, int]) -> None:
        """Those of the entries with these numbers, whose sizes are in bytes."""
        descriptor = self._layers[layer]
        left = set()
        for ordinal, size in sizes.items():
            if size:
                left.add(ordinal)
            else:
                self._known[layer, ordinal] = b""
        if not left:
            return
        if self._fetch is not None and not self._store.has(descriptor.digest):
            self._fetch(descriptor)
        with opened(self._store, descriptor) as stream:
            where = self._places(layer)
            for ordinal in [row for row in left if row in where]:
                data = places.read(stream, where[ordinal], sizes[ordinal])
                if data is not None:
                    self._known[layer, ordinal] = data
                    left.discard(ordinal)
            if not left:
                return
            stream.seek(0)
            try:
                tar, _ = open_layer(stream, limit=limit_of(descriptor.size))
                for ordinal, (_, content) in enumerate(entries(tar)):
                    if ordinal in left and content is not None:
                        self._known[layer, ordinal] = content.read()
                        left.discard(ordinal)
                        if not left:
                            return
            except ReadError as problem:
                raise BaseImageError(f"a layer cannot be read: {problem}", where=str(descriptor.digest)) from None
        if left:
            raise BaseImageError("a layer has changed while it was read", where=str(descriptor.digest))


def opened(store: Store, descriptor: Descriptor) -> BinaryIO:
    """A layer's blob in the store. Raises BaseImageError if it is gone."""
    try:
        return store.open(descriptor.digest)
    except KeyError:
        raise BaseImageError(
            "a layer of the base is missing in the store", where=str(descriptor.digest), hint="run it again"
        ) from None


def read_layer(
    layer: Descriptor,
    store: Store,
    take: Callable[[Iterator[tuple[Entry, BinaryIO | None]]], T],
    *,
    diff_id: Digest | None = None,
    budget: Budget | None = None,
) -> T:
    """What ``take`` makes of all entries of a layer that is in the store.

    Raises BaseImageError for a layer that cannot be read, that takes more than is left of the image's ``budget``, or
    that is not what ``diff_id`` says.
    """
    with opened(store, layer) as stream:
        try:
            tar, raw = open_layer(stream, limit=limit_of(layer.size))
            rows = entries(tar)
            found = take(rows if budget is None else budget.counted(rows, raw))
        except ReadError as problem:
            raise BaseImageError(f"a layer cannot be read: {problem}", where=str(layer.digest)) from None
    if diff_id is not None and raw.digest() != diff_id.hex:
        raise BaseImageError(
            f"a layer unpacks to sha256:{raw.digest()}, but the config's diffID is {diff_id}", where=str(layer.digest)
        )
    return found


class MappedContents:
    """Contents from a function that gives those of a real path; for trees that are not in layers."""

    def __init__(self, tree: FileTree, read: Callable[[str], bytes]) -> None:
        self._tree = tree
        self._reader = read

    def prefetch(self, paths: Iterable[str]) -> None:
        """Nothing is gained by it here."""

    def get(self, path: str, limit: int = LARGEST) -> bytes | None:
        """As ``Contents``."""
        real = self._tree.resolve(path)
        if real is None or not self._tree.is_file(path):
            return None
        data = self._reader(real)
        if len(data) > limit:
            raise BaseImageError(f"{path} has {len(data)} bytes; at most {limit} were expected")
        return data
