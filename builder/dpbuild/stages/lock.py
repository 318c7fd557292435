"""The lock: resolved once for every platform, merged, and checked against every target."""

from collections.abc import Callable, Iterable, Sequence
from typing import cast

from dpbuild.errors import LockError, NoCompatibleWheel, SandboxError, UnsupportedRequirement, UsageError
from dpbuild.frozen import frozen, replace
from dpbuild.model.base import Base
from dpbuild.model.config import Config
from dpbuild.model.facts import Facts
from dpbuild.model.lock import Lock, LockedBase, LockedPackage
from dpbuild.model.target import Target
from dpbuild.oci.platform import Platform
from dpbuild.ports.resolver import Resolver, ResolveRequest
from dpbuild.pypa import normalized, pylock
from dpbuild.pypa.metadata import Metadata
from dpbuild.stages import uvlock
from dpbuild.stages.inputs import build_inputs, build_stale, changes, inputs, moved, stale
from dpbuild.stages.lockfile import inputs_hash
from dpbuild.stages.merge import Picked, merge, platform_marker, requires_python
from dpbuild.stages.pythons import having
from dpbuild.stages.reqfile import ReadText
from dpbuild.stages.select import ANY, applicable, select

__all__ = [
    "LockTarget",
    "build_inputs",
    "build_stale",
    "changes",
    "inputs",
    "locked_base",
    "make_build_lock",
    "make_lock",
    "moved",
    "stale",
    "wanted_platforms",
]

# What is locked where the project names no platforms, as far as base and wheels allow.
_USUAL = (Platform("linux", "amd64"), Platform("linux", "arm64"))


@frozen
class LockTarget:
    """One platform to lock for; one that is not ``required`` is left out if it has no solution."""

    target: Target
    base: LockedBase | None = None
    required: bool = True


def wanted_platforms(config: Config, host: Platform, previous: Lock | None = None) -> tuple[tuple[Platform, bool], ...]:
    """The platforms to lock for and whether each is required, the first one deciding versions.

    What ``previous`` covers stays covered if that can be, so that building one platform of several does not
    take the others out of the lock.
    """
    if config.platforms:
        required = tuple(dict.fromkeys(platform.normalized() for platform in config.platforms))
        others: tuple[Platform, ...] = ()
    else:
        required = (Platform("linux", host.architecture, host.variant).normalized(),)
        others = _USUAL
    kept = tuple(Platform.parse(text) for text in previous.platforms) if previous else ()
    rest = tuple(row for row in dict.fromkeys((*others, *kept)) if row not in required)
    return (*((platform, True) for platform in required), *((platform, False) for platform in rest))


def locked_base(base: Base, packages: Iterable[tuple[str, str, str]] = ()) -> LockedBase:
    """What the lock keeps of a base; ``packages`` are those of a composed one."""
    return LockedBase(
        platform=str(base.platform),
        digest=str(base.descriptor.digest),
        facts=_facts(base.facts),
        packages=tuple(sorted(packages)),
    )


def _facts(facts: Facts) -> tuple[tuple[str, str], ...]:
    rows = {
        "interpreter": facts.interpreter,
        "interpreter-sha256": facts.interpreter_sha256,
        "libc": str(facts.libc),
        "machine": facts.machine,
        "purelib": facts.purelib,
        "python": facts.version,
        "soabi": facts.soabi,
    }
    rows |= {"glibcxx": facts.glibcxx} if facts.glibcxx else {}
    rows |= {"distributor": facts.distributor} if facts.distributor else {}
    return tuple(sorted(rows.items()))


