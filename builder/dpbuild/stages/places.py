"""Where the files of a layer that was made here lie in its blob, so that one of them is read without all before it.

A file that was joined as it stood in its wheel begins a deflate stream of its own (``archive/deflate.py``).
"""

import json
import zlib
from collections.abc import Mapping
from typing import BinaryIO, Final

from zlib_ng import zlib_ng

from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.store import Store

_KIND: Final = "facts"
_LARGEST: Final = 1 << 28
_CHUNK: Final = 1 << 16
# What a deflate stream takes beyond its content at most, in bytes, where it has less than _CHUNK.
_FRAME: Final = 64


def keep(store: Store, layer: Descriptor, found: Mapping[int, int]) -> None:
    """Remember them: by the number of the entry in the layer's tar, the offset in the blob, in bytes."""
    if found:
        value = json.dumps([list(found), list(found.values())], separators=(",", ":")).encode()
        store.put(_KIND, _key(layer), zlib.compress(value, 1))


def recall(store: Store, layer: Descriptor) -> Mapping[int, int]:
    """What was remembered; nothing for a layer from elsewhere."""
    data = store.get(_KIND, _key(layer))
    if data is None:
        return {}
    try:
        numbers, offsets = json.loads(zlib.decompressobj().decompress(data, _LARGEST))
        return {int(number): int(offset) for number, offset in zip(numbers, offsets, strict=True)}
    except (ValueError, TypeError, zlib.error):
        return {}


def read(blob: BinaryIO, offset: int, size: int) -> bytes | None:
    """The ``size`` bytes of a file whose deflate stream begins at ``offset``; None if it has not that many."""
    blob.seek(offset)
    # The proof reads thousands of sources, and takes half the time for it.
    inflate = zlib_ng.decompressobj(-15)
    out: list[bytes] = []
    left = size
    data = b""
    try:
        while left:
            data = inflate.unconsumed_tail or blob.read(min(_CHUNK, left + _FRAME))
            piece = inflate.decompress(data, left)
            if not piece and not data:
                return None
            out.append(piece)
            left -= len(piece)
    except zlib_ng.error:  # type: ignore[misc]
        return None
    return b"".join(out)


def _key(layer: Descriptor) -> str:
    return f"places-{layer.digest.hex}"
