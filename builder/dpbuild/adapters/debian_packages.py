"""Packages on top of a base, from Debian's archive."""

from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from dpbuild.adapters.debian import DebianArchive
from dpbuild.debian.closure import HELPERS, ClosureError, close
from dpbuild.debian.indices import BadIndex, timestamp
from dpbuild.debian.package_index import PackageIndex
from dpbuild.debian.suites import Suite
from dpbuild.errors import BaseImageError, UnsupportedRequirement
from dpbuild.ports.debian import Pin

_THREADS: Final = 4
# What a pool's file that no index names any more may have; a library of this size would be a surprise.
_LARGEST: Final = 512 << 20


class SuitePackages:
    """``DebianPackages`` for a suite and one of Debian's architectures; ``archive`` is None when offline."""

    def __init__(self, archive: DebianArchive | None, suite: Suite, architecture: str) -> None:
        self._archive = archive
        self._suite = suite
        self._architecture = architecture

    def close(
        self, wanted: Iterable[str], have: Mapping[str, str], without: frozenset[str]
    ) -> tuple[tuple[Pin, ...], str]:
        """As ``DebianPackages``."""
        codename = self._suite.codename
        archive = self._mirror(f"the packages of {codename} are not known")
        index = archive.index(codename, self._architecture)
        names = tuple(wanted)
        try:
            rows = close(names, have, index, helpers=HELPERS | without)
        except ClosureError as problem:
            raise UnsupportedRequirement(
                f"Debian packages cannot be added to the base: {problem}",
                where=_culprit(names, have, index, HELPERS | without),
                hint="take a newer base with dpbuild lock --upgrade-base if it is behind the mirror",
            ) from None
        except BadIndex as problem:
            raise BaseImageError(f"the index of {codename} cannot be used: {problem}") from None
        date = timestamp(max(row.release.date for row in archive.releases(codename)))
        return tuple((row.name, row.version, row.sha256) for row in rows), date

    def fetch(self, pins: Iterable[Pin], progress: Callable[[int], None]) -> tuple[bytes, ...]:
        """As ``DebianPackages``."""
        rows = tuple(pins)
        if not rows:
            return ()
        archive = self._mirror(f"the package {rows[0][0]} {rows[0][1]} is not in the store")
        names = frozenset(name for name, _, _ in rows)

        def one(pin: Pin) -> bytes:
            data = archive.pinned(self._suite.codename, self._architecture, pin, names=names, largest=_LARGEST)
            if data is None:
                raise BaseImageError(
                    f"the mirror does not have the Debian package {pin[0]} {pin[1]} any more",
                    hint="dpbuild lock --upgrade takes what it has now",
                )
            progress(len(data))
            return data

        with ThreadPoolExecutor(_THREADS) as pool:
            return tuple(pool.map(one, rows))

    def _mirror(self, what: str) -> DebianArchive:
        if self._archive is None:
            raise BaseImageError(f"{what}, and dpbuild is offline", hint="run it once without --offline")
        return self._archive


def _culprit(names: tuple[str, ...], have: Mapping[str, str], index: PackageIndex, helpers: frozenset[str]) -> str:
    """The first package that cannot be added alone; all of them if only their sum cannot."""
    for name in names:
        try:
            close((name,), have, index, helpers=helpers)
        except ClosureError:
            return name
    return ", ".join(names)
