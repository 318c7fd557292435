"""Core metadata (PyPA specs), as far as resolving needs them."""

from dpbuild.frozen import frozen


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
    import email.parser
    import email.policy

    fields = email.parser.Parser(policy=email.policy.compat32).parsestr(text, headersonly=True)
    name, version = str(fields.get("Name", "")).strip(), str(fields.get("Version", "")).strip()
    if not name or not version:
        raise ValueError("the metadata say no name and version")
    return Metadata(
        name=name,
        version=version,
        requires=tuple(str(row).strip() for row in fields.get_all("Requires-Dist", [])),
        requires_python=str(fields.get("Requires-Python", "")).strip(),
        extras=tuple(str(row).strip() for row in fields.get_all("Provides-Extra", [])),
    )
