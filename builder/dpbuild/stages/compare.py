"""What differs between two images: packages, files, config and layers. Pure."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.elf.facts import ElfFacts
from dpbuild.frozen import fields, frozen, replace
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Manifest

State = Literal["added", "removed", "version", "content"]

# What follows from layers alone, and differs whenever they do.
_DERIVED: Final = ("diff_ids", "history")
# How a changed file of a package is called in the reason.
_KINDS: Final = ("native code", "sources", "bytecode", "metadata", "other files")


@dataclass(frozen=True, kw_only=True, eq=False)
class Snapshot:
    """One image as it is compared. ``packages`` are name and version by kind and name (``python``, ``system``);
    ``owner`` gives the package of a path, as ``kind:name``, or ""; ``sha256`` and ``elf`` tell of a file's content.
    """

    descriptor: Descriptor
    manifest: Manifest
    config: ImageConfig
    tree: FileTree
    packages: Mapping[tuple[str, str], str]
    owner: Callable[[str], str]
    sha256: Callable[[str], str]
    elf: Callable[[str], ElfFacts | None]


@frozen
class FileChange:
    """``changes`` are the words of what differs (``content``, ``mode``, ``owner``, ``time``, ``kind``, ``target``), or
    ``added`` or ``removed``; ``before`` and ``after`` say it; ``package`` is ``kind:name`` or "".
    """

    path: str
    changes: tuple[str, ...]
    before: str = ""
    after: str = ""
    package: str = ""


@frozen
class PackageChange:
    """``why`` says, for other bytes of the same version, in which files they are."""

    kind: str
    name: str
    state: State
    before: str = ""
    after: str = ""
    why: str = ""


@frozen
class ValueChange:
    """A field of the config, or an annotation, as text."""

    name: str
    before: str
    after: str


@frozen
class LayerChange:
    """A layer of one image only; ``repacked`` is the other's layer with the same content, compressed otherwise."""

    digest: str
    side: Literal["a", "b"]
    size: int
    comment: str = ""
    repacked: str = ""


@frozen
class Comparison:
    """Everything that differs; nothing where the images are the same."""

    same: bool
    packages: tuple[PackageChange, ...] = ()
    files: tuple[FileChange, ...] = ()
    config: tuple[ValueChange, ...] = ()
    annotations: tuple[ValueChange, ...] = ()
    layers: tuple[LayerChange, ...] = ()
    common_layers: int = 0


def compare(a: Snapshot, b: Snapshot) -> Comparison:
    """What differs from ``a`` to ``b``."""
    if a.descriptor.digest == b.descriptor.digest:
        return Comparison(same=True, common_layers=len(a.manifest.layers))
    files = tuple(_files(a, b))
    ours = [row.digest for row in a.manifest.layers]
    theirs = {row.digest for row in b.manifest.layers}
    return Comparison(
        same=False,
        packages=tuple(_packages(a, b, files)),
        files=files,
        config=tuple(_config(a.config, b.config)),
        annotations=tuple(_values(dict(a.manifest.annotations), dict(b.manifest.annotations))),
        layers=(*_layers(a, b, "a"), *_layers(b, a, "b")),
        common_layers=sum(1 for digest in ours if digest in theirs),
    )


def _files(a: Snapshot, b: Snapshot) -> Iterator[FileChange]:
    rows = list(_changes(a, b))
    removed, there = (
        {row.path[1:] for row in rows if not row.package and (row.changes == ("removed",)) is gone}
        for gone in (True, False)
    )
    owners = {**_folders(a, removed), **_folders(b, there)}
    for row in rows:
        yield replace(row, package=owners[row.path[1:]]) if row.path[1:] in owners else row


def _folders(side: Snapshot, paths: set[str]) -> dict[str, str]:
    """Those of ``paths`` that are folders with one package's files and nothing else, and the package: no list names
    folders.
    """
    found: dict[str, set[str]] = {}
    for entry in side.tree.entries():
        above = entry.path.rpartition("/")[0] if entry.kind is not Kind.DIRECTORY else ""
        owner = None
        while above:
            if above in paths:
                owner = side.owner(f"/{entry.path}") if owner is None else owner
                found.setdefault(above, set()).add(owner)
            above = above.rpartition("/")[0]
    return {path: owner for path, (owner, *others) in found.items() if owner and not others}


def _changes(a: Snapshot, b: Snapshot) -> Iterator[FileChange]:
    ours = {entry.path: entry for entry in a.tree.entries()}
    theirs = {entry.path: entry for entry in b.tree.entries()}
    for path in sorted(ours.keys() | theirs.keys()):
        one, other = ours.get(path), theirs.get(path)
        name = f"/{path}"
        if one is None or other is None:
            side, word = (a, "removed") if other is None else (b, "added")
            yield FileChange(path=name, changes=(word,), package=side.owner(name))
            continue
        found = dict(_entry(a, one, b, other))
        if found:
            before = ", ".join(text for text, _ in found.values())
            after = ", ".join(text for _, text in found.values())
            package = b.owner(name) or a.owner(name)
            yield FileChange(path=name, changes=tuple(found), before=before, after=after, package=package)


