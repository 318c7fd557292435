"""A first configuration for a project that has none: what would be decided without it, written down. Pure."""

import tomllib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from dpbuild.errors import ConfigError
from dpbuild.frozen import frozen
from dpbuild.model.config import Project
from dpbuild.model.files import ProjectFile
from dpbuild.stages.app_files import mains
from dpbuild.stages.config import Table
from dpbuild.stages.dockerfile import last_stage
from dpbuild.stages.draft_dockerfile import Proposal, propose
from dpbuild.stages.image import Starter, starters
from dpbuild.stages.pythons import fitting, having

if TYPE_CHECKING:
    from tomlkit.items import Table as Rows

# Folders of a source tree that are never packages of the wheel.
_NO_PACKAGES: Final = frozenset({"tests", "test", "docs", "examples", "benchmarks", "scripts", "tools"})


@frozen
class Draft:
    """``text`` is the whole new content of the file ``name``; ``lines`` are those that are new in it; ``notes`` say
    what was found.
    """

    name: str
    text: str
    lines: tuple[str, ...]
    notes: tuple[str, ...]


def draft(
    project: Project,
    pyproject: Table,
    texts: tuple[str | None, str | None],
    files: Sequence[ProjectFile],
    flags: Mapping[str, object],
    dockerfile: str = "",
) -> Draft:
    """A configuration; ``texts`` are pyproject.toml and dpbuild.toml as they are, None where there is none.

    ``files`` are those of the app, ``dockerfile`` is the text of one that is there, ``flags`` are keys of
    ``[tool.dpbuild]`` that are wanted. Raises ConfigError (10) where the project is configured, or where pyproject.toml
    is such that nothing can be added.
    """
    tool = pyproject.get("tool", {})
    text, own = texts
    configured = isinstance(tool, dict) and "dpbuild" in tool
    if configured or own is not None:
        raise ConfigError(
            "the project is configured already",
            where="dpbuild.toml" if own is not None else "pyproject.toml: [tool.dpbuild]",
            hint="edit it there, or remove it to have a first one written",
        )
    kind = "wheel" if project.has_build_system else "copy" if any(row.path.endswith(".py") for row in files) else "none"
    notes: list[str] = []
    stage = last_stage(dockerfile)
    found = Proposal() if stage is None else propose(stage, kind, {row.path for row in files})
    table = _table(project, kind, files, flags, found, notes)
    lines = tuple(line for line in table.as_string().splitlines() if line)
    if text is None:
        return Draft(name="dpbuild.toml", text="".join(f"{line}\n" for line in lines), lines=lines, notes=tuple(notes))
    return Draft(name="pyproject.toml", text=_added(text, table), lines=("[tool.dpbuild]", *lines), notes=tuple(notes))


def _table(
    project: Project,
    kind: str,
    files: Sequence[ProjectFile],
    flags: Mapping[str, object],
    proposal: Proposal,
    notes: list[str],
) -> "Rows":
    import tomlkit

    table = tomlkit.table()
    base = str(flags.get("base") or fitting(project.requires_python))
    if base:
        table.add("base", base)
    else:
        wanted = project.requires_python
        notes.append(f"requires-python = {wanted!r} allows no distroless base's Python; say which base has one")
        table.add(tomlkit.comment(f"A base with Python {wanted}, which distroless does not have: {having(wanted)}."))
        table.add(tomlkit.comment('base = "REGISTRY/REPOSITORY:TAG"'))
    for key in ("platforms", "tags"):
        value = flags.get(key)
        if isinstance(value, list | tuple):
            table.add(key, [str(row) for row in value])
    what = {"wheel": "the app is built as a wheel", "copy": "the app's files are copied to /app", "none": "no app"}
    notes.append(what[kind])
    if proposal.starts:
        notes.append("it starts what the Dockerfile starts")
    else:
        _add_starter(table, project, kind, files, notes)
    _add_proposal(table, proposal, notes)
    return table


def _add_proposal(table: "Rows", proposal: Proposal, notes: list[str]) -> None:
    """What the Dockerfile says, as keys, and as comments where somebody has to look at it."""
    import tomlkit

    for key, value in proposal.sure.items():
        if isinstance(value, dict):
            inline = tomlkit.inline_table()
            inline.update(value)
            table.add(key, inline)
        else:
            table.add(key, value)
    if proposal.unsure:
        notes.append("some of what the Dockerfile says is in comments: look at it")
        table.add(tomlkit.comment("Of the Dockerfile, to be looked at:"))
    for key, value, reason in proposal.unsure:
        text = f"{key} = {tomlkit.item(value).as_string()}  # {reason}" if key else reason
        table.add(tomlkit.comment(text))


def _add_starter(table: "Rows", project: Project, kind: str, files: Sequence[ProjectFile], notes: list[str]) -> None:
    import tomlkit

    packages, scripts = mains(files) if kind == "copy" else (_packages(files), [])
    level, words, found = starters([name for name, _ in project.scripts], packages, scripts)
    if len(found) > 1:
        notes.append(f"there are several {words}: {', '.join(found)}; say which one is started")
        table.add(tomlkit.comment("Several could be started; keep one of these:"))
        for name in found:
            table.add(tomlkit.comment(_line(level, name)))
    elif level == "file":
        notes.append(f"it starts {found[0]}")
        table.add(tomlkit.comment(f"It starts {found[0]}, the only script at the top."))
    elif found:
        notes.append(f"it starts {found[0]}")
        key, value = _starter(level, found[0])
        table.add(key, value)
    elif kind != "none":
        notes.append("nothing was found that could be started; say what it is")
        table.add(tomlkit.comment('What is started: script = "NAME", or arguments for the interpreter:'))
        table.add(tomlkit.comment('entrypoint = ["-m", "PACKAGE"]'))


def _starter(level: Starter, name: str) -> tuple[str, Any]:
    match level:
        case "script":
            return "script", name
        case "package":
            return "entrypoint", ["-m", name]
        case _:
            return "entrypoint", [name]


def _line(level: Starter, name: str) -> str:
    import tomlkit

    return tomlkit.dumps(dict([_starter(level, name)])).strip()


def _packages(files: Sequence[ProjectFile]) -> list[str]:
    """Packages with ``__main__`` in a source tree that is built: at its top, or in ``src``."""
    found = set()
    for row in files:
        *folders, name = row.path.removeprefix("src/").split("/")
        if name == "__main__.py" and len(folders) == 1 and folders[0] not in _NO_PACKAGES:
            found.add(folders[0])
    return sorted(found)


def _added(text: str, table: "Rows") -> str:
    """The text with the table at its end, the one place where nothing that is there has to move.

    Raises ConfigError where TOML allows no further table below ``tool``.
    """
    import tomlkit

    before = tomllib.loads(text)
    document = tomlkit.document()
    document["tool"] = tomlkit.table(is_super_table=True)
    document["tool"]["dpbuild"] = table
    block = document.as_string()
    gap = "" if not text or text.endswith("\n\n") else "\n" if text.endswith("\n") else "\n\n"
    added = gap + block
    out = text + (added.replace("\n", "\r\n") if "\r\n" in text else added)
    wanted = {**before, "tool": {**before.get("tool", {}), "dpbuild": table.unwrap()}}
    try:
        if tomllib.loads(out) == wanted:
            return out
    except tomllib.TOMLDecodeError:
        pass
    raise ConfigError(
        "[tool.dpbuild] cannot be added to this file, because tool is an inline table",
        where="pyproject.toml",
        hint="write it yourself, or put the same keys into a dpbuild.toml",
    )
