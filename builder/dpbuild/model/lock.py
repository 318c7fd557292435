"""The lock's values: PEP 751 packages and what dpbuild adds under ``[tool.dpbuild]``."""

from dpbuild.frozen import frozen
from dpbuild.pypa.pylock import LockedFile, LockedPackage

__all__ = ["Lock", "LockedBase", "LockedFile", "LockedPackage", "LockedRuntime"]

Inputs = tuple[tuple[str, tuple[str, ...]], ...]


@frozen
class LockedBase:
    """What ``[tool.dpbuild.base]`` says of the base for one platform.

    ``facts`` are sorted (name, text) pairs. ``packages`` are those of a composed base: name, version and
    the sha256 of the .deb.
    """

    platform: str
    digest: str
    facts: tuple[tuple[str, str], ...]
    packages: tuple[tuple[str, str, str], ...] = ()


@frozen
class LockedRuntime:
    """The Debian packages that go on top of the base for one platform: name, version, sha256 of the .deb, by name.

    ``wanted`` are those that were asked for, ``without`` the dependencies that were left out; ``date`` is that of
    the indices that they were found in (RFC 3339).
    """

    platform: str
    wanted: tuple[str, ...]
    packages: tuple[tuple[str, str, str], ...]
    without: tuple[str, ...] = ()
    date: str = ""


@frozen
class Lock:
    """A whole lock. ``base_digest`` is the digest that the base's reference resolved to; ``runtime`` has a row for
    each platform that gets Debian packages.

    ``inputs`` is the hash of ``input_values``, which are kept to say in words what changed. ``resolver`` made it, and
    makes it again when it is renewed.
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
    runtime: tuple[LockedRuntime, ...] = ()
    resolver: str = "uv"

    def runtime_of(self, platform: str) -> LockedRuntime | None:
        """The Debian packages of a platform, None if it gets none."""
        return next((row for row in self.runtime if row.platform == platform), None)
