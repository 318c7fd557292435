"""A finished image: bytes of manifest and config, and the layers that it is made of."""

from collections.abc import Callable
from typing import Final

from dpbuild.frozen import frozen
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.manifest import Manifest
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import Reference

# The kind of the store's mappings in which large documents are by their own sha256 in hex, whoever speaks of them.
DOCUMENTS: Final = "documents"


@frozen
class Image:
    """One platform's image. ``base`` says where the first ``base_layers`` layers can be had."""

    platform: Platform
    descriptor: Descriptor
    manifest: Manifest
    manifest_bytes: bytes
    config_bytes: bytes
    base: Reference
    base_layers: int


@frozen
class Document:
    """A blob of evidence. ``data`` are its bytes, or gives them where they are kept: some have megabytes, which are
    seldom asked for.
    """

    descriptor: Descriptor
    data: bytes | Callable[[], bytes]

    def read(self) -> bytes:
        """Its bytes."""
        return self.data if isinstance(self.data, bytes) else self.data()


@frozen
class Referrer:
    """A manifest that says something of an image or an index (OCI image spec, manifest.md, ``subject``).

    ``descriptor`` is as a list of referrers shows it; ``blobs`` are those of the manifest. With a
    ``tag`` its layers are also found under that (cosign's way, from before there were referrers); with a
    ``repository`` (``registry/repository``) it is for that one alone.
    """

    subject: Descriptor
    descriptor: Descriptor
    manifest_bytes: bytes
    blobs: tuple[Document, ...]
    tag: str = ""
    repository: str = ""


@frozen
class Images:
    """What a build makes: one image, or one for each platform under an index.

    ``descriptor`` is that of the index, or of the only image; ``index_bytes`` is empty for a single image.
    ``referrers`` are the evidence, those of the index last.
    """

    descriptor: Descriptor
    images: tuple[Image, ...]
    index_bytes: bytes = b""
    referrers: tuple[Referrer, ...] = ()

    def referrers_in(self, *repositories: str) -> tuple[Referrer, ...]:
        """Those that are for one of these repositories, or for any."""
        return tuple(row for row in self.referrers if row.repository in ("", *repositories))


@frozen
class Written:
    """One destination that was written.

    ``reference`` is what ``build`` prints and every verb accepts; ``sent`` counts bytes of blobs that were
    not there yet, ``present`` those that were.
    """

    kind: str
    reference: str
    tags: tuple[str, ...]
    descriptor: Descriptor
    platforms: tuple[Platform, ...]
    sent: int = 0
    present: int = 0
