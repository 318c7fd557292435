"""Where images go."""

from typing import Protocol, runtime_checkable

from dpbuild.model.image import Images, Written
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.reference import Reference


class ImageSink(Protocol):
    """One destination."""

    def check(self, images: Images | None = None) -> None:
        """Refuse early what cannot work: not empty, read-only, no engine. ``images`` is what will be written, where
        that is known already. Raises OutputError, SandboxError, RegistryError.
        """

    def write(self, images: Images) -> Written:
        """Write all of it; nothing is visible before everything is there."""


@runtime_checkable
class EagerSink(ImageSink, Protocol):
    """A destination that takes layers before the image is whole; nothing refers to them until ``write``."""

    def ahead(self, layer: Descriptor, base: Reference | None = None) -> None:
        """This layer is made, or is one of ``base``, and will be in the image: it may go now.

        Raises nothing; ``write`` tells what failed.
        """

    def ahead_of(self, images: Images) -> None:
        """These images will be written, if nothing is wrong with them: their configs and evidence may go now.

        Raises nothing; ``write`` tells what failed.
        """

    def close(self) -> None:
        """Give up what is under way. Called in any case, after ``write`` or without it."""
