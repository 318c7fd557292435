"""Locks made with the real uv are read and installed by others, and are the same on every host."""

import os
import subprocess
import sys
import tomllib

import pytest
from factories.facts import make_target
from factories.wheel import make_wheel
from fakes.index import serve_index
from packaging.pylock import Pylock
from packaging.tags import parse_tag
from packaging.version import Version

from dpbuild.adapters.indexes import configured
from dpbuild.adapters.uv import UvResolver, find_uv
from dpbuild.errors import NoCompatibleWheel
from dpbuild.stages import lockfile
from dpbuild.stages.config import load
from dpbuild.stages.lock import LockTarget, make_lock
from dpbuild.stages.select import select

UV = find_uv(os.environ["PATH"])


def lock(folder, environment, targets, python=sys.executable, previous=None):
    def read(name):
        path = folder / name
        return path.read_text() if path.exists() else None

    resolver = UvResolver(uv=UV, python=python, cache=str(folder.parent / "uv-cache"), environment=environment)
    return make_lock(
        load(str(folder), read),
        [LockTarget(target=target) for target in targets],
        resolver,
        read,
        base_digest="sha256:" + "0" * 64,
        previous=previous,
    )


def project(folder, *lines):
    folder.mkdir(exist_ok=True)
    rows = ", ".join(repr(line) for line in lines)
    (folder / "pyproject.toml").write_text(f'[project]\nname = "proj"\nversion = "1"\ndependencies = [{rows}]\n')
    return folder


@pytest.fixture
def index():
    with serve_index() as served:
        for machine in ("x86_64", "aarch64"):
            for python in ("cp311", "cp312", "cp313"):
                served.add(make_wheel("native", "1.0", f"{python}-{python}-manylinux_2_17_{machine}"))
        served.add(make_wheel("native", "1.1", "cp313-cp313-manylinux_2_17_x86_64"))
        served.add(
            make_wheel(
                "app", "1.0", requires=["native", 'tomli; python_version < "3.12"'], entry_points={"app": "app:main"}
            )
        )
        served.add(make_wheel("tomli", "2.0"))
        yield served


def environment(index):
    return {"PATH": os.environ["PATH"], "UV_DEFAULT_INDEX": index.simple}


def test_uv_installs_from_the_lock(index, tmp_path):
    minor = f"{sys.version_info[0]}.{sys.version_info[1]}"
    folder = project(tmp_path / "p", "app", "native==1.0")
    found = lock(folder, environment(index), [make_target(f"{minor}.0"), make_target(f"{minor}.0", "aarch64")])
    path = folder / lockfile.NAME
    path.write_text(lockfile.dumps(found))
    subprocess.run(
        [
            UV,
            "pip",
            "install",
            "--quiet",
            "--python",
            sys.executable,
            "--target",
            str(tmp_path / "out"),
            "-r",
            str(path),
        ]
        + ["--require-hashes", "--no-config", "--cache-dir", str(tmp_path / "other-cache")]
        + ([] if os.uname().machine in ("x86_64", "aarch64") else ["--dry-run"]),
        env={**environment(index), "UV_PYTHON_DOWNLOADS": "never", "UV_PREVIEW_FEATURES": "pylock"},
        check=True,
    )
    assert (tmp_path / "out" / "native.py").read_text() == '__version__ = "1.0"\n'
    assert (tmp_path / "out" / "app.py").exists()


def test_packaging_selects_what_we_select(index, tmp_path):
    targets = [make_target("3.13.5"), make_target("3.13.5", "aarch64")]
    found = lock(project(tmp_path / "p", "app"), environment(index), targets)
    document = Pylock.from_dict(tomllib.loads(lockfile.dumps(found)))
    for target in targets:
        tags = [tag for text in target.tags for tag in parse_tag(text)]
        theirs = {
            str(package.name): file.filename
            for package, file in document.select(environment=dict(target.markers), tags=tags)
        }
        assert theirs == {package.name: file.name for package, file in select(found.packages, target)}
    assert [str(Version(row.version)) for row in found.packages if row.name == "native"] == ["1.0", "1.1"]


def test_locking_twice_gives_the_same_bytes_and_a_lock_keeps_its_versions(index, tmp_path):
    folder, targets = project(tmp_path / "p", "app"), [make_target(), make_target(machine="aarch64")]
    first = lock(folder, environment(index), targets)
    assert lockfile.dumps(lock(folder, environment(index), targets)) == lockfile.dumps(first)
    # An index that answers otherwise (without sizes and times), in another folder.
    index.json = False
    again = lock(project(tmp_path / "q", "app"), environment(index), targets)
    assert lockfile.dumps(again) == lockfile.dumps(first)
    index.add(make_wheel("app", "2.0"))
    index.json = True
    kept = lock(folder, {**environment(index), "UV_CACHE_DIR": "/x"}, targets, previous=first)
    assert lockfile.dumps(kept) == lockfile.dumps(first)


def test_no_wheel_for_one_of_the_platforms(index, tmp_path):
    with pytest.raises(NoCompatibleWheel, match=r"native 1\.1 has no wheel for cp313 manylinux_2_41_aarch64"):
        lock(
            project(tmp_path / "p", "native==1.1"), environment(index), [make_target(), make_target(machine="aarch64")]
        )


@pytest.mark.network
def test_real_projects_from_the_configured_index_for_other_pythons_and_machines(tmp_path):
    folder = project(
        tmp_path / "p", "fastapi", "uvicorn", "numpy", "exceptiongroup; python_version < '3.11'", "cryptography"
    )
    home = os.environ.get("HOME", "/")
    indexes = configured(os.environ, home=home, prefix=sys.prefix, directory=str(folder))
    for version, libc in (("3.13.5", (2, 41)), ("3.11.2", (2, 36))):
        targets = [make_target(version, machine, libc=libc) for machine in ("x86_64", "aarch64")]
        found = lock(folder, indexes.environment, targets)
        text = lockfile.dumps(found)
        Pylock.from_dict(tomllib.loads(text))
        assert lockfile.loads(text) == found
        names = {package.name for package in found.packages}
        assert {"fastapi", "uvicorn", "numpy", "pydantic-core", "cryptography"} <= names
        assert not {"exceptiongroup", "colorama"} & names
        for target in targets:
            files = {package.name: file.name for package, file in select(found.packages, target)}
            assert f"cp{version.split('.')[0]}{version.split('.')[1]}-" in files["numpy"]
            assert "abi3" in files["cryptography"]
