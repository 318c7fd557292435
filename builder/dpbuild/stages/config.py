"""Configuration: ``[tool.dpbuild]`` or ``dpbuild.toml``, the project's own tables, and flags on top."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, cast

from dpbuild.errors import ConfigError, UsageError
from dpbuild.model.config import Config, Project
from dpbuild.pypa import normalized
from dpbuild.stages import settings
from dpbuild.stages.discovered import discover
from dpbuild.stages.problems import Problems, near

if TYPE_CHECKING:
    from dpbuild.ports.store import Store
    from dpbuild.stages.reqfile import ReadText

Table = Mapping[str, object]
_SOURCES = ("source", "repository", "sourcecode", "github")


def load(
    directory: str,
    read: ReadText,
    flags: Mapping[str, object] | None = None,
    lacking: Callable[[str], str] | None = None,
    store: Store | None = None,
) -> Config:
    """Read the configuration of the project in ``directory`` (absolute).

    ``read`` gives the text of a file by its path relative to ``directory``, or None if it is not there.
    ``flags`` are keys of ``[tool.dpbuild]`` that win over the file's. ``lacking`` says what is wrong with a name in
    ``files``, or ""; without it, files that only a build needs are not looked for. ``store`` is asked what
    the same files were found to say before. Raises ConfigError with every problem at once, UsageError for what is wrong
    with flags, and what ``requirements.discover`` raises.
    """
    text = read("pyproject.toml")
    pyproject = _parse(text, "pyproject.toml")
    own_text = read("dpbuild.toml")
    tool = pyproject.get("tool", {})
    table = tool.get("dpbuild") if isinstance(tool, dict) else None
    if own_text is not None and table is not None:
        raise ConfigError(
            "configured twice: there is a dpbuild.toml, and [tool.dpbuild] in pyproject.toml",
            where=f"{directory}/dpbuild.toml",
            hint="keep one of them",
        )
    if own_text is not None:
        values: object = _parse(own_text, "dpbuild.toml")
        problems = Problems(file="dpbuild.toml", text=own_text)
        if isinstance(values, dict) and "tool" in values:
            problems.add("tool.dpbuild", "in dpbuild.toml the keys stand at the top, without [tool.dpbuild]")
            values = {key: row for key, row in values.items() if key != "tool"}
    else:
        values = {} if table is None else table
        problems = Problems(file="pyproject.toml", text=text or "", prefix="tool.dpbuild")
    if not isinstance(values, dict):
        raise ConfigError("[tool.dpbuild] must be a table", where="pyproject.toml")
    fields = {**settings.defaults(), **settings.read(cast("Table", values), problems)}
    project = _project(pyproject, text or "", problems)
    try:
        fields.update(_flags(flags or {}, fields))
    except UsageError:
        if problems.found:
            raise _error(problems) from None
        raise
    if lacking is not None:
        _look_for(fields, read, lacking, problems)
    if fields.get("base_key"):
        fields["base_key"] = _key(fields["base_key"], read, problems)
    extras, groups = fields.get("extras", ()), fields.get("groups", ())
    if extras or groups:
        from dpbuild.stages import requirements

        for key, what in requirements.unknown(pyproject, read, extras, groups):
            problems.add(key, what)
    if problems.found:
        # One that surely is wrong is an error by itself, later; here it is one run less.
        _doubt_script(fields.get("script", ""), project, problems)
        raise _error(problems)
    found = discover(pyproject, read, extras=extras, groups=groups, text=text or "", store=store)
    return Config(directory=directory, project=project, requirements=found, **fields)


def read_project(read: ReadText) -> tuple[Project, Table]:
    """What ``pyproject.toml`` says of the project, and the whole of it. Raises ConfigError."""
    text = read("pyproject.toml")
    pyproject = _parse(text, "pyproject.toml")
    problems = Problems()
    project = _project(pyproject, text or "", problems)
    if problems.found:
        raise _error(problems)
    return project, pyproject


def _key(name: str, read: ReadText, problems: Problems) -> str:
    """The text of the public key's file."""
    text = read(name)
    if text is None:
        problems.add("verify.base-key", f"verify.base-key: there is no file {name}")
        problems.hints.append("paths are relative to the project")
    return text or ""


