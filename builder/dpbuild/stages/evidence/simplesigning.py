"""cosign's signatures of images (containers/image, docs/containers-signature.5.md; cosign, specs/SIGNATURE_SPEC.md)."""

import base64
from typing import Final

from dpbuild.oci.codec import CodecError, canonical, decode_object
from dpbuild.oci.digest import Digest
from dpbuild.ports.signer import Verifier

MEDIA_TYPE: Final = "application/vnd.dev.cosign.simplesigning.v1+json"
ARTIFACT_TYPE: Final = "application/vnd.dev.cosign.artifact.sig.v1+json"
# Annotation of the layer that the payload is.
SIGNATURE: Final = "dev.cosignproject.cosign/signature"
_TYPE: Final = "cosign container image signature"


def payload(image: Digest, repository: str) -> bytes:
    """What is signed: the digest, and the repository that it was signed for ("" for none)."""
    return canonical(
        {
            "critical": {
                "identity": {"docker-reference": repository},
                "image": {"docker-manifest-digest": str(image)},
                "type": _TYPE,
            },
            "optional": None,
        }
    )


def signs(data: bytes, signature: str, image: Digest, verifier: Verifier) -> bool:
    """Whether this payload with this signature (base64) is the key's for this very image."""
    try:
        raw = base64.b64decode(signature, validate=True)
        critical = decode_object(data, "payload")["critical"]
        same = critical["image"]["docker-manifest-digest"] == str(image) and critical["type"] == _TYPE
    except (CodecError, KeyError, TypeError, ValueError):
        return False
    return same and verifier.verify(data, raw)
