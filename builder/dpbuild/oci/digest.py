"""Digests, as in the OCI image spec, "Digests"."""

import hashlib
import re
from typing import Self

from dpbuild.frozen import frozen

# OCI image spec, descriptor.md, "Registered algorithms"; sha256 is the one that everybody must have.
_SHA256 = re.compile(r"sha256:[a-f0-9]{64}")


@frozen(kw_only=False, order=True)
class Digest:
    """A sha256 digest; ``str(digest)`` is the spec's form ``sha256:<hex>``."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``sha256:<64 lower-case hex digits>``. Raises ValueError for anything else."""
        if not _SHA256.fullmatch(text):
            raise ValueError(f"not a sha256 digest: {text!r}")
        return cls(text[7:])

    @classmethod
    def of(cls, data: bytes) -> Self:
        """The digest of ``data``."""
        return cls(hashlib.sha256(data).hexdigest())

    def __str__(self) -> str:
        return f"sha256:{self.hex}"
