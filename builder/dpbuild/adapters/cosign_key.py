"""Private keys as ``cosign generate-key-pair`` writes them: PKCS #8 in a NaCl secretbox, its key by scrypt.

The form is go-securesystemslib's, encrypted/encrypted.go. Of XSalsa20-Poly1305 only opening is here, for a few hundred
bytes; ``cryptography`` has Poly1305 and no Salsa20.
"""

import base64
import hashlib
import json
import struct
from typing import Any, Final

_MARKS: Final = (b"ENCRYPTED SIGSTORE PRIVATE KEY", b"ENCRYPTED COSIGN PRIVATE KEY")
# cosign writes N 65536, r 8, p 1; more memory than this would be somebody's idea of a joke.
_MOST_MEMORY: Final = 512 << 20
# The constants of Salsa20 for keys of 32 bytes.
_SIGMA: Final = struct.unpack("<4I", b"expand 32-byte k")
_WORD: Final = 0xFFFFFFFF


class WrongPassword(ValueError):
    """The box does not open."""


def is_cosign(data: bytes) -> bool:
    """Whether the PEM file is of this form."""
    return any(b"-----BEGIN " + mark in data for mark in _MARKS)


def decrypt(data: bytes, password: bytes) -> bytes:
    """The key, as PKCS #8 in DER. Raises WrongPassword, ValueError for anything else."""
    body = b"".join(line for line in data.splitlines() if line and not line.startswith(b"-----"))
    value: dict[str, Any] = json.loads(base64.b64decode(body, validate=True))
    try:
        kdf, cipher = value["kdf"], value["cipher"]
        if (kdf["name"], cipher["name"]) != ("scrypt", "nacl/secretbox"):
            raise ValueError("an unknown way of encrypting")
        cost, block, parallel = (int(kdf["params"][name]) for name in ("N", "r", "p"))
        salt, nonce = base64.b64decode(kdf["salt"]), base64.b64decode(cipher["nonce"])
        box = base64.b64decode(value["ciphertext"])
    except (KeyError, TypeError) as problem:
        raise ValueError(f"not a key of cosign's: {problem}") from None
    if len(nonce) != 24 or len(box) < 16 or 128 * cost * block > _MOST_MEMORY:
        raise ValueError("not a key of cosign's")
    memory = 128 * block * (cost + parallel + 2) + (1 << 20)
    key = hashlib.scrypt(password, salt=salt, n=cost, r=block, p=parallel, maxmem=memory, dklen=32)
    return _open(key, nonce, box)


def _open(key: bytes, nonce: bytes, box: bytes) -> bytes:
    """XSalsa20-Poly1305: a tag of 16 bytes, then the encrypted bytes. Raises WrongPassword."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives.poly1305 import Poly1305

    words = _rounds(_state(key, nonce[:16]))
    subkey = struct.pack("<8I", *(words[i] for i in (0, 5, 10, 15, 6, 7, 8, 9)))
    tag, hidden = box[:16], box[16:]
    stream = b"".join(_block(subkey, nonce[16:] + struct.pack("<Q", i)) for i in range((len(hidden) + 32) // 64 + 1))
    try:
        Poly1305.verify_tag(stream[:32], hidden, tag)
    except InvalidSignature:
        raise WrongPassword("the password is another one") from None
    return bytes(a ^ b for a, b in zip(hidden, stream[32:], strict=False))


def _state(key: bytes, block: bytes) -> list[int]:
    k, n = struct.unpack("<8I", key), struct.unpack("<4I", block)
    return [_SIGMA[0], *k[:4], _SIGMA[1], *n, _SIGMA[2], *k[4:], _SIGMA[3]]


def _block(key: bytes, block: bytes) -> bytes:
    """One block of Salsa20's stream."""
    state = _state(key, block)
    return struct.pack("<16I", *((a + b) & _WORD for a, b in zip(_rounds(state), state, strict=True)))


def _rounds(state: list[int]) -> list[int]:
    """Twenty rounds of Salsa20, columns and rows in turn."""
    x = list(state)
    columns = ((0, 4, 8, 12), (5, 9, 13, 1), (10, 14, 2, 6), (15, 3, 7, 11))
    rows = ((0, 1, 2, 3), (5, 6, 7, 4), (10, 11, 8, 9), (15, 12, 13, 14))
    for _ in range(10):
        for a, b, c, d in (*columns, *rows):
            x[b] ^= _rotated(x[a] + x[d], 7)
            x[c] ^= _rotated(x[b] + x[a], 9)
            x[d] ^= _rotated(x[c] + x[b], 13)
            x[a] ^= _rotated(x[d] + x[c], 18)
    return x


def _rotated(value: int, count: int) -> int:
    value &= _WORD
    return (value << count | value >> (32 - count)) & _WORD
