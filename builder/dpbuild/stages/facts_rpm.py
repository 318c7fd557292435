"""Packages of rpm distributions: the database in SQLite, and the lists that distroless images keep instead."""

import re
import struct
from collections.abc import Iterator
from contextlib import closing
from typing import Final

from dpbuild.model.facts import SystemPackage

# rpm, lib/header.c: the blob is a header without its magic; lib/rpmtag.h; lib/rpmtypes.h.
_TAGS: Final = {1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1022: "arch", 1044: "source"}
_INT32: Final = 4
_STRING: Final = 6
_MOST_TAGS: Final = 65536
# SQLite's virtual machine steps between two calls; an honest database of thousands of packages needs few.
_STEPS: Final = 100_000
_MOST_STEPS: Final = 500
# SQLite, "Database File Format", 1.3: the versions for writing and reading; 2 is for files with a log beside.
_VERSIONS: Final = slice(18, 20)
_SHORT: Final = r"(?P<name>.+?)[.-](?P<version>\d[^-]*)-(?P<release>[^-]+)\.(?P<arch>[^.-]+)"


# The same, 4: the header of a log, that of each page in it, and the two magic numbers.
_LOG_HEADER: Final = struct.Struct(">IIIIIIII")
_PAGE_HEADER: Final = struct.Struct(">IIIIII")
_LOG_MAGIC: Final = (0x377F0682, 0x377F0683)
_MOST_PAGES: Final = 1 << 16


class RpmError(ValueError):
    """The bytes are no database of rpm."""


def with_log(data: bytes, log: bytes) -> bytes:
    """The database with what was committed to the log beside it (``rpmdb.sqlite-wal``), but not yet moved.

    A log that is no such log, or was already moved, changes nothing, as in SQLite.
    """
    if len(log) < _LOG_HEADER.size:
        return data
    magic, _, page_size, _, *salts, _, _ = _LOG_HEADER.unpack_from(log)
    if magic not in _LOG_MAGIC or page_size not in {1 << power for power in range(9, 17)}:
        return data
    pages: dict[int, int] = {}
    committed: dict[int, int] = {}
    size = 0
    for at in range(_LOG_HEADER.size, len(log) - _PAGE_HEADER.size - page_size + 1, _PAGE_HEADER.size + page_size):
        number, after, *own, _, _ = _PAGE_HEADER.unpack_from(log, at)
        if own != salts or not 0 < number <= _MOST_PAGES:
            break
        pages[number] = at + _PAGE_HEADER.size
        if after:
            committed, size = dict(pages), after
    if not 0 < size <= _MOST_PAGES:
        return data
    merged = bytearray(data[: size * page_size])
    merged += bytes(size * page_size - len(merged))
    for number, begin in committed.items():
        if number <= size:
            merged[(number - 1) * page_size : number * page_size] = log[begin : begin + page_size]
    return bytes(merged)


def database(data: bytes) -> Iterator[SystemPackage]:
    """The packages in ``rpmdb.sqlite``. Raises RpmError."""
    import sqlite3

    if data[:16] != b"SQLite format 3\0":
        raise RpmError("it is no SQLite database")
    with closing(sqlite3.connect(":memory:")) as connection:
        if not hasattr(connection, "deserialize"):
            raise RpmError("this Python's sqlite3 cannot read a database from memory")
        left = _MOST_STEPS

        def tick() -> bool:
            nonlocal left
            left -= 1
            return left < 0

        connection.set_progress_handler(tick, _STEPS)
        try:
            # A database in memory has no log.
            connection.deserialize(data[: _VERSIONS.start] + b"\1\1" + data[_VERSIONS.stop :])
            connection.execute("PRAGMA trusted_schema = OFF")
            kind = connection.execute("SELECT type FROM sqlite_master WHERE name = 'Packages'").fetchone()
            if kind != ("table",):
                raise RpmError("it has no table of packages")
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                package = header(blob)
                if package is not None:
                    yield package
        except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, UnicodeDecodeError) as problem:
            raise RpmError(str(problem)) from None


def header(blob: object) -> SystemPackage | None:
    """The package that a header describes; None for the keys that rpm keeps like packages. Raises RpmError."""
    if not isinstance(blob, bytes) or len(blob) < 8:
        raise RpmError("a package has no header")
    count, size = struct.unpack_from(">II", blob)
    begin = 8 + 16 * count
    if count > _MOST_TAGS or begin + size > len(blob):
        raise RpmError("a package's header is cut off")
    found: dict[str, str] = {}
    for tag, kind, offset, _ in struct.iter_unpack(">IIII", blob[8:begin]):
        name = _TAGS.get(tag)
        if name is None:
            continue
        at = begin + offset
        if kind == _INT32 and offset + 4 <= size:
            found[name] = str(struct.unpack_from(">I", blob, at)[0])
        elif kind == _STRING and offset < size:
            found[name] = blob[at : blob.find(b"\0", at, begin + size)].decode("utf-8", "replace")
        else:
            raise RpmError(f"a package's {name} lies outside its header")
    if "name" not in found or "version" not in found or found["name"] == "gpg-pubkey":
        return None
    epoch = f"{found['epoch']}:" if found.get("epoch", "0") != "0" else ""
    version = "-".join(part for part in (found["version"], found.get("release")) if part)
    return SystemPackage(
        name=found["name"], version=epoch + version, architecture=found.get("arch", ""), source=found.get("source", "")
    )


def long_list(text: str) -> Iterator[SystemPackage]:
    """``container-manifest-2`` of Azure Linux: the query's fields, separated by tabs.

    NAME, VERSION-RELEASE, INSTALLTIME, BUILDTIME, VENDOR, EPOCH, SIZE, ARCH, EPOCHNUM, SOURCERPM.
    """
    for line in text.splitlines():
        fields = line.split("\t")
        if len(fields) >= 8:
            epoch = f"{fields[5]}:" if fields[5].isdigit() and fields[5] != "0" else ""
            yield SystemPackage(
                name=fields[0],
                version=epoch + fields[1],
                architecture=fields[7],
                source=fields[9] if len(fields) > 9 else "",
            )


def short_list(text: str) -> Iterator[SystemPackage]:
    """``container-manifest-1``: NAME.VERSION-RELEASE.ARCH a line, with a hyphen behind the name in older images."""
    for line in text.splitlines():
        match = re.fullmatch(_SHORT, line.strip())
        if match is not None:
            yield SystemPackage(
                name=match["name"], version=f"{match['version']}-{match['release']}", architecture=match["arch"]
            )
