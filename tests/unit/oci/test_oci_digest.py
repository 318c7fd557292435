"""Digests."""

import pytest

from dpbuild.oci.digest import Digest


def test_a_digest_is_read_and_written() -> None:
    # The digest of nothing, as everybody has it.
    text = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    assert str(Digest.of(b"")) == text
    assert Digest.parse(text) == Digest.of(b"")
    assert len({Digest.parse(text), Digest.of(b"")}) == 1


@pytest.mark.parametrize(
    "text",
    ["", "sha256:", "e3" * 32, "sha256:" + "e3" * 31, "sha256:" + "E3" * 32, "SHA256:" + "e3" * 32, "sha512:" + "e3" * 64,
     "sha256:" + "e3" * 32 + "\n", " sha256:" + "e3" * 32, "sha256:" + "g3" * 32, "sha256:" + "٣" * 64],
)  # fmt: skip
def test_what_is_no_digest(text: str) -> None:
    with pytest.raises(ValueError, match="not a sha256 digest"):
        Digest.parse(text)
