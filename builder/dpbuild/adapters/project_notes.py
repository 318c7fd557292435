"""What there is to say of a project's files: what no rule of the user's leaves out, and rules without effect."""

import posixpath
from collections.abc import Iterable
from pathlib import Path
from typing import Final

# So many names are told; who has more has seen what it is about.
_SHOWN: Final = 5


def secrets(paths: Iterable[str], *, chosen: bool) -> str:
    """The note for files that were left out for their names; "" for none. ``chosen``: include could take them in."""
    rows = sorted(paths)
    if not rows:
        return ""
    hint = f' (include = ["{rows[0]}"] takes it in)' if chosen else ""
    return f"left out, as they may hold secrets: {_names(rows)}{hint}"


def images(directory: Path, paths: Iterable[str]) -> str:
    """The note for images that are copied into the image: what an earlier run wrote with ``-o``; "" for none."""
    rows = []
    for path in paths:
        folder, name = posixpath.split(path)
        if name == "oci-layout" and folder:
            rows.append(f"{folder}/")
        elif name.endswith(".tar"):
            # Imports three modules, for what most projects have none of.
            from dpbuild.adapters.source.nearby import reference_of

            if reference_of(str(directory / path)):
                rows.append(path)
    if not rows:
        return ""
    return f'an image goes into the image: {_names(rows)} (exclude = ["{rows[0]}"] or .gitignore leaves it out)'


def _names(rows: list[str]) -> str:
    return ", ".join(rows[:_SHOWN]) + (f" and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else "")


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
