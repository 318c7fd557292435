"""How much work each kind of build is, in counts that depend on no machine: what is inflated, compressed, read, written, asked.

A number that grows is a regression, also where no clock would show it. They are of wheels and a base that the tests
make themselves; only what these hold may move them.
"""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pytest
from bench import BASE, Bench
from factories.image import make_image
from factories.python_image import debian
from factories.wheel import make_wheel
from fakes.registry import FakeRegistry, fake_registry

from dpbuild import assembling, describing, pipeline
from dpbuild.adapters import store
from dpbuild.adapters.store import DiskStore, DiskWriter
from dpbuild.archive import decompress, deflate, gzip
from dpbuild.stages import places
from dpbuild.stages.compiler import SandboxCompiler
from dpbuild.stages.layers import writers
from dpbuild.stages.proof import scans
from dpbuild.stages.proof.scan import LayerScan

LARGE = 5 << 20


@dataclass
class Work:
    """Bytes, but for ``opened`` and ``asked``, which are blobs opened in the store and requests to the registry."""

    inflated: int = 0
    compressed: int = 0
    verified: int = 0
    written: int = 0
    opened: int = 0
    asked: int = 0


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Work:
    """What is done from here on."""
    found = Work()

    def counted(place: Any, name: str, field: str, size: Callable[..., int]) -> None:
        inner = getattr(place, name)

        def outer(*arguments: Any, **more: Any) -> Any:
            result = inner(*arguments, **more)
            setattr(found, field, getattr(found, field) + size(result, *arguments))
            return result

        monkeypatch.setattr(place, name, outer)

    counted(deflate.Splicer, "splice", "inflated", lambda size, *_: size)
    counted(decompress.Decompressed, "_inflate", "inflated", lambda data, *_: len(data))
    counted(places, "read", "inflated", lambda data, *_: len(data or b""))
    counted(gzip, "deflate", "compressed", lambda _, data, *__: len(data))
    counted(DiskWriter, "write", "written", lambda _, __, data: len(data))
    counted(DiskStore, "_file", "opened", lambda *_: 1)
    counted(store, "_hashed", "verified", lambda _, file: os.fstat(file.fileno()).st_size)
    return found


@pytest.fixture
def registry() -> Iterator[FakeRegistry]:
    with fake_registry() as fake:
        yield fake


