"""Debian's archive, as far as packages on top of a base need it."""

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

# Name, version and sha256 of a .deb, as the lock has them.
Pin = tuple[str, str, str]


class DebianPackages(Protocol):
    """The packages of one suite for one machine."""

    def close(
        self, wanted: Iterable[str], have: Mapping[str, str], without: frozenset[str]
    ) -> tuple[tuple[Pin, ...], str]:
        """What ``wanted`` needs beyond ``have`` (names with versions), sorted by name, and the index's date (RFC 3339).

        ``without`` are packages that count as there. Raises UnsupportedRequirement (41), BaseImageError (20).
        """

    def fetch(self, pins: Iterable[Pin], progress: Callable[[int], None]) -> tuple[bytes, ...]:
        """The packages' bytes, verified; ``progress`` takes the bytes that came in.

        Raises BaseImageError for a package that the mirror does not have any more, HashMismatch.
        """
