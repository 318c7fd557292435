"""The distributor of an image and its packages, from the databases that distroless images keep."""

import io
import json
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from dpbuild.archive.decompress import Decompressed, ReadError
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import PackageDatabase, SystemPackage
from dpbuild.stages import facts_rpm, facts_rpm_bdb
from dpbuild.stages.contents import Contents

Kind = Literal["dpkg", "apk", "chisel", "rpm manifest", "rpm sqlite", "rpm bdb", "rpm ndb"]

_TEXT: Final = 64 << 20
_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
_STATUS_D: Final = "/var/lib/dpkg/status.d"
_STATUS: Final = "/var/lib/dpkg/status"
_RPM_LONG: Final = "/var/lib/rpmmanifest/container-manifest-2"
_RPM_SHORT: Final = "/var/lib/rpmmanifest/container-manifest-1"
_RPM_FOLDERS: Final = ("/var/lib/rpm", "/usr/lib/sysimage/rpm", "/usr/share/rpm")


def describes(path: str) -> bool:
    """Whether the file at this absolute path may be one of those that the functions here read."""
    known = (*_OS_RELEASE, *(row for _, row, read in _READERS if read is not None))
    return path in known or (path.startswith(f"{_STATUS_D}/") and not path.endswith(".md5sums"))


def likely(tree: FileTree) -> Iterator[str]:
    """Paths that the functions here will read, for one pass over the layers."""
    yield from _OS_RELEASE
    yield from (path for _, path, read in _READERS if read is not None)
    yield from (f"{folder}/rpmdb.sqlite-wal" for folder in _RPM_FOLDERS)
    yield from _status_d(tree)


def _status_d(tree: FileTree) -> list[str]:
    names = tree.children(_STATUS_D)
    return [f"{_STATUS_D}/{name}" for name in names if not name.endswith(".md5sums")]


def _text(contents: Contents, path: str) -> str:
    return (contents.get(path, _TEXT) or b"").decode("utf-8", "replace")


def distributor(contents: Contents) -> str:
    """ID and VERSION_ID of os-release(5) joined by a colon, ID alone without a version, or ""."""
    for path in _OS_RELEASE:
        values = {}
        for line in _text(contents, path).splitlines():
            key, equals, value = line.strip().partition("=")
            if equals and not key.startswith("#"):
                values[key] = re.sub(r"\\(.)", r"\1", value.strip("\"'"))
        if values.get("ID"):
            return ":".join(part for part in (values["ID"], values.get("VERSION_ID", "")) if part)
    return ""


def packages(tree: FileTree, contents: Contents) -> tuple[tuple[SystemPackage, ...], tuple[PackageDatabase, ...]]:
    """What the base's own package databases list, sorted, and which databases there are. Raises BaseImageError."""
    found: set[SystemPackage] = set()
    databases: list[PackageDatabase] = []
    if tree.is_directory(_STATUS_D):
        databases.append(PackageDatabase(kind="dpkg", path=_STATUS_D))
        for path in _status_d(tree):
            found.update(_dpkg(_text(contents, path)))
    for kind, path, read in _READERS:
        real = tree.resolve(path)
        if real is None or not tree.is_file(path) or any(tree.resolve(row.path) == real for row in databases):
            continue
        if path == _RPM_SHORT and tree.is_file(_RPM_LONG):
            continue  # the same packages with less of each
        databases.append(PackageDatabase(kind=kind, path=path, read=read is not None))
        if read is not None:
            data = contents.get(path, _TEXT) or b""
            if kind == "rpm sqlite":
                data = facts_rpm.with_log(data, contents.get(f"{path}-wal", _TEXT) or b"")
            try:
                found.update(read(data))
            except (ReadError, ValueError, KeyError, RecursionError) as problem:
                raise BaseImageError(f"the list of packages cannot be read: {problem}", where=path) from None
    return tuple(sorted(found)), tuple(databases)


def _dpkg(text: str) -> Iterator[SystemPackage]:
    for stanza in _stanzas(text):
        # status.d has no Status; in the other one, removed packages leave stanzas behind.
        state = stanza.get("status", "install ok installed").split()
        if "package" in stanza and "version" in stanza and state[-1:] == ["installed"]:
            source = stanza.get("source", "").partition(" ")[0]
            yield _package(stanza["package"], stanza["version"], stanza.get("architecture", ""), source)


def _apk(text: str) -> Iterator[SystemPackage]:
    """apk-tools' installed database: a block for each package, a letter and a colon before each value."""
    for block in text.split("\n\n"):
        row = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
        if "P" in row and "V" in row:
            yield _package(row["P"], row["V"], row.get("A", ""), row.get("o", ""))


def dpkg(tree: FileTree, contents: Contents) -> dict[str, dict[str, str]]:
    """The fields of dpkg's packages by name; of a folded field the first line."""
    rows = [row for path in (*_status_d(tree), _STATUS) for row in _stanzas(_text(contents, path))]
    return {row["package"]: row for row in rows if "package" in row}


def _package(name: str, version: str, architecture: str, source: str) -> SystemPackage:
    return SystemPackage(name=name, version=version, architecture=architecture, source="" if source == name else source)


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    """The fields that matter of each paragraph of a control file (deb822(5)), names in lower case."""
    for paragraph in re.split(r"\n[ \t]*\n", text):
        fields = {}
        for line in paragraph.splitlines():
            name, colon, value = line.partition(":")
            if colon and line[:1] not in (" ", "\t", "#"):
                fields[name.lower()] = value.strip()
        if fields:
            yield fields


def _chisel(data: bytes) -> Iterator[SystemPackage]:
    """Chisel's manifest: a compressed "jsonwall", one JSON object a line."""
    raw = Decompressed(io.BytesIO(data), limit=_TEXT)
    for line in io.BufferedReader(raw).read().splitlines():
        row = json.loads(line)
        if isinstance(row, dict) and row.get("kind") == "package":
            yield _package(str(row["name"]), str(row["version"]), str(row.get("arch", "")), "")


def _decoded(read: Callable[[str], Iterable[SystemPackage]]) -> Callable[[bytes], Iterable[SystemPackage]]:
    return lambda data: read(data.decode("utf-8", "replace"))


# Where package managers keep their records, and how they are read; None for formats that are not.
_READERS: Final[tuple[tuple[Kind, str, Callable[[bytes], Iterable[SystemPackage]] | None], ...]] = (
    ("dpkg", _STATUS, _decoded(_dpkg)),
    *(("apk", path, _decoded(_apk)) for path in ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")),
    ("chisel", "/var/lib/chisel/manifest.wall", _chisel),
    ("rpm manifest", _RPM_LONG, _decoded(facts_rpm.long_list)),
    ("rpm manifest", _RPM_SHORT, _decoded(facts_rpm.short_list)),
    *(("rpm sqlite", f"{folder}/rpmdb.sqlite", facts_rpm.database) for folder in _RPM_FOLDERS),
    *(("rpm ndb", f"{folder}/Packages.db", None) for folder in _RPM_FOLDERS),
    *(("rpm bdb", f"{folder}/Packages", facts_rpm_bdb.database) for folder in _RPM_FOLDERS),
)
