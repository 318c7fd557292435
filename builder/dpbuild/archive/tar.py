"""Writing tar: ustar headers, with PAX records where ustar has no room (POSIX.1-2017, pax, "ustar Interchange
Format" and "pax Extended Header").

The bytes depend on the entry alone: no clock, no user database, no padding of leftovers.
"""

import struct
from typing import Final

from dpbuild.archive.entry import Entry, Kind

BLOCK: Final = 512
# Two blocks of zeros end an archive; nothing is padded to a record size of ten kibibytes.
END: Final = bytes(2 * BLOCK)

_TYPE: Final = {
    Kind.FILE: b"0",
    Kind.HARDLINK: b"1",
    Kind.SYMLINK: b"2",
    Kind.CHARACTER: b"3",
    Kind.BLOCK: b"4",
    Kind.DIRECTORY: b"5",
    Kind.FIFO: b"6",
}
# Name, mode, uid, gid, size, mtime, checksum, type, link, magic and version, user, group, device, prefix: zeros fill up
# each.
_USTAR: Final = struct.Struct("100s8s8s8s12s12s8s1s100s8s32s32s8s8s155s12x")
_NAME: Final = 100
_PREFIX: Final = 155
_OCTAL_7: Final = 0o7777777
_OCTAL_11: Final = 0o77777777777


def padding(size: int) -> bytes:
    """The zeros that follow ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def header(entry: Entry, *, prefix: str = "") -> bytes:
    """The header blocks of one entry, PAX blocks first if it needs any.

    ``prefix`` is put before the path as it is (distroless writes ``./``). The content and its padding
    follow, for files only.
    """
    name = prefix + entry.path + ("/" if entry.kind is Kind.DIRECTORY else "")
    size = entry.size if entry.kind is Kind.FILE else 0
    records: dict[str, bytes] = {}
    short, directory = _split(name.encode())
    if short is None:
        records["path"] = name.encode()
        short, directory = name.encode("ascii", "replace")[:_NAME], b""
    target = entry.target
    link = (prefix + target if entry.kind is Kind.HARDLINK else target).encode()
    if len(link) > _NAME or not link.isascii():
        records["linkpath"] = link
        link = link.decode().encode("ascii", "replace")[:_NAME]
    numbers = {
        "size": (size, _OCTAL_11),
        "mtime": (entry.mtime, _OCTAL_11),
        "uid": (entry.uid, _OCTAL_7),
        "gid": (entry.gid, _OCTAL_7),
    }
    fields: dict[str, int] = {}
    for key, (value, largest) in numbers.items():
        if 0 <= value <= largest:
            fields[key] = value
        else:
            records[key] = str(value).encode()
            fields[key] = 0
    for key, text in (("uname", entry.user), ("gname", entry.group)):
        if len(text.encode()) > 31 or not text.isascii():
            records[key] = text.encode()
    for attribute, raw in entry.xattrs:
        records[f"SCHILY.xattr.{attribute}"] = raw
    block = _ustar(
        short,
        _TYPE[entry.kind],
        entry.mode,
        fields,
        link if entry.kind in (Kind.SYMLINK, Kind.HARDLINK) else b"",
        entry.user.encode("ascii", "replace")[:31],
        entry.group.encode("ascii", "replace")[:31],
        entry.device,
        directory,
    )
    if not records:
        return block
    body = b"".join(_record(key, records[key]) for key in sorted(records))
    extended = _ustar(b"././@PaxHeader", b"x", 0o644, {"size": len(body), "mtime": 0, "uid": 0, "gid": 0})
    return extended + body + padding(len(body)) + block


def _split(name: bytes) -> tuple[bytes | None, bytes]:
    """Name and prefix field; None where the name does not fit into both."""
    if not name.isascii():
        return None, b""
    if len(name) <= _NAME:
        return name, b""
    # The slash between prefix and name is not written; a trailing one belongs to the name.
    cut = name.rfind(b"/", 0, min(_PREFIX + 1, len(name) - 1))
    if cut <= 0 or len(name) - cut - 1 > _NAME:
        return None, b""
    return name[cut + 1 :], name[:cut]


def _record(key: str, value: bytes) -> bytes:
    """``"%d %s=%s\\n"``, where the number counts itself."""
    rest = b" " + key.encode() + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def _ustar(
    name: bytes,
    kind: bytes,
    mode: int,
    numbers: dict[str, int],
    link: bytes = b"",
    user: bytes = b"",
    group: bytes = b"",
    device: tuple[int, int] = (0, 0),
    directory: bytes = b"",
) -> bytes:
    block = _USTAR.pack(
        name,
        b"%07o" % (mode & 0o7777),
        b"%07o" % numbers["uid"],
        b"%07o" % numbers["gid"],
        b"%011o" % numbers["size"],
        b"%011o" % numbers["mtime"],
        b"        ",
        kind,
        link,
        b"ustar\x0000",
        user,
        group,
        b"%07o" % device[0],
        b"%07o" % device[1],
        directory,
    )
    # Most of it is zeros, which add nothing to the sum.
    return block[:148] + b"%06o\0 " % sum(block.translate(None, b"\0")) + block[156:]
