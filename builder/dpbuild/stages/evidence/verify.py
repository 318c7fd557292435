"""Whether a key, or an identity, vouches for an image and for everything that is attached to it. Pure but for these."""

from collections.abc import Sequence
from typing import Any

from dpbuild.errors import FindingsError
from dpbuild.frozen import frozen
from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, canonical, decode_object
from dpbuild.oci.digest import Digest
from dpbuild.ports.signer import IdentityVerifier, Verifier
from dpbuild.stages.evidence import dsse, simplesigning
from dpbuild.stages.evidence.found import Attached
from dpbuild.stages.evidence.keyless import SIGNED
from dpbuild.stages.evidence.sbom import PREDICATE as SBOM

# Who signs, with what, and by which option.
_KEY = "key", simplesigning.MEDIA_TYPE, "--sign-key"
_IDENTITY = "identity", mediatype.SIGSTORE_BUNDLE, "--sign-keyless"
_WORDS = {mediatype.CYCLONEDX: "SBOM", mediatype.IN_TOTO: "statement"}


@frozen
class Vouched:
    """What is vouched for: the manifest, and statements about it by their predicate types, sorted.

    ``others`` are statements that are not signed beside one of the same type that is.
    """

    subject: Digest
    statements: tuple[str, ...] = ()
    others: tuple[Digest, ...] = ()


def signed(documents: Sequence[Attached], subject: Digest, verifier: Verifier | IdentityVerifier) -> bool:
    """Whether one of the documents is this key's, or this identity's, signature of this manifest."""
    if isinstance(verifier, IdentityVerifier):
        found = (_statement(row, subject, verifier) for row in documents)
        return any(row is not None and row["predicateType"] == SIGNED for row in found)
    return any(
        row.media_type == simplesigning.MEDIA_TYPE and simplesigning.signs(row.data, row.signature, subject, verifier)
        for row in documents
    )


def verify(
    documents: Sequence[Attached], subject: Digest, verifier: Verifier | IdentityVerifier, where: str
) -> Vouched:
    """Check the signature, and that no document is attached that is not signed as well. Raises FindingsError (70).

    An image that was built twice, as one commit by two pipelines, has two provenances, and nothing takes the first one
    away when the second is signed: beside a signed one another is told, and vouches for nothing. An SBOM tells what is
    in the image, so there is no other honest one.
    """
    who, kind, option = _IDENTITY if isinstance(verifier, IdentityVerifier) else _KEY
    if not signed(documents, subject, verifier):
        count = sum(1 for row in documents if row.media_type == kind)
        what = (
            "the image is not signed" if not count else f"none of its {count} signatures is this {who}'s for this image"
        )
        raise FindingsError(what, where=f"{where} ({subject})")
    statements = [row for row in (_statement(each, subject, verifier) for each in documents) if row is not None]
    # Of an SBOM the statement's predicate is signed, of a plain statement all of it.
    vouched = {canonical(row) for row in statements}
    vouched |= {canonical(row["predicate"]) for row in statements if row["predicateType"] == SBOM}
    types = {str(row["predicateType"]) for row in statements}
    others = []
    for each in documents:
        if each.media_type not in _WORDS or _plain(each) in vouched:
            continue
        if each.media_type == mediatype.IN_TOTO and _type(each) in types - {SBOM}:
            others.append(each.digest)
        else:
            raise FindingsError(
                f"an attached {_WORDS[each.media_type]} is not signed by this {who}: {each.digest}",
                where=f"{where} ({subject})",
                hint=f"somebody attached or changed it, or it was built without {option}: build and push again with "
                "that; what is another's has to be taken away in the registry",
            )
    return Vouched(subject=subject, statements=tuple(sorted(types)), others=tuple(others))


def _statement(row: Attached, subject: Digest, verifier: Verifier | IdentityVerifier) -> dict[str, Any] | None:
    """The statement in an envelope of this key, or a bundle of this identity, if it is about this manifest."""
    if isinstance(verifier, IdentityVerifier):
        payload = verifier.opened(row.data) if row.media_type == mediatype.SIGSTORE_BUNDLE else None
    else:
        payload = dsse.opened(row.data, verifier) if row.media_type == mediatype.DSSE else None
    if payload is None:
        return None
    try:
        value = decode_object(payload, "statement")
        about = {each["digest"].get("sha256") for each in value["subject"]}
        return value if subject.hex in about and value["predicateType"] and "predicate" in value else None
    except (CodecError, KeyError, TypeError, AttributeError):
        return None


def _type(row: Attached) -> str:
    """The predicate type of a plain statement, "" if it is none."""
    try:
        return str(decode_object(row.data, "statement").get("predicateType", ""))
    except CodecError:
        return ""


def _plain(row: Attached) -> bytes:
    try:
        return canonical(decode_object(row.data, "document"))
    except CodecError:
        return row.data
