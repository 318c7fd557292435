"""The app's wheel by the real build backends, run by the base's own interpreter."""

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from machinery import ComposedBase

from dpbuild.errors import DpbuildError, LockStale, NoCompatibleWheel, SdistBuildFailed
from dpbuild.model.artifact import Artifact
from dpbuild.model.lock import Lock
from dpbuild.stages.builds import Builds
from dpbuild.stages.config import load
from dpbuild.wiring import Settings, World

pytestmark = [pytest.mark.network]

PROJECT = '[project]\nname = "some-app"\nversion = "1.2"\ndescription = "x"\nrequires-python = ">=3.11"\n'
PROJECT += '[project.scripts]\nsome-app = "some_app:main"\n'
MODULE = "def main():\n    print('made by a backend')\n"
BACKENDS = {
    "hatchling": 'requires = ["hatchling"]\nbuild-backend = "hatchling.build"\n',
    "flit": 'requires = ["flit_core >=3.2,<5"]\nbuild-backend = "flit_core.buildapi"\n',
    "setuptools": 'requires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n',
    "poetry": 'requires = ["poetry-core>=2"]\nbuild-backend = "poetry.core.masonry.api"\n',
    "pdm": 'requires = ["pdm-backend"]\nbuild-backend = "pdm.backend"\n',
    "uv": 'requires = ["uv_build"]\nbuild-backend = "uv_build"\n',
}


class Forgetful:
    """The run's store without what was built before, so that every build is one."""

    def __init__(self, world: World) -> None:
        self._store = world.store

    def get(self, kind: str, key: str) -> bytes | None:
        return None if kind == "app" else self._store.get(kind, key)

    def __getattr__(self, name: str) -> object:
        return getattr(self._store, name)


