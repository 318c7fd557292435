"""Recipes: read, checked, laid over each other, and chosen for a distribution.

A recipe is a TOML file that dpbuild ships (``recipes/<project>.toml``), or a table
``[tool.dpbuild.recipes.<project>]``, which is laid over the shipped one. docs/recipes.md lists the keys.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any, Final, cast

from dpbuild.errors import ConfigError
from dpbuild.model.recipe import Build, Options, Recipe, Run
from dpbuild.pypa import normalized
from dpbuild.stages.problems import Problems, parsed, read_flag, read_pairs, read_text, read_texts, wrong

__all__ = [
    "Build",
    "Recipe",
    "Run",
    "choose",
    "names",
    "outside",
    "override",
    "parse",
    "shipped",
    "shipped_text",
    "suite_of",
]

Table = Mapping[str, object]
_Reader = Callable[[str, object, Problems], Any]

# Debian Policy, 5.6.1 "Source".
_NAME: Final = r"[a-z0-9][a-z0-9+.-]+"
_WHEN: Final = ("always", "built")


def suite_of(distributor: str) -> str:
    """The word for a suite (``debian12``) of the facts' distributor (``debian:12``); "" for none that recipes know."""
    from dpbuild.debian.suites import SUITES

    word = distributor.replace(":", "")
    return word if word in SUITES else ""


def names() -> tuple[str, ...]:
    """The projects that there are shipped recipes for, sorted."""
    from importlib.resources import files

    rows = (row.name for row in files("dpbuild.recipes").iterdir())
    return tuple(sorted(name.removesuffix(".toml") for name in rows if name.endswith(".toml")))


@cache
def shipped(name: str) -> Recipe | None:
    """The shipped recipe of a project (normalised name), or None. Raises ConfigError if the file is wrong."""
    text = shipped_text(name)
    return None if text is None else parse(name, text, f"recipes/{name}.toml")


def parse(name: str, text: str, where: str) -> Recipe:
    """The recipe that a file holds. Raises ConfigError with every problem at once, each with file and line."""
    import tomllib

    try:
        table = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"not valid TOML: {error}", where=where) from None
    problems = Problems(file=where, text=text)
    recipe = _recipe(name, table, problems, "")
    if problems.found:
        rows = "; ".join(what for _, what in problems.found)
        raise ConfigError(rows, where=problems.found[0][0], hint=problems.hint)
    return recipe


def override(name: str, table: Table, problems: Problems, key: str) -> Recipe:
    """The recipe of a project as the configuration has it below ``key``: its keys win over the shipped ones.

    What is wrong goes to ``problems``.
    """
    before = len(problems.found)
    recipe = _recipe(name, table, problems, f"{key}.")
    text = shipped_text(name)
    if text is None or len(problems.found) > before:
        return recipe
    import tomllib

    return _recipe(name, _laid(tomllib.loads(text), table), problems, f"{key}.")


def choose(name: str, version: str, suite: str, overrides: Iterable[Recipe] = ()) -> Recipe | None:
    """The recipe for a distribution (normalised name) on a suite ("" for a base that is not Debian's).

    ``overrides`` are those of the configuration. None if there is none for this version.
    """
    recipe = _find(name, overrides)
    return recipe if recipe is not None and _covers(recipe, version, suite) else None


def outside(name: str, version: str, suite: str, overrides: Iterable[Recipe] = ()) -> str:
    """For which versions there is a recipe that is not for this one, to say so where a build fails; else ""."""
    recipe = _find(name, overrides)
    if recipe is None or _covers(recipe, version, suite):
        return ""
    return ",".join(filter(None, (recipe.version, recipe.build_on(suite).version)))


def _find(name: str, overrides: Iterable[Recipe]) -> Recipe | None:
    return next((row for row in overrides if row.name == name), None) or shipped(name)


def _covers(recipe: Recipe, version: str, suite: str) -> bool:
    from packaging.specifiers import SpecifierSet

    limits = ",".join(filter(None, (recipe.version, recipe.build_on(suite).version)))
    return SpecifierSet(limits).contains(version, prereleases=True)


def shipped_text(name: str) -> str | None:
    """The file of a project's shipped recipe (normalised name), or None."""
    if not re.fullmatch(r"[a-z0-9]+(?:-[a-z0-9]+)*", name):
        return None
    from importlib.resources import files

    file = files("dpbuild.recipes").joinpath(f"{name}.toml")
    return file.read_text("utf-8") if file.is_file() else None


