"""The layers of all wheels: found in the store, or made."""

import hashlib
import json
import threading
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from typing import Final

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
from dpbuild.stages.layers.ahead import Readers
from dpbuild.stages.layers.bytecode import compile_planned
from dpbuild.stages.layers.conflicts import Conflicts, Listed
from dpbuild.stages.layers.content import Archived
from dpbuild.stages.layers.group import borders, divided, group, spread
from dpbuild.stages.layers.kept import comments_of, find, find_all, keep, named, recall, together
from dpbuild.stages.layers.order import Order
from dpbuild.stages.layers.site import Site
from dpbuild.stages.layers.wheels import Planned, Reader, complete, open_wheel, plan, read_by
from dpbuild.stages.layers.writers import Writers, writers

# Raise this whenever something else is kept of a wheel that was listed.
_LISTING: Final = 2
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
    """One layer for each group of wheels, and several for a large wheel.

    ``wait`` returns when a wheel is in the store, and raises what keeps it from that; it is asked for each one first.
    ``taken`` counts the image's other layers; ``cores`` are there to be used, by processes that ``helper`` starts where
    there is much to do. ``making`` is called once, as soon as it is likely that a layer has to be made; ``ready`` is
    told each of these as soon as it is made, from several threads.
    Raises UnsafeWheel (53), PathConflict (61), StoreError (110).
    """
    wheels = tuple(artifacts)
    groups = group(wheels, taken)
    numbers = spread(groups, taken)
    key = together(numbers, site)
    known = recall(store, key, groups) if key else None
    if known is not None:
        return WheelLayers(*known)
    if key:
        # Among wheels of which one is another, a layer mostly is another, too.
        making()
    later = making if not key else lambda: None
    maker = _Maker(site, store, min(cores, _MOST_THREADS), ready, helper, wait, later)
    made = maker.make(wheels, numbers, reporter)
    if key:
        store.put("layers", key, canonical({"keys": maker.keys, "scripts": sorted(made.scripts)}))
    return made


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
        # Those of each group's layers, in their order in the image.
        self.keys: list[tuple[str, ...]] = []
        # How many layers each group may become, and with which path each of them begins.
        self._numbers: Mapping[tuple[Artifact, ...], int] = {}
        self._begins: dict[tuple[Artifact, ...], tuple[str, ...]] = {}
        # What was read of wheels to list them, until they are written.
        self._listed: dict[Artifact, _Plan] = {}
        self._listings: dict[Artifact, tuple[Listed, ...]] = {}

    def _splicer(self) -> Splicer:
        splicer = getattr(self._local, "splicer", None)
        if splicer is None:
            splicer = self._local.splicer = Splicer()
        return splicer

    def make(
        self, artifacts: tuple[Artifact, ...], numbers: Mapping[tuple[Artifact, ...], int], reporter: Reporter
    ) -> WheelLayers:
        self._numbers, groups = numbers, tuple(numbers)
        here = {artifact for artifact in artifacts if self._arrived_whole(artifact)}
        complete = [members for members in groups if here.issuperset(members)]
        absent = len(groups) - len(complete)
        with ThreadPoolExecutor(max(2, self._cores) + min(absent, _MOST_WAITING)) as pool:
            # Threads are for wheels that have to be read: of what is known of the others they only wait for each other.
            read = [members for members in complete if not all(map(self._known, members))]
            keys = {members: self._listed_keys(members) for members in complete if members not in read}
            keys |= zip(read, pool.map(self._listed_keys, read), strict=True)
            found = {members: find_all(self._store, members, each) for members, each in keys.items()}
            missing = [members for members in groups if found.get(members) is None]
            if missing:
                self._making()
                # The largest first: the last one to finish should be a small one.
                missing.sort(key=_size, reverse=True)
                sizes = [_size(members) // numbers[members] for members in missing for _ in range(numbers[members])]
                with (
                    reporter.step(f"making {counted(len(sizes), 'layer')}") as step,
                    writers(self._store, sizes, self._cores, self._helper) as writing,
                ):
                    made = pool.map(lambda members: self._arrived(members, keys.get(members), writing, step), missing)
                    for members, done in zip(missing, made, strict=True):
                        keys[members], found[members] = done
                    step.done(counted(sum(len(members) for members in missing), "wheel"))
        self.keys = [keys[members] for members in groups]
        return WheelLayers(
            tuple(layer for members in groups for layer in found[members] or ()), frozenset(self._conflicts.scripts)
        )

    def _arrived_whole(self, artifact: Artifact) -> bool:
        # One that has just come with another size than the lock says is refused by who waits for it.
        return self._store.has(artifact.digest) and self._store.size(artifact.digest) == artifact.size

    def _arrived(
        self, members: tuple[Artifact, ...], keys: tuple[str, ...] | None, writing: Writers, step: Step
    ) -> tuple[tuple[str, ...], tuple[Layer, ...]]:
        """The layers of wheels that may still be on their way, and their keys, if these are not known yet."""
        for member in members:
            self._wait(member)
        with self._busy:
            keys = keys or self._listed_keys(members)
            layers = find_all(self._store, members, keys) or self._made(members, keys, writing, step)
        writing.settled(_size(members))
        return keys, layers

    def _listed_keys(self, members: tuple[Artifact, ...]) -> tuple[str, ...]:
        """The keys of the layers of wheels that do not conflict with those before. Raises PathConflict, UnsafeWheel."""
        listings = {member: self._listing(member) for member in members}
        for member, rows in listings.items():
            self._conflicts.add(member, rows)
        number = self._numbers[members]
        begins = borders(((row.path, row.weight) for row in listings[members[0]]), number) if number > 1 else ("",)
        self._begins[members] = begins
        return self._keys(members, listings, begins)

    # what is in a wheel

    def _wheel_key(self, artifact: Artifact) -> str:
        wheel = [artifact.digest.hex, artifact.filename, artifact.locked]
        return json.dumps([_LISTING, *self._site.key()[:-1], *wheel])

    def _known(self, artifact: Artifact) -> bool:
        """Whether it was listed before, which is then at hand."""
        kept = self._store.get("wheels", self._wheel_key(artifact))
        if kept is not None:
            self._listings[artifact] = tuple(map(Listed._make, json.loads(kept)))
        return kept is not None

    def _listing(self, artifact: Artifact) -> tuple[Listed, ...]:
        if artifact in self._listings or self._known(artifact):
            return self._listings.pop(artifact)
        with self._store.opened(artifact.digest) as file:
            found = self._plan(artifact, Reader(file))
        self._listed[artifact] = found
        rows = tuple(
            Listed(each.path, each.mode, f"{each.identity[0]}:{each.identity[1].hex()}", each.script, _weight(each))
            for each in found.files
        )
        self._store.put(
            "wheels",
            self._wheel_key(artifact),
            canonical(rows),
        )
        return rows

    def _plan(self, artifact: Artifact, reader: Reader) -> "_Plan":
        opened = open_wheel(artifact, reader, self._splicer())
        return _Plan(reader, opened.wheel.dist_info, plan(opened, self._site.facts, self._splicer()))

    # keys

    def _removed(self, members: tuple[Artifact, ...]) -> frozenset[str]:
        names = {member.name for member in members}
        return frozenset().union(*(paths for name, paths in self._site.replaced if name in names))

    def _keys(
        self, members: tuple[Artifact, ...], listings: dict[Artifact, tuple[Listed, ...]], begins: tuple[str, ...]
    ) -> tuple[str, ...]:
        surroundings = self._placement.surroundings(row.path for member in members for row in listings[member])
        value = [*self._site.key(), named(members), surroundings, sorted(self._removed(members))]
        if len(begins) == 1:
            return (hashlib.sha256(canonical(value)).hexdigest(),)
        parts = ([*value, begins, number] for number in range(len(begins)))
        return tuple(hashlib.sha256(canonical(part)).hexdigest() for part in parts)

    # making

    def _made(
        self, members: tuple[Artifact, ...], keys: tuple[str, ...], writing: Writers, step: Step
    ) -> tuple[Layer, ...]:
        """The layers; another run may make them at this very moment."""
        with self._store.alone("layer", keys[0]):
            return find_all(self._store, members, keys) or self._write(members, keys, writing, step)

    def _write(
        self, members: tuple[Artifact, ...], keys: tuple[str, ...], writing: Writers, step: Step
    ) -> tuple[Layer, ...]:
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
        comments = comments_of(members, len(keys))

        def one(number: int, files: dict[str, Planned], readers: Readers, removed: frozenset[str], size: int) -> Layer:
            order = Order(
                files=files,
                folders=[self._placement.entry(folder) for folder in write.parents([*files, *removed])],
                comment=comments[number],
                removed=removed,
                readers=readers,
                observer=self._site.observer,
            )
            layer = writing.fulfil(order, size, step.advance)
            keep(self._store, keys[number], layer)
            self._ready(layer.descriptor)
            return layer

        if len(keys) == 1:
            return (one(0, merged, tuple(readers), removed, _size(members)),)
        names = divided(((path, each.path) for path, each in merged.items()), self._begins[members])
        sizes = [sum(_weight(merged[path]) for path in row) for row in names]

        def part(number: int) -> Layer:
            kept = find(self._store, keys[number], comments[number])
            if kept is not None:
                return kept
            # Two may be written here at once, and a reader is for one.
            digest, reader = readers[0][0], Reader(readers[0][1].file)
            files = {path: read_by(reader, merged[path]) for path in names[number]}
            return one(number, files, ((digest, reader),), removed if number == 0 else frozenset(), sizes[number])

        # The largest first, as with wheels. One larger than all others is made by two processes, which are free then.
        order = sorted(range(len(keys)), key=lambda number: -sizes[number])
        made = {number: part(number) for number in order[:1] if 2 * sizes[number] > sum(sizes)}
        with ThreadPoolExecutor(min(max(2, self._cores), len(keys))) as pool:
            jobs = {number: pool.submit(part, number) for number in order if number not in made}
            done, _ = wait_for(jobs.values(), return_when=FIRST_EXCEPTION)
            if failed := [job for job in done if job.exception() is not None]:
                # What was not begun by then is given up.
                pool.shutdown(wait=False, cancel_futures=True)
                failed[0].result()
            made |= {number: job.result() for number, job in jobs.items()}
        return tuple(made[number] for number in range(len(keys)))


def _size(members: Iterable[Artifact]) -> int:
    return sum(each.size for each in members)


def _weight(planned: Planned) -> int:
    content = planned.content
    return content.entry.compressed if isinstance(content, Archived) else content.size
