"""A base: an image for one platform, its files and its facts."""

from dpbuild.archive.overlay import FileTree
from dpbuild.frozen import field, frozen
from dpbuild.model.facts import Facts
from dpbuild.oci.config import ImageConfig
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference


@frozen
class Base:
    """The base as the later stages see it.

    ``reference`` is as configured; ``descriptor`` is that of this platform's manifest; ``root`` that of what
    the reference named (an index, or the same manifest).
    """

    reference: Reference
    root: Descriptor
    descriptor: Descriptor
    platform: Platform
    manifest: Manifest
    config: ImageConfig
    facts: Facts
    tree: FileTree = field(compare=False)
