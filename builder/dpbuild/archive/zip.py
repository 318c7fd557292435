"""Reading zip so strictly that every reader sees the same files (PKWARE APPNOTE 6.3.10).

A zip says everything twice or three times: in the local header, in the central directory, sometimes in a data
descriptor. Readers differ in what they believe. Here everything that is said must agree, every byte of the
file must belong to exactly one thing, and what only some readers understand is refused.
"""

import struct
import unicodedata
from collections.abc import Callable
from typing import Final, NamedTuple

from dpbuild.archive.entry import deletes
from dpbuild.archive.zip_fields import MASK16, MASK32, ZIP64, ZipError, extra_fields, zip64

__all__ = ["DEFLATED", "STORED", "Member", "ZipError", "members"]

# APPNOTE 4.3.7, 4.3.12, 4.3.16, 4.3.14, 4.3.15, 4.3.9.
_LOCAL: Final = struct.Struct("<4s5H3L2H")
_CENTRAL: Final = struct.Struct("<4s6H3L5H2L")
_END: Final = struct.Struct("<4s4H2LH")
_END64: Final = struct.Struct("<4sQ2H2L4Q")
_LOCATOR: Final = struct.Struct("<4sLQL")
_DESCRIPTOR_SIGNATURE: Final = b"PK\x07\x08"

STORED: Final = 0
DEFLATED: Final = 8
# APPNOTE 4.4.4: bits 1 and 2 say how hard the compressor tried, 3 means a data descriptor, 11 UTF-8 names.
_HARMLESS: Final = 1 << 1 | 1 << 2 | 1 << 3 | 1 << 11
_DESCRIPTOR: Final = 1 << 3
_UTF8: Final = 1 << 11
_FLAG_NAMES: Final = {0: "encryption", 5: "patched data", 6: "strong encryption", 13: "masked headers"}
_LARGEST_NAME: Final = 255
_LARGEST_DIRECTORY: Final = 256 * 1024 * 1024

Read = Callable[[int, int], bytes]


class Member(NamedTuple):
    """One file of the archive; a tuple, since wheels have thousands, which other processes are told.

    ``offset`` is where its data begin; sizes are in bytes; ``mode`` is the Unix mode from the external attributes, 0
    where none is recorded.
    """

    name: str
    method: int
    crc: int
    compressed: int
    size: int
    offset: int
    mode: int


class _Row(NamedTuple):
    name: str
    raw: bytes
    flags: int
    method: int
    crc: int
    compressed: int
    size: int
    header: int
    mode: int


def members(read: Read, length: int) -> tuple[Member, ...]:
    """All files of an archive of ``length`` bytes; ``read(offset, size)`` delivers its bytes.

    Folders are checked and left out. Raises ZipError.
    """
    start, size, count, end = _directory(read, length)
    if size > _LARGEST_DIRECTORY:
        raise ZipError("its central directory is too large")
    rows = _rows(read(start, size), count)
    if start + size != end:
        raise ZipError("there is a gap behind the central directory")
    found = []
    expected = 0
    for number, row in sorted(enumerate(rows), key=lambda pair: pair[1].header):
        if row.header != expected:
            word = "overlap" if row.header < expected else "leave a gap" if expected else "follow other data"
            raise ZipError(f"members {word} at byte {min(expected, row.header)}, before {row.name!r}")
        data, expected = _local(read, row, start)
        if not row.name.endswith("/"):
            found.append((number, row, data))
        elif row.size or row.crc:
            raise ZipError(f"the folder {row.name!r} has content")
    if expected != start:
        raise ZipError("there are data between the members and the central directory")
    _names(rows)
    return tuple(
        Member(
            name=row.name,
            method=row.method,
            crc=row.crc,
            compressed=row.compressed,
            size=row.size,
            offset=data,
            mode=row.mode,
        )
        for _, row, data in sorted(found)
    )


