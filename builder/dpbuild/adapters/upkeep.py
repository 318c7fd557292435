"""What is in a store, and removing it: ``dpbuild cache``.

Every entry can be removed alone: what is asked for again is fetched or made again. Removing needs the store to
oneself (``store_lock``), so nothing goes that a running build has seen.
"""

import contextlib
import json
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Final

from dpbuild.adapters import rootfs, store_lock
from dpbuild.adapters.store import MARKER, ours
from dpbuild.errors import StoreError
from dpbuild.frozen import frozen
from dpbuild.oci.digest import Digest

KINDS: Final = ("bases", "wheels", "layers", "facts", "builders")
# What killed runs leave, and what running ones have under way; never kept.
UNFINISHED: Final = "unfinished"
# Where each kind of mapping belongs; of another version's mappings nothing is known but that they can be made again.
_MAPPINGS: Final = {"bases": "bases", "wheels": "wheels", "app": "wheels", "layers": "layers"}
# A manifest or config is smaller; whatever else begins with a brace is none.
_LARGEST_DOCUMENT: Final = 16 << 20
# A mapping begins with the hash of the rest.
_HASH: Final = 32


@frozen(kw_only=False)
class Entry:
    """Something in the store. ``size`` is in bytes; ``used`` in seconds since 1970, when a run last needed it."""

    kind: str
    path: Path
    size: int
    used: float


@frozen(kw_only=False)
class Removed:
    """How many entries went, and their bytes."""

    entries: int
    size: int


