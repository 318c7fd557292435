"""Which file of each locked package is for a target. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from functools import cache

from dpbuild.errors import LockError, NoCompatibleWheel, UnsupportedRequirement
from dpbuild.frozen import replace
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.target import Target
from dpbuild.pypa import markers

# Every project may come as an sdist.
ANY = frozenset({"*"})


def select(
    packages: Iterable[LockedPackage],
    target: Target,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    allow_sdist: frozenset[str] = frozenset(),
    only_binary: Sequence[str] = (),
    no_binary: Sequence[str] = (),
    where: str | None = None,
) -> tuple[tuple[LockedPackage, LockedFile], ...]:
    """Every package whose marker holds for the target with the file that is for it, sorted by name.

    ``allow_sdist`` names the projects (or "*" for all but ``only_binary``) that may come as an sdist where no wheel
    fits; ``no_binary`` those (or ":all:") that must. Raises NoCompatibleWheel, UnsupportedRequirement, LockError.
    """
    out: dict[str, tuple[LockedPackage, LockedFile]] = {}
    for package in applicable(packages, target, extras=extras, groups=groups, where=where):
        if package.unsupported:
            raise UnsupportedRequirement(
                f"{package.name} cannot be locked: {package.unsupported}",
                where=where,
                hint="build it as a wheel, name its folder in find-links, and require it by name",
            )
        if package.name in out:
            raise LockError(f"{package.name} is locked twice for {target.platform}", where=where)
        built = package.name in no_binary or ":all:" in no_binary
        wheel = None if built else best_wheel(package.wheels, target)
        buildable = ("*" in allow_sdist and package.name not in only_binary) or package.name in allow_sdist
        file = wheel or (package.sdist if buildable else None)
        if file is None:
            raise _none(package, target, built=built, where=where)
        if not file.sha256:
            raise LockError(
                f"{package.name} {package.version} has no sha256 for {file.name}",
                where=where,
                hint="the index must give one; another index, or find-links, may",
            )
        version = _check_name(package, file, where)
        out[package.name] = (package if package.version else replace(package, version=version), file)
    return tuple(out[name] for name in sorted(out))


def _check_name(package: LockedPackage, file: LockedFile, where: str | None) -> str:
    """The version in the file's name. Raises LockError where the file is that of something else."""
    from packaging.utils import InvalidSdistFilename, InvalidWheelFilename, parse_sdist_filename, parse_wheel_filename
    from packaging.version import InvalidVersion, Version

    try:
        if file.name.endswith(".whl"):
            name, version, *_ = parse_wheel_filename(file.name)
        else:
            name, version = parse_sdist_filename(file.name)
        same = name == package.name and (not package.version or version == Version(package.version))
    except (InvalidWheelFilename, InvalidSdistFilename, InvalidVersion):
        same, version = False, Version("0")
    if not same:
        raise LockError(f"{file.name} is not a file of {package.name} {package.version}", where=where)
    return str(version)


def applicable(
    packages: Iterable[LockedPackage],
    target: Target,
    *,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    where: str | None = None,
) -> list[LockedPackage]:
    """The packages whose marker holds for the target. Raises UnsupportedRequirement for markers that cannot."""
    out = []
    for package in packages:
        try:
            if markers.evaluate(package.marker, target.markers, extras=extras, groups=groups):
                out.append(package)
        except ValueError as error:
            raise UnsupportedRequirement(f"the marker of {package.name} cannot be used: {error}", where=where) from None
    return out


def best_wheel(wheels: Iterable[LockedFile], target: Target) -> LockedFile | None:
    """The wheel whose tag stands first in the target's list; the highest build number breaks a tie."""
    order = _order(target)
    found: list[tuple[int, tuple[int, str], str, LockedFile]] = []
    for wheel in wheels:
        parsed = wheel_tags(wheel.name)
        ranks = [order[tag] for tag in parsed[0] if tag in order] if parsed else []
        if parsed and ranks:
            number, text = parsed[1]
            found.append((min(ranks), (-number, text), wheel.name, wheel))
    return min(found, key=lambda row: row[:3])[3] if found else None


@cache
def _order(target: Target) -> Mapping[str, int]:
    return {tag: number for number, tag in enumerate(target.tags)}


@cache
def wheel_tags(filename: str) -> tuple[frozenset[str], tuple[int, str]] | None:
    """The tags and the build number of a wheel by its file name, or None if it is none."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        _, _, build, tags = parse_wheel_filename(filename)
    except InvalidWheelFilename:
        return None
    return frozenset(str(tag) for tag in tags), (build[0], build[1]) if build else (-1, "")


def _none(package: LockedPackage, target: Target, *, built: bool, where: str | None) -> NoCompatibleWheel:
    label = f"{package.name} {package.version}"
    if built:
        return NoCompatibleWheel(
            f"{label} is to be built from its sdist, and there is nothing that can build it",
            where=where,
            hint=f"take {package.name} out of no-binary",
        )
    there = sorted({"-".join(wheel.name.removesuffix(".whl").split("-")[-3:]) for wheel in package.wheels})
    if there:
        others = f"{', '.join(there[:4])}{' and others' if len(there) > 4 else ''}"
        has = f"only for {others}"
    else:
        has = "only an sdist" if package.sdist else "no file at all"
    return NoCompatibleWheel(
        f"{label} has no wheel for {target.words} ({has})",
        where=where,
        hint="choose a version that has one, or another base",
    )
