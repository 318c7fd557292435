"""What a key vouches for, and everything that it does not."""

import base64
import hashlib
import hmac
import json
from dataclasses import dataclass, replace

import pytest

from dpbuild.errors import FindingsError
from dpbuild.oci import mediatype
from dpbuild.oci.codec import canonical
from dpbuild.oci.descriptor import Descriptor
from dpbuild.oci.digest import Digest
from dpbuild.stages.evidence import dsse, simplesigning
from dpbuild.stages.evidence.found import Attached
from dpbuild.stages.evidence.provenance import statement
from dpbuild.stages.evidence.verify import verify

IMAGE, OTHER = Digest.of(b"image"), Digest.of(b"other")
CYCLONEDX = "https://cyclonedx.org/bom"


@dataclass(frozen=True)
class Key:
    """Both halves of a key, without any asymmetry: what matters here is who signed what."""

    secret: bytes

    @property
    def key_id(self) -> str:
        return hashlib.sha256(self.secret).hexdigest()

    def sign(self, data: bytes) -> bytes:
        return hmac.digest(self.secret, data, "sha256")

    def verify(self, data: bytes, signature: bytes) -> bool:
        return self.sign(data) == signature


OURS, THEIRS = Key(b"ours"), Key(b"theirs")


def document(data: bytes, media_type: str, signature: str = "") -> Attached:
    return Attached(media_type=media_type, digest=Digest.of(data), data=data, signature=signature)


def signature(key: Key = OURS, image: Digest = IMAGE, repository: str = "registry.example/a") -> Attached:
    data = simplesigning.payload(image, repository)
    return document(data, simplesigning.MEDIA_TYPE, base64.b64encode(key.sign(data)).decode())


def descriptor(image: Digest) -> Descriptor:
    return Descriptor(media_type=mediatype.OCI_MANIFEST, digest=image, size=1)


SBOM = canonical({"bomFormat": "CycloneDX", "components": [{"name": "ä"}]})
PROVENANCE = statement([("a", descriptor(IMAGE))], "https://slsa.dev/provenance/v1", {"x": 1})


def envelopes(key: Key = OURS, image: Digest = IMAGE) -> list[Attached]:
    listed = statement([("image", descriptor(image))], CYCLONEDX, json.loads(SBOM))
    told = statement([("a", descriptor(image))], "https://slsa.dev/provenance/v1", {"x": 1})
    return [document(dsse.envelope(row, key), mediatype.DSSE) for row in (listed, told)]


PLAIN = [document(SBOM, mediatype.CYCLONEDX), document(PROVENANCE, mediatype.IN_TOTO)]


def test_the_encoding_that_is_signed() -> None:
    # The example of DSSE's protocol.md.
    assert dsse.encoded("http://example.com/HelloWorld", b"hello world") == (
        b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_all_of_it() -> None:
    found = verify([signature(), *envelopes(), *PLAIN], IMAGE, OURS, "ref")
    assert found.statements == (CYCLONEDX, "https://slsa.dev/provenance/v1")
    assert verify([signature()], IMAGE, OURS, "ref").statements == ()


def test_other_signers_do_no_harm() -> None:
    documents = [signature(THEIRS), signature(), *envelopes(THEIRS), *envelopes(), *PLAIN]
    assert len(verify(documents, IMAGE, OURS, "ref").statements) == 2


@pytest.mark.parametrize(
    ("documents", "message"),
    [
        ([], "not signed"),
        (PLAIN, "not signed"),
        (envelopes(), "not signed"),
        ([signature(THEIRS)], "none of its 1 signatures"),
        ([signature(image=OTHER)], "none of its 1 signatures"),
        ([replace(signature(), signature="")], "none of its 1 signatures"),
        ([replace(signature(), signature="no base64!")], "none of its 1 signatures"),
        ([replace(signature(), data=signature().data + b" ")], "none of its 1 signatures"),
        ([replace(signature(), data=b"[]")], "none of its 1 signatures"),
    ],
)
def test_images_that_are_not_signed(documents: list[Attached], message: str) -> None:
    with pytest.raises(FindingsError, match=message) as caught:
        verify(documents, IMAGE, OURS, "ref")
    assert caught.value.exit_code == 70


def changed(row: Attached, key: str) -> Attached:
    """The envelope with another payload or signature."""
    value = json.loads(row.data)
    if key == "payload":
        value["payload"] = base64.b64encode(
            base64.b64decode(value["payload"]).replace(b"CycloneDX", b"CycloneDY")
        ).decode()
    elif key == "sig":
        raw = bytearray(base64.b64decode(value["signatures"][0]["sig"]))
        raw[0] ^= 1
        value["signatures"][0]["sig"] = base64.b64encode(raw).decode()
    else:
        value[key] = "text/plain"
    return document(json.dumps(value).encode(), row.media_type)


@pytest.mark.parametrize(
    ("documents", "what"),
    [
        (PLAIN, "SBOM"),
        (PLAIN[1:], "statement"),
        ([*envelopes(), *PLAIN, document(SBOM.replace(b"components", b"component5"), mediatype.CYCLONEDX)], "SBOM"),
        ([envelopes()[0], *PLAIN], "statement"),
        (
            [*envelopes(), *PLAIN, document(PROVENANCE.replace(b"slsa.dev", b"slsa.example"), mediatype.IN_TOTO)],
            "statement",
        ),
        ([*envelopes(), *PLAIN, document(b"{", mediatype.IN_TOTO)], "statement"),
        ([*envelopes(THEIRS), *PLAIN], "SBOM"),
        ([*envelopes(image=OTHER), *PLAIN], "SBOM"),
        ([changed(envelopes()[0], "payload"), envelopes()[1], *PLAIN], "SBOM"),
        ([changed(envelopes()[0], "sig"), envelopes()[1], *PLAIN], "SBOM"),
        ([changed(envelopes()[0], "payloadType"), envelopes()[1], *PLAIN], "SBOM"),
        ([document(b"{", mediatype.DSSE), *PLAIN], "SBOM"),
        ([*envelopes(), document(b"{", mediatype.CYCLONEDX)], "SBOM"),
    ],
)
def test_documents_that_are_not_signed(documents: list[Attached], what: str) -> None:
    with pytest.raises(FindingsError, match=f"an attached {what} is not signed"):
        verify([signature(), *documents], IMAGE, OURS, "ref")


def test_a_provenance_of_another_build() -> None:
    """The same image built without the key before: it cannot be taken away, and says nothing of the signed one."""
    other = document(PROVENANCE.replace(b'{"x":1}', b'{"x":2}'), mediatype.IN_TOTO)
    assert other.data != PROVENANCE
    found = verify([signature(), *envelopes(), *PLAIN, other], IMAGE, OURS, "ref")
    assert found.others == (other.digest,)
    assert len(found.statements) == 2


def test_white_space_is_no_change() -> None:
    loose = document(json.dumps(json.loads(SBOM), indent=2).encode(), mediatype.CYCLONEDX)
    verify([signature(), *envelopes(), loose], IMAGE, OURS, "ref")
