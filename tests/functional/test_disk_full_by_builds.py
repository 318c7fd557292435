"""Builds that write without end: the disk they fill is named, nothing is left of them, and the next run has room."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from bench import Bench, files
from engines import Daemon, own_daemon, short_folder

pytestmark = [pytest.mark.network, pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount")]

# Writes without end beside the sources, as long as there is a file that says so.
BACKEND = """\
import os

def build_wheel(*_):
    try:
        with open("endless", "wb") as file:
            while os.path.exists("without-end") or file.tell() < int(os.environ.get("BYTES", "0")):
                file.write(bytes(1 << 20))
    except OSError as problem:
        raise SystemExit(str(problem))
    raise SystemExit(3)
"""


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """The place of a store with room for a base and little more."""
    place = tmp_path / "small"
    place.mkdir()
    mount(place, "220m")
    yield place
    subprocess.run(["umount", "-l", str(place)], check=True)


def mount(place: Path, size: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(place)], check=True)


@pytest.fixture
def writing(bench: Bench, small: Path) -> Bench:
    """A project whose build fills what it has, with its store in the small place."""
    (bench.project / "without-end").touch()
    bench.build_by(BACKEND)
    shutil.copytree(bench.cache, small / "cache", symlinks=True)
    return bench


def at(small: Path) -> dict[str, str]:
    return {"DPBUILD_CACHE_DIR": f"{small}/cache"}


def clean(small: Path) -> None:
    assert list((small / "cache/tmp").iterdir()) == []


@pytest.mark.bubblewrap
def test_in_bubblewrap(writing: Bench, small: Path) -> None:
    before = files(writing.project)
    done = writing.build("--builder", "bubblewrap", env=at(small))
    said = writing.left(
        done, 110, "app 1: its build backend backend .*: the disk is full\n", before, hint="--cache-dir"
    )
    assert "No space left on device" in said
    clean(small)
    # With an end it is the build that fails, and no longer the disk.
    (writing.project / "without-end").unlink()
    again = writing.build("--builder", "bubblewrap", env=at(small))
    assert again.status == 54, again.err
    clean(small)


@pytest.mark.docker
@pytest.mark.slow
def test_while_the_results_are_fetched_from_an_engine(writing: Bench, small: Path) -> None:
    """The engine has room for what the build wrote, and the store has not."""
    (writing.project / "without-end").unlink()
    with (writing.project / "pyproject.toml").open("a") as file:
        file.write(f'[tool.dpbuild.builder.env]\nBYTES = "{300 << 20}"\n')
    before = files(writing.project)
    done = writing.build("--builder", "docker", env=at(small))
    writing.left(done, 110, "error: the disk is full\n", before, hint="--cache-dir")
    clean(small)


@pytest.mark.slow
@pytest.mark.docker
def test_at_the_engine(writing: Bench, small: Path) -> None:
    before = files(writing.project)
    with short_folder() as folder:
        mount(folder, "300m")
        try:
            with own_daemon(folder) as daemon:
                filled(writing, daemon, before)
        finally:
            subprocess.run(["umount", "-l", str(folder)], check=True)


def filled(bench: Bench, daemon: Daemon, before: set[str]) -> None:
    done = bench.build("--builder", "docker", env=daemon.environment)
    said = bench.left(done, 110, "the disk is full\n", before, hint="free some room where docker has its data")
    assert "No space left on device" in said
    # What it wrote went with its container.
    (bench.project / "without-end").unlink()
    again = bench.build("--builder", "docker", env=daemon.environment)
    assert again.status == 54, again.err
