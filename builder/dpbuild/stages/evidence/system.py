"""Packages of an image's own package manager."""

from typing import Final

from dpbuild.archive.overlay import FileTree
from dpbuild.debian import dependency
from dpbuild.frozen import replace
from dpbuild.model.facts import SystemPackage
from dpbuild.stages import facts_packages
from dpbuild.stages.contents import Contents
from dpbuild.stages.evidence import purl
from dpbuild.stages.evidence.component import Component

# Types of package URLs by the distributor's ID in os-release.
_TYPES: Final = {
    "debian": "deb", "ubuntu": "deb", "alpine": "apk", "wolfi": "apk", "chainguard": "apk",
    "rhel": "rpm", "fedora": "rpm", "centos": "rpm", "amzn": "rpm", "azurelinux": "rpm", "opensuse": "rpm",
}  # fmt: skip

_UNREAD: Final = "dpbuild:packages:unread"
# Versions and refs by the names that packages have or provide.
Providers = dict[str, list[tuple[str, str]]]


def packages(tree: FileTree, contents: Contents) -> tuple[Component, ...]:
    """The operating system if the image names one, then its packages with the dependencies between them."""
    distributor = facts_packages.distributor(contents)
    rows, databases = facts_packages.packages(tree, contents)
    vendor, _, release = distributor.partition(":")
    refs = {row: address(row, distributor) for row in rows}
    components = [
        Component(ref=refs[row], kind="library", name=row.name, version=row.version, purl=refs[row]) for row in rows
    ]
    if _TYPES.get(vendor) == "deb":
        providers: Providers = {}
        stanzas = facts_packages.dpkg(tree, contents)
        for row in rows:
            for name, version in [(row.name, row.version), *_provides(stanzas.get(row.name, {}))]:
                providers.setdefault(name, []).append((version, refs[row]))
        components = [
            replace(each, needs=_needs(stanzas.get(row.name, {}), row, providers) - {each.ref})
            for row, each in zip(rows, components, strict=True)
        ]
    if vendor:
        name = "-".join(part for part in ("os", vendor, release) if part)
        # What is there and cannot be listed is said, not passed over.
        unread = tuple((_UNREAD, row.path) for row in databases if not row.read)
        system = Component(ref=name, kind="operating-system", name=vendor, version=release, notes=unread)
        components.insert(0, system)
    return tuple(components)


def address(row: SystemPackage, distributor: str) -> str:
    """The package URL of a distributor's package."""
    vendor, _, release = distributor.partition(":")
    kind = _TYPES.get(vendor, "generic")
    if kind == "deb":
        return purl.debian(row.name, row.version, row.architecture, distributor, row.source)
    qualifiers = {"arch": row.architecture, "distro": "-".join(part for part in (vendor, release) if part)}
    return purl.purl(kind, vendor if kind != "generic" else "", row.name, row.version, qualifiers)


def _provides(stanza: dict[str, str]) -> list[tuple[str, str]]:
    """Virtual packages (Debian Policy, 7.5), with their versions if they have any."""
    try:
        rows = dependency.parse(stanza.get("provides", ""), "")
    except ValueError:
        return []
    return [(each.name, each.version) for row in rows for each in row]


def _needs(stanza: dict[str, str], package: SystemPackage, providers: Providers) -> frozenset[str]:
    """Of every alternative the first that is there; distroless leaves out some packages that others need."""
    found = set()
    for key in ("pre-depends", "depends"):
        try:
            rows = dependency.parse(stanza.get(key, ""), package.architecture)
        except ValueError:
            continue
        for row in rows:
            for each in row:
                ref = next((ref for version, ref in providers.get(each.name, ()) if each.allows(version)), None)
                if ref is not None:
                    found.add(ref)
                    break
    return frozenset(found)
