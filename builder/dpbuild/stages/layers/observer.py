"""Who wants to see what goes into a layer while it is written."""

from collections.abc import Callable
from typing import Any, Protocol

from dpbuild.archive.entry import Entry
from dpbuild.oci.descriptor import Descriptor

# The name and the value of a hash of a content, or something else that is equal for equal contents.
Identity = tuple[str, bytes]


class Look(Protocol):
    """Looks at one file after another, in whatever process they are read."""

    def begin(self, path: str, size: int, identity: Identity) -> Callable[[bytes | memoryview], object]:
        """A file; what is returned takes its content piece by piece, and may not keep a view."""

    def end(self) -> Any:
        """The content was all there: what an observer is told of it, which can be pickled."""

    def close(self) -> None:
        """No file comes any more."""


class Observer(Protocol):
    """Is told of one layer, of its entries in their order."""

    @property
    def look(self) -> Callable[[], Look]:
        """What makes one that looks at files for it; can be pickled."""

    def entry(self, entry: Entry) -> None:
        """An entry without content: a folder, a link, an empty file."""

    def file(self, entry: Entry, identity: Identity, seen: Any) -> None:
        """A file, and what ``Look.end`` said of it."""

    def keep(self, layer: Descriptor) -> None:
        """The layer is written."""
