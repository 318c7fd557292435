"""Rules about the code that no linter holds."""

import ast
from pathlib import Path

import pytest

from dpbuild import errors
from dpbuild.cli.main import VERBS

LARGEST = 350


def modules(root: Path) -> list[Path]:
    return sorted((root / "builder/dpbuild").rglob("*.py"))


def test_modules_stay_small(root: Path) -> None:
    sizes = {str(path): len(path.read_text().splitlines()) for path in modules(root)}
    assert {path: size for path, size in sizes.items() if size > LARGEST} == {}


def test_every_module_says_what_it_is(root: Path) -> None:
    assert [str(path) for path in modules(root) if not ast.get_docstring(ast.parse(path.read_text()))] == []


def test_values_are_frozen(root: Path) -> None:
    """Every dataclass in the packages of values is frozen and has slots."""
    loose = []
    for package in ("oci", "pypa", "elf", "archive", "debian", "model", "ports"):
        for path in (root / "builder/dpbuild" / package).glob("*.py"):
            for node in ast.walk(ast.parse(path.read_text())):
                if not isinstance(node, ast.ClassDef):
                    continue
                for mark in node.decorator_list:
                    if isinstance(mark, ast.Call) and getattr(mark.func, "id", "") == "dataclass":
                        words = {word.arg: getattr(word.value, "value", None) for word in mark.keywords}
                        if not words.get("frozen") or not words.get("slots"):
                            loose.append(f"{path.name}: {node.name}")
    assert loose == []


def test_exit_codes_are_those_of_the_documentation(root: Path) -> None:
    codes: dict[int, list[str]] = {}
    for value in vars(errors).values():
        if isinstance(value, type) and issubclass(value, errors.DpbuildError) and value is not errors.DpbuildError:
            codes.setdefault(value.exit_code, []).append(value.__name__)
    assert {code: names for code, names in codes.items() if len(names) > 1} == {}
    text = (root / "README.md").read_text().partition("## Exit codes")[2]
    assert [code for code in codes if str(code) not in text] == []


@pytest.mark.parametrize("verb", VERBS)
def test_every_option_has_its_twin(verb: str) -> None:
    import importlib

    import click

    command = importlib.import_module(f"dpbuild.cli.{verb}").command
    commands = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    options = [row for each in commands for row in each.params if isinstance(row, click.Option)]
    missing = [row.name for row in options if row.envvar is None and row.name not in ("help", "as_json")]
    assert missing == []
    assert [row.name for row in options if not row.help] == []
