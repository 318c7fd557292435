"""Bad input: its exit code, one clear error, and nothing left behind."""

import dataclasses
import os
import re
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

import pytest
from factories.image import make_image
from factories.wheel import make_wheel
from fakes.index import Index, serve_index

pytestmark = [pytest.mark.network]

BASE = "compose:debian13:nonroot"


@dataclasses.dataclass
class Bench:
    """A project that builds, an index that serves it, and a way to see what a failure left."""

    project: Path
    index: Index
    run: Callable
    tmp: Path

    def configure(self, *lines: str, dependencies: tuple[str, ...] = ("demo",)) -> None:
        rows = ", ".join(repr(row) for row in dependencies)
        (self.project / "pyproject.toml").write_text(
            f'[project]\nname = "app"\nversion = "1"\ndependencies = [{rows}]\n[tool.dpbuild]\nbytecode = false\n'
            + (
                ""
                if any(row.startswith("base") for row in lines)
                else f'base = "{BASE}"\nplatforms = ["linux/amd64"]\n'
            )
            + "\n".join(lines)
            + "\n"
        )

    def build(self, *arguments: object, env: dict[str, str] | None = None) -> object:
        output = self.tmp / "output"
        return self.run(
            "build",
            self.project,
            "-o",
            output,
            *arguments,
            check=False,
            env={"UV_DEFAULT_INDEX": self.index.simple, **(env or {})},
        )

    def fails(
        self, code: int, message: str, *arguments: object, env: dict[str, str] | None = None, lock: bool = False
    ) -> str:
        before = files(self.project)
        done = self.build(*arguments, env=env)
        assert done.status == code, done.err
        assert done.out == ""
        errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.err
        assert re.search(message, done.err), done.err
        assert "Traceback" not in done.err
        assert not (self.tmp / "output").exists()
        allowed = {"pylock.dpbuild.toml"} if lock else set()
        assert files(self.project) - before <= allowed
        assert [path.name for path in self.cache.glob("tmp/*")] == []
        return str(done.err)

    @property
    def cache(self) -> Path:
        return self.run.cache


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


DEMO = make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 200})


@pytest.fixture
def bench(tmp_path: Path, dpbuild: Callable, shared_cache: Path) -> Iterator[Bench]:
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("print('hello')\n")
    # A store of its own, with the shared one's bases: what a failure leaves can be seen.
    cache = tmp_path / "cache"
    with serve_index() as index:
        index.add(DEMO)
        run = _Run(dpbuild, cache)
        if not (shared_cache / "primed").exists():
            dpbuild("inspect", BASE, "--platform", "linux/amd64")
            (shared_cache / "primed").touch()
        for name in ("blobs", "maps"):
            shutil.copytree(shared_cache / name, cache / name, copy_function=os.link)
        cache.chmod(0o700)
        bench = Bench(project, index, run, tmp_path)
        bench.configure()
        yield bench


class _Run:
    def __init__(self, run: Callable, cache: Path) -> None:
        self._run = run
        self.cache = cache

    def __call__(self, *arguments: object, env: dict[str, str] | None = None, **more: object) -> object:
        return self._run(*arguments, env={"DPBUILD_CACHE_DIR": str(self.cache), **(env or {})}, **more)


def test_the_bench_itself_builds(bench: Bench) -> None:
    done = bench.build()
    assert done.status == 0, done.err
    assert re.fullmatch(rf"oci:{bench.tmp}/output@sha256:[0-9a-f]{{64}}\n", done.out)


# bases


@pytest.mark.registry
def test_unknown_base(bench: Bench, registry: str) -> None:
    bench.fails(92, "nothing/here", "--base", f"{registry}/nothing/here:1")


def test_unreachable_registry(bench: Bench) -> None:
    bench.fails(90, r"127\.0\.0\.1:9", "--base", "127.0.0.1:9/no/registry:1")


def test_base_without_python(bench: Bench) -> None:
    image = make_image(bench.tmp / "base", {"etc/passwd": "root:x:0:0::/:\n"})
    bench.fails(20, "[Pp]ython", "--base", f"oci:{image.path}")


