"""rpm's database before SQLite: ``Packages``, a hash of Berkeley DB, as in images of RHEL 8 and UBI 8.

Berkeley DB, dbinc/db_page.h: pages of one size, whose type is at byte 25. Hash pages hold keys and data in turn, from
their end downwards; what is long lies in a chain of overflow pages.
"""

import struct
from collections.abc import Iterator
from typing import Final

from dpbuild.model.facts import SystemPackage
from dpbuild.stages.facts_rpm import RpmError, header

_MAGIC: Final = 0x061561
_MAGIC_AT: Final = 12
_PAGE_SIZE_AT: Final = 20
_PAGE_HEADER: Final = 26
# P_HASH_UNSORTED, P_HASH and P_OVERFLOW; H_KEYDATA and H_OFFPAGE.
_HASHES: Final = (2, 13)
_OVERFLOW: Final = 7
_INLINE: Final = 1
_OFF_PAGE: Final = 3
_NUMBER: Final = 4


def database(data: bytes) -> Iterator[SystemPackage]:
    """The packages in ``Packages``. Raises RpmError."""
    for order in "<>":
        if data[_MAGIC_AT : _MAGIC_AT + 4] == struct.pack(f"{order}I", _MAGIC):
            yield from _packages(data, order)
            return
    raise RpmError("it is no hash of Berkeley DB")


def _packages(data: bytes, order: str) -> Iterator[SystemPackage]:
    try:
        size = int(struct.unpack_from(f"{order}I", data, _PAGE_SIZE_AT)[0])
        if size not in {1 << power for power in range(9, 17)}:
            raise RpmError(f"its pages have {size} bytes")
        # Every page belongs to one package at the most, which bounds the work.
        left = len(data) // size
        for begin in range(size, len(data) - size + 1, size):
            if data[begin + 25] not in _HASHES:
                continue
            page = data[begin : begin + size]
            count = int(struct.unpack_from(f"{order}H", page, 20)[0])
            offsets = struct.unpack_from(f"{order}{count}H", page, _PAGE_HEADER)
            for above, offset in zip(offsets[::2], offsets[1::2], strict=False):
                kind, blob = page[offset], page[offset + 1 : above]
                if kind == _OFF_PAGE:
                    number, length = struct.unpack_from(f"{order}II", page, offset + 4)
                    blob, pages = _chain(data, order, size, number, length, left)
                    left -= pages
                elif kind != _INLINE:
                    raise RpmError(f"an item is of the unknown type {kind}")
                elif len(blob) == _NUMBER:
                    continue  # how many packages there were, under the key 0
                package = header(blob)
                if package is not None:
                    yield package
    except (struct.error, IndexError):
        raise RpmError("it is damaged") from None


def _chain(data: bytes, order: str, size: int, number: int, length: int, most: int) -> tuple[bytes, int]:
    """What the overflow pages from ``number`` on hold, and how many they are."""
    parts, found, pages = [], 0, 0
    while number and found < length:
        pages += 1
        begin = number * size
        if pages > most or data[begin + 25] != _OVERFLOW:
            raise RpmError("a chain of its pages is damaged")
        number, used = (
            int(struct.unpack_from(f"{order}I", data, begin + 16)[0]),
            int(struct.unpack_from(f"{order}H", data, begin + 22)[0]),
        )
        parts.append(data[begin + _PAGE_HEADER : begin + _PAGE_HEADER + used])
        found += used
    if found != length:
        raise RpmError("a chain of its pages ends too early")
    return b"".join(parts), pages
