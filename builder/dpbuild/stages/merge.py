"""Several platforms' packages as one set, told apart by markers. Pure."""

from collections.abc import Sequence

from dpbuild.errors import LockError
from dpbuild.frozen import replace
from dpbuild.model.lock import LockedFile, LockedPackage
from dpbuild.model.target import Target

Picked = tuple[tuple[LockedPackage, LockedFile], ...]


def merge(picked: Sequence[tuple[Target, Picked]]) -> tuple[LockedPackage, ...]:
    """One set of packages for all platforms, with exclusive markers where platforms differ.

    Raises LockError if two platforms that differ cannot be told apart by markers.
    """
    everywhere = {platform_marker(target) for target, _ in picked}
    rows: dict[tuple[str, str], tuple[set[str], dict[tuple[str, str], LockedFile]]] = {}
    owners: dict[tuple[str, str], str] = {}
    for target, found in picked:
        marker = platform_marker(target)
        for package, file in found:
            if owners.setdefault((package.name, marker), package.version) != package.version:
                raise LockError(f"{package.name} differs between platforms that no marker tells apart: {marker}")
            places, files = rows.setdefault((package.name, package.version), (set(), {}))
            places.add(marker)
            normal = replace(file, size=None)
            files[normal.name, normal.sha256] = normal
    out = []
    for (name, version), (places, files) in sorted(rows.items()):
        wheels = tuple(files[key] for key in sorted(files) if key[0].endswith(".whl"))
        sdists = [files[key] for key in sorted(files) if not key[0].endswith(".whl")]
        out.append(
            LockedPackage(
                name=name,
                version=version,
                marker="" if places == everywhere else " or ".join(sorted(places)),
                wheels=wheels,
                sdist=sdists[0] if sdists else None,
            )
        )
    return tuple(out)


def platform_marker(target: Target) -> str:
    """What tells the target's platform from others; never a patch level."""
    machine = dict(target.markers)["platform_machine"]
    return f"platform_machine == '{machine}' and sys_platform == 'linux'"


def requires_python(targets: Sequence[Target]) -> str:
    """``requires-python`` for the targets, their minor version. Raises LockError if they have several."""
    minors = sorted({target.minor for target in targets})
    if len(minors) > 1:
        raise LockError(
            f"the base has different Pythons for its platforms ({', '.join(minors)}), and one lock is for one",
            hint="name the platforms that have the same one in platforms",
        )
    return f"=={minors[0]}.*"
