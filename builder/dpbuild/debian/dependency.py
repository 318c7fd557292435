"""Relations between packages (Debian Policy, 7.1 "Syntax of relationship fields")."""

import re
from typing import Final

from dpbuild.debian import version as versions
from dpbuild.frozen import frozen

_ONE: Final = re.compile(
    r"(?P<name>[a-z0-9][a-z0-9+.-]*)(?::(?P<qualifier>[a-z0-9-]+))?"
    r"(?:\s*\(\s*(?P<relation><<|<=|=|>=|>>|<|>)\s*(?P<version>[0-9A-Za-z][^\s)]*)\s*\))?"
    r"(?:\s*\[(?P<architectures>[^\]]*)\])?(?:\s*<[^>]*>)*"
)
# The two obsolete forms mean "or equal".
_OBSOLETE: Final = {"<": "<=", ">": ">="}


@frozen
class Relation:
    """One package, perhaps in certain versions only; ``relation`` is "" for any version.

    ``qualifier`` is an architecture, ``any``, or "".
    """

    name: str
    relation: str = ""
    version: str = ""
    qualifier: str = ""

    def __str__(self) -> str:
        return f"{self.name} ({self.relation} {self.version})" if self.relation else self.name

    def allows(self, version: str) -> bool:
        """Whether a package of this name with ``version`` satisfies the relation."""
        if not self.relation:
            return True
        order = versions.compare(version, self.version)
        return {
            "<<": order < 0,
            "<=": order <= 0,
            "=": order == 0,
            ">=": order >= 0,
            ">>": order > 0,
        }[self.relation]


def parse(field: str, architecture: str) -> tuple[tuple[Relation, ...], ...]:
    """What must all hold; of each row, one of the alternatives. Raises ValueError.

    Alternatives that are restricted to other architectures are left out.
    """
    rows = []
    for group in field.replace("\n", " ").split(","):
        if not group.strip():
            continue
        row = [found for text in group.split("|") if (found := _relation(text.strip(), architecture)) is not None]
        if row:
            rows.append(tuple(row))
    return tuple(rows)


def _relation(text: str, architecture: str) -> Relation | None:
    match = _ONE.fullmatch(text)
    if match is None:
        raise ValueError(f"not a relation: {text!r}")
    words = (match["architectures"] or "").split()
    if words:
        negative = words[0].startswith("!")
        listed = architecture in [word.lstrip("!") for word in words]
        if listed == negative:
            return None
    relation = match["relation"] or ""
    return Relation(
        name=match["name"],
        relation=_OBSOLETE.get(relation, relation),
        version=match["version"] or "",
        qualifier=match["qualifier"] or "",
    )
