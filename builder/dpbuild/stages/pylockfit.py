"""Whether a ``pylock.toml`` may still be that of its project. Pure.

PEP 751 writes down no requirements, so what is certain of a ``uv.lock`` (``stages/uvlock.py``) is a doubt here: a
package may have been left out, or its version overridden, on purpose.
"""

import tomllib
from collections.abc import Mapping
from typing import Any

from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from dpbuild.stages.uvlock import environments, holds


def doubts(text: str, pyproject: Mapping[str, Any]) -> tuple[str, ...]:
    """What ``[project] dependencies`` ask for, wherever the project is installed, and the lock does not have; in words.
    What cannot be read is told by others.
    """
    project = pyproject.get("project")
    lines = project.get("dependencies") if isinstance(project, Mapping) else None
    try:
        rows = tomllib.loads(text).get("packages")
        wanted = [Requirement(row) for row in lines if isinstance(row, str)] if isinstance(lines, list) else []
    except (tomllib.TOMLDecodeError, InvalidRequirement):
        return ()
    known: dict[str, list[str]] = {}
    for row in rows if isinstance(rows, list) else []:
        if isinstance(row, Mapping):
            known.setdefault(canonicalize_name(str(row.get("name", ""))), []).append(str(row.get("version", "")))
    found = [_doubt(row, known.get(canonicalize_name(row.name))) for row in wanted if _everywhere(row)]
    return tuple(dict.fromkeys(what for what in found if what))


def _everywhere(requirement: Requirement) -> bool:
    return all(holds(requirement.marker, where) for where in environments(SpecifierSet()))


def _doubt(requirement: Requirement, versions: list[str] | None) -> str:
    name = canonicalize_name(requirement.name)
    if versions is None:
        return f"pylock.toml does not have {name}, which pyproject.toml requires"
    try:
        # A package from a folder or a repository may be locked without a version.
        if requirement.url or not all(versions) or any(_fits(requirement, version) for version in versions):
            return ""
    except InvalidVersion:
        return ""
    return f"pylock.toml has {name} {', '.join(versions)}, and pyproject.toml requires {name}{requirement.specifier}"


def _fits(requirement: Requirement, version: str) -> bool:
    return requirement.specifier.contains(version, prereleases=True)
