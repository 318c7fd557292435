"""``/etc/ld.so.cache`` as glibc's ldconfig writes it, for a tree that is not this machine's.

The format is glibc's own (sysdeps/generic/dl-cache.h): the "new" format 1.1 alone, with the extension
directory that names the generator and the glibc-hwcaps. Byte for byte what ldconfig 2.33 and newer writes.
"""

import fnmatch
import re
import struct
from collections.abc import Callable, Iterable, Iterator
from functools import cmp_to_key
from typing import Final

from dpbuild.archive.entry import Kind
from dpbuild.archive.overlay import FileTree
from dpbuild.elf.facts import ElfFacts
from dpbuild.frozen import frozen, replace

# sysdeps/generic/ldconfig.h: FLAG_ELF_LIBC6, and the bits that tell machines apart.
_LIBC6: Final = 0x0003
_MACHINES: Final = {
    ("x86_64", 64): 0x0300,
    ("x86_64", 32): 0x0800,
    ("i686", 32): 0x0000,
    ("aarch64", 64): 0x0A00,
    ("ppc64le", 64): 0x0500,
    ("s390x", 64): 0x0400,
    ("riscv64", 64): 0x1000,
}
_MAGIC: Final = b"glibc-ld.so.cache1.1"
_LITTLE_ENDIAN: Final = 2
_HEADER: Final = struct.Struct("<20sIIB3xI12x")
_ENTRY: Final = struct.Struct("<iIIIQ")
_EXTENSION_MAGIC: Final = 0xEAA42174
_SECTION: Final = struct.Struct("<IIII")
_TAG_GENERATOR: Final = 0
_TAG_HWCAPS: Final = 1
# DL_CACHE_HWCAP_EXTENSION: the low half of the word is an index into the list of glibc-hwcaps.
_HWCAP_EXTENSION: Final = 1 << 62
_HWCAPS: Final = "glibc-hwcaps"

# Searched after those that /etc/ld.so.conf names (Debian's build of glibc).
BUILTIN: Final = ("/lib", "/usr/lib")
CONFIGURATION: Final = "/etc/ld.so.conf"
_DEEPEST: Final = 16
_DIGITS: Final = re.compile(rb"[0-9]*")


@frozen
class Library:
    """One line of the cache. ``path`` is where the loader finds what was linked as ``soname``.

    ``flags`` is glibc's word for type and machine; ``hwcaps`` the subdirectory of ``glibc-hwcaps`` that the
    file is in, or ""; ``isa_level`` the x86 level that the file demands, which only those have.
    """

    soname: str
    path: str
    flags: int
    hwcaps: str = ""
    isa_level: int = 0


@frozen
class _Candidate:
    soname: str
    name: str
    flags: int
    link: bool


def generator(version: str) -> str:
    """What Debian's ldconfig of package version ``version`` calls itself."""
    return f"ldconfig (Debian GLIBC {version}) stable release version {version.partition('-')[0]}"


def make(
    tree: FileTree,
    content: Callable[[str], bytes],
    inspect: Callable[[str], ElfFacts | None],
    generator_name: str,
) -> bytes:
    """The cache for ``tree``.

    ``content`` gives the bytes of a file by its real path (only configuration is asked for), ``inspect``
    the facts of a file that may be a library, None if it is no ELF file.
    """
    found: list[Library] = []
    for directory in directories(tree, content):
        found.extend(libraries(tree, directory, inspect))
        hwcaps = f"{directory}/{_HWCAPS}"
        for name in tree.children(hwcaps):
            if tree.is_directory(f"{hwcaps}/{name}"):
                found.extend(libraries(tree, f"{hwcaps}/{name}", inspect, hwcaps=name))
    return render(found, generator_name)


def directories(tree: FileTree, content: Callable[[str], bytes]) -> tuple[str, ...]:
    """The folders that ldconfig searches, in its order, each once whatever its names."""
    seen: set[str] = set()
    rows = []
    for path in (*_configured(tree, content, CONFIGURATION, 0), *BUILTIN):
        real = tree.resolve(path)
        if real is None or real in seen or not tree.is_directory(path):
            continue
        seen.add(real)
        rows.append(path)
    return tuple(rows)


def _configured(tree: FileTree, content: Callable[[str], bytes], path: str, depth: int) -> Iterator[str]:
    real = tree.resolve(path)
    if real is None or not tree.is_file(path) or depth > _DEEPEST:
        return
    for raw in content(real).decode("utf-8", "surrogateescape").splitlines():
        line = raw.partition("#")[0].strip()
        word, _, rest = line.replace("\t", " ").partition(" ")
        if word == "include" and rest:
            for pattern in rest.split():
                absolute = pattern if pattern.startswith("/") else f"{path.rpartition('/')[0]}/{pattern}"
                for match in _glob(tree, absolute):
                    yield from _configured(tree, content, match, depth + 1)
        elif word == "hwcap" and rest:
            continue
        elif line.startswith("/"):
            # A trailing slash is dropped, and so is what old configurations put behind an equals sign.
            yield line.partition("=")[0].rstrip("/ ") or "/"


