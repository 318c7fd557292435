"""One gzip member (RFC 1952) made of our own deflate blocks and of deflate streams that were there before.

Everything that is compressed here goes through one pinned compressor, in pieces whose borders depend on the
content alone, so the bytes are the same on every machine and for any number of threads.
"""

import struct
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from zlib_ng import zlib_ng

# RFC 1952, 2.3.1: magic, deflate, no flags, no time, no extra flags, system unknown.
HEADER: Final = bytes((0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 255))
# RFC 1951, 3.2.6: a last block with fixed codes that holds nothing but its end.
LAST: Final = b"\x03\x00"
# Levels 1 to 4 of this compressor were seen to give the same bytes on every processor that was tried.
LEVEL: Final = 3
PIECE: Final = 1 << 20
WINDOW: Final = 1 << 15

Write = Callable[[bytes], object]


def deflate(data: bytes, dictionary: bytes = b"") -> bytes:
    """``data`` as deflate blocks, none of them the last, ending at a byte border.

    ``dictionary`` is what precedes it in the same stream, 32 KiB at the most.
    """
    squeeze = zlib_ng.compressobj(
        LEVEL,
        zlib_ng.DEFLATED,
        -15,
        8,
        zlib_ng.Z_DEFAULT_STRATEGY,
        **({"zdict": dictionary} if dictionary else {}),
    )
    return bytes(squeeze.compress(data)) + bytes(squeeze.flush(zlib_ng.Z_SYNC_FLUSH))


class Member:
    """A gzip member being written, piece by piece.

    ``write`` takes compressed bytes; ``plain`` (the hash of a diffID, say) every uncompressed byte that is
    added by ``add``; what is spliced has been seen by whoever spliced it.
    """

    def __init__(self, write: Write, plain: Write) -> None:
        self._write = write
        self._plain = plain
        self._pending: list[bytes] = []
        self._held = 0
        self._previous = b""
        self._crc = 0
        self._size = 0
        write(HEADER)

    @property
    def size(self) -> int:
        """Uncompressed bytes so far."""
        return self._size

    def add(self, data: bytes) -> None:
        """Compress ``data``; pieces are cut at every mebibyte, wherever the calls begin and end."""
        if not data:
            return
        self._plain(data)
        self._crc = zlib_ng.crc32(data, self._crc)
        self._size += len(data)
        while data:
            part = data[: PIECE - self._held]
            data = data[len(part) :]
            self._pending.append(part)
            self._held += len(part)
            if self._held == PIECE:
                self._flush()

    def _flush(self) -> None:
        if self._held:
            piece = b"".join(self._pending)
            self._write(deflate(piece, self._previous))
            self._previous = piece[-WINDOW:]
            self._pending.clear()
            self._held = 0

    def splice(self) -> None:
        """Say that aligned deflate blocks come next; the caller writes them itself, then says ``spliced``."""
        self._flush()
        self._previous = b""

    def spliced(self, crc: int, size: int) -> None:
        """Account for what was spliced: the CRC-32 and length of its uncompressed bytes."""
        self._crc = zlib_ng.crc32_combine(self._crc, crc, size) if size else self._crc
        self._size += size

    def finish(self) -> None:
        """Write the end of the member."""
        self._flush()
        self._write(LAST + struct.pack("<II", self._crc, self._size & 0xFFFFFFFF))


def compress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """``chunks`` as one gzip member, the same bytes however they are cut."""
    out: list[bytes] = []
    member = Member(out.append, lambda data: None)
    for chunk in chunks:
        member.add(chunk)
        yield from out
        out.clear()
    member.finish()
    yield from out
