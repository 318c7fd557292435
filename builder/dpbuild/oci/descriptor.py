"""Descriptors, as in the OCI image spec, descriptor.md."""

from dpbuild.frozen import frozen
from dpbuild.oci.digest import Digest
from dpbuild.oci.platform import Platform

Pairs = tuple[tuple[str, str], ...]


@frozen
class Descriptor:
    """What a blob or manifest is: media type, digest, size in bytes.

    ``artifact_type`` is that of a manifest that is no image, "" for any other.
    """

    media_type: str
    digest: Digest
    size: int
    platform: Platform | None = None
    annotations: Pairs = ()
    artifact_type: str = ""
