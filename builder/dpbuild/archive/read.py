"""Reading tar: streaming, strict, and the way that engines read it.

Names mean what Go's ``archive/tar`` and containerd make of them, since that is what unpacks the image: global
PAX headers are skipped, links and devices have no content whatever their size field says, names are
relative to the root with or without a leading slash. What no honest writer makes is a ReadError: ``..`` in
names, wrong checksums, sparse files, unknown types, counts and lengths beyond the limits.
"""

import io
from collections.abc import Iterator
from typing import BinaryIO, Final, cast

from dpbuild.archive.decompress import CHUNK, Decompressed, Readable, ReadError
from dpbuild.archive.entry import Entry, Kind

__all__ = ["MOST_ENTRIES", "ReadError", "entries", "normalised", "open_layer"]

_BLOCK: Final = 512
# Linux' PATH_MAX and NAME_MAX, and a depth that no honest tree comes near.
_LONGEST_PATH: Final = 4096
_LONGEST_NAME: Final = 255
DEEPEST: Final = 256
MOST_ENTRIES: Final = 500_000
_LARGEST_EXTENSION: Final = 1 << 20
_MOST_TEXT: Final = 256 << 20
_ZEROS: Final = bytes(_BLOCK)
_XATTR: Final = "SCHILY.xattr."

# POSIX.1-2017, pax, "ustar Interchange Format", typeflag.
_KINDS: Final = {
    b"0": Kind.FILE,
    b"\0": Kind.FILE,
    b"7": Kind.FILE,
    b"1": Kind.HARDLINK,
    b"2": Kind.SYMLINK,
    b"3": Kind.CHARACTER,
    b"4": Kind.BLOCK,
    b"5": Kind.DIRECTORY,
    b"6": Kind.FIFO,
}


def open_layer(stream: Readable, *, limit: int) -> tuple[BinaryIO, Decompressed]:
    """A buffered stream of a layer's tar, and the object under it that counts and hashes what is read."""
    raw = Decompressed(stream, limit=limit)
    return cast("BinaryIO", io.BufferedReader(raw, CHUNK)), raw


def entries(stream: BinaryIO, *, most: int = MOST_ENTRIES) -> Iterator[tuple[Entry, BinaryIO | None]]:
    """Every entry of a tar, in order; for files with a stream of the content, valid until the next step.

    Whiteouts are entries like others; ``path`` is normalised. The stream is read to its very end, so that a
    digest over it is complete. Raises ReadError.
    """
    reader = _Reader(stream)
    text = 0
    for count, (entry, content) in enumerate(reader.entries()):
        if count >= most:
            raise ReadError(f"it has more than {most} entries")
        text += len(entry.path) + len(entry.target) + sum(len(value) for _, value in entry.xattrs)
        if text > _MOST_TEXT:
            raise ReadError(f"its names and attributes take more than {_MOST_TEXT} bytes")
        yield entry, content
    while stream.read(CHUNK):
        pass


def normalised(name: str) -> str:
    """``name`` without outer slashes and ``.`` components; "" is the root. Raises ReadError."""
    if "\0" in name:
        raise ReadError(f"the name {name!r} holds a NUL")
    if len(name) > _LONGEST_PATH:
        raise ReadError(f"the name {name[:60]!r}… is too long")
    parts = [part for part in name.split("/") if part not in ("", ".")]
    if len(parts) > DEEPEST:
        raise ReadError(f"the name {name[:60]!r}… is too deep")
    for part in parts:
        if part == "..":
            raise ReadError(f"the name {name!r} leads out of its folder")
        if len(part) > _LONGEST_NAME and len(part.encode("utf-8", "surrogateescape")) > _LONGEST_NAME:
            raise ReadError(f"the name {part[:60]!r}… is too long")
    return "/".join(parts)


