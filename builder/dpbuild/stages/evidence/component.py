"""What stands in an SBOM: packages with what they bring and what they need. Values, and nothing of any format."""

from typing import Any

from dpbuild.frozen import field, frozen


@frozen
class License:
    """An SPDX expression, or else a name as the package says it."""

    expression: str = ""
    name: str = ""


@frozen
class Component:
    """One package.

    ``ref`` is its name inside the document; ``location`` an absolute path in the image; ``files`` are absolute paths
    with their sha256 in hex; ``needs`` the refs that it depends on. ``inner`` are what an SBOM inside the package
    lists, in CycloneDX' JSON, and ``inner_needs`` the dependencies among those and from the package on them.
    """

    ref: str
    kind: str
    name: str
    version: str = ""
    purl: str = ""
    description: str = ""
    licenses: tuple[License, ...] = ()
    location: str = ""
    files: tuple[tuple[str, str], ...] = ()
    needs: frozenset[str] = frozenset()
    inner: tuple[Any, ...] = field(default=(), compare=False)
    inner_needs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    notes: tuple[tuple[str, str], ...] = ()
