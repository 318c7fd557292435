"""Artifacts: wheels that are in the store and verified."""

from dataclasses import dataclass

from dpbuild.oci.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A wheel in the store.

    ``name`` is normalised; ``filename`` is the wheel's file name; ``size`` is in bytes. ``locked`` says that
    the hash comes from a lock, so that its compressed bytes may go into a layer as they are; a wheel built
    here is not, because the builder's compressor would show.
    """

    name: str
    version: str
    filename: str
    digest: Digest
    size: int
    locked: bool = True

    @property
    def pure(self) -> bool:
        """Whether the wheel is for any platform, by its file name."""
        return self.filename.endswith("-any.whl")
