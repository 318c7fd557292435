"""Downloads: a locked file goes into the store, verified on the way."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

from dpbuild.model.lock import LockedFile


class Fetcher(Protocol):
    """Fetches from package indexes, with their credentials; may be called from several threads."""

    def fetch(self, file: LockedFile, directory: str) -> int:
        """Bring the file into the store; returns the bytes that had to be moved (0: it was there).

        ``directory`` is what a relative ``path`` is relative to. Raises HashMismatch, ArtifactError.
        """


@runtime_checkable
class BatchFetcher(Fetcher, Protocol):
    """One to which many files at once are little more than one."""

    def fetch_all(self, files: Sequence[LockedFile], directory: str) -> int:
        """Bring all of them into the store; returns the bytes that had to be moved. Raises as ``fetch`` does."""
