"""One pass over a layer's files: what the rules will ask of their contents.

The outcome depends on the layer alone, so it is kept under the layer's digest, and every image that shares the
layer shares it.
"""

import mmap
import re
import struct
from collections.abc import Iterable
from typing import BinaryIO, Final

from dpbuild.archive.entry import Entry
from dpbuild.elf import folders, reader
from dpbuild.elf.facts import ElfFacts
from dpbuild.frozen import field, frozen
from dpbuild.stages.proof import sources
from dpbuild.stages.proof.sources import Use

# Part of the key of what is kept: whoever changes what is seen in a file changes this.
FORMAT: Final = 10

# Bytes read at a time: larger pieces would be new memory each time.
_CHUNK: Final = 64 << 10
# What is kept for files that are looked at as a whole, one after the other; a larger one gets memory of its own.
_ROOM: Final = 16 << 20
# What is looked at of every file, in bytes.
HEAD: Final = 4096
ELF: Final = b"\x7fELF"
# What glibc's dynamic loader calls itself on every machine (sysdeps, shlib-versions).
_LOADERS: Final = ("ld-", "ld.so.", "ld64.so.")
_LONGEST_LINE: Final = 512
# Small files that rules read whole; larger ones of these names are not what the names say.
_TEXTS: Final = (
    ".pth",
    "/pyvenv.cfg",
    "._pth",
    ".egg-link",
    "/direct_url.json",
    "/WHEEL",
    "/entry_points.txt",
    "/etc/passwd",
    "/etc/group",
    "/pip.conf",
    "/uv.toml",
    "/.git/config",
)
_LARGEST_TEXT: Final = 256 << 10
_METADATA: Final = ".dist-info/METADATA"
# Headers that rules ask for (PyPA, "Core metadata specifications").
_FIELDS: Final = ("name:", "version:", "requires-dist:", "requires-python:")
# Lists of files, which tell the owners of all others.
_LISTS: Final = (".dist-info/RECORD", ".md5sums")
_STATUS: Final = "/var/lib/dpkg/status.d/"
_LARGEST_LIST: Final = 8 << 20
_LARGEST_SOURCE: Final = 8 << 20
_PRIVATE_KEY: Final = b"PRIVATE KEY-----"


@frozen
class Pyc:
    """The header of a .pyc file (PEP 552): its magic number, flags, and for flags 0 the source's time and size."""

    magic: int
    flags: int
    mtime: int = 0
    size: int = 0


@frozen
class FileScan:
    """What is known of one file's content; fields that do not apply are empty.

    ``broken`` says why a file that begins like ELF is none; ``shebang`` is the first line behind ``#!``,
    without blanks around it; ``text`` the whole of a small file that rules read; ``uses`` what a Python source
    does that matters here; ``folders`` where a dynamic loader looks without being told.
    """

    elf: ElfFacts | None = None
    broken: str = ""
    shebang: str = ""
    pyc: Pyc | None = None
    text: str = ""
    private_key: bool = False
    uses: tuple[Use, ...] = ()
    folders: tuple[str, ...] = ()


EMPTY: Final = FileScan()


@frozen
class LayerScan:
    """All entries of one layer in their order, and by position what is known of the files' contents."""

    entries: tuple[Entry, ...]
    files: dict[int, FileScan] = field(default_factory=dict)


def scan(entries: Iterable[tuple[Entry, BinaryIO | None]]) -> LayerScan:
    """What is in a layer. Raises ReadError from the entries."""
    rows: list[Entry] = []
    files: dict[int, FileScan] = {}
    # Anonymous memory goes back to the system at once.
    with mmap.mmap(-1, _ROOM) as memory, memoryview(memory) as room:
        for position, (entry, content) in enumerate(entries):
            rows.append(entry)
            if content is not None and entry.size:
                found = _file(entry, content, room)
                if found != EMPTY:
                    files[position] = found
    return LayerScan(entries=tuple(rows), files=files)


