"""Where requirements come from: the first of the files that the design lists.

Decides which file that is and what it says; resolving is the lock stage's work.
"""

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import cast

from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from dpbuild.errors import ConfigError, LockError, UnsupportedRequirement
from dpbuild.model.config import Requirements
from dpbuild.pypa.markers import kernel_variable
from dpbuild.stages import pylockfit, reqfile, uvlock
from dpbuild.stages.reqfile import ReadText

_SHA256 = r"sha256:([0-9a-fA-F]{64})"
_FRAGMENT = r"#(?:.*&)?sha256=([0-9a-fA-F]{64})(?:&|$)"
Table = Mapping[str, object]


def discover(
    pyproject: Table, read: ReadText, *, extras: Sequence[str], groups: Sequence[str], text: str = ""
) -> Requirements:
    """The project's requirements, with the given extras and groups.

    ``pyproject`` is the parsed ``pyproject.toml`` (empty if there is none), ``text`` its text. Raises
    ConfigError, UnsupportedRequirement for what cannot be locked, LockError where only some rows have hashes.
    """
    for name, kind in (("uv.lock", "uv-lock"), ("pylock.toml", "pylock")):
        found = read(name)
        if found is not None:
            content = hashlib.sha256(found.encode()).hexdigest()
            if kind == "pylock":
                outdated = "; ".join(pylockfit.doubts(found, pyproject))
                return Requirements(kind="pylock", origin=name, content=content, outdated=outdated)
            outdated = "; ".join(uvlock.differences(found, pyproject))
            return Requirements(kind="uv-lock", origin=name, content=content, outdated=outdated)
    settings = _settings(pyproject)
    parsed = reqfile.parse("requirements.txt", read) if read("requirements.txt") is not None else None
    if parsed and parsed.rows and parsed.hashed:
        return _hashed(parsed, settings, "requirements.txt", more=bool(extras or groups))
    project = _table(pyproject, "project")
    name = canonicalize_name(str(project.get("name", "")))
    lines = _project_lines(pyproject, project, read)
    origin, kind = "pyproject.toml", "project"
    constraints: list[tuple[str, str]] = []
    options: list[str] = []
    if lines is None:
        if read("requirements.in") is not None:
            parsed, origin = reqfile.parse("requirements.in", read), "requirements.in"
        elif parsed is not None:
            origin = "requirements.txt"
        if parsed is not None:
            if parsed.rows and parsed.hashed:
                return _hashed(parsed, settings, origin, more=bool(extras or groups))
            lines = [(where, row) for where, row, _ in parsed.rows]
            constraints = [(where, row) for where, row, _ in parsed.constraints]
            options, kind = parsed.options, "requirements"
    added = [*_extras(project, extras, name), *_groups(pyproject, groups, name)]
    if lines is None and not added:
        return Requirements(kind="none", settings=settings)
    sources = _table(_table(_table(pyproject, "tool"), "uv"), "sources")
    checked = [check(row, where) for where, row in [*(lines or []), *added]]
    for requirement in checked:
        _source(requirement, sources, text)
    return Requirements(
        kind="project" if kind == "project" else "requirements",
        origin=origin,
        lines=_sorted(checked),
        constraints=_sorted(check(row, where) for where, row in constraints),
        options=tuple(options),
        settings=settings,
    )


def unknown(pyproject: Table, read: ReadText, extras: Sequence[str], groups: Sequence[str]) -> list[tuple[str, str]]:
    """Those of the wanted extras and groups that ``pyproject.toml`` does not have: ``extras`` or ``groups``, and a
    sentence. Nothing where another file decides what there is.
    """
    if read("pylock.toml") is not None and read("uv.lock") is None:
        return []
    project = _table(pyproject, "project")
    uv = _table(_table(pyproject, "tool"), "uv")
    known = _known(project, "optional-dependencies")
    rows = []
    dynamic = project.get("dynamic")
    if not (isinstance(dynamic, list) and "optional-dependencies" in dynamic):
        rows += [("extras", _no_extra(extra, known)) for extra in extras if canonicalize_name(extra) not in known]
    known = _known(pyproject, "dependency-groups")
    # uv's own older form of one group, which its lock has.
    there = {*known, "dev"} if "dev-dependencies" in uv and read("uv.lock") is not None else {*known}
    return rows + [("groups", _no_group(group, known)) for group in groups if canonicalize_name(group) not in there]


def _known(table: Table, key: str) -> dict[str, object]:
    return {canonicalize_name(name): value for name, value in _table(table, key).items()}


def _no_extra(extra: str, known: Iterable[str]) -> str:
    return f"the project has no extra {extra!r} (it has: {', '.join(sorted(known)) or 'none'})"


