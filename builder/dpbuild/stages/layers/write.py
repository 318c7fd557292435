"""Writing one layer: planned files in, a blob in the store out."""

import hashlib
import posixpath
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final

from dpbuild.archive import tar
from dpbuild.archive.deflate import Splicer
from dpbuild.archive.entry import Entry, Kind, deletes
from dpbuild.archive.gzip import Member
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import LayerError, PathConflict
from dpbuild.model.layer import Layer
from dpbuild.oci import mediatype
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.ports.store import BlobWriter, Store
from dpbuild.stages import places
from dpbuild.stages.layers.ahead import Feed, File, Looks, here
from dpbuild.stages.layers.content import Tap
from dpbuild.stages.layers.observer import Observer
from dpbuild.stages.layers.wheels import Planned

# 1980-01-01T00:00:00Z, the earliest time that a zip can hold; what reads times from a wheel may be sure of it.
MTIME: Final = 315532800

Reading = Callable[[Sequence[File], Looks], AbstractContextManager[Feed]]


class _Output:
    """A layer being written: compressed bytes to the store, uncompressed ones to the diffID."""

    def __init__(self, blob: BlobWriter, splicer: Splicer) -> None:
        self._blob = blob
        self._diff = hashlib.sha256()
        self.splicer = splicer
        # Compressed bytes so far, and where those of the file that is being written begin, if they are joined ones.
        self.written = 0
        self.place: int | None = None
        self.member = Member(self._write, self.plain)
        self.tap: Tap | None = None

    def begin(self) -> None:
        """A file comes next."""
        self.place = None

    def _write(self, data: bytes | memoryview) -> None:
        self._blob.write(data)
        self.written += len(data)

    def raw(self, data: bytes | memoryview) -> None:
        if self.place is None:
            self.place = self.written
        self._write(data)

    def plain(self, data: bytes | memoryview) -> None:
        self._diff.update(data)
        if self.tap is not None:
            self.tap(data)

    def diff_id(self) -> Digest:
        return Digest(self._diff.hexdigest())


class Placement:
    """Where planned files really go in the base: symbolic links of folders followed, conflicts found.

    ``owners`` says by path which Debian package has added it to the base.
    """

    def __init__(self, tree: FileTree, owners: Mapping[str, str] | None = None) -> None:
        self._tree = tree
        self._owners = owners or {}
        self._folders: dict[str, str] = {"": ""}

    def folder(self, path: str) -> str:
        """The real path of a folder, whether it is there or not. Raises PathConflict."""
        known = self._folders.get(path)
        if known is not None:
            return known
        parent, _, name = path.rpartition("/")
        above = self.folder(parent)
        joined = f"{above}/{name}" if above else name
        entry = self._tree.get(joined)
        if entry is not None and entry.kind is Kind.SYMLINK:
            real = self._tree.resolve(joined)
            if real is None:
                raise PathConflict(f"/{path} is a symbolic link of the base that leads nowhere")
            joined = real
            entry = self._tree.get(joined)
        if entry is not None and entry.kind is not Kind.DIRECTORY:
            raise PathConflict(f"/{joined} is a file of the base, where a folder is needed for /{path}")
        self._folders[path] = joined
        return joined

    def place(self, wanted: str, owner: str, gone: frozenset[str] = frozenset()) -> str:
        """The path that the file ``wanted`` of ``owner`` gets; ``gone`` are files of the base that the image replaces.

        Raises PathConflict if the base has something there, or if the name deletes.
        """
        if deletes(wanted):
            raise PathConflict(
                f"{owner} has the file /{wanted}, whose name would delete files in the image",
                hint="names that begin with .wh. are for layers; rename it, or leave it out",
            )
        folder, _, name = wanted.rpartition("/")
        above = self.folder(folder)
        path = f"{above}/{name}" if above else name
        if self._tree.holds(path) and path not in gone:
            if package := self._owners.get(path):
                raise PathConflict(
                    f"{owner} has the file /{path}, which the Debian package {package} has too",
                    hint="leave one of them out",
                )
            raise PathConflict(
                f"{owner} has the file /{path}, which the base has too",
                hint="a base's file is never overwritten; leave this one out, or choose another base",
            )
        return path

    def surroundings(self, paths: Iterable[str]) -> list[object]:
        """What the base contributes to a layer with files at these paths, as JSON: its folders' metadata, and
        where its symbolic links lead.
        """
        real = {folder: self.folder(folder) for folder in {path.rpartition("/")[0] for path in paths}}
        folders = [
            [each.path, each.mode, each.uid, each.gid, each.mtime, [[key, raw.hex()] for key, raw in each.xattrs]]
            for each in map(self._tree.get, parents(f"{folder}/x" for folder in real.values()))
            if each is not None
        ]
        return [folders, sorted([folder, place] for folder, place in real.items() if folder != place)]

    def entry(self, path: str) -> Entry:
        """A folder's entry: as the base has it, else ours."""
        found = self._tree.get(path)
        if found is not None and found.kind is Kind.DIRECTORY:
            return found
        return Entry(path=path, kind=Kind.DIRECTORY, mode=0o755, mtime=MTIME)


