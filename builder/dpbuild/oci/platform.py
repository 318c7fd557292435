"""Platforms, as in the OCI image spec (image-index.md, "platform") and containerd's matching of variants."""

from typing import Self

from dpbuild.frozen import frozen

# containerd/platforms, database.go: names that people use for the same architecture.
_ALIASES = {
    "x86_64": "amd64",
    "x86-64": "amd64",
    "aarch64": "arm64",
    "i386": "386",
    "i686": "386",
    "armhf": "arm",
}
_DEFAULT_VARIANT = {"arm64": "v8", "arm": "v7", "amd64": "v1"}


@frozen(kw_only=False, order=True)
class Platform:
    """Operating system, architecture (GOARCH words) and variant ("" where there is none)."""

    os: str
    architecture: str
    variant: str = ""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``os/architecture[/variant]``; default variants are dropped. Raises ValueError."""
        parts = text.strip().lower().split("/")
        if len(parts) not in (2, 3) or not all(parts):
            raise ValueError(f"not a platform: {text!r} (expected something like linux/amd64)")
        architecture = _ALIASES.get(parts[1], parts[1])
        return cls(parts[0], architecture, parts[2] if len(parts) == 3 else "").normalized()

    def normalized(self) -> Self:
        """The same platform without a variant that its architecture implies."""
        if self.variant and _DEFAULT_VARIANT.get(self.architecture) == self.variant:
            return type(self)(self.os, self.architecture)
        return self

    def matches(self, other: "Platform") -> bool:
        """Whether an image for ``other`` is what somebody who asked for this platform wants."""
        return self.normalized() == other.normalized()

    def __str__(self) -> str:
        return "/".join(part for part in (self.os, self.architecture, self.variant) if part)
