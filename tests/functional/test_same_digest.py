"""Nothing of the host or of the moment reaches an image."""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from bench import Bench

pytestmark = [pytest.mark.network]


def digest(line: str) -> str:
    return line.strip().rpartition("@")[2]


@pytest.fixture(scope="module")
def first(dpbuild: Callable, root: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    """A wheel app and its digest; its lock is used by all others."""
    project = tmp_path_factory.mktemp("first") / "first"
    shutil.copytree(root / "examples/web", project, ignore=shutil.ignore_patterns(".dpbuild", "pylock.*"))
    return digest(dpbuild("build", project).out), project


def copy(project: Path, target: Path, *, backwards: bool = False) -> Path:
    """The same files, made in another order."""
    paths = sorted(path for path in project.rglob("*") if path.is_file() and ".dpbuild" not in path.parts)
    for path in reversed(paths) if backwards else paths:
        place = target / path.relative_to(project)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(path.read_bytes())
        os.utime(place, (1, 1))
    return target


def test_environments(dpbuild: Callable, first: tuple[str, Path], tmp_path: Path) -> None:
    """Another folder, order of files, zone, locale, hash seed and home, and a store in which nothing is found."""
    project = copy(first[1], tmp_path / "a folder with another name", backwards=True)
    env = {
        "DPBUILD_CACHE_DIR": str(tmp_path / "store"),
        "TZ": "Asia/Tokyo",
        "LANG": "tr_TR.UTF-8",
        "LC_ALL": "C",
        "PYTHONHASHSEED": "42",
        "HOME": str(tmp_path / "home"),
        "XDG_CACHE_HOME": "",
    }
    assert digest(dpbuild("build", project, "--locked", env=env).out) == first[0]
    assert digest(dpbuild("build", project, "--locked", "--offline", env=env).out) == first[0]


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that any user can reach; pytest keeps its own to itself."""
    with tempfile.TemporaryDirectory(prefix="dpbuild-test-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


def test_umask_and_user(first: tuple[str, Path], root: Path, open_folder: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can be somebody else")
    tmp_path = open_folder
    project = copy(first[1], tmp_path / "nobody" / "project")
    for path in [tmp_path / "nobody", *(tmp_path / "nobody").rglob("*")]:
        os.chown(path, 65534, 65534)
    python = installed("/usr/bin/python3", root, tmp_path / "nobody" / "venv")
    somebody = [
        "setpriv",
        "--reuid",
        "65534",
        "--regid",
        "65534",
        "--clear-groups",
        "sh",
        "-c",
        'umask 077; exec "$@"',
        "sh",
    ]
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o755)

    def build(*words: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [*somebody, python, "-m", "dpbuild", "build", str(project), "--locked", *words],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env={**os.environ, "HOME": str(tmp_path / "nobody"), "DPBUILD_CACHE_DIR": str(tmp_path / "nobody/store")},
        )

    done = build()
    assert done.returncode == 0, done.stderr
    assert digest(done.stdout) == first[0]
    # Root may write anywhere, so this can be seen only here.
    for name in ("image", "image.tar"):
        refused = build("-o", str(closed / name))
        assert refused.returncode == 80, refused.stderr
        assert "error: cannot write the output: Permission denied" in refused.stderr
        assert "Traceback" not in refused.stderr
        assert refused.stdout == ""
    assert not any(closed.iterdir())


@pytest.mark.slow
def test_a_host_with_another_python(first: tuple[str, Path], root: Path, tmp_path: Path) -> None:
    """The host's Python has no part in it: not in the lock, not in the app's wheel, not in the bytecode."""
    found = {version: path for path in pythons() if (version := works(path)) and version != sys.version_info[:2]}
    if not found:
        pytest.skip("there is no other Python of at least 3.11 here")
    python = installed(found[max(found)], root, tmp_path / "venv")
    project = copy(first[1], tmp_path / "other")
    (project / "pylock.dpbuild.toml").unlink()
    (project / "pylock.dpbuild-build.toml").unlink()
    done = subprocess.run(
        [python, "-m", "dpbuild", "build", str(project)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "DPBUILD_CACHE_DIR": str(tmp_path / "store")},
    )
    assert done.returncode == 0, done.stderr
    for name in ("pylock.dpbuild.toml", "pylock.dpbuild-build.toml"):
        assert (project / name).read_text() == (first[1] / name).read_text()
    assert digest(done.stdout) == first[0]


def installed(python: str, root: Path, venv: Path) -> str:
    """dpbuild installed for another interpreter; gives the environment's Python."""
    import uv

    tool = uv.find_uv_bin()
    subprocess.run([tool, "venv", "-q", "--python", python, str(venv)], check=True)
    subprocess.run([tool, "pip", "install", "-q", "--python", f"{venv}/bin/python", str(root)], check=True)
    return f"{venv}/bin/python"


def pythons() -> list[str]:
    """Interpreters on PATH, and those that version managers keep."""
    names = ("python3.12", "python3.13", "python3.14")
    kept = Path.home().glob(".pyenv/versions/3.1[1-9]*/bin/python3")
    return [*(path for name in names if (path := shutil.which(name))), *map(str, kept)]


def works(path: str) -> tuple[int, int] | None:
    """The interpreter's version, if it starts and is one that dpbuild is for."""
    done = subprocess.run(
        [path, "-c", "import sys; print(*sys.version_info[:2])"], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return None
    major, minor = map(int, done.stdout.split())
    return (major, minor) if (major, minor) >= (3, 11) else None


def parts(image: Path) -> tuple[list[str], dict]:
    """Digests of the layers, and the config."""
    index = json.loads((image / "index.json").read_text())
    manifest = json.loads((image / "blobs/sha256" / index["manifests"][0]["digest"][7:]).read_text())
    config = json.loads((image / "blobs/sha256" / manifest["config"]["digest"][7:]).read_text())
    return [row["digest"] for row in manifest["layers"]], config


def test_the_epoch_changes_the_apps_layer_alone(dpbuild: Callable, first: tuple[str, Path], tmp_path: Path) -> None:
    def build(name: str, epoch: str) -> tuple[list[str], dict]:
        dpbuild("build", first[1], "-o", tmp_path / name, env={"SOURCE_DATE_EPOCH": epoch})
        return parts(tmp_path / name)

    (one, early), (two, late) = build("one", "1000000000"), build("two", "1700000000")
    assert (early["created"], late["created"]) == ("2001-09-09T01:46:40Z", "2023-11-14T22:13:20Z")
    assert one[:-1] == two[:-1]
    assert one[-1] != two[-1]
    for config in (early, late):
        del config["created"], config["rootfs"]["diff_ids"][-1]
        config["history"] = [{name: row[name] for name in row if name != "created"} for row in config["history"]]
    assert early == late


def test_copied_apps(bench: Bench) -> None:
    """Another folder, order of files, times, umask and modes, and a store that has only the base."""
    for name, text in (("a/z.py", "1"), ("a/b.py", "2"), ("a-b.txt", "3"), ("run.sh", "#!")):
        path = bench.project / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (bench.project / "run.sh").chmod(0o755)
    shutil.copytree(bench.cache, bench.tmp / "other store")
    one = bench.run("build", bench.project, "--epoch", "5", check=True)
    target = bench.tmp / "elsewhere" / "again"
    before = os.umask(0o077)
    try:
        copy(bench.project, target, backwards=True)
        (target / "run.sh").chmod(0o700)
        env = {"DPBUILD_CACHE_DIR": str(bench.tmp / "other store"), "TZ": "Asia/Tokyo", "LC_ALL": "tr_TR.UTF-8"}
        (bench.tmp / "other store").chmod(0o700)
        two = bench.run("build", target, "--epoch", "5", env=env, check=True)
        archive = bench.run("build", target, "--epoch", "5", "-o", bench.tmp / "x.tar", env=env, check=True)
    finally:
        os.umask(before)
    assert digest(one.out) == digest(two.out) == digest(archive.out)
    modes = {path.stat().st_mode & 0o777 for path in (target / ".dpbuild/image/blobs/sha256").iterdir()}
    assert modes == {0o644}
    layers, config = parts(target / ".dpbuild/image")
    assert config["created"] == "1970-01-01T00:00:05Z"
    (target / "a/z.py").write_text("other")
    bench.run("build", target, "--epoch", "5", env=env, check=True)
    assert [new == old for new, old in zip(parts(target / ".dpbuild/image")[0], layers, strict=True)] == [
        *(True for _ in layers[1:]),
        False,
    ]
