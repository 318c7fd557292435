"""Running the rules."""

from dpbuild.model.finding import Finding, Severity
from dpbuild.stages.proof.rules import ALL, BY_ID, GROUPS
from dpbuild.stages.proof.subject import Subject

_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.NOTE: 2}


def selector(word: str) -> str:
    """``word`` as rules are selected by it. Raises ValueError if no rule has this id or prefix."""
    upper = word.strip().upper()
    if upper == "ALL" or (upper and any(rule.startswith(upper) for rule in BY_ID)):
        return upper
    from difflib import get_close_matches

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