def merge(files: Iterable[tuple[str, Planned]]) -> dict[str, Planned]:
    """Files by path; the same path twice must be the same file. Raises PathConflict naming both owners."""
    merged: dict[str, Planned] = {}
    for path, planned in files:
        other = merged.setdefault(path, planned)
        if other is not planned and (other.identity, other.mode) != (planned.identity, planned.mode):
            raise PathConflict(
                f"{other.owner} and {planned.owner} both have the file /{path}, with different contents",
                hint="leave one of them out, give it another place, or choose versions that do not collide",
            )
    for path, planned in merged.items():
        folder = path.rpartition("/")[0]
        while folder:
            if folder in merged:
                raise PathConflict(
                    f"{merged[folder].owner} has the file /{folder}, which is a folder in {planned.owner}"
                )
            folder = folder.rpartition("/")[0]
    return merged


def parents(paths: Iterable[str]) -> list[str]:
    """All folders above ``paths``, sorted, without the root."""
    found: set[str] = set()
    for path in paths:
        folder = path.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(found)


def write(
    store: Store,
    splicer: Splicer,
    files: dict[str, Planned],
    folders: Sequence[Entry],
    comment: str,
    *,
    mtime: int = MTIME,
    removed: Iterable[str] = (),
    progress: Callable[[int], object] = lambda size: None,
    observer: Observer | None = None,
    reading: Reading = here,
) -> Layer:
    """Write a layer. Entries are sorted by path, so every folder comes before what it holds.

    ``removed`` are paths of the base that get a whiteout (OCI image spec, layer.md, "Whiteouts"). ``reading``
    gets all files in their order, and gives what writes each to the output.
    Raises UnsafeWheel, LayerError, StoreError; nothing is left then.
    """
    entries: dict[str, tuple[Entry, Planned | None]] = {entry.path: (entry, None) for entry in folders}
    for path in removed:
        name = posixpath.join(posixpath.dirname(path), ".wh." + posixpath.basename(path))
        entries[name] = (Entry(path=name, kind=Kind.FILE, mode=0o644, mtime=mtime), None)
    for path, planned in files.items():
        if planned.target:
            entries[path] = (
                Entry(path=path, kind=Kind.SYMLINK, mode=0o777, mtime=mtime, target=planned.target),
                None,
            )
            continue
        size = planned.content.size
        entries[path] = (Entry(path=path, kind=Kind.FILE, mode=planned.mode, mtime=mtime, size=size), planned)
    found: dict[int, int] = {}
    rows = [(path, *entries[path]) for path in sorted(entries)]
    filled = [File(path, content) for path, _, content in rows if content is not None]
    with store.writer() as blob, reading(filled, observer.look if observer is not None else None) as feed:
        output = _Output(blob, splicer)
        for number, (path, entry, content) in enumerate(rows):
            output.member.add(tar.header(entry))
            if content is None:
                if observer is not None:
                    observer.entry(entry)
            else:
                before = output.member.size
                output.begin()
                try:
                    seen = feed(File(path, content), output)
                except (OSError, ValueError) as problem:
                    raise LayerError(f"cannot read {content.owner}: {problem}", where=f"/{path}") from None
                if output.place is not None:
                    found[number] = output.place
                if observer is not None:
                    observer.file(entry, content.identity, seen)
                if output.member.size - before != entry.size:
                    raise LayerError(f"{content.owner} changed its size while it was read", where=f"/{path}")
                output.member.add(tar.padding(entry.size))
                progress(entry.size)
        output.member.add(tar.END)
        output.member.finish()
        digest, size = blob.commit()
    descriptor = Descriptor(media_type=mediatype.OCI_LAYER_GZIP, digest=digest, size=size)
    places.keep(store, descriptor, found)
    if observer is not None:
        observer.keep(descriptor)
    return Layer(
        descriptor=descriptor,
        diff_id=output.diff_id(),
        comment=comment,
        size=output.member.size,
    )