class Upkeep:
    """The store at ``path``, which need not be there. ``now`` is in seconds since 1970.

    ``tidy`` lets the resolver throw out what it no longer needs of its own cache.
    """

    def __init__(
        self, path: Path, now: Callable[[], float], note: Callable[[str], None], tidy: Callable[[Path], None]
    ) -> None:
        self.path = path
        self._now = now
        self._note = note
        self._tidy = tidy

    def entries(self) -> tuple[Entry, ...]:
        """Everything in it. Raises StoreError for a folder that is no store, or not ours."""
        if not self._there():
            return ()
        try:
            return tuple(self._entries())
        except OSError as problem:
            raise self._failed(problem) from None

    def prune(
        self, seconds: float, kinds: Iterable[str] = KINDS, *, wait: bool = True, dry_run: bool = False
    ) -> Removed:
        """Remove what no run has needed for so many seconds, what killed runs left, and mappings to nothing."""
        chosen = frozenset(kinds)
        oldest = self._now() - seconds

        def stale(entry: Entry) -> bool:
            # The resolver's cache is one entry here, whose parts only the resolver can tell apart.
            return entry.kind == UNFINISHED or (
                entry.kind in chosen and entry.used <= oldest and entry.path != self.path / "uv"
            )

        return self._remove(stale, wait=wait, dry_run=dry_run, tidy="wheels" in chosen)

    def clean(self, kinds: Iterable[str] = KINDS, *, wait: bool = True) -> Removed:
        """Remove everything of these kinds, and what killed runs left."""
        chosen = {*kinds, UNFINISHED}
        return self._remove(lambda entry: entry.kind in chosen, wait=wait, dry_run=False, tidy=False)

    def _remove(self, unwanted: Callable[[Entry], bool], *, wait: bool, dry_run: bool, tidy: bool) -> Removed:
        if not self._there():
            return Removed(0, 0)
        if dry_run:
            rows = [row for row in self.entries() if unwanted(row)]
            return Removed(len(rows), sum(row.size for row in rows))
        lock = None
        try:
            lock = store_lock.own(self.path, self._note, wait=wait)
            rows = [row for row in self._entries() if unwanted(row)]
            for row in rows:
                self._discard(row.path)
            self._forget_lost()
            uv = self.path / "uv"
            if tidy and uv.is_dir():
                self._tidy(uv)
        except OSError as problem:
            raise self._failed(problem) from None
        finally:
            if lock is not None:
                lock.release()
        return Removed(len(rows), sum(row.size for row in rows))

    def _there(self) -> bool:
        """Whether there is a store. Raises StoreError for a folder that is something else."""
        try:
            if not self.path.exists():
                return False
            ours(self.path)
            if (self.path / MARKER).is_file():
                return True
            empty = not any(self.path.iterdir())
        except OSError as problem:
            raise self._failed(problem) from None
        if not empty:
            raise StoreError(
                "the folder is no store of dpbuild", where=str(self.path), hint="name the store with --cache-dir"
            )
        return False

    def _failed(self, problem: OSError) -> StoreError:
        return StoreError(f"the store cannot be used: {problem.strerror}", where=str(problem.filename or self.path))

    # what there is

    def _entries(self) -> Iterator[Entry]:
        documents, named = self._documents()
        rows = list(_files(self.path / "maps"))
        kinds = {path: _MAPPINGS.get(path.parent.name, "facts") for path in rows}
        layers = {path: made for path, kind in kinds.items() if kind == "layers" and (made := _layer(path))}
        kinds |= {path: "bases" for path, made in layers.items() if made.composed}
        # A manifest that names them may be that of an image made here, which was looked at since.
        ours = {made.digest for made in layers.values() if not made.composed}
        for path in _files(self.path / "blobs"):
            if path.name in ours:
                kind = "layers"
            else:
                kind = "bases" if path.name in documents or path.name in named else "wheels"
            yield from _entry(kind, path)
        for path, kind in kinds.items():
            yield from _entry(kind, path)
        for folder in _children(self.path / "trees"):
            for path in _children(folder):
                yield from _entry("builders", path)
        for path in _children(self.path / "logs"):
            yield from _entry("builders", path)
        yield from _entry("wheels", self.path / "uv")
        for path in _children(self.path / "tmp"):
            yield from _entry(UNFINISHED, path)

    def _documents(self) -> tuple[set[str], set[str]]:
        """Manifests, indexes and configs by their hex digits, and the blobs that they name."""
        documents: set[str] = set()
        named: set[str] = set()
        for path in _files(self.path / "blobs"):
            with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError, FileNotFoundError):
                with path.open("rb") as file:
                    if file.read(1) != b"{" or os.fstat(file.fileno()).st_size > _LARGEST_DOCUMENT:
                        continue
                    file.seek(0)
                    value = json.load(file)
                documents.add(path.name)
                for row in (*value.get("layers", ()), *value.get("manifests", ()), value.get("config", {})):
                    if "digest" in row:
                        named.add(Digest.parse(row["digest"]).hex)
        return documents, named

    # removing

    def _discard(self, path: Path) -> None:
        """Remove one entry; a folder disappears from where it is looked for before it loses its first file."""
        if path.is_dir() and not path.is_symlink():
            tmp = self.path / "tmp"
            if path.parent != tmp:
                place = Path(tempfile.mkdtemp(dir=tmp))
                path.rename(place / path.name)
                path = place
            rootfs.remove(str(path))
        else:
            path.unlink(missing_ok=True)

    def _forget_lost(self) -> None:
        """Mappings to layers that are gone say nothing."""
        blobs = self.path / "blobs" / "sha256"
        for path in _children(self.path / "maps" / "layers"):
            made = _layer(path)
            if made is not None and not (blobs / made.digest).is_file():
                path.unlink(missing_ok=True)


@frozen(kw_only=False)
class _Made:
    """A layer by its hex digits. Those of composed bases are kept in an object, the others in an array."""

    digest: str
    composed: bool


def _layer(path: Path) -> _Made | None:
    """The layer that a mapping leads to; None where it says something else."""
    try:
        value = json.loads(path.read_bytes()[_HASH:])
        composed = isinstance(value, dict)
        return _Made(Digest.parse(value["digest"] if composed else f"sha256:{value[0]}").hex, composed)
    except (OSError, ValueError, TypeError, KeyError, IndexError):
        return None


def _children(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _files(folder: Path) -> Iterator[Path]:
    """The files two levels down."""
    for each in _children(folder):
        yield from _children(each)


def _entry(kind: str, path: Path) -> Iterator[Entry]:
    """The entry at a path; none where another run has just removed it."""
    with contextlib.suppress(FileNotFoundError):
        found = path.lstat()
        yield Entry(kind, path, _size(path), found.st_mtime)


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder, each counted once however many names it has."""
    if not path.is_dir() or path.is_symlink():
        return path.lstat().st_size
    seen: set[tuple[int, int]] = set()
    total = 0
    for parent, _, names in os.walk(path):
        for name in names:
            with contextlib.suppress(FileNotFoundError):
                found = Path(parent, name).lstat()
                if (found.st_dev, found.st_ino) not in seen:
                    seen.add((found.st_dev, found.st_ino))
                    total += found.st_size
    return total
