"""Layers: what goes into one, and what came out."""

from dpbuild.frozen import frozen
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest


@frozen
class Layer:
    """A finished layer, its blob in the store. ``size`` is unpacked, in bytes; ``kept`` says that it was
    there from before. ``comment`` goes into the image's history.
    """

    descriptor: Descriptor
    diff_id: Digest
    comment: str
    size: int
    kept: bool = False
