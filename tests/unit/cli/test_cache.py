"""``dpbuild cache``: what it prints, and what it refuses."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from dpbuild.adapters.store import DiskStore
from dpbuild.cli.cache import command
from dpbuild.errors import StoreError, UsageError


@pytest.fixture
def store(tmp_path: Path) -> Path:
    path = tmp_path / "store"
    made = DiskStore(path)
    with made.writer() as writer:
        writer.write(b"PK\x03\x04" + b"x" * 1_500_000)
        writer.commit()
    made.put("facts", "base", b"facts")
    made.close()
    return path


def run(store: Path, *arguments: str) -> Result:
    return CliRunner().invoke(command, [*arguments, "--cache-dir", str(store)])


def test_dir_prints_the_folder_and_makes_none(tmp_path: Path) -> None:
    assert run(tmp_path / "none", "dir").output == f"{tmp_path / 'none'}\n"
    assert not (tmp_path / "none").exists()


def test_size(store: Path) -> None:
    rows = {line.split()[0]: line.split()[1:] for line in run(store, "size").output.splitlines()}
    assert rows["wheels"] == ["1", "entries", "1.5", "MB"]
    assert rows["total"] == ["2", "entries", "1.5", "MB"]
    found = json.loads(run(store, "size", "--json").output)
    assert found["wheels"] == {"entries": 1, "bytes": 1_500_004}
    assert found["facts"]["entries"] == 1
    assert list(json.loads(run(store, "size", "--json", "--only", "facts,layers").output)) == ["facts", "layers"]


def test_prune_says_what_went(store: Path) -> None:
    assert run(store, "prune").output == "removed: 0 entries, 0.0 MB\n"
    assert run(store, "prune", "--older-than", "0s", "--dry-run").output == "would be removed: 2 entries, 1.5 MB\n"
    assert run(store, "prune", "--older-than", "0s", "--only", "wheels").output == "removed: 1 entry, 1.5 MB\n"
    assert run(store, "size", "--json", "--only", "wheels").output == '{"wheels": {"entries": 0, "bytes": 0}}\n'


def test_clean(store: Path) -> None:
    assert run(store, "clean", "--only", "facts").output == "removed: 1 entry, 0.0 MB\n"
    assert run(store, "clean").output == "removed: 1 entry, 1.5 MB\n"
    assert run(store, "clean").output == "removed: 0 entries, 0.0 MB\n"


@pytest.mark.parametrize("age", ["", "30", "d", "-1d", "1y", "1.5d", "30 d", "9999999999d"])
def test_what_is_no_age(store: Path, age: str) -> None:
    assert isinstance(run(store, "prune", f"--older-than={age}").exception, UsageError)


def test_what_is_no_kind(store: Path) -> None:
    for verb in ("size", "prune", "clean"):
        problem = run(store, verb, "--only", "bases,foo").exception
        assert isinstance(problem, UsageError)
        assert "'foo'" in problem.what
        assert problem.hint
        assert "builders" in problem.hint


def test_a_store_in_use(store: Path) -> None:
    held = DiskStore(store)
    problem = run(store, "clean", "--no-wait").exception
    assert isinstance(problem, StoreError)
    held.close()
    assert run(store, "clean", "--no-wait").exit_code == 0
