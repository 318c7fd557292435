"""Whether a ``uv.lock`` still is that of its project: what that requires, beside what uv wrote down of it. Pure.

uv repeats markers, sources and includes in words of its own. So rows are not compared as they are written, but by what
they ask for on Linux: names, extras and versions, for every Python that the project allows.
"""

import re
import tomllib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName
from packaging.requirements import InvalidRequirement, Requirement
from packaging.specifiers import InvalidSpecifier, Specifier, SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion

from dpbuild.frozen import frozen
from dpbuild.pypa import markers

# Minor versions of Python 3 that a base may have, and what it may run on.
_MINORS: Final = range(8, 17)
_MACHINES: Final = ("x86_64", "aarch64")
# Where a row comes from instead of an index; uv then writes no versions down.
_ELSEWHERE: Final = ("url", "git", "path", "directory", "editable", "virtual")
_PACKAGE: Final = re.compile(r"(?m)^\[\[package\]\]$")
_PROJECTS: Final = ("editable", "virtual", "directory")


@frozen(kw_only=False)
class _Row:
    """``specifiers`` is None where the version is that of a source."""

    name: str
    extras: frozenset[str]
    specifiers: frozenset[Specifier] | None
    marker: Marker | None


@frozen(kw_only=False)
class _Side:
    """What one of the two says: requirements, those of extras among them, and groups."""

    required: tuple[_Row, ...]
    groups: Mapping[str, tuple[_Row, ...]]


def differences(text: str, pyproject: Mapping[str, Any]) -> tuple[str, ...]:
    """What the two disagree on, in words; nothing where either cannot be read, which others say."""
    project = _table(pyproject.get("project"))
    name = canonicalize_name(str(project.get("name", "")))
    try:
        locked = _locked(text, name)
        ours = _project(pyproject, project)
    except (tomllib.TOMLDecodeError, InvalidRequirement, InvalidMarker, InvalidSpecifier):
        return ()
    told = _table(_table(pyproject.get("tool")).get("uv")).get("dependency-metadata")
    names = {canonicalize_name(str(_table(row).get("name", ""))) for row in (told if isinstance(told, list) else [])}
    if locked is None or (name and name in names):
        # In the second case uv has not read the project's own lists.
        return ()
    dynamic = project.get("dynamic", [])
    scopes: list[tuple[str, Callable[[_Side, _Environment], list[_Row]]]] = []
    if "dependencies" not in dynamic and project:
        scopes.append(("", lambda side, where: _holding(side.required, where, "")))
    if "optional-dependencies" not in dynamic:
        # Those that name others come last: what an extra lacks itself is told of that one.
        outer = {row for each in (*ours.required, *locked.required) if each.name == name for row in _named(each)}
        extras = sorted({*_extras(ours), *_extras(locked)}, key=lambda row: (row in outer, row))
        scopes += [(f" in the extra {row}", _extra(row, name)) for row in extras]
    for group in sorted({*ours.groups, *locked.groups}):
        scopes.append((f" in the group {group}", _group(group, name)))
    found: dict[str, str] = {"": what} if (what := _other_pythons(text, project)) else {}
    for label, rows_of in scopes:
        for where in _environments(project, pyproject, label.rpartition(" ")[2] if " group " in label else ""):
            for key, what in _compared(rows_of(ours, where), rows_of(locked, where)):
                found.setdefault(key, what + label)
    return tuple(found[key] for key in sorted(found))


def requires_python(text: str) -> str:
    """The Pythons that a lock is for, a version specifier; "" where it says none that can be read."""
    try:
        return str(SpecifierSet(str(_head(text).get("requires-python", ""))))
    except (tomllib.TOMLDecodeError, InvalidSpecifier):
        return ""


def _head(text: str) -> Mapping[str, Any]:
    return tomllib.loads(_PACKAGE.split(text, maxsplit=1)[0])


