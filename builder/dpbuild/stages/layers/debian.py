"""Layers of Debian packages on top of the base, each in the form that distroless gives its own.

A package's files keep the modes, owners and times of its ``data.tar``; folders that the base has keep the base's.
Nothing of the base is ever overwritten, but for the loader's cache in the last layer.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree, OverlayError
from dpbuild.debian import deb
from dpbuild.debian import runtime as debian
from dpbuild.errors import BaseImageError, PathConflict
from dpbuild.frozen import field, frozen, replace
from dpbuild.model.base import Base
from dpbuild.model.layer import Layer
from dpbuild.model.lock import LockedRuntime
from dpbuild.model.words import counted
from dpbuild.oci.codec import canonical
from dpbuild.ports.debian import DebianPackages, Pin
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.store import Store
from dpbuild.stages.contents import Contents
from dpbuild.stages.layers.group import BUDGET, GROUPS
from dpbuild.stages.layers.kept import find, keep
from dpbuild.stages.layers.ldcache import cache_layer
from dpbuild.stages.layers.plain import write_items
from dpbuild.stages.layers.write import Placement, parents

# Raise this when the same packages give other bytes.
FORMAT: Final = 1
# Up to so many packages have a layer each; of more, the largest ones have, and the others share some.
_MOST: Final = 20
_SHARED: Final = 4

# An entry, and what it is.
_Row = tuple[Entry, str]


@frozen(kw_only=False)
class DebianLayers:
    """``base`` is the base with the packages' files in its tree; ``owners`` says whose they are, by real path."""

    base: Base
    layers: tuple[Layer, ...] = ()
    owners: Mapping[str, str] = field(default_factory=dict)


def debian_layers(
    locked: LockedRuntime | None,
    base: Base,
    contents: Contents,
    packages: Callable[[], DebianPackages],
    store: Store,
    reporter: Reporter,
    *,
    taken: int,
) -> DebianLayers:
    """The layers of the locked packages and the loader's cache over them; nothing where none is locked.

    ``taken`` counts the image's other layers. Raises PathConflict (61), BaseImageError (20), StoreError.
    """
    if locked is None or not locked.packages:
        return DebianLayers(base)
    maker = _Maker(base, packages, store, reporter)
    return maker.make(locked.packages, contents, taken)


