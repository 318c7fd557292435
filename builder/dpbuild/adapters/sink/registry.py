"""Repositories of registries: blobs in parallel, then the manifests of an index, then evidence, the tags last.

What is there already is found out with as few requests as can be: of an image that is known, a tag that names it
answers everything with one HEAD; of one that is to be made, the manifest that the tag names now says, with one GET,
which blobs the repository has. Then what is small and not among them is new.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Mapping
from functools import cached_property, partial
from typing import TYPE_CHECKING, BinaryIO, cast

from dpbuild.adapters.registry.errors import BlobUnknown
from dpbuild.adapters.sink import evidence, homes
from dpbuild.adapters.sink.place import Later, Meter, Place, finish, settle
from dpbuild.errors import DpbuildError, RateLimited, UsageError
from dpbuild.frozen import replace
from dpbuild.model.image import Image, Images, Written
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.reference import Reference, RegistryReference
from dpbuild.ports.registry import Registry
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.store import Store

if TYPE_CHECKING:
    from concurrent.futures import Future, ThreadPoolExecutor

# Blobs sent at a time: enough to fill a line, few enough for a registry on the same machine.
THREADS = 4


class RegistrySink:
    """Pushes to every tag; ``blob`` opens a layer, also one of the base.

    Layers of the base are mounted where the base is in the same registry; every other repository of a registry
    mounts from the first one that was written, and from those that ``store`` remembers of builds before. It
    remembers, too, which evidence is attached where.
    """

    def __init__(
        self,
        registry: Registry,
        tags: tuple[RegistryReference, ...],
        blob: Callable[[Descriptor], BinaryIO],
        reporter: Reporter,
        threads: int = THREADS,
        store: Store | None = None,
    ) -> None:
        # A pushed image gets the digest that it has; a digest in the name could only contradict it.
        self._tags = tuple(dict.fromkeys(replace(tag, tag=tag.tag or "latest", digest=None) for tag in tags))
        self._registry = registry
        self._blob = blob
        self._reporter = reporter
        self._threads = threads
        self._store = store
        self._heads: dict[RegistryReference, Descriptor | None] = {}
        self._early: Place | None = None
        self._ways: Mapping[Digest, RegistryReference] = {}
        self._jobs: list[Future[None]] = []
        self._begun: set[Digest] = set()
        # What the first tag names, if that was read.
        self._named: homes.Named | None = None
        self._lock = threading.Lock()
        self._closed = False

    @cached_property
    def _pool(self) -> ThreadPoolExecutor:
        """Threads begin when something is to be done, and end with this object or by ``close``.

        It is made under the lock by what may ask from several threads at once.
        """
        # Imported here, because where nothing has changed there is nothing to do.
        from concurrent.futures import ThreadPoolExecutor

        return ThreadPoolExecutor(max_workers=self._threads, thread_name_prefix="push")

    def check(self, images: Images | None = None) -> None:
        """Ask what the tags name now: an unreachable registry or a wrong password shows before anything is built.

        ``write`` uses the answers. What a tag names now most likely has nearly all of an image that is to be made,
        so the first one's is read at once. Raises UsageError, Unauthorized, RegistryError.
        """
        if not self._tags:
            raise UsageError("--push needs a tag", hint="name one with -t, or in tags of [tool.dpbuild]")
        for tag in self._tags:
            unknown = images is None and not self._heads
            self._heads[tag] = self._read(tag) if unknown else self._registry.head_manifest(tag)

    def _read(self, tag: RegistryReference) -> Descriptor | None:
        try:
            found = self._registry.look_up(tag)
        except RateLimited:
            # Registries that count what is read do not count what is looked for.
            return self._registry.head_manifest(tag)
        if found is None:
            return None
        if homes.is_image(found[0]):
            self._named = homes.Named(self._registry.source(tag), *found)
        return found[0]

    def ahead(self, layer: Descriptor, base: Reference | None = None) -> None:
        """Send a layer to the first repository while others are still being made."""
        home = None
        if base is not None:
            # ``write`` finds them in what the tag names now.
            if self._named is not None:
                return
            if isinstance(base, RegistryReference) and base.registry == self._tags[0].registry:
                if base.name == self._tags[0].name:
                    return
                home = base
        with self._lock:
            # Images for several platforms share layers.
            if layer.digest in self._begun or self._closed:
                return
            self._begun.add(layer.digest)
            if self._early is None:
                self._early = Place(tags=self._tags[:1], siblings=(), step=Later())
                self._ways = homes.recall(self._store, self._tags[0])
            home = home or self._ways.get(layer.digest)
            job = partial(self._layer, self._early, layer, home)
            self._jobs.append(self._pool.submit(self._quietly, job, self._early))

    def ahead_of(self, images: Images) -> None:
        """Send configs and evidence to the first repository while the image is proved."""
        heads = [head for tag, head in self._heads.items() if head is not None and tag.name == self._tags[0].name]
        # What an index names is not known yet, nor so what need not be sent.
        if any(head.digest == images.descriptor.digest for head in heads) or (self._named and not self._there()):
            return
        with self._lock:
            if self._early is None:
                self._early = Place(tags=self._tags[:1], siblings=(), step=Later())
        there = self._there()
        self._early.trusted = bool(there)
        configs = (image.manifest.config for image in images.images)
        self._early.skip(row for row in configs if row.digest in there)
        # The largest first: it takes longest.
        for _, job in sorted(self._documents(images, self._early, {}), key=lambda row: -row[0].size):
            self._jobs.append(self._pool.submit(self._quietly, job, self._early))

    def _there(self) -> frozenset[Digest]:
        return self._named.blobs if self._named is not None else frozenset()

    def _quietly(self, job: Callable[[], None], place: Place) -> None:
        try:
            job()
        except (DpbuildError, KeyError, OSError):
            # Sent again by ``write``, which says what is wrong.
            place.stop.set()

    def _layer(self, place: Place, row: Descriptor, home: RegistryReference | None) -> None:
        there = self._there()
        if row.digest in there:
            place.skip([row])
        else:
            self._send_one(place, row, None, home, fresh=bool(there) and homes.is_small(row))

    def close(self) -> None:
        """Give up what is under way."""
        if self._early is not None:
            self._early.stop.set()
        self._closed = True
        if "_pool" in self.__dict__:
            self._pool.shutdown(wait=False, cancel_futures=True)

    def _take_over(self, place: Place) -> None:
        """What was sent ahead to the first repository is there, or comes to its end."""
        if self._early is not None:
            cast("Later", self._early.step).go_on(place.step)
            settle(self._jobs)
            place.sent, place.present, place.done = self._early.sent, self._early.present, self._early.done

    def write(self, images: Images) -> Written:
        """Push; a tag moves only when everything is there. Raises the registry errors."""
        sent = present = 0
        places: dict[str, list[RegistryReference]] = {}
        for tag in self._tags:
            places.setdefault(tag.name, []).append(tag)
        written: list[RegistryReference] = []
        for name, tags in places.items():
            with self._reporter.step(f"push {name}", sum(row.size for row in _blobs(images).values())) as step:
                place = Place(tags=tuple(tags), siblings=tuple(written), step=step)
                if not written:
                    self._take_over(place)
                self._write(images, place)
                result = f"{_size(place.sent)} sent, {_size(place.present)} there"
                step.done(result if place.sent else "already there")
            sent, present = sent + place.sent, present + place.present
            written.append(tags[0])
        return Written(
            kind="registry",
            reference=str(self._tags[0].at(images.descriptor.digest)),
            tags=tuple(str(tag) for tag in self._tags),
            descriptor=images.descriptor,
            platforms=tuple(image.platform for image in images.images),
            sent=sent,
            present=present,
        )

    def _write(self, images: Images, place: Place) -> None:
        heads = {
            tag: self._heads.pop(tag) if tag in self._heads else self._registry.head_manifest(tag) for tag in place.tags
        }
        pending = [tag for tag, head in heads.items() if head is None or head.digest != images.descriptor.digest]
        if len(pending) < len(heads):
            # A tag of this repository names the image, so the repository has all of it.
            place.skip(_blobs(images).values())
        else:
            known = self._known(images, next((tag for tag, head in heads.items() if homes.is_image(head)), None), place)
            try:
                self._content(images, place, known)
            except BlobUnknown:
                if not known:
                    raise
                # The registry lost a blob of a manifest that it has; ask for every single one.
                self._content(images, place.again(), frozenset())
        jobs = []
        if images.referrers:
            stay = evidence.attach(
                self._registry,
                place.reference,
                images,
                self._store,
                new=len(pending) == len(heads),
                subject=lambda: self._put(images, place, place.reference.at(images.descriptor.digest)),
            )
            # Whether somebody else has written the list of evidence is seen while tags are put.
            if pending:
                jobs.append(self._pool.submit(stay))
            else:
                stay()
        # All is there: the tags may name it.
        for tag in pending[:1]:
            self._put(images, place, tag)
        jobs += [self._pool.submit(self._put_again, images, tag) for tag in pending[1:]]
        finish(jobs)

    def _put(self, images: Images, place: Place, name: RegistryReference) -> None:
        """The last manifest, under a tag or its digest, the first time: what the registry lacks shows now."""
        try:
            self._put_again(images, name)
        except BlobUnknown:
            if not place.trusted:
                raise
            self._content(images, place.again(), frozenset())
            self._put_again(images, name)

    def _put_again(self, images: Images, name: RegistryReference) -> None:
        data = images.index_bytes or images.images[0].manifest_bytes
        self._registry.push_manifest(name, images.descriptor.media_type, data)

    def _content(self, images: Images, place: Place, known: frozenset[Digest]) -> None:
        """Everything but the last manifest, whose writing makes the image visible."""
        place.trusted = bool(known)
        blobs = _blobs(images)
        place.skip(row for digest, row in blobs.items() if digest in known)
        self._send(images, place, [row for digest, row in blobs.items() if digest not in known])
        if images.index_bytes:
            new = [image for image in images.images if image.descriptor.digest not in known]
            finish([self._pool.submit(self._child, image, place) for image in new])

    def _child(self, image: Image, place: Place) -> None:
        where = place.reference.at(image.descriptor.digest)
        self._registry.push_manifest(where, image.manifest.media_type, image.manifest_bytes)

    def _known(self, images: Images, tag: RegistryReference | None, place: Place) -> frozenset[Digest]:
        """What the repository has, as far as one or two reads can tell."""
        known: set[Digest] = set()
        for image in images.images:
            if isinstance(image.base, RegistryReference) and image.base.name == place.reference.name:
                known.update(row.digest for row in image.manifest.layers[: image.base_layers])
        if tag is None:
            return frozenset(known)
        found = self._named if tag == self._tags[0] else None
        if found is None:
            # It may be gone since it was looked for.
            answer = self._registry.look_up(tag)
            if answer is None:
                return frozenset(known)
            found = homes.Named(self._registry.source(tag), *answer)
        return found.parts({image.platform for image in images.images}, lambda: self._pool) | known

    def _send(self, images: Images, place: Place, rows: list[Descriptor]) -> None:
        large = any(row.size >= homes.SMALLEST for row in rows)
        known = homes.recall(self._store, place.reference) if large else {}
        ways = {**known, **homes.beside(images, place)}
        configs = {image.manifest.config.digest for image in images.images}
        jobs = self._documents(images, place, ways)
        for row in rows:
            if row.digest not in place.done and row.digest not in configs:
                fresh = homes.is_small(row) and place.trusted
                jobs.append((row, partial(self._send_one, place, row, None, ways.get(row.digest), fresh=fresh)))
        # The largest first: the line is full until the end.
        jobs.sort(key=lambda job: (-job[0].size, job[0].digest))
        finish([self._pool.submit(job) for _, job in jobs], place.stop)
        if large:
            homes.remember(self._store, place.reference, _blobs(images).values())

    def _documents(
        self, images: Images, place: Place, ways: Mapping[Digest, RegistryReference]
    ) -> list[tuple[Descriptor, Callable[[], None]]]:
        """What sends the configs, and the evidence for the place: what it finds there it need not send one by one."""
        jobs: list[tuple[Descriptor, Callable[[], None]]] = []
        for image in images.images:
            config = image.manifest.config
            if config.digest not in place.done:
                home, fresh = ways.get(config.digest), homes.is_small(config)
                send = partial(self._send_one, place, config, image.config_bytes, home, fresh=fresh)
                jobs.append((config, send))
        for each in evidence.blobs(images, place.reference):
            row = each.descriptor
            fresh = not evidence.is_shared(row) and (place.trusted or homes.is_small(row))
            push = partial(evidence.push, self._registry, place.reference, each, fresh=fresh, stop=place.stop)
            jobs.append((row, push))
        return jobs

    def _send_one(
        self, place: Place, row: Descriptor, data: bytes | None, home: RegistryReference | None, *, fresh: bool
    ) -> None:
        meter = Meter(place)

        def content() -> BinaryIO:
            return cast("BinaryIO", meter.wrap(io.BytesIO(data) if data is not None else self._blob(row)))

        if place.stop.is_set():
            return
        sent = self._registry.push_blob(place.reference, row, content, home, fresh=fresh)
        place.count(row, sent=sent, shown=meter.shown)


def _blobs(images: Images) -> dict[Digest, Descriptor]:
    """Every layer and config, once."""
    return {row.digest: row for image in images.images for row in (*image.manifest.layers, image.manifest.config)}


def _size(count: int) -> str:
    return f"{count / 1e6:.1f} MB" if count >= 1e5 else f"{count / 1e3:.1f} kB"
