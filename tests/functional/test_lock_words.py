"""What ``dpbuild lock`` says, and what it leaves unsaid."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from bench import Bench
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from machinery import Ran

from dpbuild.adapters.uv import find_uv

FOLDERS = "left out, find-links takes one in"


@pytest.fixture
def small(bare: Bench) -> Bench:
    """A project on a base that needs no network."""
    make_image(bare.tmp / "base", *debian())
    bare.configure(*small_base(bare))
    return bare


def small_base(bench: Bench) -> tuple[str, ...]:
    return f'base = "oci:{bench.tmp}/base"', 'platforms = ["linux/amd64"]'


def uv(bench: Bench, *words: str) -> None:
    subprocess.run(
        [
            find_uv(os.environ["PATH"]),
            *words,
            "-q",
            "--cache-dir",
            str(bench.tmp / "uv-cache"),
            "--python",
            sys.executable,
        ],
        cwd=bench.project,
        env={"PATH": os.environ["PATH"], "HOME": str(bench.tmp), "UV_PYTHON_DOWNLOADS": "never", **bench.environment},
        check=True,
    )


def test_a_lock_that_is_current_is_called_so(small: Bench) -> None:
    current = "the lock is current: 1 package for linux/amd64\n"

    def locked(*words: str) -> Ran:
        # Without the configuration of pip that the machine may have.
        return small.run(
            "lock", small.project, *words, env={"PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""}, check=True
        )

    first = locked()
    assert (first.out, first.err) == ("+ demo 1.0\n", "the lock is written: 1 package for linux/amd64\n")
    lock = small.project / "pylock.dpbuild.toml"
    text = lock.read_text()
    for words in ((), ("--check",), ("--upgrade",), ("--upgrade-package", "demo")):
        done = locked(*words)
        assert (done.out, done.err, lock.read_text()) == ("", current, text), words
    small.index.add(make_wheel("demo", "2.0"))
    done = locked()
    assert (done.out, done.err) == ("", current)
    done = locked("--upgrade")
    assert done.out == "demo 1.0 -> 2.0\n"
    assert "current" not in done.err


def foreign(bench: Bench, kind: str) -> None:
    (bench.project / "requirements.in").write_text("demo\n")
    words = ["pip", "compile", "requirements.in", "--python-version", "3.13", "-o", kind]
    uv(bench, *(["lock"] if kind == "uv.lock" else [*words, "--generate-hashes"]))


@pytest.mark.parametrize(
    ("kind", "hint"),
    [
        ("uv.lock", "run uv lock {}, then dpbuild lock"),
        ("pylock.toml", "upgrade pylock.toml with what made it, then dpbuild lock"),
        ("requirements.txt", "upgrade requirements.txt with what made it, then dpbuild lock"),
    ],
)
def test_versions_of_another_tools_lock_are_not_upgraded_here(small: Bench, kind: str, hint: str) -> None:
    pyproject = small.project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("[tool.dpbuild]", 'requires-python = ">=3.11"\n[tool.dpbuild]'))
    foreign(small, kind)
    small.lock()
    before = {path: path.read_bytes() for path in small.project.iterdir()}
    small.index.add(make_wheel("demo", "2.0"))
    for words in (("--upgrade",), ("--upgrade-package", "demo")):
        done = small.run("lock", small.project, *words)
        assert (done.status, done.out) == (2, ""), done.err
        assert f"error: versions come from {kind}, which dpbuild does not change\n" in done.err
        assert f" hint: {hint.format(' '.join(words))}\n" in done.err
    assert {path: path.read_bytes() for path in small.project.iterdir()} == before


def test_a_pylock_that_may_be_older_than_the_project(small: Bench) -> None:
    """Nothing in it says what it was made for, so that is no error; but it is said by whoever takes versions from it."""
    foreign(small, "pylock.toml")
    assert "pylock.toml" not in small.lock().err
    small.configure(*small_base(small), dependencies=("demo>=2", "speedy"))
    said = (
        "note: pylock.toml has demo 1.0, and pyproject.toml requires demo>=2; pylock.toml does not have speedy, which"
    )
    for words in (("lock", small.project), ("lock", small.project, "--check"), ("build", small.project, "--locked")):
        assert said in small.run(*words, check=True).err
    assert said not in small.run("build", small.project, "--frozen", check=True).err


def test_build_requirements_are_upgraded_beside_another_tools_lock(bench: Bench) -> None:
    """Their versions stay until they are upgraded, as all others do; and nothing else is this tool's to change."""
    pyproject = bench.project / "pyproject.toml"
    (bench.project / "maker.py").write_text(
        "def build_wheel(folder, settings=None, metadata=None): raise SystemExit(1)\n"
    )
    system = '[build-system]\nrequires = ["demo"]\nbuild-backend = "maker"\nbackend-path = ["."]\n'
    text = pyproject.read_text().replace("[tool.dpbuild]", f'requires-python = ">=3.11"\n{system}[tool.dpbuild]')
    pyproject.write_text(text.replace("dependencies = ['demo']", "dependencies = []"))
    foreign(bench, "uv.lock")
    second = bench.project / "pylock.dpbuild-build.toml"

    def locked(*words: str) -> str:
        done = bench.lock(*words)
        found = re.search(r'"demo==([0-9.]+)"', second.read_text())
        assert found is not None
        return f"{found[1]} {'only build requirements are upgraded' in done.err}"

    assert locked() == "1.0 False"
    bench.index.add(make_wheel("demo", "2.0"))
    assert locked() == "1.0 False"
    assert locked("--upgrade") == "2.0 True"


def test_pips_folders_are_named_once_where_something_is_resolved(small: Bench, tmp_path: Path) -> None:
    env = {"PIP_FIND_LINKS": f"{tmp_path}/one {tmp_path}/two"}

    def told(*arguments: object) -> int:
        done = small.run(*arguments, env=env)
        assert done.status == 0, done.err
        assert sum(str(tmp_path / "one") in line for line in done.err.splitlines()) == done.err.count(FOLDERS)
        return done.err.count(FOLDERS)

    assert told("lock", small.project) == 1
    assert told("lock", small.project, "--check") == 0
    assert told("build", small.project, "-o", small.output, "--locked") == 0
    assert told("build", small.project, "-o", small.output) == 0
    (small.project / "pylock.dpbuild.toml").unlink()
    assert told("build", small.project, "-o", small.output) == 1
    pyproject = small.project / "pyproject.toml"
    pyproject.write_text(pyproject.read_text().replace("[tool.dpbuild]", 'requires-python = ">=3.11"\n[tool.dpbuild]'))
    foreign(small, "uv.lock")
    assert told("lock", small.project) == 0
