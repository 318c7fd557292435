"""Configuration: ``[tool.dpbuild]`` or ``dpbuild.toml``, the project's own tables, and flags on top."""

import re
import tomllib
from collections.abc import Mapping
from typing import Any, cast

from dpbuild.errors import ConfigError, UsageError
from dpbuild.model.config import Config, Project
from dpbuild.stages import requirements, settings
from dpbuild.stages.problems import Problems
from dpbuild.stages.reqfile import ReadText

Table = Mapping[str, object]
_SOURCES = ("source", "repository", "sourcecode", "github")


def load(directory: str, read: ReadText, flags: Mapping[str, object] | None = None) -> Config:
    """Read the configuration of the project in ``directory`` (absolute).

    ``read`` gives the text of a file by its path relative to ``directory``, or None if it is not there.
    ``flags`` are keys of ``[tool.dpbuild]`` that win over the file's. Raises ConfigError with every problem
    at once, UsageError for what is wrong with flags, and what ``requirements.discover`` raises.
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
    if problems.found:
        raise _error(problems)
    fields.update(_flags(flags or {}, fields))
    if fields.get("base_key"):
        fields["base_key"] = _key(fields["base_key"], read)
    found = requirements.discover(
        pyproject, read, extras=fields.get("extras", ()), groups=fields.get("groups", ()), text=text or ""
    )
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


def _key(name: str, read: ReadText) -> str:
    """The text of the public key's file. Raises ConfigError."""
    text = read(name)
    if text is None:
        raise ConfigError(f"verify.base-key: there is no file {name}", hint="the path is relative to the project")
    return text


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
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
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
        name=re.sub(r"[-_.]+", "-", _string(project, "name", inner, "project.")).lower(),
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
