"""Locking by pip-tools in the builder: the same lock as by uv."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from machinery import Ran

pytestmark = [pytest.mark.network, pytest.mark.bubblewrap]

PROJECT = """\
[project]
name = "mixed"
version = "1"
dependencies = ["httpx[http2]<1", "docopt", "tomli; python_version < '3.11'"]
[tool.dpbuild]
base = "compose:debian13"
platforms = ["linux/amd64"]
app = "none"
"""


def test_the_lock_is_that_of_uv(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    """Docopt has only an sdist, whose setup.py says what it requires."""
    texts = []
    for resolver in ("pip-tools", "uv"):
        folder = tmp_path / resolver
        folder.mkdir()
        (folder / "pyproject.toml").write_text(PROJECT)
        dpbuild("lock", folder, "--resolver", resolver, "--builder", "bubblewrap")
        texts.append((folder / "pylock.dpbuild.toml").read_text())
        build = (folder / "pylock.dpbuild-build.toml").read_text()
        assert 'name = "sdist-docopt-0-6-2"' in build
    assert texts[0].replace('resolver = "pip-tools"\n', "") == texts[1] != texts[0]
    assert 'name = "h2"' in texts[0]


@pytest.mark.slow
@pytest.mark.parametrize("suite", ["debian12", "debian13"])
def test_the_image_is_that_of_this_machine_s_downloads(dpbuild: Callable[..., Ran], tmp_path: Path, suite: str) -> None:
    """Resolved and downloaded in the builder, with an empty store each time: lock, build lock and image are the same."""
    found = []
    for more in ("", "[tool.dpbuild.builder]\nresolve = true\n"):
        folder = tmp_path / f"project{len(found)}"
        folder.mkdir()
        (folder / "pyproject.toml").write_text(PROJECT.replace("debian13", suite) + f'entrypoint = ["-V"]\n{more}')
        store = {"DPBUILD_CACHE_DIR": str(tmp_path / f"store{len(found)}")}
        done = dpbuild("build", folder, "-o", folder / "image", "--builder", "bubblewrap", env=store)
        texts = [(folder / name).read_text() for name in ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml")]
        found.append((done.out.rpartition("@")[2], *texts))
    assert found[0] == found[1]


def test_no_solution(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace('"docopt"', '"docopt>99"'))
    done = dpbuild("lock", tmp_path, "--resolver", "pip-tools", "--builder", "bubblewrap", check=False)
    assert done.status == 41, done.err
    assert "docopt>99" in done.err
    assert not (tmp_path / "pylock.dpbuild.toml").exists()


@pytest.mark.slow
def test_who_chose_it_keeps_it(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    """A lock is renewed by what made it, pins are kept, and every change is said."""
    lock, build_lock = tmp_path / "pylock.dpbuild.toml", tmp_path / "pylock.dpbuild-build.toml"

    def depend(*rows: str) -> None:
        text = PROJECT.replace('"httpx[http2]<1", "docopt"', ", ".join(f'"{row}"' for row in rows))
        (tmp_path / "pyproject.toml").write_text(text)

    depend("httpx==0.27.0", "docopt")
    dpbuild("lock", tmp_path, "--resolver", "pip-tools")
    first, built_with = lock.read_text(), build_lock.read_text()
    assert 'resolver = "pip-tools"\n' in first
    dpbuild("build", tmp_path, "-o", tmp_path / "image")
    assert (lock.read_text(), build_lock.read_text()) == (first, built_with)

    depend("httpx<1", "docopt", "iniconfig")
    renewed = dpbuild("build", tmp_path, "-o", tmp_path / "image")
    said = renewed.err.splitlines()
    start = next(number for number, line in enumerate(said) if "the lock was renewed" in line)
    assert said[start].startswith("note: the lock was renewed by pip-tools: dependencies changed: ")
    assert re.fullmatch(r"note:   \+ iniconfig [\d.]+", said[start + 1])
    assert [line for line in said if "->" in line] == []
    assert 'resolver = "pip-tools"\n' in lock.read_text()
    assert re.search(r'^name = "httpx"\nversion = "0\.27\.0"$', lock.read_text(), re.MULTILINE)
    assert build_lock.read_text() == built_with

    upgraded = dpbuild("lock", tmp_path, "--upgrade-package", "httpx").out
    assert re.search(r"^httpx 0\.27\.0 -> 0\.2[89]", upgraded, re.MULTILINE)
    assert 'resolver = "pip-tools"\n' in lock.read_text()

    assert dpbuild("lock", tmp_path, "--resolver", "uv").out == "resolver pip-tools -> uv\n"
    assert "resolver" not in lock.read_text()
    assert "pip-tools" not in build_lock.read_text()


def test_without_a_builder(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text(PROJECT.replace('"docopt"', '"iniconfig"'))
    done = dpbuild("lock", tmp_path, "--resolver", "pip-tools", "--builder", "none", check=False)
    assert done.status == 100, done.err
    assert "error: pip-tools cannot be run: there is nothing that could run a builder here\n" in done.err
    assert re.search(
        r"^ hint: install bubblewrap .*; dpbuild lock --resolver uv needs none of it$", done.err, re.MULTILINE
    )
    assert not (tmp_path / "pylock.dpbuild.toml").exists()
