"""uv's workspaces: a member's ``uv.lock`` lies in the folder above that names the members."""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

LOCK = "uv.lock"


def workspace_lock(directory: Path, read: Callable[[Path], str | None]) -> Path | None:
    """The ``uv.lock`` of the workspace that the folder is a member of, or None. ``read`` gives a file's text.

    As uv looks for it (its documentation, "Workspaces"): the nearest folder above with ``[tool.uv.workspace]``,
    unless a project that is none lies between.
    """
    if "project" not in _pyproject(directory, read):
        return None
    for root in directory.parents:
        document = _pyproject(root, read)
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


def _pyproject(folder: Path, read: Callable[[Path], str | None]) -> dict[str, Any]:
    try:
        return tomllib.loads(read(folder / "pyproject.toml") or "")
    except ValueError:
        return {}


def _table(value: dict[str, Any], key: str) -> dict[str, Any]:
    inner = value.get(key, {})
    return inner if isinstance(inner, dict) else {}