class ForgetfulWorld:
    """The world with that store."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.store = Forgetful(world)

    def __getattr__(self, name: str) -> object:
        return getattr(self._world, name)


@dataclass(frozen=True)
class Built:
    """A wheel and the lock of what it was built with."""

    artifact: Artifact
    lock: Lock


@pytest.fixture(scope="session")
def base(composed_base: Callable[[str], ComposedBase]) -> ComposedBase:
    return composed_base("debian13")


@pytest.fixture
def world(shared_cache: Path) -> World:
    return World(Settings(cache_dir=shared_cache, progress="none"))


def write(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def project(folder: Path, backend: str) -> Path:
    system = f"[build-system]\n{BACKENDS[backend]}" if backend else ""
    return write(
        folder,
        {"pyproject.toml": PROJECT + system, "src/some_app/__init__.py": f'"""App."""\n{MODULE}', "README.md": "x\n"},
    )


def build(
    folder: Path, base: ComposedBase, world: World, kind: str, previous: Lock | None = None, *, locked: bool = False
) -> Built:
    here = world.project(folder)
    config = load(here.directory, here.read)
    builders = world.builders(config, lambda row: world.store.open(row.digest), kind)
    builds = Builds(ForgetfulWorld(world), config, builders, kind, locked)  # type: ignore[arg-type]
    unit = "app", str(base.base.platform)
    builds.units |= {unit: previous} if previous else {}
    artifact = builds.app(base.base, here.build_files())
    return Built(artifact, builds.units[unit])


def tree(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", BACKENDS)
def test_every_backend_gives_the_same_wheel_wherever_it_runs(
    name: str,
    base: ComposedBase,
    world: World,
    tmp_path: Path,
    need: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = project(tmp_path / "first", name)
    before = tree(first)
    built = build(first, base, world, "none")
    assert built.artifact.filename == "some_app-1.2-py3-none-any.whl"
    assert not built.artifact.locked
    assert tree(first) == before
    with world.store.open(built.artifact.digest) as blob, zipfile.ZipFile(blob) as wheel:
        assert MODULE in wheel.read("some_app/__init__.py").decode()
        assert "some-app" in wheel.read("some_app-1.2.dist-info/entry_points.txt").decode()
    assert built.lock is not None
    assert all(file.sha256 for package in built.lock.packages for file in package.wheels)
    need("bubblewrap")
    monkeypatch.setenv("TZ", "Asia/Kathmandu")
    monkeypatch.setenv("PYTHONHASHSEED", "5")
    mask = os.umask(0o077)
    try:
        second = project(tmp_path / "deeper/second folder", name)
        os.utime(second / "src/some_app/__init__.py", (1, 1))
        again = build(second, base, world, "bubblewrap", built.lock, locked=True)
    finally:
        os.umask(mask)
    assert again.lock == built.lock
    assert again.artifact == built.artifact


@pytest.mark.docker
@pytest.mark.slow
def test_an_engine_gives_the_same_wheel(base: ComposedBase, world: World, tmp_path: Path) -> None:
    built = build(project(tmp_path / "a", "flit"), base, world, "none")
    assert build(project(tmp_path / "b", "flit"), base, world, "docker", built.lock).artifact == built.artifact


def test_a_project_without_build_system_is_setuptools(base: ComposedBase, world: World, tmp_path: Path) -> None:
    folder = write(tmp_path / "p", {
        "setup.py": "from setuptools import setup\nimport helper\nsetup(name='some-app', version=helper.V, py_modules=['mod'])\n",
        "helper.py": "V = '3.4'\n",
        "mod.py": MODULE,
        "pyproject.toml": "[tool.dpbuild]\napp = 'wheel'\n",
    })  # fmt: skip
    built = build(folder, base, world, "auto")
    assert built.artifact.filename == "some_app-3.4-py3-none-any.whl"
    assert not list(folder.glob("*.egg-info"))
    assert not (folder / "build").exists()


def test_what_the_backend_asks_for_is_locked_too(base: ComposedBase, world: World, tmp_path: Path) -> None:
    folder = write(tmp_path / "p", {
        "pyproject.toml": PROJECT + '[build-system]\nrequires = ["flit_core"]\nbuild-backend = "own"\nbackend-path = ["tools"]\n',
        "tools/own.py": "from flit_core.buildapi import *\n"
        "def get_requires_for_build_wheel(config=None): return ['iniconfig']\n"
        "from flit_core.buildapi import build_wheel as _build\n"
        "def build_wheel(*a):\n    import iniconfig\n    return _build(*a)\n",
        "src/some_app/__init__.py": f'"""App."""\n{MODULE}',
    })  # fmt: skip
    built = build(folder, base, world, "auto")
    assert built.lock is not None
    assert {package.name for package in built.lock.packages} == {"flit-core", "iniconfig"}
    again = build(folder, base, world, "auto", built.lock, locked=True)
    assert again.artifact == built.artifact


def failure(folder: Path, base: ComposedBase, world: World, kind: str = "auto") -> DpbuildError:
    before = tree(folder)
    with pytest.raises(DpbuildError) as caught:
        build(folder, base, world, kind)
    assert tree(folder) == before
    return caught.value


def test_a_platform_wheel_is_refused_by_its_name(base: ComposedBase, world: World, tmp_path: Path) -> None:
    folder = project(tmp_path / "p", "setuptools")
    write(folder, {
        "setup.py": "from setuptools import setup\nfrom setuptools.dist import Distribution\n"
        "class Binary(Distribution):\n    def has_ext_modules(self): return True\nsetup(distclass=Binary)\n"
    })  # fmt: skip
    problem = failure(folder, base, world)
    assert isinstance(problem, NoCompatibleWheel)
    assert problem.exit_code == 52
    assert "some_app-1.2-cp313-cp313-linux_x86_64.whl" in problem.what


def test_a_backend_that_fails_shows_its_last_lines_and_keeps_its_log(
    base: ComposedBase, world: World, tmp_path: Path
) -> None:
    folder = project(tmp_path / "p", "setuptools")
    write(folder, {"setup.py": "for n in range(100): print('line', n)\nraise SystemExit('the reason')\n"})
    problem = failure(folder, base, world)
    assert isinstance(problem, SdistBuildFailed)
    assert problem.exit_code == 54
    assert "the reason" in problem.what
    assert "line 3\n" not in problem.what
    assert problem.where is not None
    assert "line 3\n" in Path(problem.where).read_text()


@pytest.mark.bubblewrap
def test_the_backend_has_neither_network_nor_the_hosts_environment(
    base: ComposedBase, world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_INDEX_PASSWORD", "hunter2")
    folder = project(tmp_path / "p", "setuptools")
    write(folder, {
        "setup.py": "import os, socket\n"
        "found = [name for _, name in socket.if_nameindex()]\n"
        "raise SystemExit(f'{found} {sorted(os.environ)} {os.listdir(os.environ[\"HOME\"])} {os.umask(0):o}')\n"
    })  # fmt: skip
    problem = failure(folder, base, world, "bubblewrap")
    assert "['lo']" in problem.what
    assert "[] 22" in problem.what
    assert "UV_" not in problem.what
    assert "hunter2" not in problem.what


def test_a_missing_lock_is_stale_when_it_must_be_there(base: ComposedBase, world: World, tmp_path: Path) -> None:
    with pytest.raises(LockStale):
        build(project(tmp_path / "p", "flit"), base, world, "none", locked=True)


def test_a_project_that_moves_to_another_backend(base: ComposedBase, world: World, tmp_path: Path) -> None:
    """The one that is new is not among the wheels of the lock, so it cannot be asked with them."""
    before = build(project(tmp_path / "before", "flit"), base, world, "none").lock
    after = project(tmp_path / "after", "poetry")
    with pytest.raises(LockStale, match="poetry-core>=2"):
        build(after, base, world, "none", before, locked=True)
    built = build(after, base, world, "none", before)
    assert built.artifact.filename == "some_app-1.2-py3-none-any.whl"
    assert [package.name for package in built.lock.packages] == ["poetry-core"]
