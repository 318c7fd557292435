"""An image that Docker has, as a base and as anything that is looked at."""

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from machinery import Ran

pytestmark = [pytest.mark.docker, pytest.mark.network]
NAME = "registry.example/daemon/base:1"


def docker(*words: str) -> str:
    return subprocess.run(["docker", *words], capture_output=True, text=True, check=True).stdout


@pytest.fixture
def loaded(dpbuild: Callable[..., Ran], tmp_path: Path) -> Iterator[str]:
    """A composed base in the engine."""
    dpbuild("base", "compose", "debian13:nonroot", "-t", NAME, "-o", tmp_path / "base.tar")
    docker("load", "-i", str(tmp_path / "base.tar"))
    try:
        yield f"docker-daemon:{NAME}"
    finally:
        docker("rmi", "-f", NAME)


def test_it_is_a_base_by_name_and_by_id(
    dpbuild: Callable[..., Ran], example: Callable[[str], Path], loaded: str, shared_cache: Path, tmp_path: Path
) -> None:
    shown = json.loads(dpbuild("inspect", loaded, "--json").out)
    assert shown["facts"]["version"] == "3.13.5"
    image_id = docker("image", "inspect", "-f", "{{.Id}}", NAME).strip()
    project = example("hello")
    first = dpbuild("build", project, "--base", loaded, "-o", tmp_path / "a").out.rpartition("@")[2]
    second = dpbuild("build", project, "--base", f"docker-daemon:{image_id}", "-o", tmp_path / "b")
    # Another name for the base in the lock, and the same layers.
    assert len(first) == len(second.out.rpartition("@")[2])
    said = dpbuild("run", f"oci:{tmp_path}/a", "--", "engine")
    assert "Hello, engine!" in said.out
    assert "Hello, engine!" in dpbuild("run", "--builder", "bubblewrap", f"oci:{tmp_path}/b", "--", "engine").out
    assert list((shared_cache / "tmp").glob("image-*")) == []


def test_what_the_name_leads_to_now_is_not_taken_for_what_was_locked(
    dpbuild: Callable[..., Ran], example: Callable[[str], Path], loaded: str, tmp_path: Path
) -> None:
    project = example("hello")
    dpbuild("lock", project, "--base", loaded, "--platform", "linux/amd64")
    dpbuild("base", "compose", "debian13:latest", "-t", NAME, "-o", tmp_path / "other.tar")
    docker("load", "-i", str(tmp_path / "other.tar"))
    words = ("build", project, "--base", loaded, "--platform", "linux/amd64", "-o", tmp_path / "out")
    moved = dpbuild(*words, check=False)
    assert moved.status == 20
    assert "and the lock is for" in moved.err
    assert "--upgrade-base" in moved.err
    dpbuild("lock", project, "--base", loaded, "--platform", "linux/amd64", "--upgrade-base")
    assert dpbuild(*words).status == 0


def test_an_image_of_the_engine_is_run_without_it(dpbuild: Callable[..., Ran], loaded: str) -> None:
    done = dpbuild("run", "--builder", "none", loaded, "--", "-c", "print('by its own interpreter')")
    assert done.out == "by its own interpreter\n"


def test_what_the_engine_does_not_have(dpbuild: Callable[..., Ran], tmp_path: Path) -> None:
    missing = dpbuild("inspect", "docker-daemon:registry.example/nothing:here", check=False)
    assert missing.status == 92
    assert "no such image" in missing.err
    silent = dpbuild("inspect", "docker-daemon:x", env={"DOCKER_HOST": f"unix://{tmp_path}/none"}, check=False)
    assert silent.status == 100
