"""A build on another base than the project is locked for."""

from collections.abc import Callable
from pathlib import Path

import pytest
from bench import Bench, files
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from machinery import Ran

LOCK, BUILD_LOCK = "pylock.dpbuild.toml", "pylock.dpbuild-build.toml"


@pytest.fixture
def bases(bare: Bench) -> Bench:
    """Two bases with different Pythons, the first of them configured; neither needs a network."""
    make_image(bare.tmp / "base", *debian())
    make_image(bare.tmp / "other", *debian("3.11.2"))
    bare.configure(f'base = "oci:{bare.tmp}/base"', 'platforms = ["linux/amd64"]')
    return bare


@pytest.mark.parametrize("way", ["flag", "variable"])
def test_the_lock_stays(bases: Bench, way: str) -> None:
    other = f"oci:{bases.tmp}/other"
    words = ("--base", other) if way == "flag" else ()
    env = {"PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": "/dev/null"} | ({} if words else {"DPBUILD_BASE": other})
    plain = bases.build(check=True)
    lock = (bases.project / LOCK).read_bytes()
    # Versions are those of the lock also there.
    bases.index.add(make_wheel("demo", "2.0"))
    done = bases.build(*words, env=env, check=True)
    notes = [line for line in done.err.splitlines() if line.startswith("note: ")]
    note = f"note: the lock is for oci:{bases.tmp}/base and stays; for {other} one was made that is not kept"
    assert [row for row in notes if "lock" in row] == [note]
    assert (bases.project / LOCK).read_bytes() == lock
    assert done.out != plain.out
    assert bases.build("--locked", check=True).out == plain.out
    # What was not kept is what the lock for the other base says.
    assert bases.run("lock", bases.project, *words, env=env, check=True).out == (
        "linux/amd64: Python 3.13.5 -> 3.11.2\n"
    )
    assert (bases.project / LOCK).read_bytes() != lock
    assert bases.build("--locked", *words, env=env, check=True).out == done.out


def test_a_lock_that_must_hold_is_stale(bases: Bench) -> None:
    bases.lock()
    said = bases.fails(42, "the lock is stale: base changed", "--locked", "--base", f"oci:{bases.tmp}/other")
    assert "Python 3.13.5 -> 3.11.2" in said


def test_without_a_lock_one_is_written(bases: Bench) -> None:
    bases.build("--base", f"oci:{bases.tmp}/other", check=True)
    assert f"oci:{bases.tmp}/other" in (bases.project / LOCK).read_text()
    # One that is not for the configured base is renewed, as ever.
    renewed = bases.build(check=True)
    assert "the lock was renewed: base changed" in renewed.err
    assert f"oci:{bases.tmp}/base" in (bases.project / LOCK).read_text()


BACKEND = """
import base64, hashlib, os, zipfile
FILES = {
    "app.py": "x = 1\\n",
    "app-1.dist-info/METADATA": "Metadata-Version: 2.1\\nName: app\\nVersion: 1\\n",
    "app-1.dist-info/WHEEL": "Wheel-Version: 1.0\\nGenerator: x\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n",
}
def row(name, text):
    digest = base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")
    return f"{name},sha256={digest},{len(text)}\\n"
def build_wheel(folder, settings=None, metadata=None):
    record = "".join(row(*each) for each in FILES.items()) + "app-1.dist-info/RECORD,,\\n"
    with zipfile.ZipFile(os.path.join(folder, "app-1-py3-none-any.whl"), "w") as wheel:
        for name, text in FILES.items():
            wheel.writestr(name, text)
        wheel.writestr("app-1.dist-info/RECORD", record)
    return "app-1-py3-none-any.whl"
"""


@pytest.mark.network
@pytest.mark.bubblewrap
def test_the_lock_of_what_the_app_is_built_with_stays_too(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    project, output = tmp_path / "project", tmp_path / "output"
    project.mkdir()
    (project / "own.py").write_text(BACKEND)
    (project / "pyproject.toml").write_text(
        '[project]\nname = "app"\nversion = "1"\ndependencies = []\n'
        '[build-system]\nrequires = []\nbuild-backend = "own"\nbackend-path = ["."]\n'
        '[tool.dpbuild]\nbase = "compose:debian13:nonroot"\nplatforms = ["linux/amd64"]\nbytecode = false\n'
        'entrypoint = ["-m", "app"]\n'
    )
    plain = dpbuild("build", project, "-o", output)
    locks = {name: (project / name).read_bytes() for name in (LOCK, BUILD_LOCK)}
    assert b"==3.13" in locks[BUILD_LOCK]
    other = dpbuild("build", project, "-o", output, "--base", "compose:debian12:nonroot")
    assert "compose:debian12:nonroot one was made that is not kept" in other.err
    assert {name: (project / name).read_bytes() for name in locks} == locks
    assert files(project) == {LOCK, BUILD_LOCK, "own.py", "pyproject.toml"}
    assert dpbuild("build", project, "-o", output, "--locked").out == plain.out
    dpbuild("lock", project, "--base", "compose:debian12:nonroot")
    assert b"==3.11" in (project / BUILD_LOCK).read_bytes()
