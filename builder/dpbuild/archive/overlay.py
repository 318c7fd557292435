"""The files that layers make when they are laid over each other.

The rules are those of the OCI image spec, layer.md, "Applying Changesets".
Where the spec leaves room, containerd's way of unpacking into one tree is followed:

- The folder that an entry is in is found through symbolic links, inside the root; the last part of the
  name is not followed. So ``lib/x`` lands in ``usr/lib/x`` where ``lib`` is a link.
- A folder over a folder keeps what is in it; everything else replaces what was there, so that an entry for a
  folder ``lib64`` does replace a link ``lib64``.
- A hard link names what is in the tree when it is applied, and keeps it when that path is replaced later.
- Folders that no entry creates are made, with mode 0755 and everything else zero.

Whiteouts hide what lower layers have, never what their own layer brings, wherever in it they stand.
"""

import json
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, Self

from dpbuild.archive.apply import MOST_LINKS, Node, OverlayError, apply
from dpbuild.archive.entry import Entry, Kind

__all__ = ["FileTree", "OverlayError"]

# kind, mode, uid, gid, mtime, size, target, layer, origin's layer, origin's ordinal, rare fields or None
Row = tuple[str, int, int, int, int, int, str, int, int, int, dict[str, Any] | None]
_KIND: Final = 0
_TARGET: Final = 6
_LAYER: Final = 7
_ORIGIN: Final = 8
_ORDINAL: Final = 9
_FORMAT: Final = 1
_KINDS: Final = {str(kind): kind for kind in Kind}
_KIND_OF_FILES: Final = Kind.FILE
_FILE: Final = str(Kind.FILE)
_NO_DEVICE: Final = (0, 0)
_LARGEST: Final = 1 << 30


