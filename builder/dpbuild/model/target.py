"""The target: what wheels must fit, and what markers are evaluated with. Derived from facts alone."""

from dataclasses import dataclass

from dpbuild.oci.platform import Platform


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """``tags`` are ``interpreter-abi-platform`` strings, best first; ``markers`` holds every one of PEP 508's
    variables, sorted by name; ``uv_platform`` is the word of uv's ``--python-platform`` that comes closest.
    """

    platform: Platform
    python_version: str
    tags: tuple[str, ...]
    markers: tuple[tuple[str, str], ...]
    uv_platform: str

    @property
    def minor(self) -> str:
        """``3.13``."""
        return ".".join(self.python_version.split(".")[:2])