class _Maker:
    def __init__(self, base: Base, packages: Callable[[], DebianPackages], store: Store, reporter: Reporter) -> None:
        self._base = base
        self._packages = packages
        self._store = store
        self._reporter = reporter
        self._placement = Placement(base.tree)
        self._data: dict[Pin, bytes] = {}

    def make(self, pins: tuple[Pin, ...], contents: Contents, taken: int) -> DebianLayers:
        listings = self._listings(pins)
        placed = self._placed(listings)
        room = max(0, BUDGET - taken - 2 * GROUPS - 1)
        groups = _groups({pin: sum(entry.size for entry, _ in rows) for pin, rows in listings.items()}, room)
        keys = [self._key(group, listings) for group in groups]
        found = [find(self._store, key, _comment(group)) for key, group in zip(keys, groups, strict=True)]
        self._fetch(pin for group, layer in zip(groups, found, strict=True) if layer is None for pin in group)
        layers = [layer or self._write(group, key) for group, key, layer in zip(groups, keys, found, strict=True)]
        try:
            tree = FileTree.of([_plain(self._base.tree.entries()), (entry for entry, _ in placed.values())])
        except OverlayError as problem:
            raise PathConflict(f"the Debian packages do not fit on the base: {problem}") from None
        extended = replace(self._base, tree=tree)
        cache = cache_layer(self._base, extended.tree, layers, contents, self._store)
        return DebianLayers(extended, (*layers, cache), {path: owner for path, (_, owner) in placed.items()})

    # what is in a package

    def _listings(self, pins: tuple[Pin, ...]) -> dict[Pin, tuple[_Row, ...]]:
        kept = {pin: self._store.get("layers", _listing_key(pin)) for pin in pins}
        self._fetch(pin for pin, row in kept.items() if row is None)
        out = {}
        for pin, row in kept.items():
            if row is None:
                rows = tuple((entry, debian.identity(entry, data)) for entry, data in self._items(pin))
                self._store.put("layers", _listing_key(pin), _encode(rows))
                out[pin] = rows
            else:
                out[pin] = _decode(row)
        return out

    def _fetch(self, pins: Iterable[Pin]) -> None:
        missing = [pin for pin in pins if pin not in self._data]
        if missing:
            with self._reporter.step(f"fetching {counted(len(missing), 'Debian package')}") as step:
                self._data |= zip(missing, self._packages().fetch(missing, step.advance), strict=True)
                step.done(f"{sum(len(self._data[pin]) for pin in missing) / 1e6:.1f} MB")

    def _items(self, pin: Pin) -> Iterator[tuple[Entry, bytes]]:
        try:
            yield from debian.items(self._data[pin], pin[0])
        except deb.DebError as problem:
            raise BaseImageError(f"the package {_label(pin)} cannot be read: {problem}") from None

    # where it goes

    def _placed(self, listings: dict[Pin, tuple[_Row, ...]]) -> dict[str, tuple[Entry, str]]:
        """Everything that the packages add, by real path, with its owner. Raises PathConflict."""
        placed: dict[str, tuple[Entry, str]] = {}
        known: dict[str, str] = {}
        for pin, rows in listings.items():
            for entry, identity in rows:
                path = self._place(entry, pin)
                if path is None:
                    continue
                other = placed.get(path)
                if other is not None and known[path] != identity:
                    raise PathConflict(
                        f"the Debian packages {other[1]} and {_label(pin)} both have /{path}, with different contents",
                        hint="leave one of them out of runtime-packages or of the recipe",
                    )
                if other is None:
                    placed[path], known[path] = (self._moved(entry, path), _label(pin)), identity
        return placed

    def _place(self, entry: Entry, pin: Pin) -> str | None:
        """The real path of an entry; None for a folder that the base has. Raises PathConflict."""
        tree = self._base.tree
        if entry.kind in (Kind.CHARACTER, Kind.BLOCK, Kind.FIFO):
            raise PathConflict(f"the Debian package {_label(pin)} has a device, /{entry.path}, which no image needs")
        if entry.kind is Kind.DIRECTORY:
            path = self._folder(entry.path, pin)
            return None if not path or tree.get(path) is not None else path
        folder, _, name = entry.path.rpartition("/")
        above = self._folder(folder, pin)
        path = f"{above}/{name}" if above else name
        if tree.get(path) is not None:
            raise PathConflict(
                f"the Debian package {_label(pin)} has the file /{path}, which the base {self._base.reference} has too",
                hint="a base's file is never overwritten; leave the package out, or choose another base",
            )
        return path

    def _folder(self, path: str, pin: Pin) -> str:
        try:
            return self._placement.folder(path)
        except PathConflict as problem:
            raise PathConflict(f"the Debian package {_label(pin)}: {problem.what}", hint=problem.hint) from None

    def _moved(self, entry: Entry, path: str) -> Entry:
        target = entry.target
        if entry.kind is Kind.HARDLINK:
            folder, _, name = target.rpartition("/")
            above = self._placement.folder(folder)
            target = f"{above}/{name}" if above else name
        return entry._replace(path=path, target=target)

    # layers

    def _key(self, group: tuple[Pin, ...], listings: dict[Pin, tuple[_Row, ...]]) -> str:
        rows = [entry for pin in group for entry, _ in listings[pin]]
        paths = [f"{row.path}/x" if row.kind is Kind.DIRECTORY else row.path for row in rows]
        value = ["debian-runtime", FORMAT, [list(pin) for pin in group], self._placement.surroundings(paths)]
        return hashlib.sha256(canonical(value)).hexdigest()

    def _write(self, group: tuple[Pin, ...], key: str) -> Layer:
        layer = write_items(self._store, self._layer(group), _comment(group))
        keep(self._store, key, layer)
        return layer

    def _layer(self, group: tuple[Pin, ...]) -> Iterator[tuple[Entry, bytes]]:
        """The entries of a layer: every package's in its own order, every folder once and before what it holds."""
        seen: set[str] = set()
        for pin in group:
            for entry, content in self._items(pin):
                path = self._place(entry, pin)
                if path is None or path in seen:
                    continue
                for folder in parents([path]):
                    if folder not in seen:
                        seen.add(folder)
                        yield self._placement.entry(folder), b""
                seen.add(path)
                yield self._moved(entry, path), content


def _groups(sizes: dict[Pin, int], room: int) -> tuple[tuple[Pin, ...], ...]:
    """The packages of each layer: by name, and those that share one at the end."""
    if len(sizes) <= min(_MOST, room):
        return tuple((pin,) for pin in sorted(sizes))
    largest = sorted(sizes, key=lambda pin: (-sizes[pin], pin))[: max(0, min(_MOST, room) - _SHARED)]
    shared: dict[int, list[Pin]] = {}
    for pin in sorted(sizes.keys() - set(largest)):
        # By name, so that a package stays where it is when another comes or goes.
        shared.setdefault(hashlib.sha256(pin[0].encode()).digest()[0] % _SHARED, []).append(pin)
    return (*((pin,) for pin in sorted(largest)), *(tuple(shared[number]) for number in sorted(shared)))


def _plain(entries: Iterable[Entry]) -> Iterator[Entry]:
    """The base's files again; hard links as files, since their order is not that of paths."""
    for entry in entries:
        yield entry._replace(kind=Kind.FILE, target="") if entry.kind is Kind.HARDLINK else entry


def _label(pin: Pin) -> str:
    return f"{pin[0]} {pin[1]}"


def _comment(group: tuple[Pin, ...]) -> str:
    return ", ".join(map(_label, group))


def _listing_key(pin: Pin) -> str:
    return json.dumps(["debian-listing", FORMAT, pin[0], pin[2]])


def _encode(rows: tuple[_Row, ...]) -> bytes:
    return canonical(
        [
            [row.path, str(row.kind), row.mode, row.uid, row.gid, row.mtime, row.size, row.target, identity]
            for row, identity in rows
        ]
    )


def _decode(data: bytes) -> tuple[_Row, ...]:
    return tuple(
        (
            Entry(path=path, kind=Kind(kind), mode=mode, uid=uid, gid=gid, mtime=mtime, size=size, target=target),
            identity,
        )
        for path, kind, mode, uid, gid, mtime, size, target, identity in json.loads(data)
    )
