"""uv's workspaces: a member's ``uv.lock`` lies in the folder above that names the members."""

from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

LOCK = "uv.lock"
_NAME = "pyproject.toml"


def workspace_lock(directory: Path, read: Callable[[Path], str | None]) -> Path | None:
    """The ``uv.lock`` of the workspace that the folder is a member of, or None. ``read`` gives a file's text.

    As uv looks for it (its documentation, "Workspaces"): the nearest folder above with ``[tool.uv.workspace]``,
    unless a project that is none lies between.
    """
    above = _above(directory, read)
    nearest = next(above, None)
    if nearest is None or "project" not in _parse(read(directory / _NAME)):
        return None
    for root, text in chain([nearest], above):
        document = _parse(text)
        workspace = _table(_table(_table(document, "tool"), "uv"), "workspace")
        if workspace:
            member = _matches(root, directory, workspace, "members") and not _matches(
                root, directory, workspace, "exclude"
            )
            return root / LOCK if member and (root / LOCK).is_file() else None
        if "project" in document:
            return None
    return None


def _matches(root: Path, directory: Path, workspace: dict[str, Any], key: str) -> bool:
    patterns = workspace.get(key, [])
    rows = [row for row in patterns if isinstance(row, str)] if isinstance(patterns, list) else []
    return any(found.resolve() == directory.resolve() for row in rows for found in root.glob(row.strip("/")))


def _above(directory: Path, read: Callable[[Path], str | None]) -> Iterator[tuple[Path, str]]:
    """Each folder above that has a ``pyproject.toml``, and its text; from the nearest on."""
    for root in directory.parents:
        text = read(root / _NAME)
        if text is not None:
            yield root, text


def _parse(text: str | None) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(text or "")
    except ValueError:
        return {}


def _table(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key, {})
    return inner if isinstance(inner, dict) else {}
