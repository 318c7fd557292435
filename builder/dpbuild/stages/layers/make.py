"""The layers of all wheels: found in the store, or made."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dpbuild import __version__
from dpbuild.archive.deflate import Splicer
from dpbuild.frozen import frozen
from dpbuild.model.artifact import Artifact
from dpbuild.model.layer import Layer
from dpbuild.model.words import counted
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.helper import Helper
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.store import Store
from dpbuild.stages.layers import write
from dpbuild.stages.layers.bytecode import compile_planned
from dpbuild.stages.layers.conflicts import Conflicts, Listed, label_of
from dpbuild.stages.layers.group import group
from dpbuild.stages.layers.kept import find, keep
from dpbuild.stages.layers.order import Order
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.wheels import Planned, Reader, complete, open_wheel, plan
from dpbuild.stages.layers.writers import Writers, writers

# Each may hold a large library in memory.
_MOST_THREADS: Final = 6
# Threads for layers whose wheels are still downloaded; they wait and do nothing else.
_MOST_WAITING: Final = 16


@frozen(kw_only=False)
class _Plan:
    """A wheel's files as they will be installed, and what reads their contents."""

    reader: Reader
    dist_info: str
    files: list[Planned]


@frozen(kw_only=False)
class WheelLayers:
    """The layers of all wheels in their order in the image, and the names of all scripts in them."""

    layers: tuple[Layer, ...]
    scripts: frozenset[str]


def make_layers(
    artifacts: Iterable[Artifact],
    site: Site,
    store: Store,
    reporter: Reporter,
    *,
    taken: int,
    cores: int = 2,
    ready: Callable[[Descriptor], object] = lambda layer: None,
    helper: Callable[[], Helper] | None = None,
    wait: Callable[[Artifact], object] = lambda artifact: None,
    making: Callable[[], object] = lambda: None,
) -> WheelLayers:
    """One layer for each group of wheels.

    ``wait`` returns when a wheel is in the store, and raises what keeps it from that; it is asked for each one first.
    ``taken`` counts the image's other layers; ``cores`` are there to be used, by processes that ``helper`` starts where
    there is much to do. ``making`` is called once, if a layer has to be made, before the first one; ``ready`` is told
    each of these as soon as it is made, from several threads.
    Raises UnsafeWheel (53), PathConflict (61), StoreError (110).
    """
    wheels = tuple(artifacts)
    groups = group(wheels, taken)
    key = _together(groups, site)
    known = _recall(store, key, groups) if key else None
    if known is not None:
        return known
    maker = _Maker(site, store, min(cores, _MOST_THREADS), ready, helper, wait, making)
    made = maker.make(wheels, groups, reporter)
    if key:
        store.put("layers", key, canonical({"keys": maker.keys, "scripts": sorted(made.scripts)}))
    return made


def _together(groups: tuple[tuple[Artifact, ...], ...], site: Site) -> str:
    """The key of what was found out of these wheels on this base; "" where it cannot be told in a few words."""
    if site.owners:
        return ""
    wheels = [_named(members) for members in groups]
    gone = [[name, sorted(paths)] for name, paths in site.replaced]
    value = [__version__, *site.key(), str(site.base.descriptor.digest), wheels, gone]
    return f"together-{hashlib.sha256(canonical(value)).hexdigest()}"


def _named(members: Iterable[Artifact]) -> list[list[object]]:
    return [[each.name, each.version, each.filename, each.digest.hex, each.locked] for each in members]


def _recall(store: Store, key: str, groups: Iterable[tuple[Artifact, ...]]) -> WheelLayers | None:
    """The layers of all groups, whose wheels were seen not to conflict; None unless all are there."""
    kept = store.get("layers", key)
    if kept is None:
        return None
    value = json.loads(kept)
    layers = []
    for members, each in zip(groups, value["keys"], strict=True):
        layer = find(store, each, _comment(members))
        if layer is None:
            return None
        layers.append(layer)
    return WheelLayers(tuple(layers), frozenset(value["scripts"]))


