"""One entry of a layer or of the files that all layers together make."""

from enum import StrEnum
from typing import Final, NamedTuple

# OCI image spec, layer.md, "Whiteouts".
_WHITEOUT: Final = ".wh."


class Kind(StrEnum):
    """What an entry is; the words are ours, the set is that of ustar (POSIX.1-2017, pax, "typeflag")."""

    FILE = "file"
    DIRECTORY = "directory"
    SYMLINK = "symlink"
    HARDLINK = "hardlink"
    CHARACTER = "character"
    BLOCK = "block"
    FIFO = "fifo"


class Entry(NamedTuple):
    """Metadata of one path; a tuple, since an image has tens of thousands and a frozen dataclass costs thrice as much.

    ``path`` has no leading or trailing slash and no ``.`` components ("" is the root itself); ``mode`` holds
    the permission bits only; ``mtime`` is in whole seconds; ``size`` in bytes. ``target`` is the target of a
    symbolic link as written, or the normalised path that a hard link names. ``xattrs`` are the extended
    attributes, sorted, without the ``SCHILY.xattr.`` prefix.
    """

    path: str
    kind: Kind
    mode: int
    uid: int = 0
    gid: int = 0
    mtime: int = 0
    size: int = 0
    target: str = ""
    user: str = ""
    group: str = ""
    device: tuple[int, int] = (0, 0)
    xattrs: tuple[tuple[str, bytes], ...] = ()


def deletes(path: str) -> bool:
    """Whether a layer that has this path would delete files of the layers below it: a part of it names a whiteout."""
    return path.startswith(_WHITEOUT) or f"/{_WHITEOUT}" in path
