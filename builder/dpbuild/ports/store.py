"""The store: blobs by digest, and small mappings from a key to bytes."""

from contextlib import AbstractContextManager
from typing import BinaryIO, Protocol

from dpbuild.oci.digest import Digest


class DamagedEntry(KeyError):
    """A blob was found damaged and was discarded: whatever needed it can be made again from the beginning."""


class BlobWriter(Protocol):
    """A blob being written; nothing is visible until ``commit``."""

    def write(self, data: bytes | memoryview) -> None:
        """Append. Raises StoreError (disk full)."""

    def commit(self, expected: Digest | None = None) -> tuple[Digest, int]:
        """Make it visible under its digest; returns digest and size in bytes.

        With ``expected`` another digest raises HashMismatch and nothing is kept.
        """


class Store(Protocol):
    """Blobs and mappings. All methods may be called from several threads."""

    def has(self, digest: Digest) -> bool:
        """Whether the blob is here."""

    def size(self, digest: Digest) -> int:
        """Its size in bytes. Raises KeyError if it is not here."""

    def open(self, digest: Digest) -> BinaryIO:
        """Open it for reading, seekable; the bytes are verified before the first use in a run.

        Raises KeyError if it is not here, DamagedEntry if it was, but damaged: it is discarded and reported.
        """

    def opened(self, digest: Digest) -> AbstractContextManager[BinaryIO]:
        """As ``open``, for a block that reads it while the bytes of a large one are still verified: what came of it
        counts when the block has ended without an error, and DamagedEntry is raised in place of any other.
        """

    def writer(self) -> AbstractContextManager[BlobWriter]:
        """Write a blob. Leaving the block without ``commit`` leaves nothing behind."""

    def get(self, kind: str, key: str) -> bytes | None:
        """What ``put`` kept for this kind (``layers``, ``facts``, ``bases``, ``wheels``) and key."""

    def put(self, kind: str, key: str, value: bytes) -> None:
        """Keep a mapping, replacing the one that is there."""

    def alone(self, kind: str, key: str) -> AbstractContextManager[None]:
        """One run at a time is in the block for a kind and key: the others wait, and find what it has made.

        Inside a block nothing may be waited for but a download (kind ``fetch``), so that nobody waits in a circle. It
        ends with the process at the latest. Where there are no locks, nobody waits. Raises StoreError when the run
        is interrupted.
        """

    def folder(self, kind: str, key: str) -> str | None:
        """The path of an extracted tree (``rootfs``) kept under this key, or None."""

    def make_folder(self, kind: str, key: str) -> AbstractContextManager[str]:
        """A new empty folder that becomes visible under the key when the block ends without an error."""
