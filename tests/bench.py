"""A small project, an index on loopback that serves what it needs, and a way to see what a failure leaves."""

import dataclasses
import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from factories.wheel import make_wheel
from fakes.index import Index, serve_index
from machinery import Ran, in_process

BASE = "compose:debian13:nonroot"
DEMO = make_wheel("demo", "1.0", files={"demo.py": "x = 1\n" * 200})


@dataclasses.dataclass
class Bench:
    """Runs the command line with a store of its own. ``project`` needs ``demo``, which ``index`` has."""

    project: Path
    index: Index
    tmp: Path

    @property
    def cache(self) -> Path:
        return self.tmp / "cache"

    @property
    def output(self) -> Path:
        return self.tmp / "output"

    @property
    def environment(self) -> dict[str, str]:
        return {"DPBUILD_CACHE_DIR": str(self.cache), "UV_DEFAULT_INDEX": self.index.simple}

    def configure(self, *lines: str, dependencies: tuple[str, ...] = ("demo",)) -> None:
        rows = ", ".join(repr(row) for row in dependencies)
        base = f'base = "{BASE}"\nplatforms = ["linux/amd64"]\n'
        (self.project / "pyproject.toml").write_text(
            f'[project]\nname = "app"\nversion = "1"\ndependencies = [{rows}]\n[tool.dpbuild]\nbytecode = false\n'
            + ("" if any(row.startswith("base") for row in lines) else base)
            + "\n".join(lines)
            + "\n"
        )

    def build_by(self, backend: str) -> None:
        """The project is built by a backend of its own, whose text this is and which requires nothing; it is locked."""
        (self.project / "backend.py").write_text(backend)
        self.configure('entrypoint = ["-m", "main"]')
        path = self.project / "pyproject.toml"
        system = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        path.write_text(system + path.read_text())
        self.lock()

    def run(self, *arguments: object, env: dict[str, str] | None = None, check: bool = False) -> Ran:
        """In this process, which saves starting one; the e2e tests start them."""
        done = in_process(arguments, {**self.environment, **(env or {})})
        if check and done.status:
            pytest.fail(f"dpbuild {' '.join(map(str, arguments))} ended with {done.status}:\n{done.err}")
        return done

    def build(self, *arguments: object, env: dict[str, str] | None = None, check: bool = False) -> Ran:
        return self.run("build", self.project, "-o", self.output, *arguments, env=env, check=check)

    def lock(self, *arguments: object) -> Ran:
        return self.run("lock", self.project, *arguments, check=True)

    def fails(
        self,
        code: int,
        message: str,
        *arguments: object,
        env: dict[str, str] | None = None,
        lock: bool = False,
        hint: str = "",
        output: Path | None = None,
    ) -> str:
        """The build ends with this code and one error, and leaves nothing; ``lock``: but a lock."""
        before = files(self.project)
        kept = None if output is None else files(output)
        done = self.run("build", self.project, "-o", output or self.output, *arguments, env=env)
        return self.left(done, code, message, before, lock=lock, hint=hint, output=output, kept=kept)

    def left(
        self,
        done: Ran,
        code: int,
        message: str,
        before: set[str],
        *,
        lock: bool = False,
        hint: str = "",
        output: Path | None = None,
        kept: set[str] | None = None,
    ) -> str:
        assert done.status == code, done.err
        assert done.out == ""
        errors = [line for line in done.err.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1, done.err
        assert re.search(message, done.err), done.err
        assert "Traceback" not in done.err
        if hint:
            assert re.search(f"^ hint: .*{hint}", done.err, re.MULTILINE), done.err
        if output is None:
            assert not self.output.exists()
        else:
            assert files(output) == kept
        assert files(self.project) - before <= ({"pylock.dpbuild.toml"} if lock else set())
        assert [path.name for path in self.cache.glob("tmp/*")] == []
        return done.err


def files(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Bench]:
    """For what goes wrong before any base is read."""
    project = tmp_path / "project"
    project.mkdir()
    (project / "main.py").write_text("print('hello')\n")
    with serve_index() as index:
        index.add(DEMO)
        bench = Bench(project, index, tmp_path)
        bench.configure()
        yield bench


@pytest.fixture
def bench(bare: Bench, need: Callable[..., None], dpbuild: Callable[..., Ran], shared_cache: Path) -> Bench:
    """One that builds: its store has a real base, which is composed once for all tests."""
    need("network")
    # With the base and nothing else: other tests fill the shared store with whatever they build.
    primed = shared_cache.with_name("dpbuild-base-store")
    if not (primed / "primed").exists():
        dpbuild("inspect", BASE, "--platform", "linux/amd64", env={"DPBUILD_CACHE_DIR": str(primed)})
        (primed / "primed").touch()
    for name in ("blobs", "maps"):
        shutil.copytree(primed / name, bare.cache / name, copy_function=os.link)
    bare.cache.chmod(0o700)
    return bare