def test_platform_not_in_the_index(bench: Bench, dpbuild: Callable) -> None:
    image = make_image(bench.tmp / "base", {"etc/passwd": "root:x:0:0::/:\n"})
    said = bench.fails(20, "linux/s390x", "--base", f"oci:{image.path}", "--platform", "linux/s390x")
    assert "linux/amd64" in said


def test_unknown_suite(bench: Bench) -> None:
    bench.fails(20, "debian99", "--base", "compose:debian99")


# requirements


def test_no_wheel_for_the_target(bench: Bench) -> None:
    bench.index.add(make_wheel("native", "1.0", "cp39-cp39-win_amd64"))
    bench.configure(dependencies=("native",))
    bench.fails(52, "native")


def test_no_such_project(bench: Bench) -> None:
    bench.configure(dependencies=("no-such-project",))
    bench.fails(41, "no-such-project")


def test_a_download_that_is_not_what_was_locked(bench: Bench) -> None:
    assert bench.run("lock", bench.project, env={"UV_DEFAULT_INDEX": bench.index.simple}, check=False).status == 0
    bench.index.corrupt[DEMO[0]] = DEMO[1][:-1] + b"x"
    bench.fails(51, r"demo-1\.0-py3-none-any\.whl is not the file that was locked")


def test_a_changed_hash_in_the_lock(bench: Bench) -> None:
    assert bench.run("lock", bench.project, env={"UV_DEFAULT_INDEX": bench.index.simple}, check=False).status == 0
    lock = bench.project / "pylock.dpbuild.toml"
    text = lock.read_text()
    digest = re.search(r'sha256 = "([0-9a-f]{64})"', text)
    assert digest
    lock.write_text(text.replace(digest[1], "0" * 64))
    bench.fails(51, "is not the file that was locked", "--locked")


def changed(wheel: tuple[str, bytes], change: Callable[[zipfile.ZipFile, zipfile.ZipFile], None]) -> tuple[str, bytes]:
    out = BytesIO()
    with zipfile.ZipFile(BytesIO(wheel[1])) as old, zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as new:
        for info in old.infolist():
            new.writestr(info, old.read(info))
        change(old, new)
    return wheel[0], out.getvalue()


@pytest.mark.parametrize(
    ("wheel", "message"),
    [
        (changed(DEMO, lambda _old, new: new.writestr("../evil.py", b"")), "leaves its folder"),
        (changed(DEMO, lambda _old, new: new.writestr("extra.py", b"")), "RECORD does not list"),
        ((DEMO[0], DEMO[1] + b"trailing"), "behind its end record"),
        ((DEMO[0], b"prefix" + DEMO[1]), "demo-1.0"),
    ],
    ids=["parent", "record", "trailing", "prefix"],
)
def test_broken_wheels(bench: Bench, wheel: tuple[str, bytes], message: str) -> None:
    bench.index.files[DEMO[0]] = wheel[1]
    bench.fails(53, message, lock=True)


# configuration


def test_unknown_key(bench: Bench) -> None:
    bench.configure('entrypont = ["-m", "main"]')
    bench.fails(10, "entrypont.*entrypoint")


def test_push_without_a_tag(bench: Bench) -> None:
    bench.fails(2, "--push needs a tag", "--push")


def test_missing_and_stale_locks(bench: Bench) -> None:
    bench.fails(42, "there is no lock", "--locked")
    assert bench.run("lock", bench.project, env={"UV_DEFAULT_INDEX": bench.index.simple}, check=False).status == 0
    bench.configure(dependencies=("demo>=1", "other"))
    said = bench.fails(42, "the lock is stale", "--locked")
    assert "other" in said
    check = bench.run("lock", bench.project, "--check", check=False)
    assert check.status == 42
    assert check.out == ""


# outputs


