"""What says whether a path of the project is meant; for a few names pathspec need not be imported."""

from typing import Protocol

from dpbuild.frozen import frozen


class Matcher(Protocol):
    """What says whether a path is meant, that of a folder with a slash at its end."""

    def match_file(self, file: str, /) -> bool:
        """Whether it is."""


@frozen(kw_only=False)
class Names:
    """Means what has one of the names, or lies in a folder of one; those with a slash are only folders'.

    That is what pathspec says of them as patterns.
    """

    names: frozenset[str]

    def match_file(self, file: str, /) -> bool:
        """Whether a path is meant."""
        *folders, last = file.split("/")
        return last in self.names or any(name in self.names or f"{name}/" in self.names for name in folders)
