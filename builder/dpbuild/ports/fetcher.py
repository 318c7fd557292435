"""Downloads: a locked file goes into the store, verified on the way."""

from typing import Protocol

from dpbuild.model.lock import LockedFile


class Fetcher(Protocol):
    """Fetches from package indexes, with their credentials; may be called from several threads."""

    def fetch(self, file: LockedFile, directory: str) -> int:
        """Bring the file into the store; returns the bytes that had to be moved (0: it was there).

        ``directory`` is what a relative ``path`` is relative to. Raises HashMismatch, ArtifactError.
        """
