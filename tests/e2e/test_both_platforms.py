"""The three examples for both platforms, each in one command: one index, run by Docker here and under qemu."""

import json
import re
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from e2e_tools import answer, docker, image_row

pytestmark = [pytest.mark.network, pytest.mark.docker, pytest.mark.registry, pytest.mark.qemu]

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}


@dataclass(frozen=True)
class Both:
    """An example in a registry: the line of the build, what it said, and the manifests by architecture."""

    line: str
    said: str
    layout: Path
    manifests: dict[str, dict]

    def on_top(self, architecture: str) -> list[str]:
        """The digests of the layers that are not the base's."""
        manifest = self.manifests[architecture]
        config = json.loads(self.blob(manifest["config"]["digest"]))
        rows = zip(manifest["layers"], config["history"], strict=True)
        return [layer["digest"] for layer, row in rows if row["created_by"] == "dpbuild"]

    def blob(self, digest: str) -> bytes:
        return (self.layout / "blobs/sha256" / digest[7:]).read_bytes()


@pytest.fixture
def both(dpbuild: Callable, registry: str, example: Callable[[str], Path], tmp_path: Path, name: str) -> Iterator[Both]:
    layout = tmp_path / "image"
    done = dpbuild(
        "build", example(name), "--platform", "linux/amd64,linux/arm64",
        "--push", "-t", f"{registry}/both/{name}:1", "-o", layout,
    )  # fmt: skip
    line = done.out.strip()
    root = image_row((layout / "index.json").read_text())
    assert line == f"{registry}/both/{name}@{root['digest']}"
    read = Both(line, done.err, layout, {})
    for row in json.loads(read.blob(root["digest"]))["manifests"]:
        assert row["platform"]["os"] == "linux"
        read.manifests[row["platform"]["architecture"]] = json.loads(read.blob(row["digest"]))
    yield read
    subprocess.run(["docker", "rmi", "-f", line], capture_output=True, check=False)


def pulled(both: Both, architecture: str) -> str:
    """The image of one platform, in the engine."""
    docker("pull", "-q", "--platform", f"linux/{architecture}", both.line)
    return both.line


@pytest.mark.parametrize(
    ("name", "native"),
    # What differs between the machines: nothing, the group of small native wheels, and the wheels below.
    [("hello", 0), ("web", 1), pytest.param("data", 3, marks=pytest.mark.slow)],
)
def test_one_index_and_what_is_pure_is_there_once(both: Both, native: int) -> None:
    assert sorted(both.manifests) == ["amd64", "arm64"]
    amd64, arm64 = both.on_top("amd64"), both.on_top("arm64")
    assert len(amd64) == len(arm64)
    assert len(set(amd64) - set(arm64)) == len(set(arm64) - set(amd64)) == native
    # A blob that both have is written once and sent once.
    blobs = {
        row["digest"]: row["size"] for each in both.manifests.values() for row in (*each["layers"], each["config"])
    }
    assert {digest[7:] for digest in blobs} <= {path.name for path in (both.layout / "blobs/sha256").iterdir()}
    sent = re.findall(r"^registry: .* ([\d.]+) MB sent, ([\d.]+) MB were there$", both.said, re.MULTILINE)
    assert sent
    total = sum(map(float, sent[0]))
    assert total == pytest.approx(sum(blobs.values()) / 1e6, abs=0.2)


@pytest.mark.parametrize("architecture", MACHINES)
@pytest.mark.parametrize("name", ["hello"])
def test_hello(both: Both, architecture: str) -> None:
    said = docker("run", "--rm", "--platform", f"linux/{architecture}", pulled(both, architecture), "both")
    assert said == f"Hello, both! This is Python 3.13.5 on {MACHINES[architecture]}, user 65532."


# Emulated, a server takes most of a minute to start.
@pytest.mark.parametrize("architecture", ["amd64", pytest.param("arm64", marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", ["web"])
def test_web(both: Both, architecture: str) -> None:
    image = pulled(both, architecture)
    container = docker("run", "-d", "-p", "127.0.0.1::8000", "--platform", f"linux/{architecture}", image)
    try:
        port = docker("port", container, "8000").splitlines()[0].rpartition(":")[2]
        assert answer(f"http://127.0.0.1:{port}/square/12") == {"square": 144}
        assert answer(f"http://127.0.0.1:{port}/") == {"python": "3.13.5", "uid": 65532}
        say = "import platform, pydantic_core; print(platform.machine(), pydantic_core.__cached__)"
        machine, cached = docker("exec", container, "/usr/bin/python3.13", "-c", say).split()
        assert machine == MACHINES[architecture]
        assert cached.startswith("/usr/local/lib/python3.13/dist-packages/pydantic_core/__pycache__/")
    finally:
        docker("rm", "-f", container)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", MACHINES)
@pytest.mark.parametrize("name", ["data"])
def test_data(both: Both, architecture: str) -> None:
    said = docker("run", "--rm", "--platform", f"linux/{architecture}", "--read-only", "--tmpfs", "/tmp",
                  pulled(both, architecture))  # fmt: skip
    assert said == "1000 rows, Lima -0.1326, Oslo -0.0119"
