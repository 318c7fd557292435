"""Bases composed from Debian's packages, the way the distroless project builds its own."""

import contextlib
import threading
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dpbuild.adapters.debian import DebianArchive
from dpbuild.adapters.source.compose_images import KIND, Composition, Images, Pin, loaded
from dpbuild.adapters.source.compose_layers import Layers, LostLayer, Made, key_of
from dpbuild.debian import image
from dpbuild.debian.indices import Package, timestamp
from dpbuild.debian.suites import ARCHITECTURES, SUITES, VARIANTS, Suite
from dpbuild.errors import BaseImageError, NotFound, StoreError
from dpbuild.frozen import asdict, frozen, replace
from dpbuild.model.words import counted
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical, encode_config, encode_index, encode_manifest
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Index, Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import ComposeReference
from dpbuild.ports.reporter import Reporter, Step
from dpbuild.ports.store import Store

__all__ = ["ComposeSource", "Composition", "Pin"]

_THREADS: Final = 4
_CHUNK: Final = 1 << 20
# No package of these sets comes near; a pool's file that no index names any more has no other limit.
_LARGEST: Final = 256 << 20


@frozen
class _Chosen:
    """A package of the set. ``source`` says where it can be had; None for a pin that no index names."""

    name: str
    version: str
    sha256: str
    source: Package | None

    @property
    def pin(self) -> Pin:
        return self.name, self.version, self.sha256


