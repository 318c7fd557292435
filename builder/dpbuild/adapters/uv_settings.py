"""uv's settings of a project as one file, with what dpbuild knows of sdists on top.

uv runs a build backend on this machine to learn what an sdist requires, unless it is told. So it is told, and a
file that tells it takes the place of all those that uv would find, which therefore go along.
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from dpbuild.pypa.metadata import Metadata

# Only a pyproject.toml may hold these (uv's reference, "Settings").
_PROJECT_ONLY: Final = (
    *("sources", "workspace", "conflicts", "managed", "package", "build-backend"),
    *("default-groups", "dependency-groups", "dev-dependencies"),
)


def merged(directory: str, environment: Mapping[str, str]) -> dict[str, Any]:
    """What uv would read in ``directory``: its project's settings over the user's over the system's."""
    named = environment.get("UV_CONFIG_FILE", "")
    if named:
        return _read(Path(named))
    if environment.get("UV_NO_CONFIG", "") not in ("", "0"):
        return {}
    home = environment.get("XDG_CONFIG_HOME") or f"{environment.get('HOME', '/')}/.config"
    own = Path(directory, "uv.toml")
    project = _read(own) if own.is_file() else _read(Path(directory, "pyproject.toml"), "tool", "uv")
    out: dict[str, Any] = {}
    for table in (project, _read(Path(home, "uv/uv.toml")), _read(Path("/etc/uv/uv.toml"))):
        for key, value in table.items():
            if key not in out:
                out[key] = value
            elif isinstance(out[key], list) and isinstance(value, list):
                out[key] = [*out[key], *value]
    return {key: value for key, value in out.items() if key not in _PROJECT_ONLY}


def with_metadata(
    settings: Mapping[str, Any], known: Mapping[tuple[str, str], Metadata], unknown: set[str]
) -> dict[str, Any]:
    """``settings`` with the metadata of sdists, by name and version; every version of what is ``unknown`` is said to
    require nothing, so that uv chooses one without building any.
    """
    rows: list[dict[str, Any]] = [{"name": name, "requires-dist": []} for name in sorted(unknown)]
    for (name, version), each in sorted(known.items()):
        row: dict[str, Any] = {"name": name, "version": version, "requires-dist": list(each.requires)}
        row |= {"requires-python": each.requires_python} if each.requires_python else {}
        row |= {"provides-extra": list(each.extras)} if each.extras else {}
        rows.append(row)
    return {**settings, "dependency-metadata": [*settings.get("dependency-metadata", []), *rows]}


def _read(path: Path, *keys: str) -> dict[str, Any]:
    try:
        table: Any = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    for key in keys:
        table = table.get(key, {}) if isinstance(table, dict) else {}
    if not isinstance(table, dict):
        return {}
    return {key: _placed(key, value, path.parent) for key, value in table.items()}


def _placed(key: str, value: Any, folder: Path) -> Any:
    """Paths as they are seen from anywhere."""
    if key == "find-links" and isinstance(value, list):
        return [_path(row, folder) for row in value]
    if key == "index" and isinstance(value, list):
        return [{**row, "url": _path(row["url"], folder)} if "url" in row else row for row in value]
    return _path(value, folder) if key == "index-url" else value


def _path(text: Any, folder: Path) -> Any:
    return text if not isinstance(text, str) or "://" in text else (folder / text).resolve().as_uri()
