"""From the bytes of an ELF file to its facts (System V gABI, chapters 4 and 5; LSB Core, "Symbol Versioning")."""

import mmap
import struct
from typing import Final, Literal

from dpbuild.elf.facts import ElfFacts, Versions
from dpbuild.elf.file import LONGEST, ElfError, File, decode, is_elf

__all__ = ["ElfError", "is_elf", "read"]

# gABI, "Program Header".
_PT_INTERP: Final = 3
_PT_NOTE: Final = 4
# gABI, "Dynamic Section"; the versioning tags are from the LSB, DT_FLAGS_1 from Solaris' linker guide.
_DT_NEEDED: Final = 1
_DT_SONAME: Final = 14
_DT_RPATH: Final = 15
_DT_RUNPATH: Final = 29
_DT_FLAGS_1: Final = 0x6FFFFFFB
_DT_VERDEF: Final = 0x6FFFFFFC
_DT_VERDEFNUM: Final = 0x6FFFFFFD
_DT_VERNEED: Final = 0x6FFFFFFE
_DT_VERNEEDNUM: Final = 0x6FFFFFFF
_DF_1_PIE: Final = 0x08000000
# LSB Core, "Symbol Versioning".
_VER_FLG_BASE: Final = 1
_VER_FLG_WEAK: Final = 2
_NT_GNU_BUILD_ID: Final = 3
_MOST_VERSIONS: Final = 65536

# e_machine and class; with the byte order for those that have both.
_MACHINES: Final = {
    (3, 32): "i686",
    (8, 32): "mips",
    (8, 64): "mips64",
    (20, 32): "ppc",
    (21, 64): "ppc64",
    (22, 64): "s390x",
    (40, 32): "arm",
    (43, 64): "sparc64",
    (62, 32): "x32",
    (62, 64): "x86_64",
    (183, 64): "aarch64",
    (243, 32): "riscv32",
    (243, 64): "riscv64",
    (258, 64): "loongarch64",
}
_LITTLE: Final = {"mips": "mipsel", "mips64": "mips64el", "ppc64": "ppc64le"}
_BIG: Final = {"arm": "armeb", "aarch64": "aarch64_be"}
_TYPES: Final[dict[int, Literal["relocatable", "executable", "shared", "core"]]] = {
    1: "relocatable",
    2: "executable",
    3: "shared",
    4: "core",
}


def read(data: bytes | memoryview | mmap.mmap) -> ElfFacts:
    """The facts of the ELF file ``data``. Raises ElfError and nothing else."""
    # A view that outlives the call in a traceback would keep the caller from closing a map.
    with memoryview(data) as view:
        return _facts(File(view))


def _facts(file: File) -> ElfFacts:
    bits: Literal[32, 64] = 64 if file.wide else 32
    machine = _MACHINES.get((file.machine, bits), f"em{file.machine}")
    need, weak = _verneed(file)
    return ElfFacts(
        machine=(_LITTLE if file.little else _BIG).get(machine, machine),
        bits=bits,
        endianness="little" if file.little else "big",
        type=_TYPES.get(file.type, "other"),
        flags=file.flags,
        interp=_interp(file),
        dynamic=bool(file.tags),
        pie=bool(file.tag.get(_DT_FLAGS_1, 0) & _DF_1_PIE),
        soname=file.string(file.tag[_DT_SONAME]) if _DT_SONAME in file.tag else "",
        needed=_texts(file, _DT_NEEDED),
        rpath=_paths(file, _DT_RPATH),
        runpath=_paths(file, _DT_RUNPATH),
        verneed=need,
        verneed_weak=weak,
        verdef=_verdef(file),
        build_id=_build_id(file),
    )


def _texts(file: File, tag: int) -> tuple[str, ...]:
    return tuple(file.string(value) for found, value in file.tags if found == tag)


def _paths(file: File, tag: int) -> tuple[str, ...]:
    return tuple(part for text in _texts(file, tag) for part in text.split(":") if part)


def _interp(file: File) -> str:
    for kind, offset, _, size in file.segments:
        if kind == _PT_INTERP:
            if size > LONGEST:
                raise ElfError("the interpreter's path is too long")
            # A file that was split off for debugging keeps the segment, but not what is in it.
            raw = file.bytes(offset, size, "interpreter's path").split(b"\0")[0]
            return decode(raw) if raw.startswith(b"/") else ""
    return ""


def _verneed(file: File) -> tuple[Versions, Versions]:
    count = file.tag.get(_DT_VERNEEDNUM, 0)
    if not count or _DT_VERNEED not in file.tag:
        return (), ()
    position = file.offset(file.tag[_DT_VERNEED], "needed versions")
    rows: list[tuple[str, tuple[str, ...]]] = []
    weak_rows: list[tuple[str, tuple[str, ...]]] = []
    budget = _MOST_VERSIONS
    for _ in range(min(count, _MOST_VERSIONS)):
        version, inner, library, first, following = file.unpack("HHIII", position, "needed versions")
        if version != 1:
            raise ElfError(f"needed versions of kind {version} are unknown")
        names, weak = [], []
        at = position + first
        for _ in range(inner):
            budget -= 1
            if budget < 0:
                raise ElfError("there are too many needed versions")
            _, flags, _, name, ahead = file.unpack("IHHII", at, "needed versions")
            names.append(file.string(name))
            if flags & _VER_FLG_WEAK:
                weak.append(names[-1])
            if ahead == 0:
                break
            at += ahead
        rows.append((file.string(library), tuple(names)))
        if weak:
            weak_rows.append((rows[-1][0], tuple(weak)))
        if following == 0:
            break
        position += following
    return tuple(rows), tuple(weak_rows)


def _verdef(file: File) -> tuple[str, ...]:
    count = file.tag.get(_DT_VERDEFNUM, 0)
    if not count or _DT_VERDEF not in file.tag:
        return ()
    position = file.offset(file.tag[_DT_VERDEF], "defined versions")
    names = []
    for _ in range(min(count, _MOST_VERSIONS)):
        row = file.unpack("HHHHIII", position, "defined versions")
        version, flags, _, inner, _, aux, following = row
        if version != 1:
            raise ElfError(f"defined versions of kind {version} are unknown")
        if inner and not flags & _VER_FLG_BASE:
            # The first name is the version itself, the others are those that it comes after.
            names.append(file.string(file.unpack("II", position + aux, "defined versions")[0]))
        if following == 0:
            break
        position += following
    return tuple(names)


def _build_id(file: File) -> str:
    for kind, offset, _, size in file.segments:
        # A note segment that is cut off or odd says nothing about whether the file can be loaded.
        if kind != _PT_NOTE or size > LONGEST or offset + size > len(file.data):
            continue
        raw = file.bytes(offset, size, "notes")
        at = 0
        while at + 12 <= len(raw):
            name_size, size_, note = struct.unpack_from(file.order + "III", raw, at)
            begin = at + 12 + (name_size + 3 & ~3)
            if note == _NT_GNU_BUILD_ID and raw[at + 12 : at + 16] == b"GNU\0" and name_size == 4:
                return raw[begin : begin + size_].hex()
            at = begin + (size_ + 3 & ~3)
    return ""
