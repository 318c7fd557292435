"""Laying layers over each other; ``archive/overlay.py`` says by which rules.

The layers may be hostile: links that never end, names that make every step dear and folders without end cost
a bounded amount of work and then an OverlayError.
"""

from collections.abc import Iterable, Iterator
from typing import Final

from dpbuild.archive.entry import Entry, Kind

# OCI image spec, layer.md, "Whiteouts"; the second prefix is what AUFS left behind, of which one name counts.
_WHITEOUT: Final = ".wh."
_META: Final = ".wh..wh."
_OPAQUE: Final = ".wh..wh..opq"
# Linux: MAXSYMLINKS and PATH_MAX.
MOST_LINKS: Final = 40
LONGEST_PATH: Final = 4096
DEEPEST: Final = 512
MOST_ENTRIES: Final = 1_000_000
# Steps: far above what the most entries of an honest depth take, and still some ten seconds.
WORK: Final = 20_000_000


# The origin of what is no file.
_NOWHERE: Final = (-1, -1)


class OverlayError(ValueError):
    """The layers cannot be laid over each other; the message names the path."""


class Node:
    """One path while layers are applied.

    ``layer`` brought the path, ``touched`` is the newest layer that brought anything at or below it;
    ``origin`` is (layer, ordinal of the entry in its tar) of the content, for files.
    """

    __slots__ = ("children", "entry", "layer", "origin", "touched")

    def __init__(self, entry: Entry, layer: int, origin: tuple[int, int]) -> None:
        self.entry = entry
        self.layer = layer
        self.touched = layer
        self.origin = origin
        self.children: dict[str, Node] | None = {} if entry.kind is Kind.DIRECTORY else None


def apply(layers: Iterable[Iterable[Entry]]) -> Iterator[Node]:
    """Every path of the merged tree, the root included, in no order. Raises OverlayError."""
    applier = _Applier()
    for index, layer in enumerate(layers):
        applier.layer = index
        for ordinal, entry in enumerate(layer):
            applier.add(entry, ordinal)
    pending = [applier.root]
    while pending:
        node = pending.pop()
        yield node
        if node.children:
            pending.extend(node.children.values())


def _made(path: str) -> Entry:
    """A folder that no entry describes."""
    return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755)


