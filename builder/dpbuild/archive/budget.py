"""What all layers of one image may take together: each alone may be honest, and a hundred of them a bomb."""

import threading
from collections.abc import Iterator
from typing import BinaryIO, Final

from dpbuild.archive.apply import MOST_ENTRIES
from dpbuild.archive.decompress import Decompressed, ReadError
from dpbuild.archive.entry import Entry

# The largest honest images (CUDA) have some 30 GB in 12 GB; both limits are far above what any of them needs.
RATIO: Final = 50
SMALLEST_LIMIT: Final = 16 << 30
_BATCH: Final = 1024


class Budget:
    """Counts the entries and bytes of an image's layers, several of which may be read at a time.

    ``compressed`` is the sum of the layers' sizes.
    """

    def __init__(self, compressed: int) -> None:
        self._limit = max(SMALLEST_LIMIT, RATIO * compressed)
        self._bytes = self._limit
        self._entries = MOST_ENTRIES
        self._lock = threading.Lock()

    def counted(
        self, rows: Iterator[tuple[Entry, BinaryIO | None]], raw: Decompressed
    ) -> Iterator[tuple[Entry, BinaryIO | None]]:
        """The entries of one layer, read from ``raw``. Raises ReadError when the image has had its share."""
        count = size = 0
        for row in rows:
            count += 1
            if count == _BATCH:
                self._spend(count, raw.size - size)
                count, size = 0, raw.size
            yield row
        self._spend(count, raw.size - size)

    def _spend(self, entries: int, size: int) -> None:
        with self._lock:
            self._entries -= entries
            self._bytes -= size
            if self._entries < 0:
                raise ReadError(f"with it, the layers have more than {MOST_ENTRIES} entries")
            if self._bytes < 0:
                raise ReadError(f"with it, the layers unpack to more than {self._limit} bytes")
