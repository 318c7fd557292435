"""Which findings count; no rule is needed to tell."""

from collections.abc import Iterable

from dpbuild.frozen import frozen
from dpbuild.model.finding import Finding


@frozen
class Selection:
    """Rule ids, prefixes of them, or ``ALL``. Nothing selected means all; the longer of two that match wins,
    and ``ignore`` between equals.
    """

    select: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()

    def takes(self, rule: str) -> bool:
        """Whether findings of this rule count."""
        chosen = max((_length(word, rule) for word in self.select or ("ALL",)), default=-1)
        return chosen > max((_length(word, rule) for word in self.ignore), default=-1)


def _length(word: str, rule: str) -> int:
    """How exactly ``word`` names the rule; -1 if it does not."""
    if word == "ALL":
        return 0
    return len(word) if rule.startswith(word) else -1


def chosen(findings: Iterable[Finding], selection: Selection) -> tuple[Finding, ...]:
    """Those that count."""
    return tuple(row for row in findings if selection.takes(row.rule))
