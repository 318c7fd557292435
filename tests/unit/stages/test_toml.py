"""TOML is read once, and is the same when it is found again."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from secrecy import forms, leaks

from dpbuild.adapters.store import DiskStore
from dpbuild.errors import LockError
from dpbuild.pypa.pylock import Document, LockedFile, LockedPackage, dumps
from dpbuild.stages import lockfile, toml


@pytest.fixture
def store(tmp_path: Path) -> DiskStore:
    return DiskStore(tmp_path / "store")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The texts that tomllib has read."""
    rows: list[str] = []
    real = tomllib.loads

    def counted(text: str) -> dict[str, Any]:
        rows.append(text)
        return real(text)

    monkeypatch.setattr(tomllib, "loads", counted)
    return rows


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a = 1\nb = -0.5\nc = 1e300\nd = true",
        "[a.b]\nc = [[], [1, {d = 'e'}]]",
        '"\\u0000ä" = "\\ud7ff\\U0001F600"',
    ],
)
def test_it_is_the_same_and_read_once(store: DiskStore, asked: list[str], text: str) -> None:
    found = [toml.loads(text, store) for _ in range(2)]
    assert found[0] == found[1]
    assert repr(found[0]) == repr(found[1])
    assert asked == [text]


@pytest.mark.parametrize("text", ["a = 2020-01-01", "a = [07:30:00]", "a = nan", "a = -inf"])
def test_what_json_cannot_say_is_read_again(store: DiskStore, asked: list[str], text: str) -> None:
    assert repr(toml.loads(text, store)) == repr(toml.loads(text, store)) == repr(tomllib.loads(text))
    assert asked == [text] * 3


def test_without_a_store(asked: list[str]) -> None:
    assert toml.loads("a = 1", None) == toml.loads("a = 1", None) == {"a": 1}
    assert len(asked) == 2


def test_what_is_no_toml_is_told_each_time(store: DiskStore) -> None:
    for _ in range(2):
        with pytest.raises(tomllib.TOMLDecodeError):
            toml.loads("a = ", store)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.integers(-(2**63), 2**63 - 1)))
def test_any_table(store: DiskStore, table: dict[str, int]) -> None:
    text = dumps(Document(packages=(), tool={"x": table}))
    assert toml.loads(text, store) == toml.loads(text, store) == tomllib.loads(text)


def test_a_lock_that_is_found_again(store: DiskStore, asked: list[str]) -> None:
    file = LockedFile(
        name="a-1-py3-none-any.whl", sha256="0" * 64, url="https://index.example/a-1-py3-none-any.whl", size=7
    )
    own = {"lock-version": 1, "inputs-hash": "x", "inputs": {"requirements": ["a"]}, "platforms": ["linux/amd64"]}
    text = dumps(Document(packages=(LockedPackage(name="a", version="1", wheels=(file,)),), tool={"dpbuild": own}))
    assert lockfile.loads(text, store=store) == lockfile.loads(text, store=store) == lockfile.loads(text)
    assert len(asked) == 2


def test_a_login_in_a_lock_is_refused_and_not_kept(store: DiskStore) -> None:
    url = "https://ann:hunter2@index.example/a-1-py3-none-any.whl"
    file = LockedFile(name="a-1-py3-none-any.whl", sha256="0" * 64, url=url)
    own = {"lock-version": 1, "inputs-hash": "x", "platforms": ["linux/amd64"]}
    text = dumps(Document(packages=(LockedPackage(name="a", version="1", wheels=(file,)),), tool={"dpbuild": own}))
    with pytest.raises(LockError, match="holds a user or password"):
        lockfile.loads(text, store=store)
    assert leaks(forms("ann", "hunter2"), store.path) == []