def _laid(below: Table, above: Table) -> Table:
    """Tables are laid over each other key by key; every other value takes the other's place."""
    out = dict(below)
    for key, value in above.items():
        old = out.get(key)
        if isinstance(value, Mapping) and isinstance(old, Mapping):
            out[key] = _laid(cast("Table", old), cast("Table", value))
        else:
            out[key] = value
    return out


# reading


def _recipe(name: str, table: Table, problems: Problems, prefix: str) -> Recipe:
    from dpbuild.debian.suites import SUITES

    out = _read(table, _RECIPE, problems, prefix, tables=("build", "run", "smoke"))
    for part, maker, keys in (("build", Build, _BUILD), ("run", Run, _RUN)):
        inner = _table(table, part, problems, prefix)
        out[part] = maker(**_read(inner, keys, problems, f"{prefix}{part}.", tables=tuple(SUITES)))
        of_suite = []
        # "when" and "unless" say something of the project, which no suite changes.
        own = {key: reader for key, reader in keys.items() if key not in ("when", "unless")}
        for suite in SUITES:
            if suite in inner:
                row = _table(inner, suite, problems, f"{prefix}{part}.")
                of_suite.append((suite, maker(**_read(row, own, problems, f"{prefix}{part}.{suite}."))))
        out[f"{part}s"] = tuple(of_suite)
    smoke = _read(_table(table, "smoke", problems, prefix), {"code": _smoke}, problems, f"{prefix}smoke.")
    return Recipe(name=name, smoke=smoke.get("code", ""), **out)


def _table(table: Table, key: str, problems: Problems, prefix: str) -> Table:
    value = table.get(key, {})
    if isinstance(value, Mapping):
        return cast("Table", value)
    wrong(prefix + key, value, "a table", problems)
    return {}


def _read(
    table: Table, keys: Mapping[str, _Reader], problems: Problems, prefix: str, *, tables: tuple[str, ...] = ()
) -> dict[str, Any]:
    out = {}
    for key, value in table.items():
        name = prefix + key
        if key in tables:
            continue
        if key not in keys:
            problems.unknown(name, (*keys, *tables))
        elif (found := keys[key](name, value, problems)) is not None:
            out[key] = found
    return out


def _specifier(text: str) -> str:
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"not a version specifier: {text!r}") from None
    return text


def read_packages(key: str, value: object, problems: Problems) -> tuple[str, ...]:
    """An array of names of Debian packages, each once."""
    rows = []
    for row in read_texts(key, value, problems) or ():
        if re.fullmatch(_NAME, row):
            rows.append(row)
        else:
            problems.add(key, f"{key}: not the name of a Debian package: {row!r}")
    return tuple(dict.fromkeys(rows))


def _projects(key: str, value: object, problems: Problems) -> tuple[str, ...]:
    return tuple(normalized(row) for row in read_texts(key, value, problems) or ())


def _options(key: str, value: object, problems: Problems) -> Options | None:
    if not isinstance(value, Mapping):
        wrong(key, value, "a table", problems)
        return None
    rows = []
    for name, row in cast("Table", value).items():
        found = read_texts(f"{key}.{name}", [row] if isinstance(row, str) else row, problems)
        if found is not None:
            rows.append((name, found))
    return tuple(sorted(rows))


def _commands(key: str, value: object, problems: Problems) -> tuple[tuple[str, ...], ...] | None:
    if not isinstance(value, list | tuple):
        wrong(key, value, 'an array of commands like [["make", "fetch"]]', problems)
        return None
    rows = [read_texts(f"{key}[{number}]", row, problems) for number, row in enumerate(value)]
    return tuple(row for row in rows if row)


def _when(text: str) -> str:
    if text not in _WHEN:
        raise ValueError(f'must be "always" or "built", not {text!r}')
    return text


def _smoke(key: str, value: object, problems: Problems) -> str | None:
    text = read_text(key, value, problems)
    try:
        compile(text or "", key, "exec")
    except SyntaxError as error:
        problems.add(key, f"{key} is not Python: {error.msg}")
    return text


_RECIPE: Final[Mapping[str, _Reader]] = {
    "summary": read_text,
    "version": parsed(_specifier),
}
_BUILD: Final[Mapping[str, _Reader]] = {
    "version": parsed(_specifier),
    "packages": read_packages,
    "options": _options,
    "environment": read_pairs,
    "fetch": _commands,
    "repair": read_flag,
}
_RUN: Final[Mapping[str, _Reader]] = {
    "packages": read_packages,
    "without": read_packages,
    "when": parsed(_when),
    "unless": _projects,
}