def _other_pythons(text: str, project: Mapping[str, Any]) -> str:
    """Whether the lock is for other Pythons than the project, in words. Patch levels decide nothing that is locked."""
    locked, ours = requires_python(text), str(project.get("requires-python", ""))
    covered = _minors(SpecifierSet(locked))
    try:
        wanted = _minors(SpecifierSet(ours))
    except InvalidSpecifier:
        return ""
    # One for several projects is for what all of them allow.
    shared = len(_texts(_table(_head(text).get("manifest")).get("members"))) > 1
    same = covered <= wanted if shared else covered == wanted
    return "" if not ours or not locked or same else f"uv.lock is for Python {locked}, and pyproject.toml is for {ours}"


def _minors(allowed: SpecifierSet) -> frozenset[str]:
    # Any patch level will do for a lower bound that names one.
    return frozenset(row for minor in _MINORS if allowed.contains(row := f"3.{minor}.99", prereleases=True))


_Environment = Mapping[str, str]


def _environments(project: Mapping[str, Any], pyproject: Mapping[str, Any], group: str) -> list[_Environment]:
    table = _table(_table(_table(pyproject.get("tool")).get("uv")).get("dependency-groups"))
    own = next((_table(row) for key, row in table.items() if group and canonicalize_name(key) == group), {})
    try:
        allowed = SpecifierSet(str(project.get("requires-python", "")))
        allowed &= SpecifierSet(str(own.get("requires-python", "")))
    except InvalidSpecifier:
        allowed = SpecifierSet()
    return environments(allowed)


def environments(allowed: SpecifierSet) -> list[_Environment]:
    """What markers are asked for: each minor version that is allowed (all of them if that is none), on each machine."""
    versions = sorted(_minors(allowed) or _minors(SpecifierSet()))
    return [dict(markers.environment(version, machine)) for version in versions for machine in _MACHINES]


def holds(marker: Marker | None, where: _Environment, extra: str = "") -> bool:
    """Whether a marker is true there; one that cannot be evaluated is not."""
    try:
        return marker is None or marker.evaluate({**where, "extra": extra})
    except (UndefinedComparison, UndefinedEnvironmentName, InvalidVersion):
        return False


def _holding(rows: Iterable[_Row], where: _Environment, extra: str) -> list[_Row]:
    return [row for row in rows if holds(row.marker, where, extra) and not (extra and holds(row.marker, where))]


def _extra(extra: str, name: str) -> Callable[[_Side, _Environment], list[_Row]]:
    def rows(side: _Side, where: _Environment) -> list[_Row]:
        """With the rows of those extras that it names by way of the project itself."""
        out: list[_Row] = []
        todo, done = [extra], set[str]()
        while todo:
            this = todo.pop()
            done.add(this)
            for row in _holding(side.required, where, this):
                if row.name == name:
                    todo += sorted(row.extras - done)
                else:
                    out.append(row)
        return out

    return rows


def _group(group: str, name: str) -> Callable[[_Side, _Environment], list[_Row]]:
    def rows(side: _Side, where: _Environment) -> list[_Row]:
        # The project's own extras are compared as such.
        return [row for row in _holding(side.groups.get(group, ()), where, "") if row.name != name]

    return rows


def _extras(side: _Side) -> set[str]:
    return {extra for row in side.required for extra in _named(row)}


def _named(row: _Row) -> set[str]:
    """The extras that a row is of."""
    return {canonicalize_name(found) for found in re.findall(r"\bextra == ['\"]([^'\"]+)", str(row.marker or ""))}


def _compared(ours: list[_Row], locked: list[_Row]) -> Iterable[tuple[str, str]]:
    names = {row.name for row in ours}
    others = {row.name for row in locked}
    for name in names - others:
        yield name, f"uv.lock does not have {name}, which pyproject.toml requires"
    for name in others - names:
        yield name, f"uv.lock has {name}, which pyproject.toml does not require"
    for name in names & others:
        one, other = _words(name, ours), _words(name, locked)
        if one is not None and other is not None and one != other:
            yield name, f"uv.lock has {_said(name, *other)}, and pyproject.toml requires {_said(name, *one)}"


def _words(name: str, rows: Iterable[_Row]) -> tuple[frozenset[str], frozenset[Specifier]] | None:
    """Extras and versions that are asked for; None if the version is that of a source."""
    extras, specifiers = set[str](), set[Specifier]()
    for row in rows:
        if row.name == name:
            if row.specifiers is None:
                return None
            extras |= row.extras
            specifiers |= row.specifiers
    return frozenset(extras), frozenset(specifiers)


