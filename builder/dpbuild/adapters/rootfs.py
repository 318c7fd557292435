"""Unpacking an image into a folder, so that its interpreter can be run or read by path.

The folder belongs to whoever runs dpbuild: owners, set-id bits and device nodes are left out, and everything
stays readable and removable. Layers are hostile input. A name is resolved as inside of a chroot, so that no
entry, link or whiteout reaches anything outside of the folder, and ``..`` in a name is refused.
"""

import errno
import hashlib
import os
import shutil
import stat
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from dpbuild.archive.decompress import limit_of
from dpbuild.archive.entry import Entry, Kind
from dpbuild.archive.read import ReadError, entries, open_layer
from dpbuild.errors import BaseImageError, StoreError
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.store import Store

Layers = Sequence[tuple[Descriptor, Callable[[], BinaryIO]]]

# OCI image spec, layer.md, "Whiteouts".
WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"
# Part of the key of kept folders: a change of what ``extract`` makes is a change of this.
VERSION: Final = "1"
# As many as Linux follows (path_resolution(7)).
_LINKS: Final = 40
_CHUNK: Final = 1 << 20
_LATEST: Final = 1 << 33


def kept(store: Store, layers: Layers) -> str:
    """The folder with these layers unpacked, made once and kept in the store. Raises as ``extract``."""
    names = "\n".join((VERSION, *(str(descriptor.digest) for descriptor, _ in layers)))
    key = hashlib.sha256(names.encode()).hexdigest()
    folder = store.folder("rootfs", key)
    if folder is None:
        with store.make_folder("rootfs", key) as fresh:
            extract(layers, fresh)
        folder = store.folder("rootfs", key)
    if folder is None:
        raise StoreError("an unpacked image vanished from the store", where=key)
    return folder


def extract(layers: Layers, folder: str) -> None:
    """Unpack the layers, lowest first, into ``folder``, which is there and empty.

    Raises BaseImageError for a layer that is broken or not safe, StoreError when the disk does not take it.
    """
    tree = _Tree(folder)
    for descriptor, content in layers:
        where = str(descriptor.digest)
        try:
            with content() as raw:
                stream, _ = open_layer(raw, limit=limit_of(descriptor.size))
                _layer(tree, stream)
        except ValueError as problem:
            raise BaseImageError(f"a layer cannot be unpacked: {problem}", where=where) from None
        except OSError as problem:
            raise StoreError(f"an image cannot be unpacked: {problem.strerror}", where=folder) from None


def unpack(stream: BinaryIO, folder: str, *, strip: int = 0) -> None:
    """Unpack one tar into a folder by the same rules, without the first ``strip`` components of its names.

    Raises ValueError for what is broken or not safe, OSError.
    """
    _layer(_Tree(folder), stream, strip)


def overlay(source: str, folder: str) -> None:
    """Lay an unpacked tree over ``folder``, sharing its files: nothing may ever write into one of them.

    Names are followed as in an image, so that what is in ``lib`` goes to ``usr/lib`` where the first is a link to it.
    Raises OSError, ReadError for a folder that would be below a file.
    """
    tree = _Tree(folder)
    waiting = [""]
    while waiting:
        path = waiting.pop()
        for row in sorted(os.scandir(f"{source}/{path}"), key=lambda entry: entry.name):
            name = f"{path}/{row.name}".lstrip("/")
            if row.is_dir(follow_symlinks=False):
                place = tree.follow(name, make=True)
                Path(place).chmod(row.stat(follow_symlinks=False).st_mode & 0o777 | 0o700)
                waiting.append(name)
            else:
                place = tree.place(name)
                _discard(tree, place)
                if row.is_symlink():
                    tree.forget()
                os.link(row.path, place, follow_symlinks=False)


def remove(folder: str) -> None:
    """Delete a folder, whatever modes its directories have; one that is not there is fine."""
    if not os.path.lexists(folder):
        return
    Path(folder).chmod(0o700)
    for parent, directories, _ in os.walk(folder):
        for name in directories:
            if not Path(parent, name).is_symlink():
                Path(parent, name).chmod(0o700)
    shutil.rmtree(folder)


def inside(folder: str, path: str) -> str:
    """Where ``path``, absolute in the image, is on the host, with links followed inside of ``folder``.

    The last component need not be there. Raises FileNotFoundError for a missing parent, OSError (ELOOP).
    """
    return _Tree(folder).follow(path)