def _directory(read: Read, length: int) -> tuple[int, int, int, int]:
    """Offset, size and number of rows of the central directory, and where what follows it begins."""
    tail_start = max(0, length - _END.size - MASK16)
    tail = read(tail_start, length - tail_start)
    where = tail.rfind(b"PK\x05\x06")
    if where < 0 or len(tail) - where < _END.size:
        raise ZipError("it has no end record (truncated?)")
    _, disk, first_disk, here, count, size, offset, comment = _END.unpack_from(tail, where)
    position = tail_start + where
    if position + _END.size + comment != length:
        raise ZipError("there are data behind its end record")
    if _second_end(tail, where, length - tail_start):
        raise ZipError("it has two end records")
    end = position
    masked = MASK16 in (here, count) or MASK32 in (size, offset)
    locator = read(position - _LOCATOR.size, _LOCATOR.size) if position >= _LOCATOR.size else b""
    if locator.startswith(b"PK\x06\x07"):
        _, disk64, end, disks = _LOCATOR.unpack(locator)
        if end != position - _LOCATOR.size - _END64.size or disk64 or disks != 1:
            raise ZipError("its zip64 end record is not where it should be")
        signature, rest, _, _, disk64, first64, here64, count64, size64, offset64 = _END64.unpack(
            read(end, _END64.size)
        )
        if signature != b"PK\x06\x06" or rest != _END64.size - 12 or disk64 or first64:
            raise ZipError("its zip64 end record is malformed")
        pairs = (
            (here, here64, MASK16),
            (count, count64, MASK16),
            (size, size64, MASK32),
            (offset, offset64, MASK32),
        )
        if any(short not in (long, mask) for short, long, mask in pairs):
            raise ZipError("its two end records contradict each other")
        here, count, size, offset = here64, count64, size64, offset64
    elif masked:
        raise ZipError("its zip64 end record is missing")
    if disk not in (0, MASK16) or first_disk not in (0, MASK16) or here != count:
        raise ZipError("it spans several disks")
    if offset + size > end:
        raise ZipError("its central directory lies outside the file")
    return offset, size, count, end


def _second_end(tail: bytes, where: int, length: int) -> bool:
    """Whether an earlier end record also reaches to the end of the file, so that readers could take either."""
    before = tail.rfind(b"PK\x05\x06", 0, where)
    while before >= 0:
        comment = struct.unpack_from("<H", tail, before + _END.size - 2)[0] if before + _END.size <= length else -1
        if before + _END.size + comment == length:
            return True
        before = tail.rfind(b"PK\x05\x06", 0, before)
    return False


def _rows(data: bytes, count: int) -> list[_Row]:
    rows = []
    at = 0
    while at < len(data):
        if len(data) - at < _CENTRAL.size:
            raise ZipError("its central directory is cut short")
        (signature, _made_by, _, flags, method, _, _, crc, compressed, size, name_size, extra_size, comment_size, disk,
         _, attributes, header) = _CENTRAL.unpack_from(data, at)  # fmt: skip
        if signature != b"PK\x01\x02":
            raise ZipError("its central directory is malformed")
        at += _CENTRAL.size
        raw = data[at : at + name_size]
        extra = data[at + name_size : at + name_size + extra_size]
        at += name_size + extra_size + comment_size
        if at > len(data):
            raise ZipError("its central directory is cut short")
        name = _name(raw, flags)
        fields = extra_fields(extra, name)
        size, compressed, header, disk = zip64(fields, name, size, compressed, header, disk)
        if disk:
            raise ZipError(f"{name!r} is on another disk")
        _supported(name, flags, method)
        if method == STORED and compressed != size:
            raise ZipError(f"{name!r} is stored, but its two sizes differ")
        rows.append(_Row(name, raw, flags, method, crc, compressed, size, header, _mode(name, attributes >> 16)))
    if len(rows) != count:
        raise ZipError(f"its end record counts {count} members, its central directory {len(rows)}")
    return rows


def _supported(name: str, flags: int, method: int) -> None:
    for bit in range(16) if flags & ~_HARMLESS else ():
        if flags >> bit & 1 and not _HARMLESS >> bit & 1:
            raise ZipError(f"{name!r} has the flag for {_FLAG_NAMES.get(bit, f'bit {bit}')}")
    if method not in (STORED, DEFLATED):
        raise ZipError(f"{name!r} has compression method {method}, which is neither stored nor deflate")


def _name(raw: bytes, flags: int) -> str:
    """The member's name, if it is one path that means the same to everybody."""
    try:
        name = raw.decode("utf-8" if flags & _UTF8 else "ascii")
    except UnicodeDecodeError:
        raise ZipError(f"the name {raw!r} is not marked or not valid as UTF-8") from None
    if "\0" in name or "\\" in name:
        raise ZipError(f"the name {name!r} has a NUL or a backslash")
    parts = (name[:-1] if name.endswith("/") else name).split("/")
    for part in parts:
        if part in ("", ".", ".."):
            raise ZipError(f"the name {name!r} leaves its folder or has an empty component")
        if len(part) > _LARGEST_NAME or (not part.isascii() and len(part.encode()) > _LARGEST_NAME):
            raise ZipError(f"the name {name[:60]!r}… has a component of over {_LARGEST_NAME} bytes")
    if deletes(name):
        raise ZipError(f"the name {name!r} would delete files in an image")
    return name


