"""Options in their plainest form are what click makes of them, and all else is left to click."""

from pathlib import Path

import click
import pytest

from dpbuild.cli import plain
from dpbuild.cli.build import command

PLAIN = (
    "",
    ".",
    "-t a/b:1 --push",
    "--tag a/b:1 -t c:2 --tag=d e",
    "e --load -o out --output x.tar --output=y",
    "--platform linux/amd64,linux/arm64 --platform linux/arm64",
    "--base compose:debian13 --expect-digest sha256:1 --sign-key key",
    "--metadata-file m.json --sbom=s.json --cache-dir /nowhere/store",
    "--locked --frozen --offline --plain-http -q -v",
    "--quiet --verbose --evidence",
    "--evidence --no-evidence --push --push",
    "-t a=b --base=a=b",
)
LEFT = (
    "--help",
    "-h",
    "-qv",
    "-ta",
    "--pus",
    "--push=1",
    "-t",
    "-t --push",
    "--tag=",
    "--",
    "-- .",
    "a b",
    "--builder docker",
    "--epoch 1",
    "--progress plain",
    "--unknown",
    "--sbom .",
    "-",
)


@pytest.fixture(autouse=True)
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(plain.twins()):
        monkeypatch.delenv(name)


def by_click(words: list[str]) -> dict[str, object]:
    context: click.Context = command.make_context("build", list(words), obj={})
    return context.params


@pytest.mark.parametrize("line", PLAIN)
def test_plain_is_what_click_says(line: str) -> None:
    assert plain.read(line.split()) == by_click(line.split())


@pytest.mark.parametrize("line", LEFT)
def test_the_rest_is_left_to_click(line: str) -> None:
    assert plain.read(line.split()) is None


@pytest.mark.parametrize("name", [option.envvar for option in command.params if option.envvar])
def test_twins_in_the_environment(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    given = plain.read([])
    assert given is None or (name == "DPBUILD_CACHE_DIR" and given == by_click([]))
    monkeypatch.setenv(name, "")
    assert plain.read([]) == by_click([])


def test_paths_that_click_refuses(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    assert plain.read(["--cache-dir", str(file)]) is None
    assert plain.read(["--metadata-file", str(tmp_path)]) is None
    assert plain.read(["--metadata-file", str(file)]) == by_click(["--metadata-file", str(file)])
    assert plain.read([str(file)]) == by_click([str(file)])