def _look_for(fields: Mapping[str, Any], read: ReadText, lacking: Callable[[str], str], problems: Problems) -> None:
    """Whether the files are there that go into the image beside the app."""
    for row in fields.get("files", ()):
        if what := lacking(row.source):
            problems.add("files", f"files: {what}")
    for name in fields.get("ca_certificates", ()):
        text = read(name)
        if text is None or "-----BEGIN CERTIFICATE-----" not in text:
            what = "does not exist" if text is None else "holds no PEM certificate"
            problems.add("ca-certificates", f"ca-certificates: {name} {what}")


def _doubt_script(script: str, project: Project, problems: Problems) -> None:
    """A script that is none of the project's, but nearly one: only what is installed tells whether it is another's."""
    own = dict(project.scripts)
    if script and script not in own and (close := near(script, own)):
        problems.add("script", f"script: the project has no script {script!r}{close}")


def _flags(flags: Mapping[str, object], fields: dict[str, Any]) -> dict[str, Any]:
    problems = Problems()
    out = settings.read(flags, problems)
    if problems.found:
        raise UsageError("; ".join(what for _, what in problems.found), hint=problems.hint)
    # A flag for one of two keys that exclude each other wins over the other.
    for one, other in (("entrypoint", "script"), ("script", "entrypoint")):
        if out.get(one):
            fields.pop(other, None)
    return out


def _parse(text: str | None, name: str) -> dict[str, Any]:
    if text is None:
        return {}
    # Read each time: a configuration may hold logins, which no store gets to know.
    import tomllib

    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ConfigError(f"not valid TOML: {error}", where=name) from None


def _error(problems: Problems) -> ConfigError:
    found = problems.found
    if len(found) == 1:
        where, what = found[0]
        return ConfigError(what, where=where or None, hint=problems.hint)
    rows = "".join(f"\n  {where}: {what}" for where, what in found)
    return ConfigError(f"{len(found)} problems in the configuration:{rows}", hint=problems.hint)


def _project(pyproject: Table, text: str, problems: Problems) -> Project:
    inner = Problems(file="pyproject.toml", text=text)
    project = _table(pyproject, "project", inner)
    build = _table(pyproject, "build-system", inner)
    urls = _table(project, "urls", inner, "project.")
    scripts = _table(project, "scripts", inner, "project.")
    out = Project(
        name=normalized(_string(project, "name", inner, "project.")),
        version=_string(project, "version", inner, "project."),
        requires_python=_string(project, "requires-python", inner, "project."),
        scripts=tuple(sorted((name, _string(scripts, name, inner, "project.scripts.")) for name in scripts)),
        build_requires=_strings(build, "requires", inner, "build-system."),
        build_backend=_string(build, "build-backend", inner, "build-system."),
        backend_path=_strings(build, "backend-path", inner, "build-system."),
        has_build_system="build-system" in pyproject,
        source=_source({name: _string(urls, name, inner, "project.urls.") for name in urls}),
    )
    problems.found += inner.found
    return out


def _source(urls: Mapping[str, str]) -> str:
    """Where the sources are (PyPA specs, "Well-known Project URLs in Metadata"), without user information."""
    known = {re.sub(r"[^a-z0-9]", "", label.lower()): url for label, url in urls.items()}
    found = next((known[label] for label in _SOURCES if label in known), "")
    return re.sub(r"^(https?://)[^/?#]*@", r"\1", found) if found.startswith(("https://", "http://")) else ""


def _table(value: Table, key: str, problems: Problems, prefix: str = "") -> Table:
    found = value.get(key, {})
    if isinstance(found, dict):
        return cast("Table", found)
    problems.add(prefix + key, f"{prefix}{key} must be a table")
    return {}


def _string(value: Table, key: str, problems: Problems, prefix: str) -> str:
    found = value.get(key, "")
    if isinstance(found, str):
        return found
    problems.add(prefix + key, f"{prefix}{key} must be a string")
    return ""


def _strings(value: Table, key: str, problems: Problems, prefix: str) -> tuple[str, ...]:
    found = value.get(key, [])
    if isinstance(found, list) and all(isinstance(row, str) for row in found):
        return tuple(cast("list[str]", found))
    problems.add(prefix + key, f"{prefix}{key} must be an array of strings")
    return ()
