"""Keys in PEM files, by the ``cryptography`` package, which is an extra: ``pip install 'dpbuild[sign]'``.

What a key of each kind signs with is what cosign and the sigstore libraries use: ECDSA with SHA-256 whatever the
curve, RSA with PKCS #1 v1.5 and SHA-256, Ed25519.
"""

import hashlib
from pathlib import Path
from typing import Any, Final, NoReturn

from dpbuild.adapters import cosign_key
from dpbuild.errors import UsageError

_LARGEST: Final = 1 << 20
_CURVES: Final = ("secp256r1", "secp384r1", "secp521r1")
_SHORTEST_RSA: Final = 2048


class PublicKey:
    """The Verifier port."""

    def __init__(self, key: Any) -> None:
        from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

        self._key = key
        der = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        self.key_id = hashlib.sha256(der).hexdigest()

    def verify(self, data: bytes, signature: bytes) -> bool:
        """Whether the signature is this key's."""
        from cryptography.exceptions import InvalidSignature

        try:
            self._key.verify(signature, data, *_how(self._key))
        except InvalidSignature:
            return False
        return True


class PrivateKey:
    """The Signer port; ``public`` is the key that goes with it."""

    def __init__(self, key: Any) -> None:
        self._key = key
        self.public = PublicKey(key.public_key())

    def sign(self, data: bytes) -> bytes:
        """The signature."""
        return bytes(self._key.sign(data, *_how(self._key)))


def key_file(path: str) -> bytes:
    """The bytes of a key's file. Raises UsageError."""
    try:
        with Path(path).open("rb") as file:
            return file.read(_LARGEST)
    except OSError as problem:
        raise UsageError(f"the key cannot be read: {problem.strerror}", where=path) from None


def public_key(data: bytes, where: str) -> PublicKey:
    """The public key in a PEM file. Raises UsageError."""
    _needed(where)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_public_key

    if b"PRIVATE KEY-----" in data:
        raise UsageError("this is a private key", where=where, hint="signatures are checked with the public one")
    try:
        return PublicKey(_supported(load_pem_public_key(data), where))
    except (ValueError, UnsupportedAlgorithm):
        _no_key("there is no public key in the file", where)


def private_key(data: bytes, password: str | None, where: str) -> PrivateKey:
    """The private key in a PEM file: PKCS #8, the older forms of OpenSSL, or cosign's own. Raises UsageError."""
    _needed(where)
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_der_private_key, load_pem_private_key

    secret = None if password is None else password.encode()
    try:
        if cosign_key.is_cosign(data):
            return PrivateKey(_supported(load_der_private_key(cosign_key.decrypt(data, secret or b""), None), where))
        locked = b"ENCRYPTED" in data
        if locked and secret is None:
            raise UsageError("the key has a password", where=where, hint="give it in DPBUILD_SIGN_PASSWORD")
        return PrivateKey(_supported(load_pem_private_key(data, secret if locked else None), where))
    except cosign_key.WrongPassword:
        raise UsageError("the key's password is another one", where=where, hint="set DPBUILD_SIGN_PASSWORD") from None
    except (ValueError, UnsupportedAlgorithm) as problem:
        if "password" in str(problem).lower() or "decrypt" in str(problem).lower():
            hint = "set DPBUILD_SIGN_PASSWORD"
            raise UsageError("the key's password is another one", where=where, hint=hint) from None
        _no_key("there is no private key in the file that can be used", where)


def _no_key(what: str, where: str) -> NoReturn:
    raise UsageError(
        what, where=where, hint="PEM is expected: an ECDSA, Ed25519 or RSA key, as cosign and openssl write it"
    )


def _needed(where: str) -> None:
    try:
        import cryptography  # noqa: F401
    except ImportError:
        raise UsageError(
            "keys need the package cryptography", where=where, hint="pip install 'dpbuild[sign]'"
        ) from None


def _supported(key: Any, where: str) -> Any:
    """The key, if signatures of its kind can be made and checked. Raises UsageError."""
    curve = getattr(getattr(key, "curve", None), "name", "")
    size = getattr(key, "key_size", 0)
    kind = type(key).__name__.lower()
    if curve in _CURVES or "ed25519" in kind or ("rsa" in kind and size >= _SHORTEST_RSA):
        return key
    raise UsageError(
        "keys of this kind are not supported", where=where, hint="use ECDSA (P-256), Ed25519, or RSA with 2048 bits"
    )


def _how(key: Any) -> tuple[Any, ...]:
    """What sign and verify take beside the bytes."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, padding

    kind = type(key).__name__.lower()
    if "ed25519" in kind:
        return ()
    if "rsa" in kind:
        return padding.PKCS1v15(), hashes.SHA256()
    # RFC 6979: no random number, and the same signature every time.
    return (ec.ECDSA(hashes.SHA256(), deterministic_signing="private" in kind),)
