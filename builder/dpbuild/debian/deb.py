"""Binary packages: an ``ar`` archive of ``debian-binary``, ``control.tar`` and ``data.tar`` (deb(5)).

Only ``control`` and ``md5sums`` are taken out of the control archive; its scripts are never looked at.
"""

import io
import lzma
from collections.abc import Iterator
from typing import BinaryIO, Final

from dpbuild.archive import read
from dpbuild.archive.entry import Entry, Kind, deletes
from dpbuild.frozen import frozen

_MAGIC: Final = b"!<arch>\n"
_HEADER: Final = 60
# A package may unpack to this much; the largest of Debian's libraries stay far below.
LARGEST: Final = 4 << 30
_LARGEST_CONTROL: Final = 64 << 20


class DebError(ValueError):
    """The bytes are no Debian package that can be read."""


@frozen
class Control:
    """The control file and the list of checksums, verbatim; ``md5sums`` is None where there is none."""

    control: bytes
    md5sums: bytes | None
    control_mode: int
    md5sums_mode: int


def members(data: bytes) -> dict[str, memoryview]:
    """The members of an ``ar`` archive by name. Raises DebError."""
    if not data.startswith(_MAGIC):
        raise DebError("it is no ar archive")
    view = memoryview(data)
    position = len(_MAGIC)
    found: dict[str, memoryview] = {}
    while position < len(data):
        header = data[position : position + _HEADER]
        if len(header) != _HEADER or header[58:60] != b"`\n":
            raise DebError("a header of its ar archive is damaged")
        name = header[:16].decode("ascii", "replace").rstrip().removesuffix("/")
        digits = header[48:58].strip()
        if not digits.isdigit():
            raise DebError(f"the member {name} has no size")
        begin, size = position + _HEADER, int(digits)
        if begin + size > len(data):
            raise DebError(f"it ends within the member {name}")
        if name in found:
            raise DebError(f"the member {name} is there twice")
        found[name] = view[begin : begin + size]
        position = begin + size + size % 2
    return found


def _tar(data: bytes, stem: str, limit: int) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """The entries of ``<stem>.tar`` in whichever compression it has."""
    stream, name = _member(data, stem, limit)
    try:
        yield from read.entries(stream)
    except read.ReadError as problem:
        raise DebError(f"its {name} cannot be read: {problem}") from None


def _member(data: bytes, stem: str, limit: int) -> tuple[BinaryIO, str]:
    parts = members(data)
    version = bytes(parts.get("debian-binary", b"")).strip()
    if not version.startswith(b"2."):
        raise DebError(f"its format is not 2.0 but {version.decode('ascii', 'replace')!r}")
    name = next((row for row in parts if row == f"{stem}.tar" or row.startswith(f"{stem}.tar.")), None)
    if name is None:
        raise DebError(f"it has no {stem}.tar")
    if name.endswith(".xz"):
        return io.BytesIO(_unxz(bytes(parts[name]), limit)), name
    try:
        return read.open_layer(io.BytesIO(parts[name]), limit=limit)[0], name
    except read.ReadError as problem:
        raise DebError(f"its {name} cannot be read: {problem}") from None


def _unxz(data: bytes, limit: int) -> bytes:
    inflate = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        plain = inflate.decompress(data, limit)
    except lzma.LZMAError as problem:
        raise DebError(f"its xz stream is damaged: {problem}") from None
    if not inflate.eof:
        raise DebError("its xz stream ends too early, or is larger than a package may be")
    return plain


def control(data: bytes) -> Control:
    """What status.d needs of a package. Raises DebError."""
    found: dict[str, tuple[bytes, int]] = {}
    for entry, content in _tar(data, "control", _LARGEST_CONTROL):
        if content is not None and entry.path in ("control", "md5sums"):
            found[entry.path] = content.read(), entry.mode
    if "control" not in found:
        raise DebError("it has no control file")
    text, mode = found["control"]
    sums, sums_mode = found.get("md5sums", (None, 0o644))
    return Control(control=text, md5sums=sums, control_mode=mode, md5sums_mode=sums_mode)


def contents(data: bytes) -> Iterator[tuple[Entry, bytes]]:
    """Every entry of ``data.tar`` as dpkg would unpack it, with the content of files. Raises DebError."""
    for entry, stream in _tar(data, "data", LARGEST):
        if deletes(entry.path):
            raise DebError(f"the name {entry.path!r} would delete files in an image")
        yield entry, stream.read() if stream is not None and entry.kind is Kind.FILE else b""


def tar(data: bytes) -> BinaryIO:
    """``data.tar``, decompressed. Raises DebError."""
    return _member(data, "data", LARGEST)[0]