def _entry(a: Snapshot, one: Entry, b: Snapshot, other: Entry) -> Iterator[tuple[str, tuple[str, str]]]:
    files = (Kind.FILE, Kind.HARDLINK)
    if one.kind != other.kind and not (one.kind in files and other.kind in files):
        yield "kind", (str(one.kind), str(other.kind))
        return
    if one.kind in files and a.sha256(one.path) != b.sha256(other.path):
        yield "content", (f"{one.size} bytes", f"{other.size} bytes")
    if one.kind is Kind.SYMLINK and one.target != other.target:
        yield "target", (one.target, other.target)
    if one.mode != other.mode:
        yield "mode", (f"{one.mode:04o}", f"{other.mode:04o}")
    if (one.uid, one.gid) != (other.uid, other.gid):
        yield "owner", (f"{one.uid}:{one.gid}", f"{other.uid}:{other.gid}")
    if one.mtime != other.mtime:
        yield "time", (str(one.mtime), str(other.mtime))
    if one.xattrs != other.xattrs:
        yield "attributes", (_names(one), _names(other))


def _names(entry: Entry) -> str:
    return " ".join(name for name, _ in entry.xattrs) or "none"


def _packages(a: Snapshot, b: Snapshot, files: tuple[FileChange, ...]) -> Iterator[PackageChange]:
    touched: dict[str, list[FileChange]] = {}
    for row in files:
        if row.package:
            touched.setdefault(row.package, []).append(row)
    for key in sorted(a.packages.keys() | b.packages.keys()):
        kind, name = key
        before, after = a.packages.get(key), b.packages.get(key)
        if before is None or after is None:
            state: State = "removed" if after is None else "added"
            yield PackageChange(kind=kind, name=name, state=state, before=before or "", after=after or "")
        elif before != after:
            yield PackageChange(kind=kind, name=name, state="version", before=before, after=after)
        elif rows := touched.get(f"{kind}:{name}"):
            why = _why(a, b, rows)
            yield PackageChange(kind=kind, name=name, state="content", before=before, after=after, why=why)


def _why(a: Snapshot, b: Snapshot, rows: list[FileChange]) -> str:
    """In which files of a package the difference is, in a few words."""
    counts: dict[str, int] = {}
    builds: set[str] = set()
    shape: set[str] = set()
    for row in rows:
        if "content" not in row.changes:
            shape.update(row.changes)
            continue
        one, other = a.elf(row.path), b.elf(row.path)
        kind = _kind(row.path, one is not None or other is not None)
        counts[kind] = counts.get(kind, 0) + 1
        if one is not None and other is not None and one.build_id != other.build_id:
            builds.add("built anew (other build ids)")
    parts = [f"{counts[kind]} × {kind}" for kind in _KINDS if kind in counts]
    parts += [f"files differ in {', '.join(sorted(shape))}"] if shape else []
    return "; ".join([", ".join(parts), *sorted(builds)])


def _kind(path: str, is_elf: bool) -> str:  # noqa: FBT001 - the second of two things that decide
    if is_elf:
        return "native code"
    if path.endswith(".pyc"):
        return "bytecode"
    if ".dist-info/" in path or ".egg-info/" in path:
        return "metadata"
    return "sources" if path.endswith(".py") else "other files"


def _config(a: ImageConfig, b: ImageConfig) -> Iterator[ValueChange]:
    for row in fields(ImageConfig):
        if row.name not in _DERIVED:
            one, other = getattr(a, row.name), getattr(b, row.name)
            if row.name == "env":
                yield from _values(_named(a.environment, "Env "), _named(b.environment, "Env "))
            elif row.name == "labels":
                yield from _values(_named(one, "Labels "), _named(other, "Labels "))
            elif one != other:
                yield ValueChange(name=row.name, before=_shown(one), after=_shown(other))


def _named(rows: tuple[tuple[str, str], ...], prefix: str) -> dict[str, str]:
    return {f"{prefix}{key}": value for key, value in rows}


def _values(a: Mapping[str, str], b: Mapping[str, str]) -> Iterator[ValueChange]:
    for name in sorted(a.keys() | b.keys()):
        if a.get(name) != b.get(name):
            yield ValueChange(name=name, before=a.get(name, ""), after=b.get(name, ""))


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return " ".join(str(row) for row in value)
    return "" if value is None else str(value)


def _layers(mine: Snapshot, other: Snapshot, side: Literal["a", "b"]) -> Iterator[LayerChange]:
    theirs = {row.digest for row in other.manifest.layers}
    contents = dict(zip(other.config.diff_ids, other.manifest.layers, strict=True))
    comments = [row.comment or row.created_by for row in mine.config.history if not row.empty_layer]
    for position, (row, diff_id) in enumerate(zip(mine.manifest.layers, mine.config.diff_ids, strict=True)):
        if row.digest not in theirs:
            yield LayerChange(
                digest=str(row.digest),
                side=side,
                size=row.size,
                comment=comments[position] if position < len(comments) else "",
                repacked=str(contents[diff_id].digest) if diff_id in contents else "",
            )
