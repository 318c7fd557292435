"""What a layer's files hold, and where that comes from."""

import hashlib
from collections.abc import Callable
from typing import NamedTuple, Protocol

from zlib_ng import zlib_ng

from dpbuild.archive import zip as strict_zip
from dpbuild.archive.deflate import DeflateError, Splicer
from dpbuild.errors import UnsafeWheel
from dpbuild.frozen import frozen
from dpbuild.model.files import ProjectFile

_CHUNK = 1 << 20

Tap = Callable[[bytes | memoryview], object]


class Compressing(Protocol):
    """A gzip member being written, as contents see ``archive.gzip.Member``."""

    def add(self, data: bytes) -> None:
        """Bytes to be compressed."""

    def splice(self) -> None:
        """Deflate blocks come next, as ``raw`` of the output."""

    def spliced(self, crc: int, size: int) -> None:
        """They were there: the CRC-32 and length of their uncompressed bytes."""


class Output(Protocol):
    """A layer being written, as contents see it."""

    # Sees the plain bytes of the file that is being written, however they are written.
    tap: Tap | None

    @property
    def member(self) -> Compressing:
        """Where own bytes go."""

    @property
    def splicer(self) -> Splicer:
        """What inflates."""

    def raw(self, data: bytes | memoryview) -> None:
        """Deflate blocks that are joined as they are."""

    def plain(self, data: bytes | memoryview) -> None:
        """Uncompressed bytes of what is joined, for the diffID."""


class Content(Protocol):
    """The content of one file."""

    @property
    def size(self) -> int:
        """In bytes."""

    def feed(self, output: Output) -> None:
        """Write all of it."""


@frozen(kw_only=False)
class Data:
    """Bytes that are at hand."""

    data: bytes

    @property
    def size(self) -> int:
        """In bytes."""
        return len(self.data)

    def feed(self, output: Output) -> None:
        """Write them, compressed by us."""
        output.member.add(self.data)


@frozen(kw_only=False)
class FromFile:
    """A file of the project, which must not change while it is read."""

    file: ProjectFile

    @property
    def size(self) -> int:
        """In bytes."""
        return self.file.size

    def feed(self, output: Output) -> None:
        """Write it, compressed by us. Raises OSError, ValueError if it changed."""
        seen = hashlib.sha256()
        if self.file.open is None:
            raise ValueError("it cannot be opened")
        with self.file.open() as file:
            while chunk := file.read(_CHUNK):
                seen.update(chunk)
                output.member.add(chunk)
        if seen.hexdigest() != self.file.sha256:
            raise ValueError("it changed while it was read")


class Archived(NamedTuple):
    """A member of a wheel; a tuple as that is. ``read(offset, size)`` delivers bytes of the wheel.

    With ``join`` its deflate blocks go into the layer as they are; otherwise they are inflated and
    compressed again. Either way length, CRC and RECORD's hash are verified.
    """

    read: Callable[[int, int], bytes]
    entry: strict_zip.Member
    algorithm: str
    digest: bytes
    wheel: str
    join: bool

    @property
    def size(self) -> int:
        """In bytes, as declared and verified."""
        return self.entry.size

    def feed(self, output: Output) -> None:
        """Write it. Raises UnsafeWheel."""
        join = self.join and self.entry.method == strict_zip.DEFLATED and self.entry.size > 0
        if join:
            output.member.splice()
            crc = self._inflate(output.splicer, output.plain, output.raw)
            output.member.spliced(crc, self.entry.size)
        else:
            self._inflate(output.splicer, lambda data: output.member.add(bytes(data)), lambda data: None)

    def data(self, splicer: Splicer) -> bytes:
        """All of it, verified; for small files only. Raises UnsafeWheel."""
        out = bytearray()
        self._inflate(splicer, out.extend, lambda data: None)
        return bytes(out)

    def _inflate(
        self,
        splicer: Splicer,
        plain: Callable[[bytes | memoryview], object],
        joined: Callable[[memoryview], object],
    ) -> int:
        seen = hashlib.new(self.algorithm) if self.algorithm else None
        crc = 0

        def take(data: bytes | memoryview) -> None:
            nonlocal crc
            crc = zlib_ng.crc32(data, crc)
            if seen is not None:
                seen.update(data)
            plain(data)

        entry = self.entry
        position = entry.offset

        def pull(size: int) -> bytes:
            nonlocal position
            data = self.read(position, size)
            position += len(data)
            return data

        if entry.method == strict_zip.STORED:
            left = entry.size
            while left:
                chunk = pull(min(left, _CHUNK))
                if not chunk:
                    raise self._unsafe("is cut short")
                left -= len(chunk)
                take(chunk)
        else:
            try:
                size = splicer.splice(pull, entry.compressed, entry.size, take, joined)
            except DeflateError as problem:
                raise self._unsafe(f"is not what its header says: {problem}") from None
            if size != entry.size:
                raise self._unsafe(f"has {size} bytes instead of {entry.size}")
        if crc != entry.crc:
            raise self._unsafe("does not have the CRC that the archive declares")
        if seen is not None and seen.digest() != self.digest:
            raise self._unsafe("does not have the hash that RECORD lists")
        return crc

    def _unsafe(self, what: str) -> UnsafeWheel:
        return UnsafeWheel(
            f"{self.wheel}: {self.entry.name} {what}",
            hint="the wheel is damaged or was tampered with; ask its publisher, or choose another version",
        )