def _no_group(group: str, known: Iterable[str]) -> str:
    return f"there is no dependency group {group!r} (there are: {', '.join(sorted(known)) or 'none'})"


def check(line: str, where: str) -> Requirement:
    """Read one PEP 508 requirement. Raises ConfigError, UnsupportedRequirement for what cannot be locked."""
    try:
        requirement = Requirement(line)
    except InvalidRequirement as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"not a requirement: {redact(line)!r} ({redact(reason)})", where=where) from None
    if requirement.url:
        _check_url(requirement, where)
    if requirement.marker is not None and (variable := kernel_variable(str(requirement.marker))):
        raise UnsupportedRequirement(
            f"{requirement.name} depends on {variable}, which is a property of the kernel and not of an image",
            where=where,
        )
    return requirement


def redact(text: str) -> str:
    """The text without user information in URLs."""
    return re.sub(r"//[^/\s@]*@", "//", text)


def _check_url(requirement: Requirement, where: str) -> None:
    url = requirement.url or ""
    if re.match(r"https?://[^/\s]*@", url):
        raise LockError(f"the URL of {requirement.name} holds a user or password, which a lock must not", where=where)
    if not re.match(r"https?://", url):
        raise UnsupportedRequirement(
            f"{requirement.name} comes from {redact(url)}, which is not a wheel",
            where=where,
            hint="build it as a wheel, name its folder in find-links, and require it by name",
        )
    if not url.partition("#")[0].partition("?")[0].endswith(".whl"):
        raise UnsupportedRequirement(
            f"{requirement.name} is required by a URL that is not that of a wheel", where=where
        )


def _sorted(rows: Iterable[Requirement]) -> tuple[str, ...]:
    return tuple(sorted({str(row) for row in rows}))


def _hashed(parsed: reqfile.Parsed, settings: str, origin: str, *, more: bool) -> Requirements:
    """Requirements of which each has a hash. ``more`` is whether extras or groups are wanted, too."""
    if more:
        raise ConfigError(f"a hashed {origin} has neither extras nor groups", where=origin)
    hashes: dict[str, set[str]] = {}
    rows = []
    for where, text, found in parsed.rows:
        requirement = check(text, where)
        # As in pip, the hash in a URL will do for its requirement.
        inside = re.findall(_FRAGMENT, requirement.url or "")
        if not found and not inside:
            why = "--require-hashes demands one" if parsed.require_hashes else "others have one: all must, or none"
            raise LockError(
                f"{requirement.name} has no hash, and {why}",
                where=where,
                hint="add --hash=sha256:…, as uv pip compile --generate-hashes and pip-compile --generate-hashes do",
            )
        pins = [
            row for row in requirement.specifier if row.operator in ("==", "===") and not row.version.endswith(".*")
        ]
        if not pins and not requirement.url:
            raise UnsupportedRequirement(f"{requirement.name} has hashes but no exact version", where=where)
        sums = {*_sha256(found), *(value.lower() for value in inside)}
        if not sums:
            raise UnsupportedRequirement(f"{requirement.name} has no sha256 hash", where=where)
        hashes.setdefault(canonicalize_name(requirement.name), set()).update(sums)
        rows.append(requirement)
    constraints = [(where, check(text, where), found) for where, text, found in parsed.constraints]
    limits: dict[str, set[str]] = {}
    for _, requirement, found in constraints:
        limits.setdefault(canonicalize_name(requirement.name), set()).update(_sha256(found))
    for where, requirement, _ in constraints:
        name = canonicalize_name(requirement.name)
        if limits[name] and hashes.get(name, limits[name]).isdisjoint(limits[name]):
            raise LockError(f"{requirement.name} has other hashes here than where it is required", where=where)
    return Requirements(
        kind="hashed",
        origin=origin,
        lines=_sorted(rows),
        constraints=_sorted(requirement for _, requirement, _ in constraints),
        hashes=tuple(sorted((name, tuple(sorted(sums & (limits.get(name) or sums)))) for name, sums in hashes.items())),
        options=tuple(parsed.options),
        settings=settings,
    )


def _sha256(values: Iterable[str]) -> set[str]:
    return {row[1].lower() for value in values if (row := re.fullmatch(_SHA256, value))}


def _table(value: Table, key: str) -> Table:
    inner = value.get(key, {})
    return cast("Table", inner) if isinstance(inner, Mapping) else {}


def _strings(value: object, where: str) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(row, str) for row in value):
        raise ConfigError("must be an array of strings", where=f"pyproject.toml: {where}")
    return cast("list[str]", value)