def test_a_folder_that_is_not_empty(bench: Bench) -> None:
    output = bench.tmp / "full"
    output.mkdir()
    (output / "precious").write_text("keep")
    done = bench.run("build", bench.project, "-o", output, check=False, env={"UV_DEFAULT_INDEX": bench.index.simple})
    assert done.status == 80
    assert "neither empty nor an OCI layout" in done.err
    assert files(output) == {"precious"}


def test_read_only_output(bench: Bench) -> None:
    done = bench.run(
        "build", bench.project, "-o", "/proc/dpbuild", check=False, env={"UV_DEFAULT_INDEX": bench.index.simple}
    )
    assert done.status == 80, done.err
    assert "error: cannot write the output" in done.err


def test_digest_drift(bench: Bench) -> None:
    bench.fails(81, "expected was sha256:0000", "--expect-digest", "sha256:" + "0" * 64, lock=True)


# the store


def test_a_store_that_others_may_write(bench: Bench) -> None:
    bench.cache.chmod(0o777)
    done = bench.build()
    assert done.status == 110
    assert "may be written by other users" in done.err


def test_disk_full(bench: Bench) -> None:
    small = bench.tmp / "small"
    small.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(small)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        done = bench.run("inspect", BASE, env={"DPBUILD_CACHE_DIR": str(small)}, check=False)
        assert done.status == 110, done.err
        assert "error: the disk is full" in done.err
        assert not list((small / "tmp").iterdir())
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_damaged_wheel_in_the_store_is_fetched_again(bench: Bench) -> None:
    assert bench.build().status == 0
    (blob,) = [path for path in (bench.cache / "blobs/sha256").iterdir() if path.read_bytes() == DEMO[1]]
    blob.chmod(stat.S_IRUSR | stat.S_IWUSR)
    blob.write_bytes(DEMO[1][:-1] + b"x")
    shutil.rmtree(bench.cache / "maps/layers")
    shutil.rmtree(bench.cache / "maps/wheels")
    shutil.rmtree(bench.tmp / "output")
    done = bench.build()
    assert done.status == 0, done.err
    assert "a damaged entry of the store was discarded" in done.err
    assert blob.read_bytes() == DEMO[1]


def test_a_damaged_layer_in_the_store_is_made_again(bench: Bench) -> None:
    first = bench.build()
    made = max((bench.cache / "blobs/sha256").iterdir(), key=lambda path: path.stat().st_mtime_ns)
    made.write_bytes(made.read_bytes()[:-1] + b"x")
    shutil.rmtree(bench.tmp / "output")
    again = bench.build()
    assert again.status == 0, again.err
    assert "a damaged entry of the store was discarded" in again.err
    assert again.out == first.out


def test_a_damaged_wheel_that_cannot_be_had_again(bench: Bench) -> None:
    assert bench.build().status == 0
    (blob,) = [path for path in (bench.cache / "blobs/sha256").iterdir() if path.read_bytes() == DEMO[1]]
    blob.write_bytes(b"x")
    for name in ("layers", "wheels"):
        shutil.rmtree(bench.cache / "maps" / name)
    shutil.rmtree(bench.tmp / "output")
    done = bench.build("--offline")
    assert done.status == 110, done.err
    assert "damaged and cannot be had again" in done.err


def test_interrupted_builds_leave_nothing(bench: Bench) -> None:
    import signal
    import time

    bench.configure("# again")
    environment = {**os.environ, "DPBUILD_CACHE_DIR": str(bench.cache), "UV_DEFAULT_INDEX": bench.index.simple}
    process = subprocess.Popen(
        [sys.executable, "-m", "dpbuild", "build", str(bench.project), "-o", str(bench.tmp / "output")],
        env=environment,
        stderr=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    while not bench.index.requests and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("it was finished before it could be interrupted")
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    assert not list((bench.cache / "tmp").iterdir())
    assert bench.build().status == 0


def test_nothing_is_fetched_for_a_project_that_cannot_start(bench: Bench) -> None:
    (bench.project / "other.py").write_text("print('other')\n")
    said = bench.fails(10, "there are several scripts to start: main.py, other.py")
    assert "entrypoint" in said
    assert bench.index.requests == []