class _Content(io.RawIOBase):
    """The content of the entry at hand."""

    def __init__(self, stream: BinaryIO, size: int) -> None:
        self._stream = stream
        self.left = size

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        """As ``io.BufferedIOBase``: fewer bytes than asked for only at the end."""
        if size < 0 or size > self.left:
            size = self.left
        data = self._stream.read(size)
        if len(data) != size:
            raise ReadError("it ends within a file")
        self.left -= size
        return data

    def readinto(self, buffer: memoryview, /) -> int:  # type: ignore[override]
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _Reader:
    """One archive, from its first block to its last."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream

    def _exactly(self, size: int) -> bytes:
        data = self._stream.read(size)
        if len(data) != size:
            raise ReadError("it ends within an entry")
        return data

    def _skip(self, size: int) -> None:
        while size > 0:
            size -= len(self._exactly(min(size, CHUNK)))

    def _extension(self, size: int) -> bytes:
        if size > _LARGEST_EXTENSION:
            raise ReadError(f"an extended header of {size} bytes is too large")
        data = self._exactly(size + -size % _BLOCK)
        return data[:size]

    def _block(self) -> bytes | None:
        """The next header, or None at the end."""
        block = self._stream.read(_BLOCK)
        if not block:
            return None
        if len(block) != _BLOCK:
            raise ReadError("it ends within a header")
        if block == _ZEROS:
            following = self._stream.read(_BLOCK)
            if following and following != _ZEROS[: len(following)]:
                raise ReadError("data follow a block of zeros")
            return None
        return block

    def entries(self) -> Iterator[tuple[Entry, BinaryIO | None]]:
        records: dict[str, bytes] = {}
        extensions = 0
        while (block := self._block()) is not None:
            _check(block)
            kind = block[156:157]
            if kind in b"xgLK":
                extensions += 1
                if extensions > 16:
                    raise ReadError("one entry has too many extended headers")
                data = self._extension(_number(block[124:136], "size"))
                if kind == b"x":
                    records.update(_records(data))
                elif kind == b"L":
                    records["path"] = data.partition(b"\0")[0]
                elif kind == b"K":
                    records["linkpath"] = data.partition(b"\0")[0]
                # Global headers are read over, as in Go: no engine lets them change the entries that follow.
                extensions -= kind == b"g"
                continue
            entry = _entry(block, records)
            records, extensions = {}, 0
            if entry.kind is not Kind.FILE:
                yield entry, None
                continue
            content = _Content(self._stream, entry.size)
            yield entry, cast("BinaryIO", content)
            self._skip(content.left + -entry.size % _BLOCK)
        if records:
            raise ReadError("an extended header belongs to no entry")


def _check(block: bytes) -> None:
    wanted = _number(block[148:156], "checksum")
    total = sum(block) - sum(block[148:156]) + 8 * 32
    if wanted != total:
        # Some old writers summed signed characters.
        high = sum(256 for byte in block if byte > 127) - sum(256 for byte in block[148:156] if byte > 127)
        if wanted != total - high:
            raise ReadError("a header has the wrong checksum: it is damaged or no tar archive")


def _number(field: bytes, what: str) -> int:
    """An octal field, or GNU's base-256 form. Raises ReadError."""
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ~(1 << (8 * len(field) - 1))
        if field[0] & 0x40:
            value -= 1 << (8 * len(field) - 1)
        if abs(value) >= 1 << 63:
            raise ReadError(f"a header's {what} is too large")
        return value
    text = field.strip(b" \0").partition(b"\0")[0]
    if not text:
        return 0
    if text.translate(None, b"01234567"):
        raise ReadError(f"a header's {what} is no number: {text!r}")
    return int(text, 8)


def _records(data: bytes) -> Iterator[tuple[str, bytes]]:
    """PAX records: ``"%d %s=%s\\n"``. Raises ReadError."""
    position = 0
    while position < len(data):
        space = data.find(b" ", position, position + 8)
        digits = data[position : max(space, position)]
        if not digits.isdigit():
            raise ReadError("a PAX record has no length")
        end = position + int(digits)
        key, equals, value = data[space + 1 : end - 1].partition(b"=")
        if end > len(data) or end <= space + 1 or data[end - 1 : end] != b"\n" or not equals or not key:
            raise ReadError("a PAX record is damaged")
        name = _text(key)
        if name.startswith("GNU.sparse."):
            raise ReadError("it holds a sparse file, which is not supported")
        yield name, value
        position = end


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


def _field(block: bytes, begin: int, end: int) -> bytes:
    return block[begin:end].partition(b"\0")[0]


def _decimal(records: dict[str, bytes], key: str, default: int) -> int:
    raw = records.get(key)
    if not raw:
        return default
    # Times may have a fraction; whole seconds are what we keep, rounded down.
    whole, _, fraction = raw.partition(b".")
    if not whole.removeprefix(b"-").isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise ReadError(f"the PAX record {key} is no number")
    value = int(whole)
    return value - 1 if raw.startswith(b"-") and fraction.strip(b"0") else value


def _entry(block: bytes, records: dict[str, bytes]) -> Entry:
    flag = block[156:157]
    if flag == b"S":
        raise ReadError("it holds a sparse file, which is not supported")
    kind = _KINDS.get(flag)
    name = records.get("path") or _field(block, 0, 100)
    # Only POSIX' own format has the prefix; GNU's keeps times there.
    if not records.get("path") and block[257:263] == b"ustar\0" and (prefix := _field(block, 345, 500)):
        name = prefix + b"/" + name
    if kind is None:
        raise ReadError(f"the entry {_text(name)!r} is of the unknown type {flag!r}")
    path = _text(name)
    if flag == b"\0" and path.endswith("/"):
        kind = Kind.DIRECTORY
    link = _text(records.get("linkpath") or _field(block, 157, 257))
    size = _decimal(records, "size", _number(block[124:136], "size"))
    if size < 0:
        raise ReadError(f"the entry {path!r} has a negative size")
    if kind is Kind.HARDLINK:
        link = normalised(link)
    elif kind is Kind.SYMLINK:
        if not link or len(link) > _LONGEST_PATH or "\0" in link:
            raise ReadError(f"the symbolic link {path!r} has no target that can be used")
    else:
        link = ""
    special = kind in (Kind.CHARACTER, Kind.BLOCK)
    # What is left of a V7 header behind the link's name is undefined.
    modern = block[257:262] == b"ustar"
    return Entry(
        path=normalised(path),
        kind=kind,
        mode=_number(block[100:108], "mode") & 0o7777,
        uid=_decimal(records, "uid", _number(block[108:116], "uid")),
        gid=_decimal(records, "gid", _number(block[116:124], "gid")),
        mtime=_decimal(records, "mtime", _number(block[136:148], "mtime")),
        size=size if kind is Kind.FILE else 0,
        target=link,
        user=_text(records.get("uname") or (_field(block, 265, 297) if modern else b"")),
        group=_text(records.get("gname") or (_field(block, 297, 329) if modern else b"")),
        device=(_number(block[329:337], "device"), _number(block[337:345], "device")) if special else (0, 0),
        xattrs=tuple(sorted((key[len(_XATTR) :], value) for key, value in records.items() if key.startswith(_XATTR))),
    )
