"""The page of all rules, as ``docs/rules.md`` has it."""

import re
import textwrap
from typing import Final

from dpbuild.stages.proof.rule import Rule
from dpbuild.stages.proof.rules import ALL, GROUPS

_WIDTH: Final = 120
_MARKS: Final = re.compile(r"[\\*<>`]|(?<!\w)_|_(?!\w)")
_HEAD: Final = """\
# Rules

What `dpbuild check` looks for, and what `dpbuild explain RULE` says. Made from the rules themselves by `make rules`.

An error breaks the image, a warning breaks it for some, a note is good to know. A finding may be worse or less bad than
the severity given here; the rule's text says when. Rules that are *explained* find nothing, since no file tells.
"""


def handbook() -> str:
    """The page, in Markdown."""
    parts = [_HEAD]
    for group, title in GROUPS.items():
        rows = [rule for rule in ALL if rule.group == group]
        if rows:
            parts.append(f"## {group}: {title}\n")
            parts += [_section(rule) for rule in rows]
    return "\n".join(parts)


def _section(rule: Rule) -> str:
    kind = "explained" if rule.look is None else str(rule.severity)
    rows = [("You see", rule.symptom), ("Why", rule.why), ("Mend it", rule.fix)]
    items = (
        textwrap.fill(
            f"- {title}: {_plain(text)}",
            _WIDTH,
            subsequent_indent="  ",
            break_long_words=False,
            break_on_hyphens=False,
        )
        for title, text in rows
    )
    return f"### {rule.id} ({kind}): {_plain(rule.title)}\n\n" + "\n".join(items) + "\n"


def _plain(text: str) -> str:
    """Text that Markdown leaves as it is; underscores within words mean nothing to it."""
    return _MARKS.sub(r"\\\g<0>", text)
