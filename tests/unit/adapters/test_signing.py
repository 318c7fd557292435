"""Keys in files: every form that is taken, and words for those that are not."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from dpbuild.errors import UsageError

pytest.importorskip("cryptography")

from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)

from dpbuild.adapters import cosign_key
from dpbuild.adapters.signing import key_file, private_key, public_key


def pem(key: Any, password: bytes | None = None, form: PrivateFormat = PrivateFormat.PKCS8) -> bytes:
    return key.private_bytes(Encoding.PEM, form, BestAvailableEncryption(password) if password else NoEncryption())


def public(key: Any) -> bytes:
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


KEYS = {
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "P-384": lambda: ec.generate_private_key(ec.SECP384R1()),
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


@pytest.mark.parametrize("kind", KEYS)
def test_signing_and_checking(kind: str) -> None:
    key = KEYS[kind]()
    signer, verifier = private_key(pem(key), None, "k"), public_key(public(key), "p")
    signature = signer.sign(b"data")
    assert signer.sign(b"data") == signature
    assert verifier.verify(b"data", signature)
    assert signer.public.key_id == verifier.key_id
    assert not verifier.verify(b"data!", signature)
    assert not verifier.verify(b"data", signature[:-1] + bytes([signature[-1] ^ 1]))
    assert not verifier.verify(b"data", b"")
    assert not public_key(public(KEYS[kind]()), "p").verify(b"data", signature)


def test_forms_of_the_same_key() -> None:
    key = KEYS["P-256"]()
    plain = private_key(pem(key), None, "k").sign(b"x")
    assert private_key(pem(key, form=PrivateFormat.TraditionalOpenSSL), None, "k").sign(b"x") == plain
    assert private_key(pem(key, b"s3cret"), "s3cret", "k").sign(b"x") == plain
    # A password that is not needed does no harm: it may be there for another key.
    assert private_key(pem(key), "s3cret", "k").sign(b"x") == plain


@pytest.mark.parametrize(
    ("data", "password", "message"),
    [
        (pem(KEYS["P-256"](), b"s3cret"), None, "has a password"),
        (pem(KEYS["P-256"](), b"s3cret"), "wr0ng", "another one"),
        (public(KEYS["P-256"]()), None, "no private key"),
        (b"", None, "no private key"),
        (b"\xff" * 100, None, "no private key"),
        (pem(ec.generate_private_key(ec.SECP256K1())), None, "not supported"),
        (pem(ed448.Ed448PrivateKey.generate()), None, "not supported"),
        (b"-----BEGIN ENCRYPTED SIGSTORE PRIVATE KEY-----\nbm8=\n-----END X-----\n", "x", "no private key"),
    ],
)
def test_keys_that_cannot_be_used(data: bytes, password: str | None, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        private_key(data, password, "the.key")
    assert caught.value.where == "the.key"
    assert caught.value.hint
    assert "wr0ng" not in f"{caught.value} {caught.value.hint}"


def test_public_keys_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="private key"):
        public_key(pem(KEYS["P-256"]()), "k")
    with pytest.raises(UsageError, match="no public key"):
        public_key(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "k")
    with pytest.raises(UsageError, match="cannot be read"):
        key_file(str(tmp_path / "none.pub"))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "cryptography", None)
    with pytest.raises(UsageError, match="cryptography") as caught:
        public_key(b"", "k")
    assert caught.value.hint == "pip install 'dpbuild[sign]'"


# The secretbox of NaCl's own tests (tests/secretbox.c).
KEY = "1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"
NONCE = "69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
MESSAGE = (
    "be075fc53c81f2d5cf141316ebeb0c7b5228c52a4c62cbd44b66849b64244ffce5ecbaaf33bd751a1ac728d45e6c61296cdc3c01233561f4"
    "1db66cce314adb310e3be8250c46f06dceea3a7fa1348057e2f6556ad6b1318a024a838f21af1fde048977eb48f59ffd4924ca1c60902e52"
    "f0a089bc76897040e082f937763848645e0705"
)
BOX = (
    "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b"
    "4da7f011ec48c97271d2c20f9b928fe2270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da"
    "99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74e355a5"
)


def test_secretbox() -> None:
    key, nonce, box = (bytes.fromhex(text) for text in (KEY, NONCE, BOX))
    assert cosign_key._open(key, nonce, box).hex() == MESSAGE
    for position in (0, 15, 16, len(box) - 1):
        wrong = bytearray(box)
        wrong[position] ^= 1
        with pytest.raises(cosign_key.WrongPassword):
            cosign_key._open(key, nonce, bytes(wrong))


def boxed(**changes: Any) -> bytes:
    params = {"N": 1024, "r": 8, "p": 1}
    value = {
        "kdf": {"name": "scrypt", "params": params, "salt": base64.b64encode(b"salt").decode()},
        "cipher": {"name": "nacl/secretbox", "nonce": base64.b64encode(bytes(24)).decode()},
        "ciphertext": base64.b64encode(bytes(40)).decode(),
    }
    for key, change in changes.items():
        part = value[key]
        value[key] = {**part, **change} if isinstance(part, dict) else change
    body = base64.b64encode(json.dumps(value).encode()).decode()
    return (
        f"-----BEGIN ENCRYPTED COSIGN PRIVATE KEY-----\n{body}\n-----END ENCRYPTED COSIGN PRIVATE KEY-----\n".encode()
    )


@pytest.mark.parametrize(
    "data",
    [
        boxed(kdf={"name": "argon2"}),
        boxed(kdf={"params": {"N": 1 << 30, "r": 8, "p": 1}}),
        boxed(cipher={"nonce": "AAAA"}),
        boxed(ciphertext="AAAA"),
        boxed(kdf={"params": {}}),
    ],
)
def test_cosign_keys_that_are_none(data: bytes) -> None:
    assert cosign_key.is_cosign(data)
    with pytest.raises(ValueError, match=r"cosign|unknown"):
        cosign_key.decrypt(data, b"")


def test_a_wrong_password_of_cosigns() -> None:
    with pytest.raises(UsageError, match="another one"):
        private_key(boxed(), "wr0ng", "k")
