"""Where images come from: a registry, a layout, an archive, an engine, Debian's packages."""

from collections.abc import Iterator
from typing import Protocol

from dpbuild.oci.descriptor import Descriptor


class ImageSource(Protocol):
    """One image, by reference. What it returns is verified against the descriptor's digest and size."""

    def resolve(self) -> tuple[Descriptor, bytes]:
        """The manifest or index that the reference names; asked of the world once, then remembered.

        Raises NotFound, Unauthorized, RegistryError, BaseImageError.
        """

    def manifest(self, descriptor: Descriptor) -> bytes:
        """The bytes of a child manifest or of a config."""

    def blob(self, descriptor: Descriptor) -> Iterator[bytes]:
        """The bytes of a layer, in chunks; the last chunk is followed by an error if the digest differs."""
