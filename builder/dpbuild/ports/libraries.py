"""Which package of the base's distributor has a library: to name the mend, never needed for anything else."""

from typing import Protocol


class LibraryIndex(Protocol):
    """The libraries of one suite for one machine."""

    def packages(self, names: frozenset[str]) -> dict[str, str] | None:
        """The package of each library that one has; None if that cannot be told now.

        ``names`` are sonames, or beginnings that end with a dot (``libmagic.so.``). Raises nothing: a check must
        not fail because a mirror does.
        """
