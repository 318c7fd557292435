"""What must be unpacked over an image so that some packages work in it: a closure over their dependencies.

Only Depends and Pre-Depends count (Debian Policy, 7.2). What the image has stays as it is: its packages are never
replaced, and what *they* depend on is not asked for, because distroless leaves much of that out on purpose.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from dpbuild.debian import dependency
from dpbuild.debian import version as versions
from dpbuild.debian.dependency import Relation
from dpbuild.debian.indices import Package
from dpbuild.debian.package_index import PackageIndex, provided
from dpbuild.frozen import frozen

# Needed by maintainer scripts alone, which are never run.
HELPERS: Final = frozenset(
    {
        "adduser",
        "debconf",
        "debconf-2.0",
        "dpkg",
        "init-system-helpers",
        "install-info",
        "sensible-utils",
        "systemd-standalone-sysusers",
        "systemd-sysusers",
        "systemd-tmpfiles",
        "ucf",
    }
)


class ClosureError(ValueError):
    """The packages cannot be had together; the message says which relation fails, and who asks for it."""


def close(
    wanted: Iterable[str],
    have: Mapping[str, str],
    index: PackageIndex,
    *,
    helpers: frozenset[str] = HELPERS,
    same_upstream: bool = False,
) -> tuple[Package, ...]:
    """The packages that ``wanted`` needs beyond ``have``, themselves included, sorted by name.

    ``wanted`` are relations as control files write them (``libpq5``, ``gcc (>= 12) | clang``); ``have`` maps the
    names of what is there to versions. Of a package the newest version is taken that goes with what is there, of
    alternatives the first that can be had. ``helpers`` count as there in any version. With ``same_upstream`` a
    relation to one exact version is also held by a package that is there with another Debian revision: headers
    beside a library that is a security update behind. Raises ClosureError, BadIndex.
    """
    work = _Work(index=index, have=dict(have), helpers=helpers, same_upstream=same_upstream)
    chosen: _Chosen = {}
    for text in wanted:
        try:
            rows = dependency.parse(text, index.architecture)
        except ValueError as problem:
            raise ClosureError(str(problem)) from None
        for row in rows:
            chosen = work.add(row, chosen, ())
    work.check(chosen)
    return tuple(chosen[name] for name in sorted(chosen))


_Chosen = dict[str, Package]


@frozen
class _Work:
    index: PackageIndex
    have: Mapping[str, str]
    helpers: frozenset[str]
    same_upstream: bool

    def add(self, row: tuple[Relation, ...], chosen: _Chosen, path: tuple[str, ...]) -> _Chosen:
        """``chosen`` and what is needed so that one of the alternatives holds."""
        if any(self._holds(relation, chosen) for relation in row):
            return chosen
        reasons = []
        for relation in row:
            for package in self._candidates(relation, chosen):
                try:
                    return self._take(package, chosen, path)
                except ClosureError as problem:
                    reasons.append(str(problem))
        raise ClosureError(reasons[0] if reasons else self._lacking(row, chosen, path))

    def _take(self, package: Package, chosen: _Chosen, path: tuple[str, ...]) -> _Chosen:
        path = (*path, package.name)
        # It is there already for those that depend on it in turn.
        chosen = {**chosen, package.name: package}
        for field in (package.pre_depends, package.depends):
            for row in _parsed(field, self.index.architecture, package):
                chosen = self.add(row, chosen, path)
        return chosen

    def _holds(self, relation: Relation, chosen: _Chosen) -> bool:
        if relation.name in self.helpers:
            return True
        if relation.name in self.have:
            return self._fits(relation, self.have[relation.name])
        if relation.name in chosen and relation.allows(chosen[relation.name].version):
            return True
        there = (*chosen.values(), *self._installed(relation.name))
        return any(
            _provides(relation, version)
            for package in there
            for version in provided(package, relation.name, self.index.architecture)
        )

    def _fits(self, relation: Relation, version: str) -> bool:
        if relation.allows(version):
            return True
        return (
            self.same_upstream
            and relation.relation == "="
            and versions.upstream(relation.version) == versions.upstream(version)
        )

    def _installed(self, name: str) -> Iterator[Package]:
        """Rows of packages that are there and provide ``name``; a base's own list does not say what they provide."""
        for package, _ in self.index.providers(name):
            if package.name in self.have:
                same = [row for row in self.index.versions(package.name) if row.version == self.have[package.name]]
                yield (same or [package])[0]

    def _candidates(self, relation: Relation, chosen: _Chosen) -> Iterator[Package]:
        """What could be added; nothing of which there is a version already."""
        if relation.name not in self.have and relation.name not in chosen:
            yield from (row for row in self.index.versions(relation.name) if relation.allows(row.version))
        for package, version in self.index.providers(relation.name):
            if package.name not in self.have and package.name not in chosen and _provides(relation, version):
                yield package

    def _lacking(self, row: tuple[Relation, ...], chosen: _Chosen, path: tuple[str, ...]) -> str:
        asking = f"{' -> '.join(path)} needs" if path else "there is no"
        said = f"{asking} {' or '.join(map(str, row))}"
        for relation in row:
            version = self.have.get(relation.name)
            if version is not None:
                return f"{said}, and the base has {relation.name} {version}"
            if relation.name in chosen:
                return f"{said}, and {relation.name} {chosen[relation.name].version} is needed by another"
            newest = self.index.versions(relation.name)[:1]
            if newest:
                return f"{said}, and the suite has {relation.name} {newest[0].version}"
        return f"{said}, which the suite does not have" if path else f"{said} in the suite"

    def check(self, chosen: _Chosen) -> None:
        """That nothing is together that must not be (Debian Policy, 7.3 and 7.4). Raises ClosureError."""
        there = {**self.have, **{name: package.version for name, package in chosen.items()}}
        for package in chosen.values():
            for field in (package.conflicts, package.breaks):
                for relation in (row for group in _parsed(field, self.index.architecture, package) for row in group):
                    version = there.get(relation.name)
                    if version is not None and relation.name != package.name and relation.allows(version):
                        raise ClosureError(
                            f"{package.name} {package.version} cannot be beside {relation.name} {version}"
                        )


def _provides(relation: Relation, version: str) -> bool:
    """Only a versioned Provides satisfies a versioned relation (Debian Policy, 7.5)."""
    return not relation.relation or (version != "" and relation.allows(version))


def _parsed(field: str, architecture: str, package: Package) -> tuple[tuple[Relation, ...], ...]:
    try:
        return dependency.parse(field, architecture)
    except ValueError as problem:
        raise ClosureError(f"{package.name} {package.version}: {problem}") from None