class _Maker:
    def __init__(
        self,
        site: Site,
        store: Store,
        cores: int,
        ready: Callable[[Descriptor], object],
        helper: Callable[[], Helper] | None,
        wait: Callable[[Artifact], object],
        making: Callable[[], object],
    ) -> None:
        self._site = site
        self._making = making
        self._ready = ready
        self._store = store
        self._cores = cores
        self._helper = helper
        self._local = threading.local()
        self._wait = wait
        # Waiting takes no processor; all else is for as many at a time as there are.
        self._busy = threading.Semaphore(max(2, cores))
        self._placement = write.Placement(site.base.tree, site.owners)
        self._gone = site.gone
        self._conflicts = Conflicts(site, self._placement)
        # Those of the layers, in their order in the image.
        self.keys: list[str] = []
        # What was read of wheels to list them, until they are written.
        self._listed: dict[Artifact, _Plan] = {}
        self._listings: dict[Artifact, tuple[Listed, ...]] = {}

    def _splicer(self) -> Splicer:
        splicer = getattr(self._local, "splicer", None)
        if splicer is None:
            splicer = self._local.splicer = Splicer()
        return splicer

    def make(
        self, artifacts: tuple[Artifact, ...], groups: tuple[tuple[Artifact, ...], ...], reporter: Reporter
    ) -> WheelLayers:
        here = {artifact for artifact in artifacts if self._arrived_whole(artifact)}
        complete = [members for members in groups if here.issuperset(members)]
        absent = len(groups) - len(complete)
        with ThreadPoolExecutor(max(2, self._cores) + min(absent, _MOST_WAITING)) as pool:
            # Threads are for wheels that have to be read: of what is known of the others they only wait for each other.
            read = [members for members in complete if not all(map(self._known, members))]
            keys = {members: self._listed_key(members) for members in complete if members not in read}
            keys |= zip(read, pool.map(self._listed_key, read), strict=True)
            found: dict[tuple[Artifact, ...], Layer | None] = {
                members: find(self._store, key, _comment(members)) for members, key in keys.items()
            }
            missing = [members for members in groups if found.get(members) is None]
            if missing:
                self._making()
                # The largest first: the last one to finish should be a small one.
                missing.sort(key=_size, reverse=True)
                sizes = [_size(members) for members in missing]
                with (
                    reporter.step(f"making {counted(len(missing), 'layer')}") as step,
                    writers(self._store, sizes, self._cores, self._helper) as writing,
                ):
                    made = pool.map(lambda members: self._arrived(members, keys.get(members), writing, step), missing)
                    for members, done in zip(missing, made, strict=True):
                        keys[members], found[members] = done
                    step.done(counted(sum(len(members) for members in missing), "wheel"))
        self.keys = [keys[members] for members in groups]
        return WheelLayers(
            tuple(layer for members in groups if (layer := found[members]) is not None),
            frozenset(self._conflicts.scripts),
        )

    def _arrived_whole(self, artifact: Artifact) -> bool:
        # One that has just come with another size than the lock says is refused by who waits for it.
        return self._store.has(artifact.digest) and self._store.size(artifact.digest) == artifact.size

    def _arrived(
        self, members: tuple[Artifact, ...], key: str | None, writing: Writers, step: Step
    ) -> tuple[str, Layer]:
        """The layer of wheels that may still be on their way, and its key, if that is not known yet."""
        for member in members:
            self._wait(member)
        with self._busy:
            key = key or self._listed_key(members)
            layer = find(self._store, key, _comment(members)) or self._made(members, key, writing, step)
        writing.settled(_size(members))
        return key, layer

    def _listed_key(self, members: tuple[Artifact, ...]) -> str:
        """The key of a layer, whose wheels do not conflict with those before. Raises PathConflict, UnsafeWheel."""
        listings = {member: self._listing(member) for member in members}
        for member, rows in listings.items():
            self._conflicts.add(member, rows)
        return self._key(members, listings)

    # what is in a wheel

    def _wheel_key(self, artifact: Artifact) -> str:
        return json.dumps([*self._site.key()[:-1], artifact.digest.hex, artifact.filename, artifact.locked])

    def _known(self, artifact: Artifact) -> bool:
        """Whether it was listed before, which is then at hand."""
        kept = self._store.get("wheels", self._wheel_key(artifact))
        if kept is not None:
            self._listings[artifact] = tuple(map(Listed._make, json.loads(kept)))
        return kept is not None

    def _listing(self, artifact: Artifact) -> tuple[Listed, ...]:
        if artifact in self._listings or self._known(artifact):
            return self._listings.pop(artifact)
        with self._store.open(artifact.digest) as file:
            found = self._listed[artifact] = self._plan(artifact, Reader(file))
        rows = tuple(
            Listed(each.path, each.mode, f"{each.identity[0]}:{each.identity[1].hex()}", each.script)
            for each in found.files
        )
        self._store.put(
            "wheels",
            self._wheel_key(artifact),
            canonical([[row.path, row.mode, row.identity, row.script] for row in rows]),
        )
        return rows

    def _plan(self, artifact: Artifact, reader: Reader) -> "_Plan":
        opened = open_wheel(artifact, reader, self._splicer())
        return _Plan(reader, opened.wheel.dist_info, plan(opened, self._site.facts, self._splicer()))

    # keys

    def _removed(self, members: tuple[Artifact, ...]) -> frozenset[str]:
        names = {member.name for member in members}
        return frozenset().union(*(paths for name, paths in self._site.replaced if name in names))

    def _key(self, members: tuple[Artifact, ...], listings: dict[Artifact, tuple[Listed, ...]]) -> str:
        surroundings = self._placement.surroundings(row.path for member in members for row in listings[member])
        value = [*self._site.key(), _named(members), surroundings, sorted(self._removed(members))]
        return hashlib.sha256(canonical(value)).hexdigest()

    # making

    def _made(self, members: tuple[Artifact, ...], key: str, writing: Writers, step: Step) -> Layer:
        """The layer; another run may make it at this very moment."""
        with self._store.alone("layer", key):
            return find(self._store, key, _comment(members)) or self._write(members, key, writing, step)

    def _write(self, members: tuple[Artifact, ...], key: str, writing: Writers, step: Step) -> Layer:
        splicer = self._splicer()
        files: list[tuple[str, Planned]] = []
        readers = []
        for member in members:
            with self._store.open(member.digest) as file:
                found = self._listed.pop(member, None) or self._plan(member, Reader(file))
                found.reader.file = file
                compiled = compile_planned(self._site, found.files, splicer, checked=not member.locked)
            planned = complete(found.files, compiled, found.dist_info, self._site.facts)
            files.extend((self._placement.place(each.path, each.owner, self._gone), each) for each in planned)
            readers.append((member.digest, found.reader))
        merged = write.merge(files)
        removed = self._removed(members).difference(merged)
        order = Order(
            files=merged,
            folders=[self._placement.entry(folder) for folder in write.parents([*merged, *removed])],
            comment=_comment(members),
            removed=removed,
            readers=tuple(readers),
            observer=self._site.observer,
        )
        layer = writing.fulfil(order, _size(members), step.advance)
        keep(self._store, key, layer)
        self._ready(layer.descriptor)
        return layer


def _size(members: Iterable[Artifact]) -> int:
    return sum(each.size for each in members)


def _comment(members: tuple[Artifact, ...]) -> str:
    return ", ".join(label_of(each) for each in members)
