"""What there is to say of a project's files: what no rule of the user's leaves out, and rules without effect."""

from collections.abc import Iterable
from typing import Final

# So many names are told; who has more has seen what it is about.
_SHOWN: Final = 5


def secrets(paths: Iterable[str], *, chosen: bool) -> str:
    """The note for files that were left out for their names; "" for none. ``chosen``: include could take them in."""
    rows = sorted(paths)
    if not rows:
        return ""
    names = ", ".join(rows[:_SHOWN]) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")
    hint = f' (include = ["{rows[0]}"] takes it in)' if chosen else ""
    return f"left out, as they may hold secrets: {names}{hint}"


def without_effect(key: str, patterns: Iterable[str], names: Iterable[str]) -> list[str]:
    """A note for each pattern of ``include`` or ``exclude`` that is about none of ``names``."""
    from pathspec import GitIgnoreSpec

    seen = list(names)
    notes = []
    for row in patterns:
        plain = row.strip().removeprefix("!")
        if plain and not plain.startswith("#") and not any(GitIgnoreSpec.from_lines([plain]).match_files(seen)):
            notes.append(f'{key}: "{row}" matches nothing in the project')
    return notes
