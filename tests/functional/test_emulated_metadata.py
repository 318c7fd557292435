"""What an sdist requires on a platform that is emulated here: asked where somebody wants that platform, else not."""

import json
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories.sdist import make_sdist
from fakes.index import serve_index
from machinery import Ran

from dpbuild.stages import lockfile

BACKEND = """
import os
def prepare_metadata_for_build_wheel(folder, settings=None):
    name = "dyn-1.0.dist-info"
    os.mkdir(os.path.join(folder, name))
    with open(os.path.join(folder, name, "METADATA"), "w") as file:
        file.write("Metadata-Version: 2.1\\nName: dyn\\nVersion: 1.0\\n")
    return name
def build_wheel(folder, settings=None, metadata=None): raise SystemExit("not asked for")
"""
FILES = {
    "pyproject.toml": '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n',
    "own.py": BACKEND,
}
pytestmark = [pytest.mark.network, pytest.mark.bubblewrap]


@pytest.fixture
def lock(dpbuild: Callable[..., Ran], tmp_path: Path) -> Iterator[Callable[..., tuple[list[str], list[str], str]]]:
    """Locks a project with one sdist: who was asked, what was noted, and the lock's text."""
    (tmp_path / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\ndependencies = ["dyn"]\n'
        '[tool.dpbuild]\nbase = "compose:debian13:nonroot"\n'
    )
    with serve_index() as index:

        def run(*words: str, dynamic: bool = True) -> tuple[list[str], list[str], str]:
            index.add(make_sdist("dyn", "1.0", FILES, dynamic=dynamic))
            env = {"UV_DEFAULT_INDEX": index.simple, "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"}
            done = dpbuild("lock", tmp_path, "--progress", "json", "--builder", "bubblewrap", *words, env=env)
            rows = [json.loads(line) for line in done.err.splitlines()]
            asked = [row["step"] for row in rows if row["event"] == "start" and row["step"].startswith("asking ")]
            notes = [row["text"] for row in rows if row["event"] == "note"]
            return asked, notes, (tmp_path / lockfile.NAME).read_text()

        yield run


@pytest.mark.qemu
@pytest.mark.slow
def test_a_platform_that_nobody_asked_for_is_left_out(
    lock: Callable[..., tuple[list[str], list[str], str]],
) -> None:
    both = ("linux/amd64", "linux/arm64")
    own, emulated = both if platform.machine() == "x86_64" else both[::-1]
    asked, notes, text = lock()
    assert asked == [f"asking dyn 1.0 what it requires on {own}"]
    why = "asking dyn 1.0 what it requires takes an emulated builder"
    assert notes == [f'{emulated} is not locked: {why}; platforms = ["{own}", "{emulated}"] has that done']
    assert lockfile.loads(text).platforms == (own,)
    # Who asks for it gets it, and it stays in the lock.
    asked, notes, text = lock("--platform", f"{own},{emulated}")
    assert (asked, notes) == ([f"asking dyn 1.0 what it requires on {emulated}"], [])
    assert lockfile.loads(text).platforms == ("linux/amd64", "linux/arm64")
    assert lock() == ([], [], text)


def test_what_an_sdist_says_itself_is_read(lock: Callable[..., tuple[list[str], list[str], str]]) -> None:
    asked, notes, text = lock(dynamic=False)
    assert (asked, notes) == ([], [])
    assert lockfile.loads(text).platforms == ("linux/amd64", "linux/arm64")
