"""Which package has a shared library, out of a suite's ``Contents`` index (Debian wiki, "RepositoryFormat").

The index names every file of every package, in hundreds of megabytes; of it only libraries where the dynamic loader
looks for them are kept, by their names.
"""

import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

_FORMAT: Final = 1
_LARGEST: Final = 64 << 20
# "usr/lib/x86_64-linux-gnu/libxcb.so.1  libs/libxcb1": packages with their sections, separated by commas.
_LIBRARY: Final = re.compile(
    rb"^(?:\./)?(?:usr/)?lib/(?:[^/ \t]+-linux-gnu[^/ \t]*/)?(?P<name>lib[^/ \t]*\.so\.[0-9.]+)"
    rb"[ \t]+(?P<packages>\S+)[ \t]*$",
    re.MULTILINE,
)


# What each of these names has in it.
_VERSIONED: Final = b".so."


def libraries(chunks: Iterable[bytes]) -> dict[str, str]:
    """The package of each library, by the library's name; ``chunks`` are the index's text.

    Of several packages the one that is most likely meant: from the section libs, with the shortest name.
    """
    found: dict[str, str] = {}
    for block in _blocks(chunks):
        # The index is sorted, and libraries stand in few parts of it.
        begin, end = block.find(_VERSIONED), block.rfind(_VERSIONED)
        if begin < 0:
            continue
        begin, end = block.rfind(b"\n", 0, begin) + 1, block.find(b"\n", end)
        for match in _LIBRARY.finditer(block, begin, len(block) if end < 0 else end):
            rows = [row.split("/") for row in match["packages"].decode("utf-8", "replace").split(",")]
            best = min(
                rows, key=lambda row: (row[-1].endswith(("-dev", "-dbg")), row[-2:-1] != ["libs"], len(row[-1]), row)
            )
            found[match["name"].decode("utf-8", "replace")] = best[-1]
    return found


def _blocks(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The text in whole lines."""
    rest = b""
    for chunk in chunks:
        head, newline, tail = chunk.rpartition(b"\n")
        if newline:
            yield rest + head
            rest = tail
        else:
            rest += chunk
    yield rest


def lookup(known: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The packages of these libraries. A name that ends with a dot (``libmagic.so.``) stands for any version."""
    found: dict[str, str] = {}
    for name in names:
        if name in known:
            found[name] = known[name]
        elif name.endswith("."):
            rows = sorted((row for row in known if row.startswith(name)), key=lambda row: (len(row), row))
            if rows:
                found[name] = known[rows[0]]
    return found


def likely(library: str) -> tuple[str, ...]:
    """What the package of a library is called by Debian Policy, section 8.1: ``libxcb.so.1`` is in ``libxcb1``.

    With the ending of the transition to 64-bit time, too. Nothing for a name without a version.
    """
    match = re.fullmatch(r"(lib.+)\.so\.([0-9][0-9.]*)", library)
    if match is None:
        return ()
    name, version = match[1].lower().replace("_", "-"), match[2]
    stem = f"{name}-{version}" if name[-1].isdigit() else f"{name}{version}"
    return (stem, f"{stem}t64")


def encode(known: Mapping[str, str]) -> bytes:
    """As bytes for the store."""
    return zlib.compress(json.dumps([_FORMAT, dict(known)]).encode())


def decode(data: bytes) -> dict[str, str]:
    """What ``encode`` made. Raises ValueError for anything else."""
    try:
        version, known = json.loads(zlib.decompressobj().decompress(data, _LARGEST))
        if version != _FORMAT:
            raise ValueError(f"format {version}")
        return {str(name): str(package) for name, package in known.items()}
    except (ValueError, TypeError, AttributeError, zlib.error) as problem:
        raise ValueError(f"no list of libraries: {problem}") from None
