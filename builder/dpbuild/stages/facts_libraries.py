"""The C library and libstdc++ of an image: which they are, and their versions."""

import posixpath
import re
from collections.abc import Iterator
from typing import Final, Literal

from dpbuild.archive.overlay import FileTree
from dpbuild.debian import ldcache
from dpbuild.elf import reader
from dpbuild.elf.facts import ElfFacts
from dpbuild.errors import BaseImageError
from dpbuild.model.facts import Libc
from dpbuild.oci.config import ImageConfig
from dpbuild.stages.contents import Contents
from dpbuild.stages.facts_interpreter import Interpreter

# Debian's multiarch tuples (dpkg-architecture(1)) by machine.
MULTIARCH: Final = {
    "x86_64": "x86_64-linux-gnu",
    "aarch64": "aarch64-linux-gnu",
    "arm": "arm-linux-gnueabihf",
    "i686": "i386-linux-gnu",
    "ppc64le": "powerpc64le-linux-gnu",
    "s390x": "s390x-linux-gnu",
    "riscv64": "riscv64-linux-gnu",
    "loongarch64": "loongarch64-linux-gnu",
}
# csu/version.c in glibc; ldso/dynlink.c and src/internal/version.c in musl; glibc's cache ends with the first.
_GLIBC_BANNER: Final = re.compile(rb"GNU C Library \([^)\n]*\) [a-z]+ release version (\d+)\.(\d+)")
_GLIBC_CACHE: Final = re.compile(rb"ldconfig \([^)\n]*\) [a-z]+ release version (\d+)\.(\d+)")
_MUSL_BANNER: Final = re.compile(rb"musl libc")
_MUSL_VERSION: Final = re.compile(rb"\0(1)\.(\d+)\.\d+(?:[-_][0-9A-Za-z.-]+)?(?=\0)")
_GLIBC_LOADER: Final = re.compile(r"ld-linux.*\.so\.\d+|ld64\.so\.\d+|ld\.so\.\d+")
_MUSL_PATH: Final = re.compile(r"ld-musl-.*\.path")
_CACHE: Final = "/etc/ld.so.cache"
# By the names that are asked for, and by those of the files that these lead to.
_LIKELY: Final = re.compile(
    r"libc\.so\.6|libc-2\.\d+\.so|ld-[^/]*\.so\.\d|ld64\.so\.\d|libstdc\+\+\.so\.6[\d.]*|libpython3\..*\.so\.[\d.]+|ld-musl-.*\.path"
)
_MUSL_LOADER: Final = re.compile(r"ld-musl-.*\.so\.\d+")


def library(
    tree: FileTree, contents: Contents, config: ImageConfig, wanted_by: Interpreter, name: str
) -> tuple[str, bytes, ElfFacts] | None:
    """The library ``name`` that the interpreter would load: its path, bytes and facts; None if there is none."""
    for path in dict.fromkeys(_places(tree, contents, config, wanted_by, name)):
        data = contents.get(path)
        if data is None:
            continue
        try:
            found = reader.read(data)
        except reader.ElfError:
            continue  # a linker script, say: the loader goes on, too
        if (found.machine, found.bits) == (wanted_by.elf.machine, wanted_by.elf.bits):
            return path, data, found
    return None


def _places(
    tree: FileTree, contents: Contents, config: ImageConfig, wanted_by: Interpreter, name: str
) -> Iterator[str]:
    """Where the dynamic loader looks for a library, best first.

    The order of ld.so(8): RPATH without RUNPATH, LD_LIBRARY_PATH, RUNPATH, the cache, the usual folders. Which
    of these a loader has built in differs; of all that are usual, an image has few.
    """
    elf, origin = wanted_by.elf, posixpath.dirname(wanted_by.path)
    rows = [*(() if elf.runpath else elf.rpath)]
    rows += (config.variable("LD_LIBRARY_PATH") or "").replace(";", ":").split(":")
    rows += elf.runpath
    for row in rows:
        folder = row.replace("${ORIGIN}", origin).replace("$ORIGIN", origin)
        if folder.startswith("/") and tree.is_directory(folder):
            yield posixpath.normpath(f"{folder}/{name}")
    yield from (row.path for row in _cached(contents, elf) if row.soname == name)
    multiarch = MULTIARCH.get(elf.machine, "")
    folders = _musl_path(tree, contents)
    for prefix in ("", "/usr", "/usr/local"):
        folders += [f"{prefix}/lib/{multiarch}"] if multiarch else []
        folders += [f"{prefix}/lib64"] if elf.bits == 64 else []
        folders += [f"{prefix}/lib"]
    yield from (f"{folder}/{name}" for folder in folders if tree.is_directory(folder))


