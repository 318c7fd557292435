"""Extra fields of zip members (PKWARE APPNOTE 6.3.10, section 4.5)."""

import struct
from typing import Final

# APPNOTE 4.5.3 and 4.6.9.
ZIP64: Final = 0x0001
_UNICODE_PATH: Final = 0x7075
MASK32: Final = 0xFFFFFFFF
MASK16: Final = 0xFFFF


class ZipError(ValueError):
    """Not a zip that all readers read alike; the message names the member where there is one."""


def extra_fields(data: bytes, name: str) -> dict[int, bytes]:
    """The extra fields of the member ``name`` by their kind. Raises ZipError."""
    fields: dict[int, bytes] = {}
    at = 0
    while at < len(data):
        if len(data) - at < 4:
            raise ZipError(f"{name!r} has a malformed extra field")
        kind, size = struct.unpack_from("<HH", data, at)
        value = data[at + 4 : at + 4 + size]
        if len(value) != size or (kind == ZIP64 and kind in fields):
            raise ZipError(f"{name!r} has a malformed extra field")
        if kind == _UNICODE_PATH:
            raise ZipError(f"{name!r} has a second name in a Unicode path field")
        fields[kind] = value
        at += 4 + size
    return fields


def zip64(
    fields: dict[int, bytes], name: str, size: int, compressed: int, header: int, disk: int
) -> tuple[int, int, int, int]:
    """The values with those that are masked taken from the zip64 field, in the order of APPNOTE 4.5.3.

    Raises ZipError.
    """
    rest = fields.get(ZIP64, b"")
    if not rest and MASK32 not in (size, compressed, header) and disk != MASK16:
        return size, compressed, header, disk
    values = []
    masked: list[bool] = []
    plain: list[bytes] = []
    for short, mask, form in (
        (size, MASK32, "<Q"),
        (compressed, MASK32, "<Q"),
        (header, MASK32, "<Q"),
        (disk, MASK16, "<L"),
    ):
        width = struct.calcsize(form)
        value = short
        masked.append(value == mask)
        if value == mask:
            if len(rest) < width:
                raise ZipError(f"{name!r} lacks a zip64 field")
            (value,) = struct.unpack_from(form, rest)
            rest = rest[width:]
        else:
            plain.append(struct.pack(form, short))
        values.append(value)
    # Some writers say here again what fits elsewhere. That is harmless if it is the same, and comes last: then no
    # reader takes one value for another.
    again = {b"".join(plain[:count]) for count in range(len(plain) + 1)}
    if rest and (rest not in again or masked != sorted(masked, reverse=True)):
        raise ZipError(f"{name!r} has a zip64 field with more than is missing elsewhere")
    return values[0], values[1], values[2], values[3]
