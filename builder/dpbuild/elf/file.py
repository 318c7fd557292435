"""One ELF file opened for looking at: header, segments, dynamic section, strings.

Section headers are not read, since no loader reads them: they may be stripped, or lie. The input is hostile:
every offset is checked, every loop is bounded, and whatever is wrong is an ElfError.
"""

import mmap
import struct
from typing import Final

# gABI, "ELF Identification".
MAGIC: Final = b"\x7fELF"
_EI_CLASS, _EI_DATA, _EI_VERSION = 4, 5, 6
# gABI, "Program Header".
PT_LOAD: Final = 1
PT_DYNAMIC: Final = 2
_PN_XNUM: Final = 0xFFFF
# gABI, "Dynamic Section".
DT_NULL: Final = 0
DT_STRTAB: Final = 5
DT_STRSZ: Final = 10

# No honest file comes near these.
LONGEST: Final = 65536
_MOST_SEGMENTS: Final = 4096
_MOST_TAGS: Final = 65536
_MOST_TEXT: Final = 16 << 20


class ElfError(ValueError):
    """The bytes are no ELF file, or one that no loader would take."""


def is_elf(data: bytes | memoryview | mmap.mmap) -> bool:
    """Whether ``data`` begins like an ELF file."""
    return bytes(data[:4]) == MAGIC


def decode(raw: bytes) -> str:
    """A name or path; bytes that are not UTF-8 survive as surrogates."""
    return raw.decode("utf-8", "surrogateescape")


class File:
    """One file; offsets are into the file, addresses are what the segments map them to.

    ``segments`` are (type, offset, address, size in the file); ``tags`` the dynamic section's (tag, value)
    pairs, none for a static file. Every method raises ElfError.
    """

    def __init__(self, data: memoryview) -> None:
        self.data = data
        if not is_elf(self.data):
            raise ElfError("not an ELF file: the magic is missing")
        ident = self.bytes(0, 16, "identification")
        if ident[_EI_CLASS] not in (1, 2) or ident[_EI_DATA] not in (1, 2) or ident[_EI_VERSION] != 1:
            raise ElfError("the identification names a class, byte order or version that does not exist")
        self.wide = ident[_EI_CLASS] == 2
        self.little = ident[_EI_DATA] == 1
        self.order = "<" if self.little else ">"
        header = self.unpack("HHIQQQIHHHHHH" if self.wide else "HHIIIIIHHHHHH", 16, "header")
        self.type, self.machine, self.flags = header[0], header[1], header[6]
        self.segments = self._program_headers(header[4], header[8], header[9], header[5])
        self._loads = [row for row in self.segments if row[0] == PT_LOAD]
        self.tags = self._dynamic()
        # Of several, loaders take the last.
        self.tag = dict(self.tags)
        self._strings: dict[int, str] = {}
        self._left = _MOST_TEXT

    def bytes(self, offset: int, size: int, what: str) -> bytes:
        """``size`` bytes; ``what`` names them in the error."""
        if offset < 0 or size < 0 or offset + size > len(self.data):
            raise ElfError(f"the {what} lies outside the file")
        return bytes(self.data[offset : offset + size])

    def unpack(self, layout: str, offset: int, what: str) -> tuple[int, ...]:
        """Numbers in the file's byte order."""
        layout = self.order + layout
        return struct.unpack(layout, self.bytes(offset, struct.calcsize(layout), what))

    def offset(self, address: int, what: str) -> int:
        """Where in the file the byte at ``address`` is."""
        for _, offset, start, size in self._loads:
            if start <= address < start + size:
                return address - start + offset
        raise ElfError(f"the address of the {what} is in no loaded segment")

    def string(self, index: int) -> str:
        """A string of the dynamic string table."""
        if index in self._strings:
            return self._strings[index]
        if DT_STRTAB not in self.tag:
            raise ElfError("the dynamic section names no string table")
        size = self.tag.get(DT_STRSZ, 0)
        if not 0 <= index < size:
            raise ElfError("a name lies outside the string table")
        begin = self.offset(self.tag[DT_STRTAB], "string table") + index
        most = min(size - index, LONGEST, len(self.data) - begin)
        raw, end, length = b"", -1, 256
        while end < 0 and len(raw) < most:
            raw = bytes(self.data[begin : begin + min(length, most)])
            end = raw.find(b"\0")
            length *= 16
        self._left -= len(raw)
        if end < 0:
            raise ElfError("a name in the string table has no end")
        if self._left < 0:
            raise ElfError("there are too many names")
        self._strings[index] = text = decode(raw[:end])
        return text

    def _program_headers(self, offset: int, entry: int, count: int, sections: int) -> list[tuple[int, int, int, int]]:
        if count == _PN_XNUM and sections:
            # gABI: with too many segments for the field, the first section's sh_info holds their number.
            count = self.unpack("I", sections + (44 if self.wide else 28), "first section header")[0]
        if count == 0:
            return []
        if count > _MOST_SEGMENTS:
            raise ElfError(f"{count} program headers are too many")
        layout, smallest = ("IIQQQQ", 56) if self.wide else ("IIIII", 32)
        if entry < smallest:
            raise ElfError(f"program headers of {entry} bytes are too small")
        rows = []
        for index in range(count):
            found = self.unpack(layout, offset + index * entry, "program header")
            if self.wide:
                rows.append((found[0], found[2], found[3], found[5]))
            else:
                rows.append((found[0], found[1], found[2], found[4]))
        return rows

    def _dynamic(self) -> list[tuple[int, int]]:
        for kind, offset, _, size in self.segments:
            # A file that was split off for debugging has the segment but nothing in it.
            if kind != PT_DYNAMIC or size == 0:
                continue
            width = 16 if self.wide else 8
            count = size // width
            if count > _MOST_TAGS:
                raise ElfError("the dynamic section is too long")
            raw = self.bytes(offset, count * width, "dynamic section")
            rows = []
            for tag, value in struct.iter_unpack(self.order + ("qQ" if self.wide else "iI"), raw):
                if tag == DT_NULL:
                    break
                rows.append((tag, value))
            return rows
        return []