def make_lock(
    config: Config,
    targets: Sequence[LockTarget],
    resolver: Resolver,
    read: ReadText,
    *,
    base_digest: str,
    base_date: str = "",
    previous: Lock | None = None,
    upgrade: bool = False,
    upgrade_packages: Sequence[str] = (),
    allow_sdist: frozenset[str] = frozenset(),
    metadata: Callable[[LockedPackage, Target], Metadata] | None = None,
    note: Callable[[str], None] = lambda _: None,
) -> Lock:
    """Lock ``config`` for the targets; versions of ``previous`` stay unless they are upgraded.

    ``read`` gives a project file's text, ``metadata`` what an sdist requires, ``note`` takes what the user should
    know. Raises
    UnsupportedRequirement (41), NoCompatibleWheel (52), LockError (40), UsageError for a package to upgrade
    that is not locked.
    """
    _check_upgrades(upgrade_packages, previous)
    picked: list[tuple[LockTarget, Picked]] = []
    preferences: tuple[str, ...] | None = None
    for each in targets:
        _check_python(config, each.target)
        if preferences is None or not picked:
            preferences = _preferences(previous, each.target, upgrade=upgrade, upgrade_packages=upgrade_packages)
        try:
            found = _resolve(config, each.target, resolver, read, preferences, allow_sdist, metadata)
        except (UnsupportedRequirement, NoCompatibleWheel, SandboxError) as error:
            if each.required:
                raise
            note(f"{each.target.platform} is not locked: {error.what}")
            continue
        if not picked:
            preferences = tuple(f"{package.name}=={package.version}" for package, _ in found)
        picked.append((each, found))
    if not picked:
        raise LockError("there is no platform to lock for")
    packages = merge([(each.target, found) for each, found in picked])
    values = inputs(config)
    return Lock(
        requires_python=requires_python([each.target for each, _ in picked]),
        environments=tuple(sorted({platform_marker(each.target) for each, _ in picked})),
        packages=packages,
        platforms=tuple(sorted(str(each.target.platform) for each, _ in picked)),
        inputs=inputs_hash(values),
        input_values=values,
        base_reference=str(config.base),
        base_digest=base_digest,
        base_date=base_date,
        bases=tuple(sorted((each.base for each, _ in picked if each.base), key=lambda row: row.platform)),
    )


def make_build_lock(
    requires: Sequence[str],
    target: Target,
    resolver: Resolver,
    *,
    find_links: tuple[str, ...] = (),
    directory: str = ".",
    previous: Lock | None = None,
    metadata: Callable[[LockedPackage], Metadata] | None = None,
) -> Lock:
    """Lock the hashed build requirements (``[build-system] requires``) for ``pylock.dpbuild-build.toml``.

    ``metadata`` says what an sdist requires; without it none of them may be one.
    """
    lines = tuple(sorted(requires))
    values = build_inputs(requires, find_links)
    allowed = frozenset[str]() if metadata is None else ANY
    request = ResolveRequest(
        requirements=lines,
        preferences=_preferences(previous, target, upgrade=False, upgrade_packages=()),
        find_links=find_links,
        allow_sdist=allowed,
        directory=directory,
        metadata=metadata,
    )
    found = select(resolver.resolve(request, target), target, allow_sdist=allowed) if lines else ()
    return Lock(
        requires_python=requires_python([target]),
        environments=(platform_marker(target),),
        packages=merge([(target, found)]),
        platforms=(str(target.platform),),
        inputs=inputs_hash(values),
        input_values=values,
        base_reference="",
        base_digest="",
    )


def _resolve(
    config: Config,
    target: Target,
    resolver: Resolver,
    read: ReadText,
    preferences: tuple[str, ...],
    allow_sdist: frozenset[str],
    metadata: Callable[[LockedPackage, Target], Metadata] | None,
) -> Picked:
    found = config.requirements
    names = tuple(config.extras), tuple(config.groups)
    only = config.only_binary
    allowed = frozenset() if ":all:" in only else allow_sdist
    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    if found.kind == "uv-lock":
        _check_uv_lock(read("uv.lock") or "", target)
        packages = resolver.export(config.directory, *names)
    elif found.kind == "pylock":
        document = pylock.loads(read("pylock.toml") or "", "pylock.toml")
        extras, groups = names[0], names[1] or document.default_groups
        for name in {*names[0]} - {*document.extras} | {*names[1]} - {*document.dependency_groups}:
            raise UnsupportedRequirement(f"the lock has no extra or group {name!r}", where="pylock.toml")
        _check_foreign(document, target)
        packages = document.packages
    elif found.lines:
        request = ResolveRequest(
            requirements=found.lines,
            constraints=found.constraints,
            preferences=preferences,
            find_links=config.find_links,
            allow_sdist=allowed,
            only_binary=only,
            directory=config.directory,
            no_binary=config.no_binary,
            options=found.options,
            no_deps=found.kind == "hashed",
            sources=found.kind == "project",
            metadata=None if metadata is None else lambda package: metadata(package, target),
        )
        packages = resolver.resolve(request, target)
        if found.kind == "hashed":
            packages = _hashed(packages, dict(found.hashes), found.origin)
    else:
        packages = ()
    return select(
        packages,
        target,
        extras=extras,
        groups=groups,
        allow_sdist=allowed,
        only_binary=only,
        no_binary=config.no_binary,
        where=found.origin or None,
    )