class _Tree:
    """A folder as the root of a file system."""

    def __init__(self, folder: str) -> None:
        self.root = folder.rstrip("/") or "/"
        self._parents: dict[str, str] = {}

    def forget(self) -> None:
        """Say that a link or directory was replaced, so that what was resolved through it is void."""
        self._parents.clear()

    def parent(self, path: str) -> str:
        """The host path of the directory that ``path`` is in, made if it is missing."""
        head = path.rpartition("/")[0]
        found = self._parents.get(head)
        if found is None:
            found = self._parents[head] = self.follow(head, make=True)
        return found

    def place(self, path: str) -> str:
        """The host path of an entry itself: parents resolved, the entry not followed."""
        return f"{self.parent(path)}/{path.rpartition('/')[2]}" if path else self.root

    def follow(self, path: str, *, make: bool = False) -> str:
        """The host path of ``path`` with every link in it followed as in a chroot."""
        waiting = path.split("/")[::-1]
        done: list[str] = []
        links = 0
        while waiting:
            part = waiting.pop()
            if part in ("", "."):
                continue
            if part == "..":
                done = done[:-1]
                continue
            here = "/".join((self.root, *done, part))
            try:
                mode = os.lstat(here).st_mode
            except FileNotFoundError:
                if make:
                    Path(here).mkdir()
                    Path(here).chmod(0o755)
                elif any(row not in ("", ".") for row in waiting):
                    raise
                done.append(part)
                continue
            if not stat.S_ISLNK(mode):
                if make and not stat.S_ISDIR(mode):
                    raise ReadError(f"{path!r} is below something that is no directory")
                done.append(part)
                continue
            links += 1
            if links > _LINKS and make:
                raise ReadError(f"{path!r} is below links that go in a circle")
            if links > _LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            target = str(Path(here).readlink())
            if target.startswith("/"):
                done = []
            waiting.extend(target.split("/")[::-1])
        return "/".join((self.root, *done))


def _layer(tree: _Tree, stream: BinaryIO, strip: int = 0) -> None:
    made: set[str] = set()
    for entry, content in entries(stream):
        path = _without(entry.path, strip)
        folder, _, name = path.rpartition("/")
        if name == OPAQUE:
            _clear(tree, folder, made)
        elif name.startswith(WHITEOUT):
            victim = name.removeprefix(WHITEOUT)
            if victim in ("", ".", ".."):
                raise ReadError(f"a whiteout without a name: {path!r}")
            victim = f"{folder}/{victim}".lstrip("/")
            if victim not in made:
                _discard(tree, tree.place(victim))
        else:
            _entry(tree, entry, content, path, _without(entry.target, strip))
            made.add(path)


def _without(path: str, strip: int) -> str:
    return "/".join(path.split("/")[strip:]) if strip else path


def _entry(tree: _Tree, entry: Entry, content: BinaryIO | None, path: str, link: str) -> None:
    place = tree.place(path)
    if not path and entry.kind is not Kind.DIRECTORY:
        raise ReadError("the root of a layer is no directory")
    match entry.kind:
        case Kind.DIRECTORY:
            if not os.path.lexists(place) or not stat.S_ISDIR(os.lstat(place).st_mode):
                _discard(tree, place)
                Path(place).mkdir()
            Path(place).chmod(entry.mode & 0o777 | 0o700)
        case Kind.SYMLINK:
            _discard(tree, place)
            Path(place).symlink_to(entry.target)
            tree.forget()
        case Kind.HARDLINK:
            source = tree.place(link)
            if not os.path.lexists(source) or Path(source).is_dir():
                raise ReadError(f"{path!r} is a hard link to {link!r}, which is no file")
            if source != place:
                _discard(tree, place)
                os.link(source, place, follow_symlinks=False)
        case Kind.FILE:
            _discard(tree, place)
            descriptor = os.open(place, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as out:
                if content is not None:
                    shutil.copyfileobj(content, out, _CHUNK)
                os.fchmod(out.fileno(), entry.mode & 0o777 | 0o600)
                out.flush()
                # A timestamp bytecode file is valid for the time of its source.
                time = min(max(0, entry.mtime), _LATEST)
                os.utime(out.fileno(), (time, time))
        case _:
            pass  # device nodes and pipes are nothing that an interpreter needs


def _discard(tree: _Tree, place: str) -> None:
    """Remove whatever is at a host path, without following it."""
    try:
        mode = os.lstat(place).st_mode
    except FileNotFoundError:
        return
    if stat.S_ISDIR(mode):
        tree.forget()
        remove(place)
    else:
        if stat.S_ISLNK(mode):
            tree.forget()
        Path(place).unlink()


def _clear(tree: _Tree, path: str, made: Iterable[str]) -> None:
    """An opaque whiteout: what lower layers put into the directory goes, what this one put there stays."""
    place = tree.follow(path, make=True)
    prefix = f"{path}/" if path else ""
    own = {name.removeprefix(prefix).partition("/")[0] for name in made if name.startswith(prefix)}
    for child in sorted(Path(place).iterdir()):
        if child.name not in own:
            _discard(tree, str(child))
