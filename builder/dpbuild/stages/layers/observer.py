"""Who wants to see what goes into a layer while it is written."""

from collections.abc import Callable
from typing import Protocol

from dpbuild.archive.entry import Entry
from dpbuild.oci.descriptor import Descriptor


class Observer(Protocol):
    """Sees one layer, its entries in their order."""

    def entry(self, entry: Entry) -> None:
        """An entry without content: a folder, a link, an empty file."""

    def begin(self, entry: Entry, identity: tuple[str, bytes]) -> Callable[[bytes | memoryview], object]:
        """A file; what is returned takes its content piece by piece, and may not keep a view.

        ``identity`` is the name and the value of a hash of the content, or something else that is equal for equal
        contents.
        """

    def end(self) -> None:
        """The file's content was all there."""

    def keep(self, layer: Descriptor) -> None:
        """The layer is written."""