def _hashed(
    packages: Iterable[LockedPackage], hashes: dict[str, tuple[str, ...]], where: str
) -> tuple[LockedPackage, ...]:
    out = []
    for package in packages:
        allowed = hashes.get(package.name, ())
        wheels = tuple(wheel for wheel in package.wheels if wheel.sha256 in allowed)
        sdist = package.sdist if package.sdist and package.sdist.sha256 in allowed else None
        if not wheels and not sdist:
            raise UnsupportedRequirement(
                f"{package.name} {package.version}: the index has no file with one of the hashes that are given",
                where=where,
            )
        out.append(replace(package, wheels=wheels, sdist=sdist))
    return tuple(out)


def _check_uv_lock(text: str, target: Target) -> None:
    """Its markers leave out what is the same for all the Pythons that it is for, so for another one they may be wrong.
    Where the project does not say which those are, uv took that of the machine.
    """
    from packaging.specifiers import SpecifierSet

    wanted = uvlock.requires_python(text)
    if wanted and not SpecifierSet(wanted).contains(target.python_version, prereleases=True):
        raise UnsupportedRequirement(
            f"the lock is for Python {wanted}, and the base has Python {target.python_version} on {target.platform}",
            where="uv.lock",
            hint="say requires-python in pyproject.toml, run uv lock, then dpbuild lock",
        )


def _check_foreign(document: pylock.Document, target: Target) -> None:
    """A lock that was made elsewhere must say that it is for a Python and platform like the target's."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    from dpbuild.pypa import markers

    try:
        fits = SpecifierSet(document.requires_python).contains(target.python_version, prereleases=True)
        within = not document.environments or any(
            markers.evaluate(row, target.markers) for row in document.environments
        )
    except (InvalidSpecifier, ValueError) as error:
        raise LockError(f"the lock cannot be read: {error}", where="pylock.toml") from None
    if not fits or not within:
        said = f"Python {document.requires_python}" if not fits else "; ".join(document.environments)
        raise UnsupportedRequirement(
            f"the lock is for {said}, and the base has Python {target.python_version} on {target.platform}",
            where="pylock.toml",
        )


def _preferences(
    previous: Lock | None, target: Target, *, upgrade: bool, upgrade_packages: Sequence[str]
) -> tuple[str, ...]:
    if previous is None or upgrade:
        return ()
    free = {normalized(name) for name in upgrade_packages}
    # A lock that was made for another platform still says which versions were wanted.
    rows = applicable(previous.packages, target) or cast("Sequence[LockedPackage]", previous.packages)
    chosen = {package.name: package.version for package in rows if package.name not in free}
    return tuple(f"{name}=={version}" for name, version in sorted(chosen.items()))


def _check_upgrades(names: Sequence[str], previous: Lock | None) -> None:
    locked = {package.name for package in previous.packages} if previous else set()
    for name in names:
        if previous is not None and normalized(name) not in locked:
            raise UsageError(f"{name} is not in the lock, so it cannot be upgraded")


def _check_python(config: Config, target: Target) -> None:
    wanted = config.project.requires_python
    if not wanted:
        return
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        fits = SpecifierSet(wanted).contains(target.python_version, prereleases=True)
    except InvalidSpecifier:
        raise UnsupportedRequirement(
            f"requires-python is not a version specifier: {wanted!r}", where="pyproject.toml"
        ) from None
    if not fits:
        raise UnsupportedRequirement(
            f"{config.project.name or 'the project'} needs Python {wanted}, and the base has {target.python_version}",
            where="pyproject.toml",
            hint=f"choose a base with such a Python: {having(wanted)}",
        )
