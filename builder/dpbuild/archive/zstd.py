"""One zstd frame (RFC 8878), the same bytes on every machine.

The library's version decides the bytes, so it is pinned: its package where Python has none of its own, and a check
where it has (3.14 and later use whatever libzstd they were built with).
"""

import importlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

VERSION: Final = "1.5.7"
# Seen to give the same bytes on every processor that was tried.
LEVEL: Final = 3
PIECE: Final = 1 << 20


class ZstdUnusable(Exception):
    """The compressor is missing, or is not the one whose bytes are pinned; the message says which it is."""


def compress(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """``chunks`` as one frame, the same bytes however they are cut. Raises ZstdUnusable."""
    squeeze = library().ZstdCompressor(level=LEVEL)
    held = bytearray()
    for chunk in chunks:
        held += chunk
        while len(held) >= PIECE:
            yield squeeze.compress(bytes(held[:PIECE]))
            del held[:PIECE]
    yield squeeze.compress(bytes(held)) + squeeze.flush()


def library() -> Any:
    """The module that compresses: Python's own, or its backport. Raises ZstdUnusable."""
    for name in ("compression.zstd", "backports.zstd"):
        try:
            module = importlib.import_module(name)
        except ImportError:
            continue
        if module.zstd_version != VERSION:
            raise ZstdUnusable(f"its bytes are those of zstd {VERSION}, and this Python has {module.zstd_version}")
        return module
    raise ZstdUnusable("this Python has no zstd")
