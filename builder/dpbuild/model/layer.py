"""Layers: what goes into one, and what came out."""

from dataclasses import dataclass

from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """A finished layer, its blob in the store. ``size`` is unpacked, in bytes; ``kept`` says that it was
    there from before. ``comment`` goes into the image's history.
    """

    descriptor: Descriptor
    diff_id: Digest
    comment: str
    size: int
    kept: bool = False