class Builds:
    """A project with two large and two small wheels, pushed; each build says what it took."""

    def __init__(self, bench: Bench, registry: FakeRegistry, work: Work) -> None:
        self.bench, self.registry, self.work = bench, registry, work
        for name in ("one", "two"):
            bench.index.add(make_wheel(name, "1.0", files={f"{name}/data.bin": self.data(name), f"{name}/a.py": "x\n"}))
        for name, version in (("small", "1.0"), ("small", "2.0"), ("tiny", "1.0")):
            bench.index.add(make_wheel(name, version, files={f"{name}.py": f"version = {version!r}\n" * 900}))
        self.base("")
        self.configure("1.0")

    @staticmethod
    def data(name: str) -> bytes:
        """What no compressor makes smaller."""
        return b"".join(hashlib.sha256(f"{name} {number}".encode()).digest() for number in range(LARGE // 32))

    def base(self, text: str) -> None:
        make_image(self.bench.tmp / "base", *debian(), {"opt/text": text})

    def configure(self, version: str) -> None:
        wanted = ("one", "two", f"small=={version}", "tiny")
        self.bench.configure(
            f'base = "oci:{self.bench.tmp / "base"}"', 'platforms = ["linux/amd64"]', dependencies=wanted
        )
        self.bench.lock()

    def build(self, repository: str = "team/app") -> Work:
        self.registry.forget()
        for name in asdict(self.work):
            setattr(self.work, name, 0)
        words = ("--locked", "--push", "-t", f"{self.registry.host}/{repository}:1", "--platform", "linux/amd64")
        done = self.bench.run("build", self.bench.project, *words)
        assert done.status == 0, done.err
        return Work(**asdict(self.work) | {"asked": len(self.registry.requests)})


@pytest.fixture
def builds(bare: Bench, registry: FakeRegistry, work: Work, monkeypatch: pytest.MonkeyPatch) -> Builds:
    # What another process makes is not counted here.
    monkeypatch.setattr(writers, "_WORTH_IT", 1 << 40)
    (bare.project / "main.py").write_text("import one\n")
    return Builds(bare, registry, work)


def at_most(found: Work, **limits: int) -> None:
    """Every count is at most what was pinned for it; a build that takes much less should be pinned anew."""
    assert limits.keys() == asdict(found).keys()
    assert {name: size for name, size in asdict(found).items() if size > limits[name]} == {}, (found, limits)


def test_every_kind_of_build(builds: Builds) -> None:
    cold = builds.build()
    wheels = sum(len(data) for name, data in builds.bench.index.files.items() if "-2.0" not in name)
    # Every byte of a wheel is inflated once, and so is the base; nothing large is compressed.
    assert cold.inflated > 2 * LARGE
    # Wheels are downloaded, layers made: each is written once, and neither is read again to be sure of it.
    assert abs(cold.written - 2 * wheels) < 100_000
    at_most(
        cold,
        inflated=2 * LARGE + 100_000,
        compressed=40_000,
        verified=4_000,
        written=2 * wheels + 100_000,
        opened=27,
        asked=40,
    )

    assert builds.build() == Work(asked=1)

    (builds.bench.project / "main.py").write_text("import one, two\n")
    at_most(builds.build(), inflated=18_000, compressed=4_000, verified=2_500, written=500, opened=4, asked=16)

    # The layer of one small wheel; the large ones are not even opened.
    builds.configure("2.0")
    at_most(builds.build(), inflated=50_000, compressed=20_000, verified=4_000, written=5_000, opened=10, asked=18)

    # The same image elsewhere: large layers are mounted, and nothing is made.
    at_most(builds.build("team/other"), inflated=0, compressed=0, verified=8_000, written=0, opened=7, asked=36)
    assert sum("mount=" in row for row in builds.registry.requests) >= 2
    assert sum(len(row.body) for row in builds.registry.seen) < 100_000

    # The layers of wheels stay what they are on a newer base, and the registry has them.
    builds.base("newer")
    builds.bench.lock("--upgrade-base")
    at_most(builds.build(), inflated=30_000, compressed=0, verified=4_000, written=0, opened=5, asked=16)


def test_a_large_base_is_looked_at_aside(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process scans the base and lists what is in the image; the image is what one process alone makes."""
    read: list[str] = []
    inner = scans._made

    def made(*arguments: Any, **more: Any) -> LayerScan:
        read.append(str(arguments[1].digest))
        return inner(*arguments, **more)

    monkeypatch.setattr(scans, "_made", made)
    builds.build()
    assert read
    read.clear()
    for kind in ("facts", "layers"):
        shutil.rmtree(builds.bench.cache / "maps" / kind)
    monkeypatch.setattr(pipeline, "WORTH_IT", 0)
    builds.build("team/again")
    assert read == []
    held = builds.registry.manifests
    assert held["team/again"]["1"] == held["team/app"]["1"]


def test_another_dependency_is_listed_aside(builds: Builds, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another process lists the packages while this one proves the image; for the same bytes."""
    listed: list[str] = []
    inner = describing.sbom

    def sbom(*arguments: Any) -> bytes:
        listed.append(str(arguments[0].digest))
        return inner(*arguments)

    monkeypatch.setattr(describing, "sbom", sbom)
    builds.build()
    builds.configure("2.0")
    builds.build()
    assert len(listed) == 2
    alone = builds.registry.manifests["team/app"]
    shutil.rmtree(builds.bench.cache / "maps")
    builds.configure("1.0")
    builds.build("team/again")
    listed.clear()
    monkeypatch.setattr(assembling, "WORTH_LISTING", 0)
    builds.configure("2.0")
    builds.build("team/again")
    assert listed == []
    assert builds.registry.manifests["team/again"]["1"] == alone["1"]


@pytest.mark.network
def test_what_is_compiled(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """One process of the base's interpreter for each wheel, the app and the standard library; nothing a second time."""
    compiled: list[str] = []
    inner = SandboxCompiler.compile

    def compile_(self: SandboxCompiler, files: Sequence[tuple[str, bytes]], *, checked: bool) -> Any:
        folder, _, name = files[0][0].rpartition("/")
        compiled.append(name if folder.endswith(("dist-packages", "app")) else folder.rpartition("/")[2])
        return inner(self, files, checked=checked)

    monkeypatch.setattr(SandboxCompiler, "compile", compile_)

    def build(**versions: str) -> list[str]:
        rows = tuple(f"{name}=={version}" for name, version in versions.items())
        words = f'base = "{BASE}"', 'platforms = ["linux/amd64"]', 'exclude = ["pyproject.toml"]'
        bench.configure(*words, dependencies=rows)
        path = bench.project / "pyproject.toml"
        path.write_text(path.read_text().replace("bytecode = false", "bytecode = true"))
        compiled.clear()
        bench.build(check=True)
        return sorted(compiled)

    for name, version in (("one", "1.0"), ("two", "1.0"), ("two", "2.0")):
        bench.index.add(make_wheel(name, version, files={f"{name}.py": f"version = {version!r}\n"}))
    (bench.project / "main.py").write_text("import one\n")
    assert build(one="1.0", two="1.0") == ["main.py", "one.py", "python3.13", "two.py"]
    assert build(one="1.0", two="1.0") == []
    (bench.project / "main.py").write_text("import one, two\n")
    assert build(one="1.0", two="1.0") == ["main.py"]
    # Small wheels share a layer by their names; these two do not.
    assert build(one="1.0", two="2.0") == ["two.py"]
