"""Keys: signing, and checking signatures."""

from typing import Protocol


class Verifier(Protocol):
    """A public key."""

    @property
    def key_id(self) -> str:
        """The sha256 of the public key (SubjectPublicKeyInfo in DER), in hex."""

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's, of these bytes."""


class Signer(Protocol):
    """A private key. The same key and bytes give the same signature."""

    def sign(self, data: bytes) -> bytes:
        """The signature, as cosign makes it of a key of this kind: for ECDSA with SHA-256, in DER."""
