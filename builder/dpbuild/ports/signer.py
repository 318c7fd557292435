"""Keys and identities: signing, and checking signatures."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable


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


class KeylessSigner(Protocol):
    """Somebody whose identity an issuer vouches for, with a key that is forgotten."""

    def bundles(self, statements: Sequence[bytes]) -> tuple[bytes, ...]:
        """A Sigstore bundle for each in-toto statement; no two are ever the same. Raises RegistryError, UsageError."""


@runtime_checkable
class IdentityVerifier(Protocol):
    """The identity that a signature has to be of."""

    def opened(self, bundle: bytes) -> bytes | None:
        """The in-toto statement in a bundle that this identity has signed; None where it has not."""
