"""Resolving by pip-tools in the builder, with the base's interpreter; the outcome is a lock like any other.

pip builds nothing: it would run backends where there is a network, and credentials. It sees wheels alone, and for what
has to be built one that holds nothing but metadata, which come from the sdist or from where it is built.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

from dpbuild.errors import LockError, NoCompatibleWheel, SandboxError, UnsupportedRequirement
from dpbuild.frozen import frozen, replace
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.target import Target
from dpbuild.ports.pip import NoSolution, Offered, Pin, Pip
from dpbuild.ports.resolver import Resolver, ResolveRequest
from dpbuild.pypa import markers
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages.select import best_wheel, select


@frozen
class PipToolsResolver:
    """Implements ``ports.resolver.Resolver``. ``pip`` gives that of the builder for a target, ``lists`` another one
    that sees the same files, and may be quicker.
    """

    inner: Resolver
    pip: Callable[[Target], Pip]
    lists: Callable[[Target], Pip]

    def resolve(self, request: ResolveRequest, target: Target) -> tuple[LockedPackage, ...]:
        """The packages, sorted by name. Raises UnsupportedRequirement, NoCompatibleWheel, LockError."""
        if not request.requirements:
            return ()
        search = _Search(self.pip(target), self.lists(target), request, target)
        pins = search.listed() if request.no_deps else search.resolved()
        with _tools():
            found = search.lists.offered(request, pins, target)
        packages = [_package(pin, found.get(pin.name, ())) for pin in pins]
        return tuple(
            replace(row, wheels=tuple(wheel for wheel in row.wheels if best_wheel([wheel], target) is not None))
            for row in sorted(packages, key=lambda row: (row.name, row.version))
        )

    def export(self, directory: str, extras: tuple[str, ...], groups: tuple[str, ...]) -> tuple[LockedPackage, ...]:
        """What ``uv.lock`` says; nothing is resolved."""
        return self.inner.export(directory, extras, groups)


@dataclass(slots=True)
class _Search:
    """One resolution. ``forced`` are the projects that may be taken as sdists, ``must`` those of them that have to be;
    ``known`` is what sdists require, ``excluded`` are constraints on versions that have none.
    """

    pip: Pip
    lists: Pip
    request: ResolveRequest
    target: Target
    forced: set[str] = field(default_factory=set)
    must: set[str] = field(default_factory=set)
    known: dict[tuple[str, str], Metadata] = field(default_factory=dict)
    offers: dict[str, tuple[Offered, ...]] = field(default_factory=dict)
    excluded: set[str] = field(default_factory=set)

    def resolved(self) -> tuple[Pin, ...]:
        """The versions of everything that is required. Raises UnsupportedRequirement, NoCompatibleWheel."""
        every = ":all:" in self.request.no_binary
        self.must |= {canonicalize_name(name) for name in self.request.no_binary} - {":all:"}
        while True:
            self.forced |= self.must
            limits = (*self.request.constraints, *sorted(self.excluded))
            try:
                known = self._stand_ins()
                with _tools():
                    found = self.pip.compile(replace(self.request, constraints=limits), known)
            except NoSolution as problem:
                more = self._sdists_alone(problem)
                if not more:
                    raise
                self.forced |= more
                continue
            more = {pin.name for pin in found if not pin.url} - self.must if every else set()
            chosen = [pin for pin in found if self._built(pin)]
            without = [pin for pin in chosen if _sdist(self._files(pin)) is None]
            asked = [pin for pin in chosen if (pin.name, pin.version) not in self.known]
            if not (more or without or asked):
                return found
            self.must |= more
            for pin in without:
                self._exclude(pin)
            if not without:
                told = {(pin.name, pin.version): self._metadata(pin) for pin in asked}
                self.known |= told
                if not more and all(row == Metadata(name=row.name, version=row.version) for row in told.values()):
                    return found  # they require nothing, which is what was assumed

    def _built(self, pin: Pin) -> bool:
        """Whether what is taken of a project is its sdist."""
        if pin.url or pin.name not in self.forced:
            return False
        return pin.name in self.must or not self._fits(self._files(pin))

    def listed(self) -> tuple[Pin, ...]:
        """The requirements are all there is."""
        found = {}
        for line in self.request.requirements:
            wanted = Requirement(line)
            if wanted.marker is None or markers.evaluate(str(wanted.marker), self.target.markers):
                pin = self._one(wanted)
                found[pin.name] = pin
        return tuple(found.values())

    def _one(self, wanted: Requirement) -> Pin:
        name = canonicalize_name(wanted.name)
        if wanted.url:
            return Pin(name=name, url=wanted.url)
        exact = [row.version for row in wanted.specifier if row.operator in ("==", "===")]
        if exact and not exact[0].endswith(".*"):
            return Pin(name=name, version=exact[0])
        versions = {row.version for row in self._within(name, wanted.specifier) if self._fits([row])}
        if not versions:
            raise NoCompatibleWheel(f"{wanted} has no wheel for {self.target.words}")
        return Pin(name=name, version=max(versions, key=Version))

    def _stand_ins(self) -> list[Metadata]:
        pinned = {row.replace(" ", "") for row in (*self.request.requirements, *self.request.constraints)}
        rows = []
        for name in sorted(self.forced):
            files = [row for row in self._offered(name) if not row.file.name.endswith(".whl")]
            # As pip does: what was withdrawn is taken only where it is asked for.
            usable = {row.version for row in files if not row.yanked or f"{name}=={row.version}" in pinned}
            built = (row for row in sorted(usable) if self._built(Pin(name=name, version=row)))
            rows += [self.known.get((name, row)) or Metadata(name=name, version=row) for row in built]
        return rows

    def _sdists_alone(self, problem: NoSolution) -> set[str]:
        """The projects that have nothing but an sdist for what is wanted. Raises NoCompatibleWheel where none may."""
        wanted: dict[str, SpecifierSet] = {}
        for each in map(Requirement, problem.wanted):
            key = canonicalize_name(each.name)
            wanted[key] = wanted.get(key, SpecifierSet()) & each.specifier
        found = set[str]()
        for name, specifier in wanted.items():
            rows = [row for row in self._within(name, specifier) if name not in self.forced]
            if not rows or self._fits(rows):
                continue
            request = self.request
            allowed = ("*" in request.allow_sdist and name not in request.only_binary) or name in request.allow_sdist
            if allowed and _sdist(rows) is not None:
                found.add(name)
                continue
            newest = max((row.version for row in rows), key=Version)
            package = _package(Pin(name=name, version=newest), [row for row in rows if row.version == newest])
            select((package,), self.target, where=None)
        return found

    def _exclude(self, pin: Pin) -> None:
        """Versions that have no sdist, where one is needed. Raises NoCompatibleWheel where no version has one."""
        rows = self._offered(pin.name)
        sdists = {row.version for row in rows if not row.file.name.endswith(".whl")}
        if not sdists:
            raise NoCompatibleWheel(
                f"{pin.name} is to be built from its sdist, and the index has none",
                hint=f"take {pin.name} out of no-binary",
            )
        self.excluded |= {f"{pin.name}!={row.version}" for row in rows if row.version not in sdists}

    def _metadata(self, pin: Pin) -> Metadata:
        if self.request.metadata is None:
            raise UnsupportedRequirement(f"{pin.name} {pin.version} has only an sdist, and nothing may be built")
        rows: Iterable[Offered] = self._files(pin)
        if not all(row.file.sha256 for row in rows):
            with _tools():
                rows = self.lists.offered(self.request, [pin], self.target)[pin.name]
        package = _package(pin, [row for row in rows if not row.file.name.endswith(".whl")])
        found = self.request.metadata(package)
        return replace(found, name=pin.name, version=pin.version)

    def _offered(self, name: str) -> tuple[Offered, ...]:
        if name not in self.offers:
            with _tools():
                self.offers[name] = self.lists.offered(self.request, [Pin(name=name)], self.target).get(name, ())
        return self.offers[name]

    def _files(self, pin: Pin) -> list[Offered]:
        return [row for row in self._offered(pin.name) if row.version == pin.version]

    def _within(self, name: str, specifier: SpecifierSet) -> list[Offered]:
        return [row for row in self._offered(name) if specifier.contains(row.version, prereleases=True)]

    def _fits(self, rows: Iterable[Offered]) -> bool:
        files = [row.file for row in rows if row.file.name.endswith(".whl")]
        return best_wheel(files, self.target) is not None


@contextlib.contextmanager
def _tools() -> Iterator[None]:
    """Says whose trouble it is where nothing can be run."""
    try:
        yield
    except SandboxError as problem:
        hint = f"{problem.hint}; " if problem.hint else ""
        hint += "dpbuild lock --resolver uv needs none of it"
        raise SandboxError(f"pip-tools cannot be run: {problem.what}", where=problem.where, hint=hint) from None


def _sdist(rows: Iterable[Offered]) -> LockedFile | None:
    """The sdist among files of one version; a compressed tar before a zip."""
    files = [row.file for row in rows if not row.file.name.endswith(".whl")]
    return min(files, key=lambda file: (not file.name.endswith(".tar.gz"), file.name), default=None)


def _package(pin: Pin, rows: Iterable[Offered]) -> LockedPackage:
    files = {row.file.name: row for row in rows if pin.url or Version(row.version) == Version(pin.version)}
    if not files:
        raise LockError(f"the index has no file of {pin.name} {pin.version}")
    return LockedPackage(
        name=pin.name,
        version=next(iter(files.values())).version,
        wheels=tuple(row.file for _, row in sorted(files.items()) if row.file.name.endswith(".whl")),
        sdist=_sdist(files.values()),
    )