def _glob(tree: FileTree, pattern: str) -> list[str]:
    """Paths that match, sorted by byte as glob(3) does in the C locale; wildcards in the last part only."""
    folder, _, last = pattern.rpartition("/")
    names = [name for name in tree.children(folder or "/") if fnmatch.fnmatchcase(name, last)]
    if not last.startswith("."):
        names = [name for name in names if not name.startswith(".")]
    return [f"{folder}/{name}" for name in sorted(names, key=_bytes)]


def libraries(
    tree: FileTree, directory: str, inspect: Callable[[str], ElfFacts | None], *, hwcaps: str = ""
) -> tuple[Library, ...]:
    """The libraries of one folder, one for each soname: files before links, newer names before older."""
    chosen: dict[str, _Candidate] = {}
    for name in tree.children(directory):
        if not _is_dso(name):
            continue
        found = _candidate(tree, f"{directory}/{name}", name, inspect)
        if found is None:
            continue
        known = chosen.get(found.soname)
        if known is None:
            chosen[found.soname] = found
        elif (not found.link and known.link) or (
            found.link == known.link and compare_names(known.name, found.name) < 0
        ):
            chosen[found.soname] = replace(found, flags=known.flags)
    # Each new one goes to the head of ldconfig's list, which decides between equal ones.
    return tuple(
        Library(
            soname=row.soname,
            # Elsewhere the soname is a link to the file, which a newer file may take over.
            path=f"{directory}/{row.name if hwcaps else row.soname}",
            flags=row.flags,
            hwcaps=hwcaps,
        )
        for row in reversed(chosen.values())
    )


def _is_dso(name: str) -> bool:
    return name.startswith(("lib", "ld-")) and ".so" in name and not name.endswith((".dpkg-new", ".dpkg-tmp"))


def _candidate(tree: FileTree, path: str, name: str, inspect: Callable[[str], ElfFacts | None]) -> _Candidate | None:
    entry = tree.get(path)
    real = tree.resolve(path)
    if entry is None or real is None or not tree.is_file(path):
        return None
    facts = inspect(real)
    if facts is None or facts.type != "shared" or not facts.dynamic:
        return None
    machine = _MACHINES.get((facts.machine, facts.bits))
    if machine is None:
        return None
    soname = facts.soname or name
    # Of links, only the soname's own and the one for ld(1) are links; any other counts as another file.
    link = entry.kind is Kind.SYMLINK and (name == soname or (name.endswith(".so") and soname.startswith(name)))
    return _Candidate(soname=name if link else soname, name=name, flags=_LIBC6 | machine, link=link)


def compare_names(left: str, right: str) -> int:
    """glibc's order of library names: numbers by value, digits after everything else (dl-cache.c)."""
    first, second = _bytes(left), _bytes(right)
    i = j = 0
    while i < len(first):
        here = first[i]
        there = second[j] if j < len(second) else 0
        if 48 <= here <= 57:
            if not 48 <= there <= 57:
                return 1
            one, two = _DIGITS.match(first, i), _DIGITS.match(second, j)
            if one is None or two is None or (difference := int(one[0]) - int(two[0])):
                return difference if one and two else 0
            i, j = one.end(), two.end()
        elif 48 <= there <= 57:
            return -1
        elif here != there:
            return _signed(here) - _signed(there)
        else:
            i += 1
            j += 1
    return -_signed(second[j]) if j < len(second) else 0


def _signed(byte: int) -> int:
    """A ``char`` as the C compilers of our machines' ldconfig see it; names are ASCII in practice."""
    return byte - 256 if byte > 127 else byte


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _compare(left: Library, right: Library) -> int:
    # Descending by name and flags, since the loader searches a sorted table from its end.
    if result := compare_names(right.soname, left.soname):
        return result
    if left.flags != right.flags:
        return 1 if left.flags < right.flags else -1
    if bool(left.hwcaps) != bool(right.hwcaps):
        return -1 if left.hwcaps else 1
    one, two = _bytes(left.hwcaps), _bytes(right.hwcaps)
    return (one > two) - (one < two)


