"""A package as it goes into an image beside others: its files, listed without their contents, and what is missing.

No maintainer script is ever run. What update-alternatives(1) would link is linked here for the libraries that
others are linked with.
"""

import hashlib
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.entry import Entry, Kind
from dpbuild.debian import deb, files
from dpbuild.debian.files import Item

# The file that a package's alternative leads to, below the folder of libraries where the link is.
_ALTERNATIVES: Final = {"libblas3": "blas/libblas.so.3", "liblapack3": "lapack/liblapack.so.3"}


def items(data: bytes, name: str) -> Iterator[Item]:
    """Everything that the package puts into the image: its files, its links, its rows in status.d. Raises DebError."""
    inner = _ALTERNATIVES.get(name)
    for entry, content in deb.contents(data):
        yield entry, content
        if inner is not None and entry.path.endswith(f"/{inner}"):
            yield files.link(entry.path.removesuffix(inner) + inner.rpartition("/")[2], inner)
    yield from files.status(data, name)


def identity(entry: Entry, content: bytes) -> str:
    """What an entry is but for its path and time: equal for equal files."""
    if entry.kind is Kind.FILE:
        return f"{entry.mode:o} sha256:{hashlib.sha256(content).hexdigest()}"
    return f"{entry.kind} {entry.target}"
