"""Builders for Debian bases: packages of the base's own suite, unpacked over its files and kept by content.

No maintainer script is run; the few links that they would make and builds need are made here.
"""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from dpbuild.adapters import rootfs
from dpbuild.adapters.debian import DebianArchive
from dpbuild.debian import deb
from dpbuild.debian.closure import ClosureError, close
from dpbuild.debian.indices import BadIndex, Package
from dpbuild.debian.suites import ARCHITECTURES, Suite
from dpbuild.errors import BaseImageError, ConfigError, NotFound, StoreError
from dpbuild.model.base import Base
from dpbuild.model.builder import BuilderPlan
from dpbuild.oci.digest import Digest
from dpbuild.ports.reporter import Reporter
from dpbuild.ports.store import Store
from dpbuild.stages import builder as stage

_THREADS: Final = 4
# The largest package of a compiler is a tenth of this.
_LARGEST: Final = 512 << 20


class DebianBuilders:
    """``archive`` is None where no mirror may be asked. ``base_folder`` gives the base's files, unpacked."""

    def __init__(
        self,
        archive: DebianArchive | None,
        store: Store,
        reporter: Reporter,
        base_folder: Callable[[Base], str],
    ) -> None:
        self._archive = archive
        self._store = store
        self._reporter = reporter
        self._base_folder = base_folder
        self._rows: dict[str, Package] = {}

    def plan(self, base: Base, suite: Suite, extra: Sequence[str] = ()) -> BuilderPlan:
        """The packages of a builder for ``base`` that also has ``extra``, as the suite has them now.

        Raises ConfigError for packages that the suite lacks, TargetError, BaseImageError.
        """
        archive = self._mirror(f"what a builder for {suite.name} consists of")
        index = archive.index(suite.codename, ARCHITECTURES[base.platform.architecture])
        have = {row.name: row.version for row in base.facts.packages}
        try:
            rows = close(stage.tools(base, suite, extra), have, index, same_upstream=True)
        except ClosureError as problem:
            raise ConfigError(
                f"a builder for {suite.name} cannot be put together: {problem}",
                hint="the packages are named by a recipe, or by packages of [tool.dpbuild.builder]",
            ) from None
        except BadIndex as problem:
            raise BaseImageError(f"the index of {suite.codename} cannot be used: {problem}") from None
        self._rows |= {row.sha256: row for row in rows}
        return BuilderPlan(
            platform=str(base.platform),
            base=str(base.descriptor.digest),
            suite=suite.name,
            wanted=tuple(sorted(extra)),
            pins=tuple((row.name, row.version, row.sha256) for row in rows),
        )

    def folder(self, base: Base, suite: Suite, plan: BuilderPlan, within: BuilderPlan | None = None) -> str:
        """The builder's files, made once; those of ``within``, a smaller builder, are shared with it.

        Raises BaseImageError, HashMismatch, StoreError.
        """
        key = stage.digest(plan, [str(row.digest) for row in base.manifest.layers])
        found = self._store.folder("builder", key)
        if found is not None:
            return found
        share = within is not None and within != plan and set(within.pins) < set(plan.pins)
        lower = self.folder(base, suite, within) if share and within is not None else self._base_folder(base)
        pins = [row for row in plan.pins if not (share and within is not None and row in within.pins)]
        with (
            self._reporter.step(f"making a builder of {len(pins)} packages of {suite.name}") as step,
            self._store.make_folder("builder", key) as fresh,
        ):
            try:
                _linked(Path(lower), Path(fresh))
                for data in self._packages(base, suite, plan, pins):
                    rootfs.unpack(deb.tar(data), fresh)
                    step.advance(len(data))
                _links(fresh, base)
            except (deb.DebError, ValueError) as problem:
                raise BaseImageError(f"a package of the builder cannot be unpacked: {problem}") from None
            except OSError as problem:
                raise StoreError(f"the builder cannot be unpacked: {problem.strerror}", where=fresh) from None
        found = self._store.folder("builder", key)
        if found is None:
            raise StoreError("the builder vanished from the store", where=key)
        return found

    def _packages(
        self, base: Base, suite: Suite, plan: BuilderPlan, pins: Sequence[tuple[str, str, str]]
    ) -> Sequence[bytes]:
        names = frozenset(name for name, _, _ in plan.pins)
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda pin: self._package(base, suite, pin, names), pins))

    def _package(self, base: Base, suite: Suite, pin: tuple[str, str, str], names: frozenset[str]) -> bytes:
        name, version, sha256 = pin
        try:
            with self._store.open(Digest(sha256)) as blob:
                return blob.read()
        except KeyError:
            archive = self._mirror(f"the package {name} {version} is not in the store: it")
        data: bytes | None = None
        if sha256 in self._rows:
            try:
                data = archive.package(self._rows[sha256])
            except NotFound:
                data = None
        if data is None:
            architecture = ARCHITECTURES[base.platform.architecture]
            data = archive.pinned(suite.codename, architecture, pin, names=names, largest=_LARGEST)
        if data is None:
            raise BaseImageError(
                f"the mirror does not have {name} {version}, which the builder is made of",
                hint="dpbuild lock --upgrade takes what it has",
            )
        with self._store.writer() as writer:
            writer.write(data)
            writer.commit(Digest(sha256))
        return data

    def _mirror(self, what: str) -> DebianArchive:
        if self._archive is None:
            raise BaseImageError(f"{what} is not known, and dpbuild is offline", hint="build once without --offline")
        return self._archive


def _linked(source: Path, target: Path) -> None:
    """A copy of a tree that shares its files: nothing ever writes into a file of a kept tree."""
    for row in os.scandir(source):
        place = target / row.name
        if row.is_dir(follow_symlinks=False):
            place.mkdir()
            place.chmod(row.stat(follow_symlinks=False).st_mode & 0o777 | 0o700)
            _linked(Path(row.path), place)
        else:
            os.link(row.path, place, follow_symlinks=False)


def _links(folder: str, base: Base) -> None:
    """What maintainer scripts would have left behind, where no package brings it itself."""
    minor = f"{base.facts.minor[0]}.{base.facts.minor[1]}"
    for parent in stage.PROGRAMS:
        where = Path(rootfs.inside(folder, parent))
        for name, target in (*stage.LINKS, ("python3-config", f"python{minor}-config")):
            if not os.path.lexists(where / name) and (where / target).exists():
                (where / name).symlink_to(target)
