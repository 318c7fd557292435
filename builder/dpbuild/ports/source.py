"""Where images come from: a registry, a layout, an archive, an engine, Debian's packages."""

from collections.abc import Iterator
from typing import Protocol, runtime_checkable

from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform


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


class Composition(Protocol):
    """What one platform's composed base was made of: (name, version, sha256 of the .deb), and the indices' date."""

    @property
    def platform(self) -> Platform:
        """The platform."""

    @property
    def packages(self) -> tuple[tuple[str, str, str], ...]:
        """The packages, in the order of their layers."""

    @property
    def date(self) -> str:
        """RFC 3339, or ""."""


@runtime_checkable
class Composed(Protocol):
    """A source that makes its image from packages."""

    @property
    def composition(self) -> tuple[Composition, ...]:
        """One for each platform."""


@runtime_checkable
class Referred(Protocol):
    """A source that knows what refers to its manifests."""

    def referrers(self, subject: Digest) -> tuple[Descriptor, ...]:
        """The manifests that refer to ``subject``; ``ImageSource.manifest`` reads them."""

    def tagged(self, tag: str) -> bytes | None:
        """The manifest under another tag of the same repository, None if there is none."""