def _settings(pyproject: Table) -> str:
    uv = _table(_table(pyproject, "tool"), "uv")
    # A password in [tool.uv] must not be guessable from a hash in the lock.
    text = redact(json.dumps(uv, sort_keys=True, default=str))
    return hashlib.sha256(text.encode()).hexdigest() if uv else ""


def _project_lines(pyproject: Table, project: Table, read: ReadText) -> list[tuple[str, str]] | None:
    if "dependencies" in project:
        where = "project.dependencies"
        return [(f"pyproject.toml: {where}", row) for row in _strings(project["dependencies"], where)]
    if "dependencies" not in cast("list[str]", project.get("dynamic", [])):
        return None
    dynamic = _table(_table(_table(_table(pyproject, "tool"), "setuptools"), "dynamic"), "dependencies")
    files = dynamic.get("file")
    if files is None:
        raise UnsupportedRequirement(
            "the project's dependencies are dynamic, and only its build backend knows them",
            where="pyproject.toml: project.dynamic",
            hint="list them under [project] dependencies, or add a uv.lock",
        )
    rows = []
    for file in [files] if isinstance(files, str) else _strings(files, "tool.setuptools.dynamic.dependencies.file"):
        parsed = reqfile.parse(file, read)
        if parsed.hashed:
            raise UnsupportedRequirement(
                "dependencies that setuptools reads from a file have no hashes",
                where=file,
                hint="name the file requirements.txt, and it is a lock, or leave the hashes out",
            )
        rows += [(where, text) for where, text, _ in parsed.rows]
    return rows


def _extras(project: Table, extras: Sequence[str], name: str) -> list[tuple[str, str]]:
    known = _known(project, "optional-dependencies")
    out: list[tuple[str, str]] = []
    todo: list[str] = [canonicalize_name(extra) for extra in extras]
    done = set[str]()
    while todo:
        extra = todo.pop(0)
        if extra in done:
            continue
        done.add(extra)
        if extra not in known:
            raise ConfigError(_no_extra(extra, known), where="pyproject.toml")
        where = f"pyproject.toml: project.optional-dependencies.{extra}"
        for row in _strings(known[extra], where):
            requirement = check(row, where)
            # An extra may name other extras of the project itself.
            if name and canonicalize_name(requirement.name) == name:
                todo += [canonicalize_name(inner) for inner in sorted(requirement.extras)]
            else:
                out.append((where, row))
    return out


def _groups(pyproject: Table, groups: Sequence[str], name: str) -> list[tuple[str, str]]:
    known = _known(pyproject, "dependency-groups")
    project = _table(pyproject, "project")
    out: list[tuple[str, str]] = []

    def expand(group: str, path: tuple[str, ...]) -> None:
        if group in path:
            raise ConfigError(
                f"the group {group!r} includes itself: {' -> '.join([*path, group])}", where="pyproject.toml"
            )
        if group not in known:
            raise ConfigError(_no_group(group, known), where="pyproject.toml")
        where = f"pyproject.toml: dependency-groups.{group}"
        rows = known[group]
        if not isinstance(rows, list):
            raise ConfigError("must be an array", where=where)
        for row in rows:
            if isinstance(row, str):
                requirement = check(row, where)
                if name and canonicalize_name(requirement.name) == name:
                    out.extend(_extras(project, sorted(requirement.extras), name))
                else:
                    out.append((where, row))
            # PEP 735, "Dependency Group Include".
            elif isinstance(row, Mapping) and set(row) == {"include-group"} and isinstance(row["include-group"], str):
                expand(canonicalize_name(row["include-group"]), (*path, group))
            else:
                raise ConfigError('must hold requirements and {include-group = "…"} only', where=where)

    for group in groups:
        expand(canonicalize_name(group), ())
    return list(dict.fromkeys(out))


def _source(requirement: Requirement, sources: Table, text: str) -> None:
    name = canonicalize_name(requirement.name)
    for key, value in sources.items():
        if canonicalize_name(key) != name:
            continue
        for row in value if isinstance(value, list) else [value]:
            kind = next(
                (word for word in ("git", "path", "workspace", "url") if isinstance(row, Mapping) and row.get(word)),
                "",
            )
            if kind:
                line = next(
                    (
                        n
                        for n, t in enumerate(text.splitlines(), 1)
                        if re.match(rf"\s*\"?{re.escape(key)}\"?\s*=\s*[{{\[]", t)
                    ),
                    0,
                )
                raise UnsupportedRequirement(
                    f"{name} comes from a {kind} source of [tool.uv.sources], which has no wheel to lock",
                    where=f"pyproject.toml:{line}" if line else "pyproject.toml",
                    hint="build it as a wheel, name its folder in find-links, and require it by name",
                )
