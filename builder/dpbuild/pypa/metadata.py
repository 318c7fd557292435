"""Core metadata (PyPA specs), as far as resolving needs them."""

from dpbuild.frozen import frozen
from dpbuild.pypa.headers import Headers


@frozen
class Metadata:
    """What a distribution requires, by its METADATA or PKG-INFO; everything as written."""

    name: str
    version: str
    requires: tuple[str, ...] = ()
    requires_python: str = ""
    extras: tuple[str, ...] = ()


def parse(text: str) -> Metadata:
    """Read METADATA. Raises ValueError without a name or version."""
    fields = Headers(text)
    name, version = fields.first("Name"), fields.first("Version")
    if not name or not version:
        raise ValueError("the metadata say no name and version")
    return Metadata(
        name=name,
        version=version,
        requires=fields.every("Requires-Dist"),
        requires_python=fields.first("Requires-Python"),
        extras=fields.every("Provides-Extra"),
    )
