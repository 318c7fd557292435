"""Package URLs (package-url/purl-spec). Pure."""

from urllib.parse import quote

# The spec leaves these as they are beside letters, digits and the unreserved characters; a colon is never encoded.
_SAFE = "-._~:"


def purl(kind: str, namespace: str, name: str, version: str, qualifiers: dict[str, str] | None = None) -> str:
    """A package URL; empty qualifiers are left out, the others sorted."""
    parts = [quote(part, safe=_SAFE) for part in (namespace, name) if part]
    rows = sorted((key, value) for key, value in (qualifiers or {}).items() if value)
    tail = "&".join(f"{key}={quote(value, safe=_SAFE)}" for key, value in rows)
    return f"pkg:{kind}/{'/'.join(parts)}@{quote(version, safe=_SAFE)}" + (f"?{tail}" if tail else "")


def pypi(name: str, version: str) -> str:
    """Of a distribution; ``name`` is normalised."""
    return purl("pypi", "", name, version)


def debian(name: str, version: str, architecture: str, distributor: str, source: str = "") -> str:
    """Of a package of dpkg's; ``distributor`` is ID and VERSION_ID of os-release, joined by a colon.

    ``source`` is the source package where its name differs, in the word that scanners know.
    """
    vendor, _, release = distributor.partition(":")
    qualifiers = {"arch": architecture, "distro": "-".join(part for part in (vendor, release) if part)}
    return purl("deb", vendor or "debian", name, version, {**qualifiers, "upstream": source})
