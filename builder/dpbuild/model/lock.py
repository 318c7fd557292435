"""The lock's values: PEP 751 packages and what dpbuild adds under ``[tool.dpbuild]``."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedFile:
    """A wheel or sdist: exactly one of ``url`` and ``path`` is set; ``sha256`` is lower-case hex."""

    name: str
    sha256: str
    url: str = ""
    path: str = ""
    size: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedPackage:
    """One distribution at one version. ``name`` is normalised (PEP 503); ``marker`` is "" for always."""

    name: str
    version: str
    marker: str = ""
    wheels: tuple[LockedFile, ...] = ()
    sdist: LockedFile | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LockedBase:
    """What ``[tool.dpbuild.base]`` says of the base for one platform; ``facts`` are sorted (name, text) pairs."""

    platform: str
    digest: str
    facts: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str, str], ...] = ()  # compose: only: name, version, sha256 of the .deb


@dataclass(frozen=True, slots=True, kw_only=True)
class Lock:
    """A whole lock. ``base_digest`` is the digest that the base's reference resolved to."""

    requires_python: str
    environments: tuple[str, ...]
    packages: tuple[LockedPackage, ...]
    platforms: tuple[str, ...]
    inputs: str
    base_reference: str
    base_digest: str
    base_date: str = ""
    bases: tuple[LockedBase, ...] = ()
    extras: tuple[str, ...] = ()
    dependency_groups: tuple[str, ...] = ()
