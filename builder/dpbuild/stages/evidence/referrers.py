"""Documents as manifests that refer to an image (OCI image spec, manifest.md, "Guidelines for Artifact Usage")."""

from typing import Final

from dpbuild.model.image import Document, Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.codec import encode_manifest
from dpbuild.oci.descriptor import Descriptor, Pairs
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest

_EMPTY: Final = b"{}"
_CREATED: Final = "org.opencontainers.image.created"
# By which signing tools tell statements apart without fetching them.
PREDICATE_TYPE: Final = "in-toto.io/predicate-type"


def descriptor_of(data: bytes, media_type: str, *, annotations: Pairs = (), artifact_type: str = "") -> Descriptor:
    """The descriptor that ``data`` has."""
    return Descriptor(
        media_type=media_type,
        digest=Digest.of(data),
        size=len(data),
        annotations=annotations,
        artifact_type=artifact_type,
    )


def referrer(
    subject: Descriptor,
    data: bytes,
    media_type: str,
    *,
    created: str,
    predicate_type: str = "",
    artifact_type: str = "",
    layer: Pairs = (),
    suffix: str = "",
    repository: str = "",
    annotations: Pairs = (),
) -> Referrer:
    """One document about ``subject``, as an artifact of the document's own type or another.

    ``created`` is RFC 3339; ``predicate_type`` that of an in-toto statement; ``annotations`` are more of the
    manifest's, ``layer`` those of the document's descriptor. ``suffix`` makes cosign's tag; with a ``repository`` it
    is for that one alone.
    """
    more = {_CREATED: created, **dict(annotations)} | ({PREDICATE_TYPE: predicate_type} if predicate_type else {})
    blob = descriptor_of(data, media_type, annotations=tuple(sorted(layer)))
    empty = descriptor_of(_EMPTY, mediatype.OCI_EMPTY)
    manifest = Manifest(
        media_type=mediatype.OCI_MANIFEST,
        config=empty,
        layers=(blob,),
        annotations=tuple(sorted(more.items())),
        artifact_type=artifact_type or media_type,
        subject=Descriptor(media_type=subject.media_type, digest=subject.digest, size=subject.size),
    )
    encoded = encode_manifest(manifest)
    return Referrer(
        subject=subject,
        descriptor=descriptor_of(
            encoded, manifest.media_type, annotations=manifest.annotations, artifact_type=manifest.artifact_type
        ),
        manifest_bytes=encoded,
        blobs=(Document(descriptor=empty, data=_EMPTY), Document(descriptor=blob, data=data)),
        tag=f"sha256-{subject.digest.hex}.{suffix}" if suffix else "",
        repository=repository,
    )
