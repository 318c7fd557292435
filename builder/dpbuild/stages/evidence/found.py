"""Reading what is attached to an image."""

from typing import Final

from dpbuild.errors import BaseImageError
from dpbuild.frozen import frozen
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, decode
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.oci.manifest import Manifest
from dpbuild.ports.source import ImageSource, Referred
from dpbuild.stages.evidence import simplesigning

_SIGNED: Final = (mediatype.DSSE, mediatype.SIGSTORE_BUNDLE, simplesigning.MEDIA_TYPE)
_KINDS: Final = frozenset({mediatype.CYCLONEDX, mediatype.IN_TOTO, *_SIGNED})
# Bytes: an SBOM of thousands of files stays far below.
_LARGEST: Final = 64 << 20
_MOST: Final = 200


@frozen
class Attached:
    """One document: what it is by its media type, its bytes, and cosign's signature of them ("" for none)."""

    media_type: str
    digest: Digest
    data: bytes
    signature: str = ""


def attached(source: ImageSource, subject: Digest, where: str) -> tuple[Attached, ...]:
    """The SBOMs, statements and signatures of a manifest, once each, as referrers and under cosign's tags.

    Raises BaseImageError for an image where nothing can be attached, and what the source raises.
    """
    if not isinstance(source, Referred):
        raise BaseImageError(
            "nothing can be attached to an image of this kind", where=where, hint="use a registry or an OCI layout"
        )
    manifests = [source.manifest(row) for row in source.referrers(subject)[:_MOST] if _maybe(row)]
    for suffix in ("sig", "att"):
        data = source.tagged(f"sha256-{subject.hex}.{suffix}")
        if data is not None:
            manifests.append(data)
    found: dict[tuple[Digest, str], Attached] = {}
    for data in manifests:
        for row in _layers(data):
            signature = dict(row.annotations).get(simplesigning.SIGNATURE, "")
            if row.media_type in _KINDS and row.size <= _LARGEST and (row.digest, signature) not in found:
                found[row.digest, signature] = Attached(
                    media_type=row.media_type, digest=row.digest, data=b"".join(source.blob(row)), signature=signature
                )
    return tuple(found.values())


def _maybe(row: Descriptor) -> bool:
    """Whether a list's row may be of interest; some registries do not tell the type."""
    return row.artifact_type in ("", simplesigning.ARTIFACT_TYPE, *_KINDS)


def _layers(data: bytes) -> tuple[Descriptor, ...]:
    try:
        value = decode(data)
    except CodecError:
        return ()
    return value.layers if isinstance(value, Manifest) else ()
