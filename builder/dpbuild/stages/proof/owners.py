"""Which package brought a file: a Python distribution by its RECORD, a system package by its list of files."""

import csv
import functools
import posixpath
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import frozen
from dpbuild.pypa import normalized
from dpbuild.stages.contents import Contents

# PyPA, "Recording installed projects"; the older form is setuptools' own.
_INFO: Final = re.compile(r"(?P<name>[A-Za-z0-9](?:[A-Za-z0-9._]*[A-Za-z0-9])?)-(?P<version>[^-/]+)\.dist-info")
_EGG: Final = re.compile(r"(?P<name>[A-Za-z0-9_.]+?)(?:-(?P<version>[^-/]+)(?:-py[0-9.]+)?)?\.egg-info")
_STATUS_D: Final = "var/lib/dpkg/status.d"
_DPKG_INFO: Final = "var/lib/dpkg/info"
_APK: Final = ("usr/lib/apk/db/installed", "lib/apk/db/installed")


@frozen(order=True)
class Distribution:
    """An installed distribution: ``info`` is its .dist-info or .egg-info, ``site`` the folder that holds it."""

    name: str
    version: str
    info: str
    site: str

    def __str__(self) -> str:
        return f"{self.name} {self.version}".rstrip()


def distributions(tree: FileTree) -> tuple[Distribution, ...]:
    """Every distribution whose metadata are in the image, by path."""
    found = []
    for path in tree.paths():
        if not path.endswith(("/METADATA", "/PKG-INFO")):
            continue
        folder, _, name = path.rpartition("/")
        site, _, info = folder.rpartition("/")
        match = (_INFO if name == "METADATA" else _EGG).fullmatch(info)
        if match:
            normalised = normalized(match["name"])
            row = Distribution(name=normalised, version=match["version"] or "", info=f"/{folder}", site=f"/{site}")
            found.append(row)
    return tuple(sorted(found, key=lambda row: row.info))


def recorded(site: str, lines: Iterable[str]) -> Iterator[str]:
    """The paths that RECORD lists, absolute and normalised; ``site`` is the folder that they are relative to."""
    folder = site if site.endswith("/") else f"{site}/"
    for line in csv.reader(lines):
        if line and (name := line[0]):
            # A distribution has thousands of files, of which a few in bin/ are named from above.
            plain = name[0] != "/" and name[-1] not in "/." and "./" not in name and "//" not in name
            yield folder + name if plain else posixpath.normpath(posixpath.join(site, name))


class Owners:
    """Looks owners up; the lists are read when the first one is asked for.

    ``scanned`` gives the text of a file that was kept when its layer was read, or "".
    """

    def __init__(self, tree: FileTree, contents: Contents, scanned: Callable[[str], str]) -> None:
        self._tree = tree
        self._contents = contents
        self._scanned = scanned

    def of(self, path: str) -> str:
        """The package of the file at ``path``, "" if none claims it or the path is none."""
        if not path.startswith("/"):
            return ""
        if owner := self._claimed(path):
            return owner
        real = self._tree.resolve(path)
        return self._claimed(f"/{real}") if real else ""

    def files(self, owner: str) -> tuple[str, ...]:
        """The files of a distribution, given as ``of`` gives it."""
        return self._files.get(owner, ())

    def _claimed(self, path: str) -> str:
        return self._distributions.get(path) or self._system.get(path) or ""

    @functools.cached_property
    def _files(self) -> dict[str, tuple[str, ...]]:
        found: dict[str, list[str]] = {}
        for path, owner in self._distributions.items():
            found.setdefault(owner, []).append(path)
        return {owner: tuple(paths) for owner, paths in found.items()}

    @functools.cached_property
    def _distributions(self) -> dict[str, str]:
        rows = distributions(self._tree)
        records = {f"{row.info}/RECORD": row for row in rows}
        found: dict[str, str] = {}
        for record, row in records.items():
            owner = str(row)
            for path in recorded(row.site, self._lines(record)):
                found.setdefault(path, owner)
            for name in self._tree.children(row.info):
                found.setdefault(f"{row.info}/{name}", owner)
        return found

    @functools.cached_property
    def _system(self) -> dict[str, str]:
        found: dict[str, str] = {}
        rows = (*self._status_d(), *self._dpkg(), *self._apk())
        for path, owner in rows:
            found.setdefault(path, owner)
            # Packages name the files where they were before /usr was merged.
            entry = None if self._tree.holds(path[1:]) else self._tree.get(path)
            if entry is not None:
                found.setdefault(f"/{entry.path}", owner)
        for path, owner in rows:
            # What a package has a link to may be another one's, as with a -dev package, or nobody's.
            real = self._tree.resolve(path)
            if real is not None:
                found.setdefault(f"/{real}", owner)
        return found

    def _status_d(self) -> Iterator[tuple[str, str]]:
        names = self._tree.children(_STATUS_D)
        for name in names:
            if name.endswith(".md5sums"):
                package = name.removesuffix(".md5sums")
                owner = f"{package} {self._version(f'{_STATUS_D}/{package}')}".rstrip()
                for line in self._lines(f"{_STATUS_D}/{name}"):
                    yield "/" + line.partition("  ")[2].lstrip("/"), owner

    def _dpkg(self) -> Iterator[tuple[str, str]]:
        names = [name for name in self._tree.children(_DPKG_INFO) if name.endswith(".list")]
        if not names:
            return
        versions: dict[str, str] = {}
        package = ""
        for line in self._lines("var/lib/dpkg/status"):
            key, _, value = line.partition(": ")
            if key == "Package":
                package = value
            elif key == "Version":
                versions[package] = value
        self._contents.prefetch([f"{_DPKG_INFO}/{name}" for name in names])
        for name in names:
            package = name.removesuffix(".list").partition(":")[0]
            owner = f"{package} {versions.get(package, '')}".rstrip()
            for line in self._lines(f"{_DPKG_INFO}/{name}"):
                if not self._tree.is_directory(line):
                    yield line, owner

    def _apk(self) -> Iterator[tuple[str, str]]:
        """Alpine's database: P is the package, V its version, F a folder, R a file in it (apk-tools, "apkdb")."""
        package = version = folder = ""
        for line in next((lines for path in _APK if (lines := self._lines(path))), []):
            key, _, value = line.partition(":")
            match key:
                case "P":
                    package = value
                case "V":
                    version = value
                case "F":
                    folder = value
                case "R":
                    yield f"/{folder}/{value}", f"{package} {version}"
                case _:
                    pass

    def _version(self, control: str) -> str:
        return next((line[9:] for line in self._lines(control) if line.startswith("Version: ")), "")

    def _lines(self, path: str) -> list[str]:
        text = self._scanned(path)
        return (text or (self._contents.get(path) or b"").decode("utf-8", "replace")).splitlines()
