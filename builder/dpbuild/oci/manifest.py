"""Image manifests and indexes, as in the OCI image spec, manifest.md and image-index.md."""

from dpbuild.frozen import frozen
from dpbuild.oci.descriptor import Descriptor, Pairs


@frozen
class Manifest:
    """One image for one platform; or, with an ``artifact_type``, something else that is kept like one.

    ``subject`` is what it refers to.
    """

    media_type: str
    config: Descriptor
    layers: tuple[Descriptor, ...]
    annotations: Pairs = ()
    artifact_type: str = ""
    subject: Descriptor | None = None


@frozen
class Index:
    """Several manifests under one name."""

    media_type: str
    manifests: tuple[Descriptor, ...]
    annotations: Pairs = ()