def _mode(name: str, mode: int) -> int:
    kind = mode & 0o170000
    if kind not in (0, 0o100000, 0o040000):
        raise ZipError(f"{name!r} is a link or a device")
    if (kind == 0o040000 and not name.endswith("/")) or (kind == 0o100000 and name.endswith("/")):
        raise ZipError(f"{name!r} is a folder by one field and a file by another")
    return mode & 0o7777


def _local(read: Read, row: _Row, limit: int) -> tuple[int, int]:
    """Where the member's data begin, and where everything that belongs to it ends."""
    head = read(row.header, _LOCAL.size)
    if len(head) < _LOCAL.size or not head.startswith(b"PK\x03\x04"):
        raise ZipError(f"{row.name!r} has no local header where its central one points")
    _, _, flags, method, _, _, crc, compressed, size, name_size, extra_size = _LOCAL.unpack(head)
    rest = read(row.header + _LOCAL.size, name_size + extra_size)
    if rest[:name_size] != row.raw or flags != row.flags or method != row.method:
        raise ZipError(f"{row.name!r} has a local header that differs from the central one in name, flags or method")
    fields = extra_fields(rest[name_size:], row.name)
    if ZIP64 in fields:
        if len(fields[ZIP64]) not in (8, 16):
            raise ZipError(f"{row.name!r} has a malformed zip64 field")
        if fields[ZIP64] == struct.pack("<QQ", size, compressed):
            # APPNOTE 4.5.3 wants both sizes here, also from a writer that did not need the field after all.
            fields = {}
        size, compressed, _, _ = zip64(fields, row.name, size, compressed, 0, 0)
    data = row.header + _LOCAL.size + name_size + extra_size
    end = data + row.compressed
    said, known = (crc, compressed, size), (row.crc, row.compressed, row.size)
    if flags & _DESCRIPTOR:
        if said not in (known, (0, 0, 0)):
            raise ZipError(f"{row.name!r} has a local header that differs from the central one in CRC or sizes")
        end = _descriptor(read, row, end, limit)
    elif said != known:
        raise ZipError(f"{row.name!r} has a local header that differs from the central one in CRC or sizes")
    if end > limit:
        raise ZipError(f"{row.name!r} reaches into the central directory")
    return data, end


def _descriptor(read: Read, row: _Row, at: int, limit: int) -> int:
    """The end of a data descriptor (APPNOTE 4.3.9), which comes in four shapes."""
    found = read(at, min(24, max(0, limit - at)))
    for signature in (_DESCRIPTOR_SIGNATURE, b""):
        for form in ("<LLL", "<LQQ"):
            size = struct.calcsize(form)
            body = found[len(signature) : len(signature) + size]
            follows = found[len(signature) + size : len(signature) + size + 4]
            ends = at + len(signature) + size
            if (
                found.startswith(signature)
                and len(body) == size
                and struct.unpack(form, body) == (row.crc, row.compressed, row.size)
                and (ends == limit or not follows or follows.startswith(b"PK"[: len(follows)]))
            ):
                return ends
    raise ZipError(f"{row.name!r} has a data descriptor that differs from the central directory, or none")


def _names(rows: list[_Row]) -> None:
    """Refuse names that are there twice, also after normalisation, and files that are folders elsewhere."""
    files: set[str] = set()
    folders: set[str] = set()
    for row in rows:
        name = unicodedata.normalize("NFC", row.name)
        if name.endswith("/"):
            if name[:-1] in folders and name in files:
                raise ZipError(f"{row.name!r} is in it twice")
            files.add(name)
            name = name[:-1]
            folders.add(name)
        elif name in files:
            raise ZipError(f"{row.name!r} is in it twice")
        else:
            files.add(name)
        while "/" in name:
            name = name.rpartition("/")[0]
            if name in folders:
                break
            folders.add(name)
    both = sorted(folders & files)
    if both:
        raise ZipError(f"{both[0]!r} is a file and a folder")
