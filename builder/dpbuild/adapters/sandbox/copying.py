"""Folders to and from an engine as tar streams; an engine may be on another machine, where mounts mean nothing."""

import io
import os
import stat
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO, Final, cast

from dpbuild.adapters.rootfs import remove, unpack
from dpbuild.archive import tar
from dpbuild.archive.entry import Entry, Kind

_CHUNK: Final = 1 << 20


def packed(source: str, target: str, owner: tuple[int, int] = (0, 0), *, readable: bool = False) -> Iterator[bytes]:
    """A tar with ``source`` (a folder with everything in it, or a file) at the absolute path ``target``.

    Everything belongs to ``owner``, uid and gid; folders above ``target`` belong to root. With ``readable`` everybody
    may read it, whatever this machine's umask left of that.
    """
    parts = [part for part in target.split("/") if part]
    for count in range(1, len(parts)):
        yield tar.header(Entry(path="/".join(parts[:count]), kind=Kind.DIRECTORY, mode=0o755))
    yield from _tree(source, "/".join(parts), owner, readable=readable)
    yield tar.END


def _tree(host: str, path: str, owner: tuple[int, int], *, readable: bool) -> Iterator[bytes]:
    about = os.lstat(host)
    uid, gid = owner
    mode, mtime = stat.S_IMODE(about.st_mode), int(about.st_mtime)
    if readable:
        mode |= 0o555 if mode & 0o111 else 0o444

    def head(kind: Kind, size: int = 0, target: str = "") -> bytes:
        return tar.header(
            Entry(path=path, kind=kind, mode=mode, uid=uid, gid=gid, mtime=mtime, size=size, target=target)
        )

    if stat.S_ISLNK(about.st_mode):
        yield head(Kind.SYMLINK, target=str(Path(host).readlink()))
    elif stat.S_ISDIR(about.st_mode):
        if path:
            yield head(Kind.DIRECTORY)
        for child in sorted(os.scandir(host), key=lambda row: row.name):
            yield from _tree(child.path, f"{path}/{child.name}".lstrip("/"), owner, readable=readable)
    elif stat.S_ISREG(about.st_mode):
        yield head(Kind.FILE, about.st_size)
        with Path(host).open("rb") as file:
            while chunk := file.read(_CHUNK):
                yield chunk
        yield tar.padding(about.st_size)


def replace(chunks: Iterable[bytes], folder: str) -> None:
    """Make ``folder`` what the tar has below its first name: what the engine answers when asked for a folder.

    Raises ValueError for names that are not safe, OSError.
    """
    for child in sorted(Path(folder).iterdir()):
        if child.is_dir() and not child.is_symlink():
            remove(str(child))
        else:
            child.unlink()
    with io.BufferedReader(_Stream(iter(chunks)), _CHUNK) as stream:
        unpack(cast("BinaryIO", stream), folder, strip=1)


class _Stream(io.RawIOBase):
    """Chunks as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        while not self._left:
            chunk = next(self._chunks, None)
            if chunk is None:
                return 0
            self._left = chunk
        size = min(len(buffer), len(self._left))
        buffer[:size] = self._left[:size]
        self._left = self._left[size:]
        return size
