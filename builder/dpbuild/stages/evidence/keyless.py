"""Sigstore bundles (protobuf-specs, ``sigstore_bundle.proto``) of images and their evidence, attached as by cosign."""

from collections.abc import Sequence
from typing import Final

from dpbuild.frozen import replace
from dpbuild.model.evidence import Evidence
from dpbuild.model.image import Images
from dpbuild.oci import mediatype
from dpbuild.oci.codec import decode_object
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.signer import KeylessSigner
from dpbuild.stages.evidence.provenance import PREDICATE as PROVENANCE
from dpbuild.stages.evidence.provenance import statement
from dpbuild.stages.evidence.referrers import referrer
from dpbuild.stages.evidence.sbom import PREDICATE as SBOM
from dpbuild.stages.image import timestamp

# What cosign states of an image that it signs: nothing but that.
SIGNED: Final = "https://sigstore.dev/cosign/sign/v1"
_CONTENT: Final = "dev.sigstore.bundle.content"
_PREDICATE: Final = "dev.sigstore.bundle.predicateType"


def sign_keyless(images: Images, evidence: Sequence[Evidence], signer: KeylessSigner, epoch: int) -> Images:
    """The same images with bundles: of every manifest and the index, and of the evidence. ``epoch`` is in seconds."""
    created = timestamp(epoch)
    subjects = [*(row.descriptor for row in images.images), *([images.descriptor] if images.index_bytes else [])]
    rows: list[tuple[Descriptor, str, bytes]] = [
        (subject, SIGNED, statement([("image", subject)], SIGNED, {})) for subject in subjects
    ]
    if images.referrers:
        for each in evidence:
            listed = statement([("image", each.subject)], SBOM, decode_object(each.sbom, "SBOM"))
            rows += [(each.subject, SBOM, listed), (each.subject, PROVENANCE, each.provenance)]
    made = signer.bundles([data for _, _, data in rows])
    attached = [
        referrer(
            subject,
            bundle,
            mediatype.SIGSTORE_BUNDLE,
            created=created,
            annotations=((_CONTENT, "dsse-envelope"), (_PREDICATE, predicate)),
        )
        for (subject, predicate, _), bundle in zip(rows, made, strict=True)
    ]
    return replace(images, referrers=(*images.referrers, *attached))
