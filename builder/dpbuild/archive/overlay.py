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
from typing import Final, Self

from dpbuild.archive.apply import MOST_LINKS, OverlayError, apply
from dpbuild.archive.columns import pack, pack_column, unpack, unpack_column
from dpbuild.archive.entry import Entry, Kind

__all__ = ["FileTree", "OverlayError"]

# The entry under its real path, the layer that brought it, and of a file the layer and the ordinal of its content.
Row = tuple[Entry, int, int, int]
_ENTRY: Final = 0
_LAYER: Final = 1
_ORIGIN: Final = 2
_FORMAT: Final = 2
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
        rows = {node.entry.path: (node.entry, node.layer, *node.origin) for node in apply(layers)}
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
        return None if real is None else self._rows[real][_ENTRY]

    def resolve(self, path: str) -> str | None:
        """The real path of ``path`` with all links followed, without a leading slash.

        None if there is nothing, or if the links never end.
        """
        return self._real(path, last=True)

    def follow(self, path: str) -> Entry | None:
        """What ``path`` leads to when all links are followed."""
        real = self._real(path, last=True)
        return None if real is None else self._rows[real][_ENTRY]

    def is_file(self, path: str) -> bool:
        """Whether ``path`` leads to a regular file, under whichever of its names."""
        real = self._real(path, last=True)
        return real is not None and self._rows[real][_ENTRY].kind in (Kind.FILE, Kind.HARDLINK)

    def is_directory(self, path: str) -> bool:
        """Whether ``path`` leads to a folder."""
        real = self._real(path, last=True)
        return real is not None and self._rows[real][_ENTRY].kind is Kind.DIRECTORY

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
        return (row[_ENTRY] for row in self._rows.values())

    def origins(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """Every file, under each of its names, sorted by path, with what ``origin`` says of it."""
        return ((path, row[_ORIGIN:]) for path, row in self._rows.items() if row[_ORIGIN] >= 0)

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
        return self._rows[real][_ORIGIN:]

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
        if (row := rows.get(plain)) is not None and not (last and row[_ENTRY].kind is Kind.SYMLINK):
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
            entry = found[_ENTRY]
            if entry.kind is Kind.SYMLINK and (last or pending):
                links += 1
                if links > MOST_LINKS:
                    return None
                if entry.target.startswith("/"):
                    here = ""
                pending.extend(entry.target.split("/")[::-1])
                continue
            if pending and entry.kind is not Kind.DIRECTORY:
                return None
            here = key
        return here

    def to_bytes(self) -> bytes:
        """The tree as bytes for the store; ``from_bytes`` reads them again."""
        entries, *rest = zip(*self._rows.values(), strict=True)
        columns = [*pack(entries), *map(pack_column, rest)]
        return zlib.compress(json.dumps([_FORMAT, columns], separators=(",", ":")).encode(), 1)

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """What ``to_bytes`` wrote. Raises ValueError for anything else, such as another version's bytes."""
        inflate = zlib.decompressobj()
        try:
            version, columns = json.loads(inflate.decompress(data, _LARGEST))
            if version != _FORMAT:
                raise ValueError(f"format {version}")
            paths, rest = columns[0], columns[-3:]
            numbers = (unpack_column(column, len(paths)) for column in rest)
            rows = dict(zip(paths, zip(unpack(columns[:-3]), *numbers, strict=True), strict=True))
        except (ValueError, TypeError, LookupError, zlib.error) as problem:
            raise ValueError(f"not a file tree: {problem}") from None
        if "" not in rows:
            raise ValueError("not a file tree: it has no root")
        return cls(rows)