def _cached(contents: Contents, elf: ElfFacts) -> tuple[ldcache.Library, ...]:
    """The lines of glibc's cache for this machine; a cache that is none is passed over, as the loader does."""
    try:
        rows = ldcache.read(contents.get(_CACHE) or b"")
    except ValueError:
        return ()
    flags = ldcache.flags_of(elf.machine, elf.bits)
    return tuple(row for row in rows if not row.hwcaps and flags in (None, row.flags))


def _musl_path(tree: FileTree, contents: Contents) -> list[str]:
    """The folders that musl's path file names (ld-musl(8): separated by newlines or colons)."""
    names = [name for name in tree.children("/etc") if _MUSL_PATH.fullmatch(name)]
    text = b"\n".join(contents.get(f"/etc/{name}") or b"" for name in names).decode("utf-8", "replace")
    return [row for row in re.split(r"[:\n]", text) if row.startswith("/")]


def libc(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter) -> Libc:
    """The C library that the interpreter runs with. Raises BaseImageError."""
    asked = python.elf.interp
    if not asked:
        raise BaseImageError(
            "the interpreter is linked statically, so it can load no extension modules", where=python.path
        )
    loader = tree.resolve(asked)
    data = contents.get(asked)
    if loader is None or data is None:
        raise BaseImageError(f"the interpreter needs {asked}, which the base does not have", where=python.path)
    names = (posixpath.basename(asked), posixpath.basename(loader))
    if any(_MUSL_LOADER.fullmatch(name) for name in names):
        kind: Literal["glibc", "musl"] = "musl"
        version = _musl(data)
    elif any(_GLIBC_LOADER.fullmatch(name) for name in names):
        kind = "glibc"
        version = _glibc(tree, contents, config, python)
    else:
        raise BaseImageError(
            f"the interpreter asks for the loader {asked}, which is neither glibc's nor musl's",
            where=python.path,
        )
    if version is None:
        raise BaseImageError(f"the version of {kind} cannot be told from its files", where="/" + loader)
    return Libc(kind=kind, version=version, loader="/" + loader)


def _musl(data: bytes) -> tuple[int, int] | None:
    if not _MUSL_BANNER.search(data):
        return None
    found = {(int(match[1]), int(match[2])) for match in _MUSL_VERSION.finditer(data)}
    return found.pop() if len(found) == 1 else None


def _glibc(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter) -> tuple[int, int] | None:
    found = library(tree, contents, config, python, "libc.so.6")
    if found is None:
        raise BaseImageError("the interpreter needs libc.so.6, which the base does not have", where=python.path)
    _, data, elf = found
    banner = _GLIBC_BANNER.search(data)
    if banner:
        return int(banner[1]), int(banner[2])
    newest = elf.newest("GLIBC_")
    if newest and len(newest) >= 2:
        return newest[0], newest[1]
    cache = _GLIBC_CACHE.search(contents.get(_CACHE) or b"")
    return (int(cache[1]), int(cache[2])) if cache else None


def glibcxx(tree: FileTree, contents: Contents, config: ImageConfig, python: Interpreter) -> str:
    """The newest symbol version of libstdc++, as ``3.4.33``; "" where there is no libstdc++."""
    found = library(tree, contents, config, python, "libstdc++.so.6")
    newest = found[2].newest("GLIBCXX_") if found else None
    return ".".join(str(part) for part in newest) if newest else ""


def is_likely(path: str) -> bool:
    """Whether the functions here will read a file of this path, which has no slash at its beginning."""
    return f"/{path}" == _CACHE or _LIKELY.fullmatch(path.rpartition("/")[2]) is not None


def likely(tree: FileTree) -> Iterator[str]:
    """Paths of libraries that the functions here will read, for one pass over the layers."""
    yield _CACHE
    for path in tree.paths():
        if is_likely(path):
            yield path
