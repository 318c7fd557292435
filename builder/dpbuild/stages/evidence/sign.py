"""Signatures of images and of their evidence, attached like the evidence itself."""

import base64
from collections.abc import Sequence

from dpbuild.frozen import replace
from dpbuild.model.evidence import Evidence
from dpbuild.model.image import Images, Referrer
from dpbuild.oci import mediatype
from dpbuild.oci.codec import decode_object
from dpbuild.oci.descriptor import Descriptor
from dpbuild.ports.signer import Signer
from dpbuild.stages.evidence import simplesigning
from dpbuild.stages.evidence.dsse import envelope
from dpbuild.stages.evidence.provenance import PREDICATE as PROVENANCE
from dpbuild.stages.evidence.provenance import statement
from dpbuild.stages.evidence.referrers import referrer
from dpbuild.stages.evidence.sbom import PREDICATE as SBOM
from dpbuild.stages.image import timestamp


def sign(
    images: Images, evidence: Sequence[Evidence], repositories: Sequence[str], signer: Signer, epoch: int
) -> Images:
    """The same images with signatures: of every manifest and the index for each repository, and of the evidence.

    A signature names the repository that it is for; where there is none it names none. ``epoch`` is in seconds.
    """
    created = timestamp(epoch)
    subjects = [*(row.descriptor for row in images.images), *([images.descriptor] if images.index_bytes else [])]
    rows = [
        _signature(subject, repository, signer, created)
        for subject in subjects
        for repository in dict.fromkeys(repositories or ("",))
    ]
    if images.referrers:
        for each in evidence:
            listed = statement([("image", each.subject)], SBOM, decode_object(each.sbom, "SBOM"))
            rows.append(_attestation(each.subject, listed, SBOM, signer, created))
            rows.append(_attestation(each.subject, each.provenance, PROVENANCE, signer, created))
    return replace(images, referrers=(*images.referrers, *rows))


def _signature(subject: Descriptor, repository: str, signer: Signer, created: str) -> Referrer:
    payload = simplesigning.payload(subject.digest, repository)
    text = base64.b64encode(signer.sign(payload)).decode()
    return referrer(
        subject,
        payload,
        simplesigning.MEDIA_TYPE,
        created=created,
        artifact_type=simplesigning.ARTIFACT_TYPE,
        layer=((simplesigning.SIGNATURE, text),),
        suffix="sig",
        repository=repository,
    )


def _attestation(subject: Descriptor, data: bytes, predicate_type: str, signer: Signer, created: str) -> Referrer:
    """An envelope; its layer's annotations are those by which cosign finds it."""
    return referrer(
        subject,
        envelope(data, signer),
        mediatype.DSSE,
        created=created,
        predicate_type=predicate_type,
        layer=((simplesigning.SIGNATURE, ""), ("predicateType", predicate_type)),
        suffix="att",
    )
