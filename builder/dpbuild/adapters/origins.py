"""Which package a library in a builder came from: told by its file's name and content."""

import contextlib
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from dpbuild.adapters import rootfs
from dpbuild.model.base import Base
from dpbuild.model.facts import SystemPackage
from dpbuild.stages.contents import MappedContents
from dpbuild.stages.proof.owners import Owners
from dpbuild.stages.repair import Origin, Taken

# The unpacked packages of a builder: each with its folder and the sha256 of its .deb.
Trees = Iterable[tuple[SystemPackage, str, str]]


def origins(
    libraries: Sequence[Taken], root: str, reading: Base, trees: Callable[[], Trees]
) -> list[tuple[Taken, Origin | None]]:
    """The libraries with where each is from; None where no package claims it.

    ``root`` has the builder's files. What is not from ``trees``, which are laid over ``reading``, is from that one.
    """
    found = _of_trees(libraries, trees())
    rest = [row for row in libraries if row not in found]
    found |= _of_image(rest, root, reading)
    return [(row, _licensed(found[row], root) if row in found else None) for row in libraries]


def _of_trees(libraries: Sequence[Taken], trees: Trees) -> dict[Taken, Origin]:
    found: dict[Taken, Origin] = {}
    wanted = _by_name(libraries)
    for package, folder, sha256 in trees:
        for parent, _, names in os.walk(folder):
            for name in wanted.keys() & set(names):
                for row in _same(wanted[name], Path(parent, name)):
                    found.setdefault(row, Origin(package=package, sha256=sha256))
    return found


def _of_image(libraries: Sequence[Taken], root: str, reading: Base) -> dict[Taken, Origin]:
    wanted = _by_name(libraries)
    if not wanted:
        return {}
    tree = reading.tree
    owners = Owners(tree, MappedContents(tree, lambda path: Path(rootfs.inside(root, path)).read_bytes()), lambda _: "")
    packages = {f"{row.name} {row.version}": row for row in reading.facts.packages}
    found: dict[Taken, Origin] = {}
    for path in tree.paths():
        for row in _same(wanted.get(path.rpartition("/")[2], ()), Path(root, path)):
            owner = owners.of(f"/{path}")
            if owner in packages:
                found.setdefault(row, Origin(package=packages[owner]))
    return found


def _by_name(libraries: Iterable[Taken]) -> Mapping[str, list[Taken]]:
    found: dict[str, list[Taken]] = {}
    for row in libraries:
        found.setdefault(row.name, []).append(row)
    return found


def _same(libraries: Iterable[Taken], path: Path) -> Iterator[Taken]:
    """Those that the file at ``path`` is; a link is none."""
    rows = list(libraries)
    if rows and path.is_file() and not path.is_symlink():
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        yield from (row for row in rows if digest.startswith(row.digest))


def _licensed(origin: Origin, root: str) -> Origin:
    """With the copyright file that every package of Debian has (Policy, 12.5)."""
    with contextlib.suppress(OSError):
        path = Path(rootfs.inside(root, f"usr/share/doc/{origin.package.name}/copyright"))
        if path.is_file():
            return Origin(package=origin.package, sha256=origin.sha256, licence=path.read_bytes())
    return origin
