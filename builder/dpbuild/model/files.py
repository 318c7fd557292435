"""Files of the project, as values: what a copied app and the build of a wheel are made from."""

from collections.abc import Callable
from typing import BinaryIO

from dpbuild.frozen import field, frozen


@frozen
class ProjectFile:
    """A regular file, or a symbolic link if ``target`` is not empty.

    ``path`` is relative to the project, ``size`` in bytes, ``sha256`` lower-case hex; ``open`` reads it.
    """

    path: str
    executable: bool = False
    size: int = 0
    sha256: str = ""
    target: str = ""
    open: Callable[[], BinaryIO] | None = field(default=None, compare=False)


@frozen
class Committed:
    """What version control says of the files that an image is made of.

    ``time`` is that of the last commit that touched one of them, in seconds; None where they are not what the commit
    holds, and where that is not known, with the ``reason`` in words ("" where there is no version control).
    ``commit`` is the last one of the project's folder, "" unless the folder is what it holds.
    """

    commit: str = ""
    time: int | None = None
    reason: str = ""