class _Applier:
    def __init__(self) -> None:
        self.root = Node(_made(""), 0, _NOWHERE)
        self.layer = 0
        self._count = 0
        self._work = WORK
        # Where the entry before was put, as long as that holds: layers list one folder's files one after the other.
        self._folder = ""
        self._chain: list[Node] | None = None

    def _spend(self, steps: int) -> None:
        self._work -= steps
        if self._work < 0:
            raise OverlayError("the layers take too many steps to lay over each other")

    def add(self, entry: Entry, ordinal: int) -> None:
        self._count += 1
        if self._count > MOST_ENTRIES:
            raise OverlayError(f"the layers have more than {MOST_ENTRIES} entries")
        folder, _, name = entry.path.rpartition("/")
        if not name:
            if entry.kind is not Kind.DIRECTORY:
                raise OverlayError(f"an entry makes the root a {entry.kind}")
            self.root.entry = entry
            self.root.layer = self.root.touched = self.layer
            return
        chain = self._chain if folder == self._folder else None
        if chain is None:
            chain = self._walk(folder, entry.path, make=True)
            if chain is None:  # cannot be: missing folders are made
                raise OverlayError(f"{entry.path} has no folder")
            self._folder, self._chain = folder, chain
        parent = chain[-1]
        if name.startswith(_WHITEOUT):
            self._whiteout(parent, name)
            return
        path = entry.path
        if parent.entry.path != folder or path.startswith("/"):
            path = f"{parent.entry.path}/{name}" if parent.entry.path else name
        if len(path) > LONGEST_PATH or len(chain) > DEEPEST:
            raise OverlayError(f"the path {path[:60]}… is too long or too deep")
        if entry.kind is Kind.HARDLINK:
            node = self._hard_link(entry, path)
        else:
            origin = (self.layer, ordinal) if entry.kind is Kind.FILE else _NOWHERE
            node = Node(entry if path is entry.path else entry._replace(path=path), self.layer, origin)
        self._place(parent, name, node)
        if parent.touched != self.layer:
            for above in chain:
                above.touched = self.layer

    def _hard_link(self, entry: Entry, path: str) -> Node:
        folder, _, name = entry.target.rpartition("/")
        chain = self._walk(folder, entry.path, make=False)
        target = (chain[-1].children or {}).get(name) if chain else None
        if target is None or target.children is not None or target.entry.path == path:
            raise OverlayError(f"the hard link {entry.path} names {entry.target or '/'}, which cannot be linked to")
        if target.origin[0] < 0:
            # A second name of a symbolic link or device is one, too.
            return Node(target.entry._replace(path=path), self.layer, target.origin)
        linked = target.entry._replace(path=path, kind=Kind.HARDLINK, target=target.entry.path)
        return Node(linked, self.layer, target.origin)

    def _place(self, parent: Node, name: str, node: Node) -> None:
        children = parent.children
        if children is None:
            raise OverlayError(f"{parent.entry.path} is no folder")
        old = children.get(name)
        if old is not None:
            self._chain = None
            if old.children is not None and node.children is not None:
                node.children = old.children
        children[name] = node

    def _walk(self, folder: str, whose: str, *, make: bool) -> list[Node] | None:
        """The folders from the root to ``folder``, links followed; None where one is missing."""
        chain = [self.root]
        pending = folder.split("/")[::-1] if folder else []
        links = 0
        while pending:
            self._work -= 1
            if self._work < 0:
                self._spend(0)
            part = pending.pop()
            if part in ("", "."):
                continue
            if part == "..":
                if len(chain) > 1:
                    chain.pop()
                continue
            here = chain[-1]
            if here.children is None:
                raise OverlayError(f"{whose} lies below {here.entry.path}, which is no folder")
            child = here.children.get(part)
            if child is None:
                if not make:
                    return None
                child = self._make(chain, part)
            if child.children is not None:
                chain.append(child)
                continue
            if child.entry.kind is Kind.SYMLINK:
                links += 1
                if links > MOST_LINKS:
                    raise OverlayError(f"{whose} lies below too many symbolic links")
                target = child.entry.target
                if target.startswith("/"):
                    del chain[1:]
                pending.extend(target.split("/")[::-1])
                continue
            if not make:
                return None
            raise OverlayError(f"{whose} lies below {child.entry.path}, which is no folder")
        return chain

    def _make(self, chain: list[Node], name: str) -> Node:
        parent = chain[-1]
        path = f"{parent.entry.path}/{name}" if parent.entry.path else name
        if len(path) > LONGEST_PATH or len(chain) > DEEPEST:
            raise OverlayError(f"the path {path[:60]}… is too long or too deep")
        # Links can lead through folders that do not exist: these count like entries.
        self._count += 1
        node = Node(_made(path), self.layer, _NOWHERE)
        self._place(parent, name, node)
        for above in chain:
            above.touched = self.layer
        return node

    def _whiteout(self, parent: Node, name: str) -> None:
        self._chain = None
        children = parent.children or {}
        if name == _OPAQUE:
            hidden = list(children)
        elif name.startswith(_META):
            return
        else:
            hidden = [name[len(_WHITEOUT) :]]
        self._spend(len(hidden))
        # Folders whose children below this layer go, while those of this layer stay.
        pending = [(children, key) for key in hidden]
        while pending:
            row, key = pending.pop()
            node = row.get(key)
            if node is None:
                continue
            if node.touched < self.layer:
                del row[key]
                continue
            if node.layer < self.layer:
                node.entry = _made(node.entry.path)
                node.layer = self.layer
            if node.children:
                self._spend(len(node.children))
                pending.extend((node.children, below) for below in node.children)
