"""Control data: stanzas of fields (Debian Policy, 5.1 "Syntax of control files")."""

from collections.abc import Iterable, Iterator


class ControlError(ValueError):
    """The text is no control data."""


def stanzas(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """The stanzas of a file that comes in chunks, without the empty lines between them."""
    rest = b""
    for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n\n")
        for stanza in whole:
            if stanza := stanza.strip(b"\n"):
                yield stanza
    if stanza := rest.strip(b"\n"):
        yield stanza


def fields(stanza: bytes | str) -> dict[str, str]:
    """The fields of one stanza, names in lower case; continuation lines are joined by newlines.

    Raises ControlError for a line that is no field, and for a field that is there twice.
    """
    text = stanza.decode("utf-8", "surrogateescape") if isinstance(stanza, bytes) else stanza
    found: dict[str, list[str]] = {}
    current: list[str] | None = None
    for line in text.split("\n"):
        if line.startswith("#") or not line.strip():
            continue
        if line[0] in " \t":
            if current is None:
                raise ControlError(f"a continuation line has no field: {line!r}")
            current.append(line.strip())
            continue
        name, colon, value = line.partition(":")
        name = name.strip().lower()
        if not colon or not name or " " in name:
            raise ControlError(f"not a field: {line!r}")
        if name in found:
            raise ControlError(f"the field {name} is there twice")
        current = found[name] = [value.strip()]
    return {name: "\n".join(lines) for name, lines in found.items()}


def name_of(stanza: bytes) -> str:
    """The package that a stanza of a ``Packages`` index is about, found without parsing the rest; "" if none."""
    begin = 0 if stanza.startswith(b"Package:") else stanza.find(b"\nPackage:") + 1
    if begin == 0 and not stanza.startswith(b"Package:"):
        return ""
    end = stanza.find(b"\n", begin)
    return stanza[begin + 8 : end if end >= 0 else len(stanza)].strip().decode("ascii", "replace")
