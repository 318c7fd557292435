"""Every option has a twin in the environment; --help and the documentation name it."""

from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from dpbuild.cli.group import cli
from dpbuild.cli.main import VERBS


def commands(command: click.Command, *words: str) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    if isinstance(command, click.Group):
        context = click.Context(command)
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None
            yield from commands(inner, *words, name)
    else:
        yield words, command


ALL = dict(commands(cli))


def twins(command: click.Command) -> dict[str, click.Option]:
    return {str(row.envvar): row for row in command.params if isinstance(row, click.Option)}


def test_all_verbs_are_looked_at() -> None:
    assert {words[0] for words in ALL} == set(VERBS)


@pytest.mark.parametrize("words", ALL, ids=" ".join)
def test_help_names_every_twin(words: tuple[str, ...]) -> None:
    text = " ".join(CliRunner().invoke(cli, [*words, "--help"]).output.split())
    for name, option in twins(ALL[words]).items():
        longest = max((*option.opts, *option.secondary_opts), key=len).removeprefix("--no-").removeprefix("--")
        assert name in (f"DPBUILD_{longest.upper().replace('-', '_')}", f"DPBUILD_{str(option.name).upper()}")
        assert f"[env var: {name}" in text


def test_the_table_has_every_twin(root: Path) -> None:
    page = (root / "docs/configuration.md").read_text().partition("\n## Variables\n")[2].partition("\n## ")[0]
    rows = [line.split("|")[1:3] for line in page.splitlines() if line.startswith("| `")]
    table = {name.strip(" `"): verbs for names, verbs in rows for name in names.split(",")}
    assert set(table) == {name for command in ALL.values() for name in twins(command)}
    for name, verbs in table.items():
        if "all that" not in verbs:
            having = {words[0] for words, command in ALL.items() if name in twins(command)}
            assert {verb for verb in VERBS if f"`{verb}" in verbs} == having


@pytest.mark.parametrize(("text", "tags"), [("a/b:1 a/c:2", ("a/b:1", "a/c:2")), ("a/b", ("a/b",))])
def test_what_is_repeated_is_split_at_white_space(
    monkeypatch: pytest.MonkeyPatch, text: str, tags: tuple[str, ...]
) -> None:
    monkeypatch.setenv("DPBUILD_TAG", text)
    monkeypatch.setenv("DPBUILD_EVIDENCE", "0")
    context = ALL["build",].make_context("build", [])
    assert context.params["tags"] == tags
    assert context.params["evidence"] is False
