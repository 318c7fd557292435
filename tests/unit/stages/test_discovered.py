"""What a project requires is found again, as long as all files that say it are the same."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from secrecy import forms, leaks

from dpbuild.adapters.store import DiskStore
from dpbuild.errors import ConfigError, UnsupportedRequirement
from dpbuild.model.config import Requirements
from dpbuild.stages import requirements
from dpbuild.stages.discovered import discover

PROJECT = """
[project]
name = "app"
dependencies = ["Flask >= 3", "six"]
[project.optional-dependencies]
fast = ["orjson"]
[dependency-groups]
dev = ["pytest"]
"""
ROWS = f"one==1 --hash=sha256:{'1' * 64}\n-r more.txt\n-c limits.txt\n--index-url https://index.example/simple\n"
FILES = {
    "requirements.txt": ROWS,
    "more.txt": f"two==2 --hash=sha256:{'2' * 64}\n",
    "limits.txt": "three<3\n",
    "setup.txt": "four\n",
}


class Case:
    """A project's files, and how often they were understood."""

    def __init__(self, store: DiskStore | None, monkeypatch: pytest.MonkeyPatch) -> None:
        self.store = store
        self.asked = 0
        real = requirements.discover

        def counted(*given: Any, **named: Any) -> Requirements:
            self.asked += 1
            return real(*given, **named)

        monkeypatch.setattr(requirements, "discover", counted)

    def find(self, text: str, files: dict[str, str], extras: tuple[str, ...] = (), groups: tuple[str, ...] = ()) -> Any:
        return discover(tomllib.loads(text), files.get, extras=extras, groups=groups, text=text, store=self.store)


@pytest.fixture
def case(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Case:
    return Case(DiskStore(tmp_path / "store"), monkeypatch)


@pytest.mark.parametrize(
    ("text", "files"),
    [
        (PROJECT, {}),
        ("", {}),
        ("[tool.uv]\nno-sources = true\n", FILES),
        ("", {"requirements.in": "a\n-c limits.txt\n", "limits.txt": "b<3\n"}),
        (PROJECT, {"uv.lock": "version = 1\n"}),
        (PROJECT, {"pylock.toml": 'lock-version = "1.0"\npackages = []\n'}),
    ],
    ids=["project", "nothing", "hashes", "constraints", "uv", "pylock"],
)
def test_it_is_the_same_and_not_asked_for_again(case: Case, text: str, files: dict[str, str]) -> None:
    first = case.find(text, files)
    second = case.find(text, files)
    assert (second, hash(second), case.asked) == (first, hash(first), 1)


@pytest.mark.parametrize("name", ["requirements.txt", "more.txt", "limits.txt"])
def test_each_file_that_was_read_counts(case: Case, name: str) -> None:
    before = case.find("", FILES)
    extra = f"more==1 --hash=sha256:{'3' * 64}\n"
    assert case.find("", FILES | {"other.txt": "x\n"}) == before
    assert case.asked == 1
    assert case.find("", FILES | {name: FILES[name] + extra}) != before


@pytest.mark.parametrize("name", ["uv.lock", "pylock.toml"])
def test_a_file_that_was_looked_for_counts(case: Case, name: str) -> None:
    case.find(PROJECT, {})
    assert case.find(PROJECT, {name: 'lock-version = "1.0"\n'}).origin == name


def test_the_project_its_extras_and_groups_count(case: Case) -> None:
    found = [
        case.find(PROJECT, {}),
        case.find(PROJECT.replace("six", "seven"), {}),
        case.find(PROJECT, {}, extras=("fast",)),
        case.find(PROJECT, {}, groups=("dev",)),
    ]
    assert len(set(found)) == case.asked == 4


def test_an_error_is_told_each_time(case: Case) -> None:
    text = PROJECT.replace("six", "no requirement")
    for _ in range(2):
        with pytest.raises(ConfigError, match="not a requirement"):
            case.find(text, {})


def test_without_a_store(monkeypatch: pytest.MonkeyPatch) -> None:
    case = Case(None, monkeypatch)
    assert case.find(PROJECT, {}) == case.find(PROJECT, {})
    assert case.asked == 2


@pytest.mark.parametrize(
    "line",
    [
        "--index-url https://ann:hunter2@index.example/simple",
        "--extra-index-url=https://hunter2@index.example/simple",
        "-f HTTP://ann:hunter2%40@files.example/a/",
    ],
)
def test_logins_are_refused_and_not_kept(tmp_path: Path, case: Case, line: str) -> None:
    rows = f"one==1 --hash=sha256:{'1' * 64}\n{line}\n"
    for _ in range(2):
        with pytest.raises(UnsupportedRequirement):
            case.find("", {"requirements.txt": rows})
    assert leaks(forms("ann", "hunter2"), tmp_path / "store") == []