class FileTree:
    """The merged files of an image, without their contents; immutable.

    Paths are taken with or without a leading slash and given without one; "" is the root. Symbolic links are
    followed inside the root.
    """

    __slots__ = ("_children", "_rows")

    def __init__(self, rows: dict[str, Row]) -> None:
        self._rows = rows
        self._children: dict[str, tuple[str, ...]] | None = None

    @classmethod
    def of(cls, layers: Iterable[Iterable[Entry]]) -> Self:
        """Lay ``layers`` over each other, lowest first. Raises OverlayError."""
        rows = {node.entry.path: _row(node) for node in apply(layers)}
        return cls({path: rows[path] for path in sorted(rows)})

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, path: str) -> bool:
        return self._real(path, last=False) is not None

    def __eq__(self, other: object) -> bool:
        return self._rows == other._rows if isinstance(other, FileTree) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def holds(self, real: str) -> bool:
        """Whether something is at a real path, without a leading slash: no link is looked for among its parents."""
        return real in self._rows

    def get(self, path: str) -> Entry | None:
        """What is at ``path``; links among its parents are followed, the last part is not."""
        real = self._real(path, last=False)
        return None if real is None else _entry(real, self._rows[real])

    def resolve(self, path: str) -> str | None:
        """The real path of ``path`` with all links followed, without a leading slash.

        None if there is nothing, or if the links never end.
        """
        return self._real(path, last=True)

    def follow(self, path: str) -> Entry | None:
        """What ``path`` leads to when all links are followed."""
        real = self._real(path, last=True)
        return None if real is None else _entry(real, self._rows[real])

    def is_file(self, path: str) -> bool:
        """Whether ``path`` leads to a regular file, under whichever of its names."""
        real = self._real(path, last=True)
        return real is not None and self._rows[real][_KIND] in (Kind.FILE, Kind.HARDLINK)

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` leads to a folder."""
        real = self._real(path, last=True)
        return real is not None and self._rows[real][_KIND] == Kind.DIRECTORY

    def children(self, path: str) -> tuple[str, ...]:
        """The names (not paths) in the folder that ``path`` leads to, sorted; empty if it is none."""
        real = self._real(path, last=True)
        if real is None:
            return ()
        if self._children is None:
            lists: dict[str, list[str]] = {}
            for key in self._rows:
                if key:
                    folder, _, name = key.rpartition("/")
                    lists.setdefault(folder, []).append(name)
            self._children = {folder: tuple(sorted(names)) for folder, names in lists.items()}
        return self._children.get(real, ())

    def entries(self) -> Iterator[Entry]:
        """Every path, sorted, parents first; the root too.

        Hard links carry their file's size and mode, and as ``target`` its path when they were made.
        """
        for path, row in self._rows.items():
            yield _entry(path, row)

    def origins(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every file, under each of its names, sorted by path, with what ``origin`` says of it."""
        return ((path, (row[_ORIGIN], row[_ORDINAL])) for path, row in self._rows.items() if row[_ORIGIN] >= 0)

    def paths(self) -> Iterator[str]:
        """Every path, sorted."""
        return iter(self._rows)

    def layer_of(self, path: str) -> int:
        """The index of the layer that brought what ``get`` returns. Raises KeyError."""
        return self._known(path)[_LAYER]

    def origin(self, path: str) -> tuple[int, int]:
        """Where the content of the file at ``path`` is: layer, and number of the entry in its tar, from 0.

        Links are followed; hard links lead to the file that they were made for. Raises KeyError for what
        is no file.
        """
        real = self._real(path, last=True)
        if real is None or self._rows[real][_ORIGIN] < 0:
            raise KeyError(path)
        return self._rows[real][_ORIGIN], self._rows[real][_ORDINAL]

    def _known(self, path: str) -> Row:
        real = self._real(path, last=False)
        if real is None:
            raise KeyError(path)
        return self._rows[real]

    def _real(self, path: str, *, last: bool) -> str | None:
        """The key of ``path``; ``last`` says whether its last part is followed, too."""
        rows = self._rows
        plain = path[1:] if path.startswith("/") else path
        # Keys are real paths: where one is hit, no parent of it is a link.
        if (row := rows.get(plain)) is not None and not (last and row[_KIND] == Kind.SYMLINK):
            return plain
        pending = plain.split("/")[::-1]
        here = ""
        links = 0
        while pending:
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                here = here.rpartition("/")[0]
                continue
            key = f"{here}/{part}" if here else part
            found = rows.get(key)
            if found is None:
                return None
            # A trailing slash or dot asks for what a link leads to.
            if found[_KIND] == Kind.SYMLINK and (last or pending):
                links += 1
                if links > MOST_LINKS:
                    return None
                if found[_TARGET].startswith("/"):
                    here = ""
                pending.extend(found[_TARGET].split("/")[::-1])
                continue
            if pending and found[_KIND] != Kind.DIRECTORY:
                return None
            here = key
        return here

    def to_bytes(self) -> bytes:
        """The tree as bytes for the store; ``from_bytes`` reads them again."""
        columns = [list(self._rows), *([row[i] for row in self._rows.values()] for i in range(11))]
        return zlib.compress(json.dumps([_FORMAT, columns], separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What ``to_bytes`` wrote. Raises ValueError for anything else, such as another version's bytes."""
        inflate = zlib.decompressobj()
        try:
            version, columns = json.loads(inflate.decompress(data, _LARGEST))
            if version != _FORMAT:
                raise ValueError(f"format {version}")
            paths, *fields = columns
            rows = dict(zip(paths, zip(*fields, strict=True), strict=True))
        except (ValueError, TypeError, zlib.error) as problem:
            raise ValueError(f"not a file tree: {problem}") from None
        if "" not in rows:
            raise ValueError("not a file tree: it has no root")
        return cls(rows)


def _row(node: Node) -> Row:
    _, kind, mode, uid, gid, mtime, size, target, user, group, device, xattrs = node.entry
    rare = None
    if user or group or xattrs or device != _NO_DEVICE:
        rare = _rare(node.entry)
    # Nearly all are files, and each word made of a kind would be a string of its own.
    word = _FILE if kind is _KIND_OF_FILES else str(kind)
    return (word, mode, uid, gid, mtime, size, target, node.layer, *node.origin, rare)


def _rare(entry: Entry) -> dict[str, Any]:
    rare: dict[str, Any] = {}
    if entry.user:
        rare["user"] = entry.user
    if entry.group:
        rare["group"] = entry.group
    if entry.device != _NO_DEVICE:
        rare["device"] = list(entry.device)
    if entry.xattrs:
        rare["xattrs"] = [[name, value.decode("latin-1")] for name, value in entry.xattrs]
    return rare


def _entry(path: str, row: Row) -> Entry:
    kind, rare = _KINDS[row[_KIND]], row[10]
    if rare is None:
        return Entry(path, kind, *row[1:_LAYER])
    device = rare.get("device", _NO_DEVICE)
    return Entry(
        path=path,
        kind=kind,
        mode=row[1],
        uid=row[2],
        gid=row[3],
        mtime=row[4],
        size=row[5],
        target=row[6],
        user=rare.get("user", ""),
        group=rare.get("group", ""),
        device=(device[0], device[1]),
        xattrs=tuple((name, value.encode("latin-1")) for name, value in rare.get("xattrs", ())),
    )
