"""One line of the app changes: what that takes, and that nothing stale is told of it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from bench import Bench
from fakes.registry import fake_registry

from dpbuild import describing, pipeline
from dpbuild.oci.platform import Platform
from dpbuild.oci.reference import parse
from dpbuild.stages.layers import make
from dpbuild.stages.proof import prove, told
from dpbuild.wiring import Settings, World


def sbom(layout: Path) -> bytes:
    """What is attached to the image."""
    for row in json.loads((layout / "index.json").read_text())["manifests"]:
        if row.get("artifactType") == "application/vnd.cyclonedx+json":
            manifest = json.loads((layout / "blobs/sha256" / row["digest"].removeprefix("sha256:")).read_bytes())
            return (layout / "blobs/sha256" / manifest["layers"][0]["digest"].removeprefix("sha256:")).read_bytes()
    pytest.fail("there is no SBOM")


def anew(bench: Bench) -> bytes:
    """The same by a store that has seen none of it."""
    world = World(Settings(cache_dir=bench.tmp / "other", progress="none"))
    try:
        return describing.read_sbom(parse(f"oci:{bench.output}"), Platform.parse("linux/amd64"), world)
    finally:
        world.close()


def test_the_sbom_of_an_edited_app_is_no_work(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build(check=True)
    first = sbom(bench.output)

    def never(*_: object) -> None:
        pytest.fail("the merged tree of all layers was made")

    (bench.project / "main.py").write_text("print('edited')\n")
    with monkeypatch.context() as patch:
        patch.setattr(describing, "merged", never)
        bench.build(check=True)
    second = sbom(bench.output)
    assert second != first
    assert second == anew(bench)


def test_evidence_of_an_edited_app_goes_ahead_of_the_proof(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody sees it before, and where the image is refused, nobody ever does."""
    with fake_registry() as registry:
        words = ("--push", "-t", f"{registry.host}/acme/app:1")

        def documents() -> int:
            return sum(b"CycloneDX" in data for data in tuple(registry.blobs.get("acme/app", {}).values()))

        bench.run("build", bench.project, *words, check=True)
        assert documents() == 1
        inner, manifests = pipeline._prove, dict(registry.manifests["acme/app"])

        def prove(*arguments: Any) -> tuple[str, ...]:
            end = time.monotonic() + 20
            while documents() < 2 and time.monotonic() < end:
                time.sleep(0.01)
            assert documents() == 2
            assert registry.manifests["acme/app"] == manifests
            return inner(*arguments)

        (bench.project / "main.py").write_text("import nowhere\n")
        with monkeypatch.context() as patch:
            patch.setattr(pipeline, "_prove", prove)
            done = bench.run("build", bench.project, *words)
        assert done.status == 70, done.err
        assert registry.manifests["acme/app"] == manifests
        (bench.project / "main.py").write_text("print('mended')\n")
        bench.run("build", bench.project, *words, check=True)
        assert registry.manifests["acme/app"]["1"] != manifests["1"]


def test_a_file_of_a_package_in_the_app_is_no_mere_line(bench: Bench) -> None:
    info = bench.project / "vendor" / "thing-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    (info / "RECORD").write_text("thing.py,,\nthing-1.0.dist-info/METADATA,,\nthing-1.0.dist-info/RECORD,,\n")
    source = bench.project / "vendor" / "thing.py"
    for text in ("x = 1\n", "x = 2\n"):
        source.write_text(text)
        bench.build(check=True)
        assert sbom(bench.output) == anew(bench)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.1\n")
    bench.build(check=True)
    assert sbom(bench.output) == anew(bench)
    assert b"pkg:pypi/thing@1.1" in sbom(bench.output)


def test_a_new_file_is_no_mere_line(bench: Bench) -> None:
    bench.build(check=True)
    info = bench.project / "thing-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: thing\nVersion: 1.0\n")
    bench.build(check=True)
    assert b"pkg:pypi/thing@1.0" in sbom(bench.output)
    assert sbom(bench.output) == anew(bench)


def test_wheels_that_were_seen_together_are_not_listed_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.build(check=True)
    (bench.project / "main.py").write_text("print('edited')\n")

    def never(*_: object) -> None:
        pytest.fail("wheels were compared again")

    with monkeypatch.context() as patch:
        patch.setattr(make._Maker, "make", never)
        bench.build(check=True)
    # A layer that is gone is made again, and conflicts are looked for with it.
    for path in bench.cache.glob("maps/layers/*"):
        if b'"scripts"' not in path.read_bytes():
            path.unlink()
    (bench.project / "main.py").write_text("print('once more')\n")
    bench.build(check=True)


def test_only_what_was_edited_is_parsed_again(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    (bench.project / "parts").mkdir()
    for number in range(3):
        (bench.project / "parts" / f"part{number}.py").write_text(f"import os\n\nx = {number}\n")
    bench.build(check=True)
    asked: list[bytes] = []
    real = told._told

    def counted(data: bytes) -> told.Told:
        asked.append(data)
        return real(data)

    def never(*_: object) -> None:
        pytest.fail("the rules were asked again")

    monkeypatch.setattr(told, "_told", counted)
    monkeypatch.setattr(prove, "prove", never)
    for text in ("import os\n\nx = 7\n", "import os\n\nx = 8\n"):
        (bench.project / "parts" / "part1.py").write_text(text)
        bench.build(check=True)
        assert asked == [text.encode()]
        asked.clear()


def test_what_an_edit_imports(bench: Bench) -> None:
    """Neither rules nor what reads a base's facts, requirements or wheels; and no library to push what is small."""
    with fake_registry() as registry:
        arguments = ("--push", "-t", f"{registry.host}/acme/app:1")
        bench.build(*arguments, check=True)
        _edit_imports_little(bench, *arguments)


def _edit_imports_little(bench: Bench, *arguments: str) -> None:
    (bench.project / "main.py").write_text("print('edited')\n")
    code = (
        "import sys; from dpbuild.cli.main import main\n"
        "try: main()\nexcept SystemExit: print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "build", bench.project, "-o", bench.output, "-q", *arguments],
        env={**os.environ, **bench.environment},
        capture_output=True,
        text=True,
        check=True,
    )
    modules = set(done.stderr.splitlines()[-1].split())
    heavy = {
        "click",
        "configparser",
        "docker",
        "difflib",
        "email.parser",
        "packaging.requirements",
        "packaging.tags",
        "packaging.version",
        "requests",
        "urllib3",
        "dpbuild.stages.facts",
        "dpbuild.pypa.wheel",
        "dpbuild.stages.evidence.sign",
        "dpbuild.stages.proof.rules",
        "dpbuild.stages.requirements",
    }
    assert modules & heavy == set()
    assert "dpbuild.pipeline" in modules
    own = [name for name in modules if name.startswith("dpbuild")]
    assert len(own) <= 202, sorted(own)
    assert len(modules) <= 392
