"""Builders for Debian bases: packages of the base's own suite, unpacked over its files and kept by content.

No maintainer script is run; the few links that they would make and builds need are made here.
"""

import os
from collections.abc import Callable, Iterator, Sequence
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
from dpbuild.model.facts import SystemPackage
from dpbuild.ports.reporter import Reporter, Step
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

    def folder(self, base: Base, suite: Suite, plan: BuilderPlan) -> str:
        """The builder's files, made once; packages and the base are shared with other builders.

        Raises BaseImageError, HashMismatch, StoreError.
        """
        key = stage.digest(plan, [str(row.digest) for row in base.manifest.layers])
        found = self._store.folder("builder", key)
        if found is not None:
            return found
        title = f"making a builder of {len(plan.pins)} packages of {suite.name}"
        with self._reporter.step(title) as step, self._store.make_folder("builder", key) as fresh:
            names = frozenset(name for name, _, _ in plan.pins)
            with ThreadPoolExecutor(_THREADS) as pool:
                trees = list(pool.map(lambda pin: self._tree(base, suite, pin, names, step), plan.pins))
            try:
                for tree in (self._base_folder(base), *trees):
                    rootfs.overlay(tree, fresh)
                _links(fresh, base)
            except (ValueError, OSError) as problem:
                raise StoreError(f"the builder cannot be put together: {problem}", where=fresh) from None
        return self._kept("builder", key)

    def trees(self, base: Base, suite: Suite, plan: BuilderPlan) -> Iterator[tuple[SystemPackage, str, str]]:
        """Every package of a builder with the folder of its files and the sha256 of its .deb.

        Raises as ``folder``: one that is not in the store any more is fetched.
        """
        gone = [pin for pin in plan.pins if self._store.folder("deb", pin[2]) is None]
        if gone:
            names = frozenset(name for name, _, _ in plan.pins)
            with self._reporter.step(f"fetching {len(gone)} packages of the builder again") as step:
                for pin in gone:
                    self._tree(base, suite, pin, names, step)
        architecture = ARCHITECTURES[base.platform.architecture]
        for name, version, sha256 in plan.pins:
            package = SystemPackage(name=name, version=version, architecture=architecture)
            yield package, self._kept("deb", sha256), sha256

    def _tree(self, base: Base, suite: Suite, pin: tuple[str, str, str], names: frozenset[str], step: Step) -> str:
        """A package's files, unpacked once."""
        name, _, sha256 = pin
        found = self._store.folder("deb", sha256)
        if found is not None:
            return found
        data = self._package(base, suite, pin, names)
        with self._store.make_folder("deb", sha256) as fresh:
            try:
                rootfs.unpack(deb.tar(data), fresh)
            except ValueError as problem:
                raise BaseImageError(f"the package {name} cannot be unpacked: {problem}") from None
            except OSError as problem:
                raise StoreError(f"the package {name} cannot be unpacked: {problem.strerror}", where=fresh) from None
        step.advance(len(data))
        return self._kept("deb", sha256)

    def _kept(self, kind: str, key: str) -> str:
        found = self._store.folder(kind, key)
        if found is None:
            raise StoreError("a part of a builder vanished from the store", where=key)
        return found

    def _package(self, base: Base, suite: Suite, pin: tuple[str, str, str], names: frozenset[str]) -> bytes:
        name, version, sha256 = pin
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
        return data

    def _mirror(self, what: str) -> DebianArchive:
        if self._archive is None:
            raise BaseImageError(f"{what} is not known, and dpbuild is offline", hint="build once without --offline")
        return self._archive


def _links(folder: str, base: Base) -> None:
    """What maintainer scripts would have left behind, where no package brings it itself."""
    minor = f"{base.facts.minor[0]}.{base.facts.minor[1]}"
    for parent in stage.PROGRAMS:
        where = Path(rootfs.inside(folder, parent))
        for name, target in (*stage.LINKS, ("python3-config", f"python{minor}-config")):
            if not os.path.lexists(where / name) and (where / target).exists():
                (where / name).symlink_to(target)