def _said(name: str, extras: frozenset[str], specifiers: frozenset[Specifier]) -> str:
    inside = f"[{','.join(sorted(extras))}]" if extras else ""
    return f"{name}{inside}{SpecifierSet(','.join(str(row) for row in specifiers))}"


def _project(pyproject: Mapping[str, Any], project: Mapping[str, Any]) -> _Side:
    rows = [_requirement(row) for row in _texts(project.get("dependencies"))]
    for extra, lines in _table(project.get("optional-dependencies")).items():
        rows += [_requirement(row, canonicalize_name(extra)) for row in _texts(lines)]
    known: dict[str, Any] = {
        canonicalize_name(key): value for key, value in _table(pyproject.get("dependency-groups")).items()
    }
    groups: dict[str, tuple[_Row, ...]] = {
        name: tuple(_requirement(row) for row in _members(name, known, ())) for name in known
    }
    old = _texts(_table(_table(pyproject.get("tool")).get("uv")).get("dev-dependencies"))
    if old:
        groups["dev"] = (*groups.get("dev", ()), *(_requirement(row) for row in old))
    return _Side(tuple(rows), groups)


def _members(group: str, known: Mapping[str, Any], path: tuple[str, ...]) -> Iterable[str]:
    """The requirements of a group and of those that it includes (PEP 735)."""
    for row in known.get(group, ()) if isinstance(known.get(group), list) and group not in path else ():
        if isinstance(row, str):
            yield row
        elif isinstance(row, dict):
            yield from _members(canonicalize_name(str(row.get("include-group", ""))), known, (*path, group))


def _requirement(line: str, extra: str = "") -> _Row:
    """One row of the project. Raises InvalidRequirement."""
    found = Requirement(line)
    parts = [f"({found.marker})"] if found.marker else []
    parts += [f"extra == '{extra}'"] if extra else []
    return _Row(
        canonicalize_name(found.name),
        frozenset(canonicalize_name(row) for row in found.extras),
        None if found.url else frozenset(found.specifier),
        Marker(" and ".join(parts)) if parts else None,
    )


def _locked(text: str, name: str) -> _Side | None:
    """What the lock has of the project, or of a workspace that is no project; None if it has neither.

    Only this part is read, as such a lock may have megabytes. Raises TOMLDecodeError, InvalidMarker, InvalidSpecifier.
    """
    head, *blocks = _PACKAGE.split(text)
    if not name:
        manifest = _table(tomllib.loads(head).get("manifest"))
        return _Side((), _groups(manifest.get("dependency-groups"))) if manifest else None
    for block in blocks:
        if re.search(rf'(?m)^name = "{re.escape(name)}"$', block):
            entry = _table(tomllib.loads("[package]\n" + block).get("package"))
            if any(key in _table(entry.get("source")) for key in _PROJECTS):
                said = _table(entry.get("metadata"))
                # Locks of long ago do not have it.
                if not said and any(key in entry for key in ("dependencies", "optional-dependencies")):
                    return None
                return _Side(_rows(said.get("requires-dist")), _groups(said.get("requires-dev")))
    return None


def _groups(table: object) -> dict[str, tuple[_Row, ...]]:
    return {canonicalize_name(key): _rows(value) for key, value in _table(table).items()}


def _rows(value: object) -> tuple[_Row, ...]:
    out = []
    for row in value if isinstance(value, list) else []:
        table = _table(row)
        marker = str(table.get("marker", ""))
        specifiers = frozenset(SpecifierSet(str(table.get("specifier", ""))))
        out.append(
            _Row(
                canonicalize_name(str(table.get("name", ""))),
                frozenset(canonicalize_name(extra) for extra in _texts(table.get("extras"))),
                None if any(key in table for key in _ELSEWHERE) else specifiers,
                Marker(marker) if marker else None,
            )
        )
    return tuple(out)


def _table(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> list[str]:
    return [row for row in value if isinstance(row, str)] if isinstance(value, list) else []
