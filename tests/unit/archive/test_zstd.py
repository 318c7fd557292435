"""One zstd frame: pinned to the byte."""

import hashlib
import io
import types

import pytest

from dpbuild.archive import zstd
from dpbuild.archive.decompress import Decompressed
from dpbuild.archive.zstd import PIECE, ZstdUnusable, compress

# Words and numbers, then what cannot be compressed, over several pieces.
TEXT = b"".join(b"%d: some words that come again and again, %d\n" % (number % 97, number) for number in range(60_000))
NOISE = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(40_000))
CONTENT = TEXT + NOISE + TEXT[::-1]


def frame(*chunks: bytes) -> bytes:
    return b"".join(compress(chunks))


def test_the_bytes_are_pinned() -> None:
    """Another library, level or cut would be another digest for everybody."""
    assert hashlib.sha256(CONTENT).hexdigest().startswith("3faf921a7e9a7aab")
    assert (
        hashlib.sha256(frame(CONTENT)).hexdigest() == "c7f3821afdb33d626894f002570a5b3ddbc9734257ceb395dbb6ab2d16a386b5"
    )


@pytest.mark.parametrize("size", [1, 4095, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE])
def test_how_the_content_is_cut_does_not_matter(size: int) -> None:
    content = CONTENT[: 3 * PIECE] if size > 1 else CONTENT[:5000]
    assert frame(*(content[at : at + size] for at in range(0, len(content), size))) == frame(content)


@pytest.mark.parametrize("content", [b"", b"x", CONTENT[:PIECE], CONTENT])
def test_it_is_read_again(content: bytes) -> None:
    plain = Decompressed(io.BytesIO(frame(content)), limit=len(content))
    assert plain.read() == content
    assert plain.digest() == hashlib.sha256(content).hexdigest()


def test_another_version_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    other = types.SimpleNamespace(zstd_version="1.5.5")
    monkeypatch.setattr("importlib.import_module", lambda name: other)
    with pytest.raises(ZstdUnusable, match=rf"zstd {zstd.VERSION}, and this Python has 1\.5\.5"):
        frame(b"x")


def test_no_library_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    monkeypatch.setattr("importlib.import_module", missing)
    with pytest.raises(ZstdUnusable, match="no zstd"):
        frame(b"x")