def render(libraries: Iterable[Library], generator_name: str) -> bytes:
    """The file's bytes; of equal libraries the one that comes first is found first."""
    rows = sorted(libraries, key=cmp_to_key(_compare))
    hwcaps = sorted({row.hwcaps for row in rows if row.hwcaps}, key=_bytes)
    strings = {_bytes(text) for row in rows for text in (row.soname, row.path)} | {_bytes(row) for row in hwcaps}
    table, offsets = _strings(strings)
    begin = _HEADER.size + len(rows) * _ENTRY.size
    extension = -(-(begin + len(table)) // 4) * 4
    out = [_HEADER.pack(_MAGIC, len(rows), len(table), _LITTLE_ENDIAN, extension)]
    for row in rows:
        capability = 0
        if row.hwcaps:
            capability = _HWCAP_EXTENSION | row.isa_level << 32 | hwcaps.index(row.hwcaps)
        soname, path = begin + offsets[_bytes(row.soname)], begin + offsets[_bytes(row.path)]
        out.append(_ENTRY.pack(row.flags, soname, path, 0, capability))
    out.append(table + bytes(extension - begin - len(table)))
    out.append(_extension(extension, [begin + offsets[_bytes(row)] for row in hwcaps], generator_name.encode()))
    return b"".join(out)


def read(data: bytes) -> tuple[Library, ...]:
    """The lines of a cache, in its order; also of one that begins with the old format, as before glibc 2.32.

    Raises ValueError for anything else.
    """
    begin = data.find(_MAGIC)
    try:
        if begin < 0:
            raise ValueError("the new format's magic is missing")
        view = data[begin:]
        _, count, _, _, extension = _HEADER.unpack_from(view)
        if _HEADER.size + count * _ENTRY.size > len(view):
            raise ValueError("it ends too early")
        hwcaps = _hwcaps(view, extension)
        rows = []
        for flags, soname, path, _, capability in _ENTRY.iter_unpack(view[_HEADER.size :][: count * _ENTRY.size]):
            named = capability & _HWCAP_EXTENSION and (capability & 0xFFFFFFFF) < len(hwcaps)
            # Another capability is a bit of the old scheme, which loaders of today pass over.
            row = Library(
                soname=_text(view, soname),
                path=_text(view, path),
                flags=flags,
                hwcaps=hwcaps[capability & 0xFFFFFFFF] if named else "?" if capability else "",
                isa_level=capability >> 32 & 0x3FF if named else 0,
            )
            rows.append(row)
    except struct.error as problem:
        raise ValueError(f"no cache of libraries: {problem}") from None
    return tuple(rows)


def flags_of(machine: str, bits: int) -> int | None:
    """The word for libraries of this machine; None for one that is not known here."""
    found = _MACHINES.get((machine, bits))
    return None if found is None else _LIBC6 | found


def _hwcaps(view: bytes, offset: int) -> list[str]:
    if not offset:
        return []
    magic, count = struct.unpack_from("<II", view, offset)
    if magic != _EXTENSION_MAGIC:
        return []
    for index in range(min(count, 16)):
        tag, _, begin, size = _SECTION.unpack_from(view, offset + 8 + index * _SECTION.size)
        if tag == _TAG_HWCAPS:
            return [_text(view, row) for (row,) in struct.iter_unpack("<I", view[begin : begin + size // 4 * 4])]
    return []


def _text(view: bytes, offset: int) -> str:
    end = view.find(b"\0", offset)
    if not 0 < offset < end:
        raise ValueError("a name lies outside the cache")
    return view[offset:end].decode("utf-8", "surrogateescape")


def _extension(offset: int, hwcaps: list[int], name: bytes) -> bytes:
    sections = 2 if hwcaps else 1
    data = offset + 8 + sections * _SECTION.size
    out = [struct.pack("<II", _EXTENSION_MAGIC, sections)]
    out.append(_SECTION.pack(_TAG_GENERATOR, 0, data + 4 * len(hwcaps), len(name)))
    if hwcaps:
        out.append(_SECTION.pack(_TAG_HWCAPS, 0, data, 4 * len(hwcaps)))
    out.extend(struct.pack("<I", row) for row in hwcaps)
    return b"".join(out) + name


def _strings(strings: Iterable[bytes]) -> tuple[bytes, dict[bytes, int]]:
    """The string table: sorted from the end backwards, descending, so that suffixes share their place."""
    table = bytearray()
    offsets: dict[bytes, int] = {}
    previous = b""
    for text in sorted(strings, key=lambda row: row[::-1], reverse=True):
        if offsets and previous.endswith(text):
            offsets[text] = len(table) - 1 - len(text)
        else:
            offsets[text] = len(table)
            table += text + b"\0"
        previous = text
    return bytes(table), offsets
