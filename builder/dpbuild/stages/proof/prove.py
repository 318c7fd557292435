"""Running the rules, and choosing which of them count."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches

from dpbuild.model.finding import Finding, Severity
from dpbuild.stages.proof.rules import ALL, BY_ID, GROUPS
from dpbuild.stages.proof.subject import Subject

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


@dataclass(frozen=True, slots=True, kw_only=True)
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


def selector(word: str) -> str:
    """``word`` as rules are selected by it. Raises ValueError if no rule has this id or prefix."""
    upper = word.strip().upper()
    if upper == "ALL" or (upper and any(rule.startswith(upper) for rule in BY_ID)):
        return upper
    near = get_close_matches(upper, [*BY_ID, *GROUPS, "ALL"], n=1)
    raise ValueError(f"no rule is named {word!r}" + (f"; did you mean {near[0]!r}?" if near else ""))


def prove(subject: Subject) -> tuple[Finding, ...]:
    """Everything that all rules find, errors first, then by rule and path."""
    findings = {
        Finding(
            rule=rule.id,
            severity=row.severity or rule.severity,
            path=row.path,
            evidence=row.evidence,
            owner=subject.owner(row.path),
            fix=row.fix or rule.fix,
        )
        for rule in ALL
        if rule.look is not None
        for row in rule.look(subject)
    }
    return tuple(sorted(findings, key=lambda row: (_ORDER[row.severity], row.rule, row.path, row.evidence)))


def chosen(findings: Iterable[Finding], selection: Selection) -> tuple[Finding, ...]:
    """Those that count."""
    return tuple(row for row in findings if selection.takes(row.rule))