class ComposeSource:
    """``compose:SUITE[@TIMESTAMP][:VARIANT][@DIGEST]`` as an ``ImageSource``.

    ``archive`` is None where no mirror is to be asked; ``offline`` says so to the user. With a digest in
    the reference nothing is asked of the mirror if the store has that image; otherwise it is composed anew, from
    the packages that ``pinned`` names for each platform, and must come out the same. More than one platform
    makes an index; a digest means what ``resolve`` returned for these same platforms, or one of its images.
    """

    def __init__(
        self,
        reference: ComposeReference,
        platforms: tuple[Platform, ...],
        store: Store,
        archive: DebianArchive | None,
        *,
        offline: bool = False,
        pinned: Mapping[Platform, tuple[Pin, ...]] | None = None,
        reporter: Reporter | None = None,
    ) -> None:
        self._reference = reference
        self._words = str(replace(reference, digest=None)).removeprefix("compose:")
        self._platforms = tuple(dict.fromkeys(row.normalized() for row in platforms))
        self._store = store
        self._archive = None if offline else archive
        self._offline = offline
        self._pinned = dict(pinned or {})
        self._reporter = reporter
        self._layers = Layers(store)
        self._images = Images(store)
        self._lock = threading.Lock()
        self._resolved: tuple[Descriptor, bytes] | None = None
        self._compositions: tuple[Composition, ...] = ()
        self._selections: dict[str, bytes] = {}

    @property
    def composition(self) -> tuple[Composition, ...]:
        """What it was made of, one for each platform; composes it if need be."""
        self.resolve()
        return self._compositions

    def resolve(self) -> tuple[Descriptor, bytes]:
        """The manifest, or the index over several. Raises BaseImageError, HashMismatch, StoreError."""
        with self._lock:
            if self._resolved is None:
                self._resolved = self._resolve()
            return self._resolved

    def manifest(self, descriptor: Descriptor) -> bytes:
        """A child manifest or a config."""
        return b"".join(self.blob(descriptor))

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of anything that the image is made of."""
        self.resolve()
        try:
            file = self._store.open(descriptor.digest)
        except KeyError:
            raise StoreError(
                f"the store lost {descriptor.digest}, a part of {self._reference}",
                hint="run it again: the base is then composed anew",
            ) from None
        with file:
            while chunk := file.read(_CHUNK):
                yield chunk

    # resolving

    def _resolve(self) -> tuple[Descriptor, bytes]:
        suite = self._suite()
        wanted = self._reference.digest
        if wanted is not None:
            if (found := self._kept(wanted)) is not None:
                return found
        elif self._offline:
            return self._last()
        made = [self._compose(suite, platform) for platform in self._platforms]
        descriptors = [descriptor for descriptor, _ in made]
        descriptor, data = made[0]
        if len(made) > 1:
            data = encode_index(Index(media_type=mediatype.OCI_INDEX, manifests=tuple(descriptors)))
            descriptor = self._put(data, mediatype.OCI_INDEX)
        if wanted is not None and wanted != descriptor.digest:
            if wanted not in [row.digest for row in descriptors]:
                raise BaseImageError(
                    f"composing {self._words} gives {descriptor.digest}, expected {wanted}",
                    hint=None if self._pinned else "Debian's packages have moved on: dpbuild lock --upgrade-base",
                )
            at = next(index for index, row in enumerate(descriptors) if row.digest == wanted)
            descriptor, data = made[at]
            self._compositions = (self._compositions[at],)
        descriptor = replace(descriptor, platform=None)
        # Nothing that an index said is kept before everything that it named turned out to be true.
        for key, value in self._selections.items():
            self._store.put(KIND, key, value)
        self._images.keep(descriptor, self._compositions)
        self._images.set_last(self._reference, self._platforms, descriptor.digest)
        return descriptor, data

    def _suite(self) -> Suite:
        reference = self._reference
        suite = SUITES.get(reference.suite)
        if suite is None:
            raise BaseImageError(f"{reference.suite} cannot be composed", hint=f"one of: {', '.join(SUITES)}")
        if reference.variant not in VARIANTS:
            raise BaseImageError(
                f"{reference.suite} has no variant {reference.variant}", hint=f"one of: {', '.join(VARIANTS)}"
            )
        for platform in self._platforms:
            if platform.os != "linux" or platform.architecture not in ARCHITECTURES or platform.variant:
                raise BaseImageError(
                    f"{reference.suite} cannot be composed for {platform}",
                    hint=f"one of: {', '.join(f'linux/{row}' for row in ARCHITECTURES)}",
                )
        if not self._platforms:
            raise BaseImageError(f"no platform was named to compose {reference.suite} for")
        return suite

    def _kept(self, digest: Digest) -> tuple[Descriptor, bytes] | None:
        found = self._images.find(digest)
        if found is None:
            return None
        self._compositions = found.compositions
        return found.descriptor, found.data

    def _last(self) -> tuple[Descriptor, bytes]:
        digest = self._images.last(self._reference, self._platforms)
        if digest is not None and (found := self._kept(digest)) is not None:
            return found
        raise self._no_network(f"{self._reference} has not been composed on this machine yet")

    def _no_network(self, what: str) -> BaseImageError:
        if self._offline:
            return BaseImageError(f"{what}, and dpbuild is offline", hint="run it once without --offline")
        return BaseImageError(f"{what}, and no Debian mirror may be asked")

    # composing

    def _compose(self, suite: Suite, platform: Platform) -> tuple[Descriptor, bytes]:
        title = f"Composing {self._words} for {platform}"
        with self._reporter.step(title) if self._reporter else contextlib.nullcontext() as step:
            chosen, date = self._choose(suite, platform)
            with self._store.alone("compose", f"{self._reference} {platform}"):
                try:
                    layers = self._made(suite, platform, chosen, step)
                except LostLayer:
                    # The store has thrown the damaged one away, so it is now made again.
                    layers = self._made(suite, platform, chosen, step)
            found = {row.name: row.version for row in chosen.values()}
            diff_ids = tuple(row.diff_id for row in layers)
            config = image.config(suite, self._reference.variant, platform, found, diff_ids)
            data = encode_manifest(
                Manifest(
                    media_type=mediatype.OCI_MANIFEST,
                    config=self._put(encode_config(config), mediatype.OCI_CONFIG),
                    layers=tuple(row.descriptor for row in layers),
                    annotations=image.annotations(suite, found),
                )
            )
            descriptor = replace(self._put(data, mediatype.OCI_MANIFEST), platform=platform)
            if step is not None:
                step.done(f"{counted(len(layers), 'layer')}, {sum(row.descriptor.size for row in layers) / 1e6:.1f} MB")
        composition = Composition(
            platform=platform,
            digest=descriptor.digest,
            packages=tuple(row.pin for row in chosen.values()),
            date=date,
        )
        self._compositions = (*self._compositions, composition)
        return descriptor, data

    def _choose(self, suite: Suite, platform: Platform) -> tuple[dict[str, _Chosen], str]:
        """The packages, in order, and the date of the indices."""
        names = suite.packages(self._reference.variant)
        pins = self._pinned.get(platform)
        if pins:
            found = {name: _Chosen(name=name, version=version, sha256=sha, source=None) for name, version, sha in pins}
            date = ""
        else:
            if self._archive is None:
                raise self._no_network(f"the packages of {suite.name} are not known")
            rows, date = self._select(self._archive, suite, platform, names)
            found = {
                row.name: _Chosen(name=row.name, version=row.version, sha256=row.sha256, source=row) for row in rows
            }
        missing = [name for name in names if name not in found]
        if missing:
            raise BaseImageError(
                f"{'the lock' if pins else 'Debian'} has no package {', '.join(missing)},"
                f" which {suite.name} needs on {platform}"
            )
        return {name: found[name] for name in names}, date

    def _select(
        self, archive: DebianArchive, suite: Suite, platform: Platform, names: tuple[str, ...]
    ) -> tuple[list[Package], str]:
        architecture = ARCHITECTURES[platform.architecture]
        releases = archive.releases(suite.codename)
        date = timestamp(max(row.release.date for row in releases))
        hashes = [row.sha256 for row in archive.indices(suite.codename, architecture)]
        key = key_of("selection", suite.name, architecture, list(names), hashes)
        kept = loaded(self._store.get(KIND, key)).get("packages")
        with contextlib.suppress(TypeError):
            if kept:
                return [Package(**row) for row in kept], date
        found = archive.select(suite.codename, architecture, frozenset(names))
        rows = [found[name] for name in names if name in found]
        self._selections[key] = canonical({"packages": [asdict(row) for row in rows]})
        return rows, date

    def _made(
        self, suite: Suite, platform: Platform, chosen: dict[str, _Chosen], step: Step | None
    ) -> tuple[Made, ...]:
        """All layers, lowest first. What has to be downloaded is verified before anything is written."""
        items = suite.layers(self._reference.variant)
        hashes = {item: chosen[item.package].sha256 if item.package else "" for item in items}
        plain = [item for item in dict.fromkeys(items) if item.step != "ldconfig_cache"]
        made = {item: self._layers.find(self._layers.key(suite, item, hashes[item])) for item in plain}
        absent = [item for item in plain if made[item] is None]
        needed = list(dict.fromkeys(item.package for item in absent if item.package))
        with ThreadPoolExecutor(_THREADS) as pool:
            try:
                fetched = [pool.submit(self._fetch, suite, platform, chosen[name], step) for name in needed]
                data = {name: future.result() for name, future in zip(needed, fetched, strict=True)}
                futures = [
                    pool.submit(self._layers.make, suite, item, hashes[item], data.get(item.package, b""))
                    for item in absent
                ]
                for item, future in zip(absent, futures, strict=True):
                    made[item] = future.result()
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        layers = [row for item in items if (row := made.get(item)) is not None]
        if len(layers) < len(items):
            layers.append(self._layers.ldconfig_cache(tuple(layers), chosen["libc6"].version))
        return tuple(layers)

    def _fetch(self, suite: Suite, platform: Platform, wanted: _Chosen, step: Step | None) -> bytes:
        archive = self._archive
        if archive is None:
            raise self._no_network(f"the package {wanted.name} {wanted.version} is not in the store")
        data = None
        if wanted.source is not None:
            with contextlib.suppress(NotFound):
                data = archive.package(wanted.source)
        else:
            data = archive.pinned(
                suite.codename,
                ARCHITECTURES[platform.architecture],
                wanted.pin,
                names=frozenset(suite.packages(self._reference.variant)),
                largest=_LARGEST,
            )
        if data is None:
            raise BaseImageError(
                f"the mirror does not have {wanted.name} {wanted.version}",
                hint="dpbuild lock --upgrade-base takes what it has" if wanted.source is None else None,
            )
        if step is not None:
            step.advance(len(data))
        return data

    # writing

    def _put(self, data: bytes, media_type: str) -> Descriptor:
        with self._store.writer() as blob:
            blob.write(data)
            digest, size = blob.commit(Digest.of(data))
        return Descriptor(media_type=media_type, digest=digest, size=size)
