"""Looking up one exported symbol, by hash as the dynamic loader does it."""

import mmap
from typing import Final

from dpbuild.elf.file import ElfError, File

# gABI, "Dynamic Section"; DT_GNU_HASH is GNU's.
_DT_HASH: Final = 4
_DT_SYMTAB: Final = 6
_DT_GNU_HASH: Final = 0x6FFFFEF5
_SHN_UNDEF: Final = 0
_MOST_STEPS: Final = 1 << 20


def number(data: bytes | memoryview | mmap.mmap, name: str) -> int | None:
    """The value of the unsigned integer that the file exports as ``name``, whatever its width.

    None if it exports none, or none that is in the file. Raises ElfError.
    """
    with memoryview(data) as view:
        file = File(view)
        found = _lookup(file, name)
        if found is None or found[1] not in (4, 8):
            return None
        try:
            raw = file.bytes(file.offset(found[0], "symbol"), found[1], "symbol")
        except ElfError:
            return None  # in .bss, which no file holds
        return int.from_bytes(raw, "little" if file.little else "big")


def _lookup(file: File, name: str) -> tuple[int, int] | None:
    """Address and size."""
    if _DT_SYMTAB not in file.tag:
        return None
    table = file.offset(file.tag[_DT_SYMTAB], "symbol table")
    if _DT_GNU_HASH in file.tag:
        rows = _gnu(file, name)
    elif _DT_HASH in file.tag:
        rows = _sysv(file, name)
    else:
        return None
    for index in rows:
        if file.wide:
            string, _, _, section, value, size = file.unpack("IBBHQQ", table + 24 * index, "symbol table")
        else:
            string, value, size, _, _, section = file.unpack("IIIBBH", table + 16 * index, "symbol table")
        if section != _SHN_UNDEF and file.string(string) == name:
            return value, size
    return None


def _gnu(file: File, name: str) -> list[int]:
    wanted = 5381
    for byte in name.encode():
        wanted = (wanted * 33 + byte) & 0xFFFFFFFF
    begin = file.offset(file.tag[_DT_GNU_HASH], "hash table")
    buckets, first, bloom, _ = file.unpack("IIII", begin, "hash table")
    if not buckets:
        return []
    at = begin + 16 + bloom * (8 if file.wide else 4)
    index = file.unpack("I", at + 4 * (wanted % buckets), "hash table")[0]
    chain = at + 4 * buckets
    rows = []
    for _ in range(_MOST_STEPS):
        if index < first:
            break
        value = file.unpack("I", chain + 4 * (index - first), "hash table")[0]
        if value | 1 == wanted | 1:
            rows.append(index)
        if value & 1:
            break
        index += 1
    return rows


def _sysv(file: File, name: str) -> list[int]:
    wanted = 0
    for byte in name.encode():
        wanted = (wanted << 4) + byte
        high = wanted & 0xF0000000
        wanted = (wanted ^ (high >> 24)) & ~high & 0xFFFFFFFF
    begin = file.offset(file.tag[_DT_HASH], "hash table")
    buckets, chains = file.unpack("II", begin, "hash table")
    if not buckets:
        return []
    index = file.unpack("I", begin + 8 + 4 * (wanted % buckets), "hash table")[0]
    rows: list[int] = []
    for _ in range(min(chains, _MOST_STEPS)):
        if index == 0:
            break
        rows.append(index)
        index = file.unpack("I", begin + 8 + 4 * (buckets + index), "hash table")[0]
    return rows
