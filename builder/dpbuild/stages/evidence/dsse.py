"""Signed statements: DSSE envelopes (secure-systems-lab/dsse, protocol.md and envelope.md). Pure but for the key."""

import base64
from typing import Final

from dpbuild.oci import mediatype
from dpbuild.oci.codec import CodecError, canonical, decode_object
from dpbuild.ports.signer import Signer, Verifier

_PAYLOAD: Final = mediatype.IN_TOTO


def envelope(payload: bytes, signer: Signer) -> bytes:
    """An in-toto statement with its signature, canonical."""
    row = {"keyid": "", "sig": _text(signer.sign(encoded(_PAYLOAD, payload)))}
    return canonical({"payloadType": _PAYLOAD, "payload": _text(payload), "signatures": [row]})


def opened(data: bytes, verifier: Verifier) -> bytes | None:
    """The statement in an envelope that carries a signature of this key; None where it carries none."""
    try:
        value = decode_object(data, "envelope")
        payload = base64.b64decode(value["payload"], validate=True)
        signatures = [base64.b64decode(row["sig"], validate=True) for row in value["signatures"]]
    except (CodecError, KeyError, TypeError, ValueError):
        return None
    if value.get("payloadType") != _PAYLOAD:
        return None
    signed = encoded(_PAYLOAD, payload)
    return payload if any(verifier.verify(signed, row) for row in signatures) else None


def encoded(kind: str, payload: bytes) -> bytes:
    """What is signed: the pre-authentication encoding."""
    return b" ".join([b"DSSEv1", b"%d" % len(kind), kind.encode(), b"%d" % len(payload), payload])


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()
