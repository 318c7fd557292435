"""Looks for a secret in everything that a run left: what it said, every file, and what is packed in them."""

import base64
import gzip
import lzma
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

from machinery import Ran

# The beginnings of what can be unpacked.
_GZIP, _XZ = b"\x1f\x8b", b"\xfd7zXZ"


def forms(user: str, password: str) -> tuple[bytes, ...]:
    """How a secret may be written: as it is, in a URL, and in a header of HTTP."""
    login = f"{user}:{password}".encode()
    rows = {
        password.encode(),
        quote(password, safe="").encode(),
        quote(password).encode(),
        password.encode().hex().encode(),
    }
    return (*sorted(rows), base64.b64encode(login).rstrip(b"="), base64.b64encode(password.encode()).rstrip(b"="))


def leaks(secrets: tuple[bytes, ...], *places: Ran | Path) -> list[str]:
    """Where one of the secrets stands: in the output of a command, or in files below a folder."""
    found = []
    for place in places:
        if isinstance(place, Ran):
            said = {"stdout": place.out.encode(), "stderr": place.err.encode()}
            found += [name for name, data in said.items() if any(row in data for row in secrets)]
            continue
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if any(row in str(path).encode() for row in secrets):
                found.append(str(path))
            if (
                path.is_file()
                and not path.is_symlink()
                and any(row in data for data in _contents(path) for row in secrets)
            ):
                found.append(str(path))
    return found


def _contents(path: Path) -> Iterator[bytes]:
    data = path.read_bytes()
    yield data
    try:
        if data.startswith(_GZIP):
            yield gzip.decompress(data)
        elif data.startswith(_XZ):
            yield lzma.decompress(data)
    except (OSError, EOFError, zlib.error, lzma.LZMAError):
        return
