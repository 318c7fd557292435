"""The distributor of an image and its packages, from the databases that distroless images keep."""

import json
import re
from collections.abc import Iterator
from typing import Final

from dpbuild.archive.decompress import Decompressed, ReadError
from dpbuild.archive.overlay import FileTree
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import SystemPackage
from dpbuild.stages.contents import Contents

_TEXT: Final = 64 << 20
_OS_RELEASE: Final = ("/etc/os-release", "/usr/lib/os-release")
_STATUS_D: Final = "/var/lib/dpkg/status.d"
_STATUS: Final = "/var/lib/dpkg/status"
_APK: Final = ("/lib/apk/db/installed", "/usr/lib/apk/db/installed")
_CHISEL: Final = "/var/lib/chisel/manifest.wall"
_RPM: Final = "/var/lib/rpmmanifest/container-manifest-2"


def likely(tree: FileTree) -> Iterator[str]:
    """Paths that the functions here will read, for one pass over the layers."""
    yield from (*_OS_RELEASE, _STATUS, *_APK, _CHISEL, _RPM)
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


def packages(tree: FileTree, contents: Contents) -> tuple[SystemPackage, ...]:
    """What the base's own package databases list: dpkg, apk, chisel, rpm's container manifest; sorted."""
    found: set[SystemPackage] = set()
    for path in (*_status_d(tree), _STATUS):
        for stanza in _stanzas(_text(contents, path)):
            # status.d has no Status; in the other one, removed packages leave stanzas behind.
            state = stanza.get("status", "install ok installed").split()
            if "package" in stanza and "version" in stanza and state[-1:] == ["installed"]:
                source = stanza.get("source", "").partition(" ")[0]
                found.add(_package(stanza["package"], stanza["version"], stanza.get("architecture", ""), source))
    for path in _APK:
        for block in _text(contents, path).split("\n\n"):
            row = dict(line.split(":", 1) for line in block.splitlines() if line[1:2] == ":")
            if "P" in row and "V" in row:
                found.add(_package(row["P"], row["V"], row.get("A", ""), row.get("o", "")))
    found.update(_chisel(contents))
    for line in _text(contents, _RPM).splitlines():
        # What `rpm -qa` was told to print: name, version-release, …, architecture (8th), …, source package (10th).
        fields = line.split("\t")
        if len(fields) >= 8:
            found.add(_package(fields[0], fields[1], fields[7], fields[9] if len(fields) > 9 else ""))
    return tuple(sorted(found))


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


def _chisel(contents: Contents) -> Iterator[SystemPackage]:
    data = contents.get(_CHISEL, _TEXT)
    if data is None:
        return
    import io

    try:
        raw = Decompressed(io.BytesIO(data), limit=_TEXT)
        lines = io.BufferedReader(raw).read().splitlines()
        for line in lines:
            row = json.loads(line)
            if isinstance(row, dict) and row.get("kind") == "package":
                yield _package(str(row["name"]), str(row["version"]), str(row.get("arch", "")), "")
    except (ReadError, ValueError, KeyError, RecursionError) as problem:
        raise BaseImageError(f"the list of packages cannot be read: {problem}", where=_CHISEL) from None
