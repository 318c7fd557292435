"""The archive's indices: ``Release`` and ``Packages`` (Debian wiki, "DebianRepository/Format").

Whether a ``Release`` is signed is not decided here; what it says of time and of other files is.
"""

import lzma
import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Final, cast

from zlib_ng import zlib_ng

from dpbuild.debian import version as versions
from dpbuild.debian.control import ControlError, fields, name_of, stanzas
from dpbuild.frozen import frozen

_SHA256: Final = re.compile(r"[0-9a-f]{64}")
# What a pool's file may be called; it becomes part of a URL.
_FILENAME: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9+.~_%-]+(?:/[A-Za-z0-9+.~_%:-]+)*")
# apt's Acquire::Max-FutureTime, in seconds: how far a clock may be behind the archive's.
MAX_FUTURE: Final = timedelta(seconds=10)

# Bytes of text that are given at a time, and of what is inflated.
_CHUNK: Final = 1 << 20
_PIECE: Final = 64 << 10
_GZIP_ERROR: Final = cast("type[Exception]", zlib_ng.error)


class BadIndex(ValueError):
    """An index does not say what it must; the message says which part."""


@frozen(order=True)
class IndexFile:
    """A file that a ``Release`` vouches for. ``path`` is relative to the ``Release``; ``size`` in bytes."""

    path: str
    sha256: str
    size: int


@frozen
class Release:
    """What a ``Release`` says. ``components`` are without the ``updates/`` of the security archive's own."""

    codename: str
    suite: str
    origin: str
    date: datetime
    valid_until: datetime | None
    by_hash: bool
    architectures: frozenset[str]
    components: frozenset[str]
    files: tuple[IndexFile, ...]

    def file(self, path: str) -> IndexFile | None:
        """The row of ``path``, or None."""
        return next((row for row in self.files if row.path == path), None)

    def check_time(self, now: datetime, clock: str = "by this machine's clock") -> None:
        """What apt checks: not from the future, not past its Valid-Until. Raises BadIndex."""
        if self.date > now + MAX_FUTURE:
            raise BadIndex(f"it is dated {timestamp(self.date)}, and it is {timestamp(now)} {clock}")
        if self.valid_until is not None and self.valid_until < now:
            raise BadIndex(f"it was valid until {timestamp(self.valid_until)}, and it is {timestamp(now)} {clock}")


@frozen
class Package:
    """One binary package of an index. ``archive`` is the suite whose index it is; ``size`` in bytes."""

    name: str
    version: str
    architecture: str
    filename: str
    sha256: str
    size: int
    source: str
    archive: str
    depends: str = ""
    pre_depends: str = ""
    provides: str = ""
    conflicts: str = ""
    breaks: str = ""


def timestamp(moment: datetime) -> str:
    """A moment as RFC 3339 writes it, in UTC and whole seconds."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def parse_release(data: bytes) -> Release:
    """Read a ``Release``. Raises BadIndex."""
    try:
        found = fields(data)
    except ControlError as problem:
        raise BadIndex(str(problem)) from None
    for name in ("codename", "date", "sha256", "components", "architectures"):
        if name not in found:
            raise BadIndex(f"it has no field {name}")
    until = found.get("valid-until")
    rows = []
    for line in found["sha256"].splitlines():
        if not line.strip():
            continue
        parts = line.split()
        if len(parts) != 3 or not _SHA256.fullmatch(parts[0]) or not parts[1].isdigit():
            raise BadIndex(f"not a row of its SHA256 list: {line!r}")
        rows.append(IndexFile(path=parts[2], sha256=parts[0], size=int(parts[1])))
    return Release(
        codename=found["codename"],
        suite=found.get("suite", ""),
        origin=found.get("origin", ""),
        date=_date(found["date"]),
        valid_until=_date(until) if until else None,
        by_hash=found.get("acquire-by-hash", "").lower() == "yes",
        architectures=frozenset(found["architectures"].split()),
        components=frozenset(part.rpartition("/")[2] for part in found["components"].split()),
        files=tuple(rows),
    )


def _date(text: str) -> datetime:
    import email.utils

    try:
        found = email.utils.parsedate_to_datetime(text)
    except ValueError:
        raise BadIndex(f"not a date: {text!r}") from None
    return found.replace(tzinfo=UTC) if found.tzinfo is None else found.astimezone(UTC)


def packages(chunks: Iterable[bytes], names: frozenset[str], archive: str) -> tuple[Package, ...]:
    """The rows of a ``Packages`` index with one of these names, in its order. Raises BadIndex."""
    return tuple(
        package_of(stanza, archive) for stanza in stanzas(chunks) if (name := name_of(stanza)) and name in names
    )


def package_of(stanza: bytes, archive: str) -> Package:
    """One row of a ``Packages`` index. Raises BadIndex."""
    try:
        found = fields(stanza)
    except ControlError as problem:
        raise BadIndex(str(problem)) from None
    name = found.get("package", "")
    for key in ("version", "architecture", "filename", "sha256", "size"):
        if not found.get(key):
            raise BadIndex(f"the package {name} has no field {key}")
    if not _FILENAME.fullmatch(found["filename"]):
        raise BadIndex(f"the package {name} has a file name that cannot be: {found['filename']!r}")
    if not _SHA256.fullmatch(found["sha256"]) or not found["size"].isdigit():
        raise BadIndex(f"the package {name} has no proper hash and size")
    return Package(
        name=name,
        version=found["version"],
        architecture=found["architecture"],
        filename=found["filename"],
        sha256=found["sha256"],
        size=int(found["size"]),
        source=found.get("source", name).split(" ")[0],
        archive=archive,
        depends=found.get("depends", ""),
        pre_depends=found.get("pre-depends", ""),
        provides=found.get("provides", ""),
        conflicts=found.get("conflicts", ""),
        breaks=found.get("breaks", ""),
    )


def newest(rows: Iterable[Package], architecture: str) -> dict[str, Package]:
    """Of every name the newest version that fits the machine; of equal ones the first."""
    best: dict[str, Package] = {}
    for row in rows:
        if row.architecture not in (architecture, "all"):
            continue
        known = best.get(row.name)
        if known is None or versions.compare(row.version, known.version) > 0:
            best[row.name] = row
    return best


def gunzip(data: bytes) -> Iterator[bytes]:
    """The text of an index that is compressed with gzip. Raises BadIndex."""
    inflate = zlib_ng.decompressobj(31)
    try:
        # What is not consumed is copied each time: of a small piece that is little.
        for at in range(0, len(data), _PIECE):
            rest = data[at : at + _PIECE]
            while rest and not inflate.eof:
                yield inflate.decompress(rest, _CHUNK)
                rest = inflate.unconsumed_tail
        while not inflate.eof:
            chunk = inflate.decompress(b"", _CHUNK)
            if not chunk:
                raise BadIndex("it ends too early")
            yield chunk
    except _GZIP_ERROR as problem:
        raise BadIndex(str(problem)) from None


def unxz(data: bytes) -> Iterator[bytes]:
    """The text of an index that is compressed with xz. Raises BadIndex."""
    inflate = lzma.LZMADecompressor(format=lzma.FORMAT_XZ)
    try:
        chunk = inflate.decompress(data, _CHUNK)
        yield chunk
        while not inflate.eof:
            chunk = inflate.decompress(b"", _CHUNK)
            if not chunk and inflate.needs_input:
                raise BadIndex("it ends too early")
            yield chunk
    except lzma.LZMAError as problem:
        raise BadIndex(str(problem)) from None
