"""``dpbuild explain``."""

import textwrap
from typing import TYPE_CHECKING

import click

from dpbuild.errors import UsageError

if TYPE_CHECKING:
    from dpbuild.stages.proof.rule import Rule


@click.command("explain")
@click.argument("rule", required=False)
def command(rule: str | None) -> None:
    """Say what RULE means, why it happens and how to mend it. Without RULE, or with a prefix, list rules."""
    from dpbuild.stages.proof.prove import selector
    from dpbuild.stages.proof.rules import ALL

    if rule is None:
        click.echo(listing(ALL))
        return
    try:
        word = selector(rule)
    except ValueError as problem:
        raise UsageError(str(problem), hint="dpbuild explain lists all rules") from None
    rows = tuple(row for row in ALL if word == "ALL" or row.id.startswith(word))
    click.echo(page(rows[0]) if len(rows) == 1 and rows[0].id == word else listing(rows))


def listing(rules: "tuple[Rule, ...]") -> str:
    """One line each, under the name of the group."""
    from dpbuild.stages.proof.rules import GROUPS

    lines: list[str] = []
    group = ""
    for row in rules:
        if row.group != group:
            group = row.group
            lines += ["", f"{group}  {GROUPS[group]}"]
        lines.append(f"  {row.id}  {_kind(row):<9}  {row.title}")
    return "\n".join(lines).lstrip("\n")


def page(rule: "Rule") -> str:
    """Everything about one rule."""
    parts = [f"{rule.id} ({_kind(rule)}): {rule.title}"]
    for title, text in (("What you see", rule.symptom), ("Why", rule.why), ("How to mend it", rule.fix)):
        parts.append(f"{title}:\n{textwrap.fill(text, 96, initial_indent='  ', subsequent_indent='  ')}")
    return "\n\n".join(parts)


def _kind(rule: "Rule") -> str:
    return "explained" if rule.look is None else str(rule.severity)
