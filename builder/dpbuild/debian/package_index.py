"""Everything that a suite's indices say, looked up by name; a stanza is parsed when it is first asked for."""

import re
from collections.abc import Iterable, Iterator
from typing import Final

from dpbuild.debian import dependency
from dpbuild.debian import version as versions
from dpbuild.debian.control import name_of, stanzas
from dpbuild.debian.indices import Package, package_of

_PROVIDES: Final = re.compile(rb"^Provides:(.*(?:\n[ \t].*)*)", re.MULTILINE | re.IGNORECASE)
_PROVIDED: Final = re.compile(rb"(?:^|,)\s*([a-z0-9][a-z0-9+.-]*)")


class PackageIndex:
    """The packages of one machine over several ``Packages`` files, all their versions.

    ``files`` are pairs of the archive's name and the file in chunks, the suite itself first.
    """

    def __init__(self, files: Iterable[tuple[str, Iterable[bytes]]], architecture: str) -> None:
        self.architecture = architecture
        self._stanzas: dict[str, list[tuple[str, bytes]]] = {}
        self._virtual: dict[str, dict[str, None]] = {}
        self._parsed: dict[str, tuple[Package, ...]] = {}
        for archive, chunks in files:
            for stanza in stanzas(chunks):
                name = name_of(stanza)
                self._stanzas.setdefault(name, []).append((archive, stanza))
                if found := _PROVIDES.search(stanza):
                    for provided in _PROVIDED.findall(found[1]):
                        self._virtual.setdefault(provided.decode(), {})[name] = None

    def versions(self, name: str) -> tuple[Package, ...]:
        """Every version of ``name`` that fits the machine, newest first; of equal ones the first. Raises BadIndex."""
        if name not in self._parsed:
            rows = (package_of(stanza, archive) for archive, stanza in self._stanzas.get(name, ()))
            fitting = [row for row in rows if row.architecture in (self.architecture, "all")]
            self._parsed[name] = tuple(sorted(fitting, key=lambda row: versions.key(row.version), reverse=True))
        return self._parsed[name]

    def providers(self, name: str) -> Iterator[tuple[Package, str]]:
        """The packages whose newest version provides ``name``, and in which version ("" for none), by name.

        Raises BadIndex.
        """
        for provider in sorted(self._virtual.get(name, ())):
            for package in self.versions(provider)[:1]:
                for version in provided(package, name, self.architecture):
                    yield package, version


def provided(package: Package, name: str, architecture: str) -> tuple[str, ...]:
    """The versions in which a package provides ``name`` (Debian Policy, 7.5); "" stands for no version."""
    rows = (row for group in dependency.parse(package.provides, architecture) for row in group)
    return tuple(row.version for row in rows if row.name == name)
