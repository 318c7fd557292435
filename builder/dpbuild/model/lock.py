"""The lock's values: PEP 751 packages and what dpbuild adds under ``[tool.dpbuild]``."""

from dataclasses import dataclass

from dpbuild.pypa.pylock import LockedFile, LockedPackage

__all__ = ["Lock", "LockedBase", "LockedFile", "LockedPackage"]

Inputs = tuple[tuple[str, tuple[str, ...]], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """What ``[tool.dpbuild.base]`` says of the base for one platform.

    ``facts`` are sorted (name, text) pairs. ``packages`` are those of a composed base: name, version and
    the sha256 of the .deb.
    """

    platform: str
    digest: str
    facts: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str, str], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A whole lock. ``base_digest`` is the digest that the base's reference resolved to.

    ``inputs`` is the hash of ``input_values``, which are kept to say in words what changed.
    """

    requires_python: str
    environments: tuple[str, ...]
    packages: tuple[LockedPackage, ...]
    platforms: tuple[str, ...]
    inputs: str
    base_reference: str
    base_digest: str
    base_date: str = ""
    bases: tuple[LockedBase, ...] = ()
    input_values: Inputs = ()
