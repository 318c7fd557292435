"""Artifacts: wheels that are in the store and verified."""

from dpbuild.frozen import frozen
from dpbuild.oci.digest import Digest


@frozen
class Artifact:
    """A wheel in the store.

    ``name`` is normalised; ``filename`` is the wheel's file name; ``size`` is in bytes. ``locked`` says that
    the hash comes from a lock, so that its compressed bytes may go into a layer as they are; a wheel built
    here is not, because the builder's compressor would show. ``inside`` are the Debian packages that libraries in it
    were copied from when it was repaired: name, version, sha256 of the .deb.
    """

    name: str
    version: str
    filename: str
    digest: Digest
    size: int
    locked: bool = True
    inside: tuple[tuple[str, str, str], ...] = ()

    @property
    def pure(self) -> bool:
        """Whether the wheel is for any platform, by its file name."""
        return self.filename.endswith("-any.whl")