def whole(entry: Entry, head: bytes) -> bool:
    """Whether all of a file is asked for that begins with ``head``, or no more than its first ``HEAD`` bytes."""
    path = f"/{entry.path}"
    if head.startswith(ELF):
        return True
    if _is_source(path, head):
        return entry.size <= _LARGEST_SOURCE
    listing = path.endswith((*_LISTS, _METADATA)) or path.startswith(_STATUS)
    return (entry.size <= _LARGEST_TEXT and path.endswith(_TEXTS)) or (entry.size <= _LARGEST_LIST and listing)


def told(entry: Entry, data: bytes | memoryview) -> FileScan:
    """What is known of a file by its content, of which there is as much as ``whole`` says."""
    path, head = f"/{entry.path}", bytes(data[:HEAD])
    if head.startswith(ELF):
        try:
            elf = reader.read(data)
        except reader.ElfError as problem:
            return FileScan(broken=str(problem))
        return FileScan(elf=elf, folders=folders.built_in(data) if elf.soname.startswith(_LOADERS) else ())
    content = bytes(data) if whole(entry, head) else b""
    if _is_source(path, head):
        # Of what else a source does only the app's is asked for, and that is read again.
        uses = sources.everywhere(content, loads=not sources.TESTS.search(path))
        return FileScan(shebang=_shebang(head) if content else "", uses=uses)
    if path.endswith(".pyc"):
        return FileScan(pyc=_pyc(path, head))
    text = content.decode("utf-8", "replace")
    if path.endswith(_METADATA):
        # What it requires is in the headers; the description behind them may be long.
        return FileScan(text=_headers(text))
    return FileScan(shebang=_shebang(head), text=text, private_key=_is_key(head))


def _file(entry: Entry, content: BinaryIO, room: memoryview) -> FileScan:
    head = content.read(min(HEAD, entry.size))
    if not head.startswith(ELF):
        return told(entry, head + content.read() if whole(entry, head) else head)
    if entry.size > len(room):
        with mmap.mmap(-1, entry.size) as memory, memoryview(memory) as own:
            return _file_in(entry, head, content, own)
    with room[: entry.size] as part:
        return _file_in(entry, head, content, part)


def _file_in(entry: Entry, head: bytes, content: BinaryIO, memory: memoryview) -> FileScan:
    """``memory`` takes just the whole of it."""
    at = len(head)
    memory[:at] = head
    while chunk := content.read(_CHUNK):
        memory[at : at + len(chunk)] = chunk
        at += len(chunk)
    return told(entry, memory)


def _is_source(path: str, head: bytes) -> bool:
    return path.endswith(".py") or (head.startswith(b"#!") and b"python" in head[:_LONGEST_LINE].split(b"\n")[0])


def _headers(text: str) -> str:
    """The fields of METADATA that rules ask for; a field that goes on in the next line is kept in one."""
    text = text.replace("\r\n", "\n").partition("\n\n")[0]
    rows = re.sub(r"\n[ \t]+", " ", text).split("\n")
    return "".join(f"{row}\n" for row in rows if row.lower().startswith(_FIELDS))


def _is_key(data: bytes) -> bool:
    """Whether a line of the first bytes begins a private key (RFC 7468, section 10; OpenSSH writes it alike)."""
    if _PRIVATE_KEY not in data:
        return False
    return any(line.startswith(b"-----BEGIN ") and line.rstrip().endswith(_PRIVATE_KEY) for line in data.split(b"\n"))


def _shebang(head: bytes) -> str:
    if not head.startswith(b"#!"):
        return ""
    return head[2:_LONGEST_LINE].split(b"\n")[0].decode("utf-8", "replace").strip(" \t")


def _pyc(path: str, head: bytes) -> Pyc | None:
    if len(head) < 16:
        return Pyc(magic=0, flags=0)
    magic, _, flags, mtime, size = struct.unpack_from("<HHIII", head)
    if flags:
        # Checked by hash or not at all: times do not matter.
        return None if "/__pycache__/" in path else Pyc(magic=magic, flags=flags)
    return Pyc(magic=magic, flags=0, mtime=mtime, size=size)
