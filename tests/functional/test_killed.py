"""Builds that are killed, interrupted, or run beside each other: the next one is right, and nothing half-made is seen."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from pathlib import Path

import killing
import pytest
from bench import Bench, files
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from machinery import Ran
from servers.proxy import stalling_relay
from wholeness import archive_digest, check_clean, check_store, layout_digest

pytestmark = [pytest.mark.registry, pytest.mark.skopeo]

MOMENTS = 20


@dataclass
class Case:
    """A project, and where its image goes: a folder, an archive, a registry, a metadata file."""

    bench: Bench
    registry: str
    name: str
    env: dict[str, str] = field(default_factory=dict)

    @property
    def out(self) -> Path:
        return self.bench.tmp / "out"

    def words(self, run: str) -> list[str]:
        self.out.mkdir(exist_ok=True)
        return [
            *("build", str(self.bench.project), "-o", f"{self.out}/image", "-o", f"{self.out}/image.tar"),
            *("-t", f"{self.registry}/{self.name}/{run}:1", "--push", "--metadata-file", f"{self.out}/metadata.json"),
        ]

    def start(self, run: str, moment: int = 0, number: str = "SIGKILL", **env: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, killing.__file__, str(moment), number, *self.words(run)],
            env={**os.environ, **self.bench.environment, **self.env, **env},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, run: str, moment: int = 0, number: str = "SIGKILL") -> Ran:
        count = self.bench.tmp / "count"
        process = self.start(run, moment, number, KILLING_COUNT=str(count))
        out, err = process.communicate(timeout=120)
        return Ran(process.returncode, out, err)

    def reset(self) -> None:
        """As if nothing had been built before."""
        for path in (self.bench.cache, self.out):
            shutil.rmtree(path, ignore_errors=True)
        for path in self.bench.project.glob("*pylock*"):
            path.unlink()
        restore(self.bench)

    def pushed(self, run: str) -> str | None:
        """What the tag names; the registry itself sees to it that a manifest has its blobs."""
        url = f"http://{self.registry}/v2/{self.name}/{run}/manifests/1"
        request = urllib.request.Request(url, headers={"Accept": "application/vnd.oci.image.manifest.v1+json"})
        try:
            with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request) as answer:
                return str(answer.headers["Docker-Content-Digest"])
        except urllib.error.HTTPError as problem:
            problem.close()
            return None

    def seen(self, run: str) -> set[str | None]:
        """The image at every destination; those that are there are whole."""
        return {layout_digest(self.out / "image"), archive_digest(self.out / "image.tar"), self.pushed(run)}


def restore(bench: Bench) -> None:
    """The base that takes long to make, if the bench came with one."""
    if (bench.tmp / "primed").exists():
        shutil.copytree(bench.tmp / "primed", bench.cache, copy_function=os.link)
        bench.cache.chmod(0o700)


@pytest.fixture
def small(bare: Bench, registry: str) -> Case:
    """A base in a registry, three wheels in an index, no bytecode: everything is done, and none of it takes long."""
    image = make_image(bare.tmp / "base", *debian(), *({f"opt/{number}": str(number) * 999} for number in range(4)))
    name = re.sub(r"[^a-z0-9]+", "-", bare.tmp.name.lower()).strip("-")
    base = f"{registry}/{name}/base:1"
    words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{image.path}", f"docker://{base}"]
    subprocess.run(words, check=True)
    for wheel in ("one", "two"):
        bare.index.add(make_wheel(wheel, "1.0", files={f"{wheel}.py": f"{wheel} = 1\n" * 500}))
    bare.configure(f'base = "{base}"', 'platforms = ["linux/amd64"]', dependencies=("demo", "one", "two"))
    return Case(bare, registry, name)


@pytest.fixture
def real(bench: Bench, registry: str) -> Case:
    """A composed base, an app that becomes a wheel, and bytecode for all of it."""
    shutil.copytree(bench.cache, bench.tmp / "primed", copy_function=os.link)
    (bench.project / "main.py").unlink()
    (bench.project / "app.py").write_text("def main():\n    print('hello')\n")
    (bench.project / "pyproject.toml").write_text(
        '[build-system]\nrequires = ["setuptools>=77"]\nbuild-backend = "setuptools.build_meta"\n'
        '[project]\nname = "app"\nversion = "1"\ndependencies = ["iniconfig"]\n[project.scripts]\napp = "app:main"\n'
        '[tool.setuptools]\npy-modules = ["app"]\n'
        '[tool.dpbuild]\nbase = "compose:debian13:nonroot"\nplatforms = ["linux/amd64"]\n'
    )
    name = re.sub(r"[^a-z0-9]+", "-", bench.tmp.name.lower()).strip("-")
    # The index that this machine is configured for.
    return Case(bench, registry, name, {"UV_DEFAULT_INDEX": os.environ.get("UV_DEFAULT_INDEX", "")})


def count(case: Case) -> tuple[int, str, Path]:
    """How many moments a build has, its digest, and its store, kept aside."""
    case.reset()
    done = case.run("whole")
    assert done.status == 0, done.err
    kept = case.bench.tmp / "kept"
    case.bench.cache.rename(kept)
    digest = done.out.strip().rpartition("@")[2]
    assert case.seen("whole") == {digest}
    return int((case.bench.tmp / "count").read_text()), digest, kept


def moments(total: int, number: int) -> list[int]:
    """So many of them, spread from the first to almost the last: how many there are differs by one or two, and by more
    where another process tells how far it is.
    """
    last = total - max(6, total // 200)
    return sorted({1 + round(step * last / (number - 1)) for step in range(number)})


def killed_and_started_again(case: Case, number: int) -> None:
    total, digest, kept = count(case)
    project = files(case.bench.project)
    chosen = moments(total, number)
    assert len(chosen) == number, f"only {total} moments"
    for moment in chosen:
        case.reset()
        dead = case.run(f"run{moment}", moment)
        assert dead.status == -signal.SIGKILL, f"{moment} of {total}: {dead.err}"
        check_store(case.bench.cache, kept)
        assert case.seen(f"run{moment}") <= {digest, None}, moment
        again = case.run(f"run{moment}")
        assert again.status == 0, f"after {moment} of {total}: {again.err}"
        assert again.out.strip().rpartition("@")[2] == digest, moment
        check_store(case.bench.cache, kept)
        check_clean(case.bench.cache)
        assert case.seen(f"run{moment}") == {digest}
        metadata = json.loads((case.out / "metadata.json").read_text())
        assert metadata["digest"] == digest
        assert not [path.name for path in (case.out / "image/blobs/sha256").iterdir() if len(path.name) != 64]
        assert files(case.bench.project) == project
        assert {path.name for path in case.out.iterdir()} == {"image", "image.tar", "metadata.json"}


@pytest.mark.parametrize("number", [8, pytest.param(MOMENTS, marks=pytest.mark.slow)])
def test_killed_at_many_moments(small: Case, number: int) -> None:
    killed_and_started_again(small, number)


@pytest.mark.slow
@pytest.mark.network
def test_real_builds_killed_at_twenty_moments(real: Case) -> None:
    killed_and_started_again(real, MOMENTS)


@pytest.mark.parametrize("number", [pytest.param("SIGINT", marks=pytest.mark.slow), "SIGTERM"])
def test_interrupted_at_several_moments(small: Case, number: str) -> None:
    """130, and nothing half-written: not in the store, not in the project, not at any destination."""
    total, digest, kept = count(small)
    for moment in moments(total, 6):
        small.reset()
        before = files(small.bench.project)
        done = small.run(f"run{moment}", moment, number)
        assert done.status in (130, 0), f"{moment} of {total}: {done.err}"
        # What comes after the last line is said cannot be taken back.
        assert done.status == 130 or done.out.strip().endswith(digest)
        assert "Traceback" not in done.err
        assert done.status == 0 or done.err.rstrip().endswith("interrupted")
        check_store(small.bench.cache, kept)
        if small.bench.cache.exists():
            check_clean(small.bench.cache)
        assert files(small.bench.project) - before <= {"pylock.dpbuild.toml"}
        assert small.seen(f"run{moment}") <= {digest, None}
        assert {path.name for path in small.out.iterdir()} <= {"image", "image.tar", "metadata.json"}
        again = small.run(f"run{moment}")
        assert again.out.strip().endswith(digest), again.err


# side by side


def test_builds_side_by_side(small: Case) -> None:
    """Four at once on one empty store: the same image, and a whole store."""
    _, digest, kept = count(small)
    small.reset()
    running = [small.start(f"side{number}", KILLING_COUNT=os.devnull) for number in range(4)]
    ended = [(process, *process.communicate(timeout=120)) for process in running]
    for process, out, err in ended:
        assert process.returncode == 0, err
        assert out.strip().endswith(digest)
    check_store(small.bench.cache, kept)
    check_clean(small.bench.cache)
    assert small.seen("side0") == small.seen("side3") == {digest}


def test_one_is_killed_beside_another(small: Case) -> None:
    """What the living one has under way stays; what the dead one left goes with the next run."""
    total, digest, kept = count(small)
    small.reset()
    running = [
        small.start(f"beside{moment}", moment, KILLING_COUNT=os.devnull)
        for moment in (0, total // 3, total // 2, 0)
    ]  # fmt: skip
    ended = [(process, *process.communicate(timeout=120)) for process in running]
    for process, out, err in (ended[0], ended[3]):
        assert process.returncode == 0, err
        assert out.strip().endswith(digest)
    check_store(small.bench.cache, kept)
    assert small.run("beside0").status == 0
    check_clean(small.bench.cache)


@pytest.mark.slow
@pytest.mark.network
def test_real_builds_side_by_side(real: Case) -> None:
    _, digest, kept = count(real)
    real.reset()
    running = [real.start(f"side{number}", KILLING_COUNT=os.devnull) for number in range(2)]
    ended = [(process, *process.communicate(timeout=300)) for process in running]
    for process, out, err in ended:
        assert process.returncode == 0, err
        assert out.strip().endswith(digest)
    check_store(real.bench.cache, kept)
    check_clean(real.bench.cache)


# on a slow line


@pytest.mark.parametrize("what", ["base", "push"])
def test_interrupted_while_nothing_comes(small: Case, what: str) -> None:
    """Who has had enough of waiting does not have to wait until the line is given up."""
    image = make_image(small.bench.tmp / "large", *debian(), {"opt/large": os.urandom(3_000_000)})
    if what == "base":
        target = f"docker://{small.registry}/{small.name}/large:1"
        words = ["skopeo", "copy", "-q", "--dest-tls-verify=false", f"oci:{image.path}", target]
        subprocess.run(words, check=True)
    with stalling_relay(small.registry, 100_000 if what == "base" else 1) as (slow, stalled):
        base = f"{slow}/{small.name}/large:1" if what == "base" else f"oci:{image.path}"
        small.bench.configure(f'base = "{base}"', 'platforms = ["linux/amd64"]')
        small.registry = slow
        process = small.start("slow", KILLING_COUNT=os.devnull)
        assert stalled.wait(60)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert (process.returncode, out) == (130, ""), err
    assert err.rstrip().endswith("interrupted")
    check_clean(small.bench.cache)
