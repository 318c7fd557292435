"""Decompressing layers: gzip, zstd or nothing, told apart by the first bytes, as engines do."""

import hashlib
import importlib
import io
from collections.abc import Callable
from typing import Final, Protocol, cast

from zlib_ng import zlib_ng

CHUNK: Final = 256 * 1024
# Compressed bytes that are taken at a time: what is not consumed of them is copied each time.
_PIECE: Final = 64 * 1024
# RFC 1952, 2.3.1; RFC 8878, 3.1.1.
_GZIP: Final = b"\x1f\x8b\x08"
_ZSTD: Final = b"\x28\xb5\x2f\xfd"
# A layer may grow this much, and may always grow to the smallest limit: honest ones stay far below.
RATIO: Final = 200
SMALLEST_LIMIT: Final = 1 << 30
_GZIP_ERROR: Final = cast("type[Exception]", zlib_ng.error)


class ReadError(ValueError):
    """The bytes are no layer that can be unpacked safely; the message says why."""


class Readable(Protocol):
    """Anything with ``read``."""

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` bytes; none at the end."""


def limit_of(compressed: int) -> int:
    """How many bytes a layer of ``compressed`` bytes may unpack to."""
    return max(SMALLEST_LIMIT, RATIO * compressed)


class _Decompressor(Protocol):
    """What the standard library's decompressors have in common."""

    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    @property
    def needs_input(self) -> bool: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


class _Gzip:
    """zlib's object behind that interface."""

    def __init__(self) -> None:
        self._inner = zlib_ng.decompressobj(31)

    @property
    def eof(self) -> bool:
        return bool(self._inner.eof)

    @property
    def unused_data(self) -> bytes:
        return bytes(self._inner.unused_data)

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return bytes(self._inner.decompress(self._inner.unconsumed_tail + data, max_length))
        except _GZIP_ERROR as problem:
            raise ReadError(f"its gzip stream is damaged: {problem}") from None


class _Zstd:
    """The decompressor of the standard library (from 3.14) or of its backport."""

    def __init__(self) -> None:
        self._inner: _Decompressor
        self._error: type[Exception]
        self._inner, self._error = self._load()

    @staticmethod
    def _load() -> tuple[_Decompressor, type[Exception]]:
        for name in ("compression.zstd", "backports.zstd"):
            try:
                module = importlib.import_module(name)
            except ImportError:
                continue
            return cast("_Decompressor", module.ZstdDecompressor()), module.ZstdError
        raise ReadError("it is compressed with zstd, which this Python reads only with the package backports.zstd")

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def needs_input(self) -> bool:
        return self._inner.needs_input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        try:
            return self._inner.decompress(data, max_length)
        except self._error as problem:
            raise ReadError(f"its zstd stream is damaged: {problem}") from None


class Decompressed(io.RawIOBase):
    """The uncompressed bytes of ``stream``; members or frames may follow one another.

    More than ``limit`` bytes are a ReadError, so that a small layer cannot take the memory or the day.
    ``digest()`` and ``size`` are those of what was read so far: of the whole at the end.
    """

    def __init__(self, stream: Readable, *, limit: int) -> None:
        self._stream = stream
        self._limit = limit
        self._hash = hashlib.sha256()
        self.size = 0
        head = b""
        while len(head) < 4 and (more := stream.read(4 - len(head))):
            head += more
        self._pending = head
        self._make: Callable[[], _Decompressor] | None = None
        if head[:3] == _GZIP:
            self._make = _Gzip
        elif head == _ZSTD:
            self._make = _Zstd
        self._inner: _Decompressor | None = self._make() if self._make else None

    def readable(self) -> bool:
        """Always."""
        return True

    def digest(self) -> str:
        """The sha256 as lower-case hex."""
        return self._hash.hexdigest()

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        """As ``io.RawIOBase``. Raises ReadError."""
        room = len(buffer)
        data = self._plain(room) if self._inner is None else self._inflate(room)
        self.size += len(data)
        if self.size > self._limit:
            raise ReadError(f"it unpacks to more than {self._limit} bytes")
        self._hash.update(data)
        buffer[: len(data)] = data
        return len(data)

    def _take(self, size: int) -> bytes:
        if self._pending:
            data, self._pending = self._pending[:size], self._pending[size:]
            return data
        return self._stream.read(size)

    def _plain(self, room: int) -> bytes:
        return self._take(room)

    def _inflate(self, room: int) -> bytes:
        while self._inner is not None:
            if self._inner.eof:
                self._pending = self._inner.unused_data + self._pending
                if not self._pending:
                    self._pending = self._stream.read(CHUNK)
                if not self._pending:
                    return b""
                assert self._make is not None  # noqa: S101
                self._inner = self._make()
            data = self._take(_PIECE) if self._inner.needs_input else b""
            before = self._inner.needs_input
            made = self._inner.decompress(data, room)
            if made:
                return made
            if before and not data and not self._inner.eof:
                raise ReadError("its compressed stream ends too early")
        return b""
